"""The Volcengine dialect, driven by the vendor's own clients for Python and Node against a real server."""

from __future__ import annotations

import ast
import base64
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from support import node
from support.pictures import opened
from support.server import PATIENCE, Server, command, serving
from support.volcengine import NEW, OLD, REQ_KEY, body, encoded, path, signed

volcengine = pytest.importorskip("volcengine", reason="needs the extra sdks")

from volcengine.auth.SignerV4 import SignerV4  # noqa: E402
from volcengine.visual.VisualService import VisualService  # noqa: E402

pytestmark = pytest.mark.acceptance

PROMPT = "(((白色雕像))) a statue 🗿"
TOKEN = "STS2anything"


@dataclass(frozen=True)
class Scene:
    """A closed server with a pair of keys."""

    server: Server
    access_key: str
    secret_key: str
    data: Path

    @property
    def host(self) -> str:
        return self.server.url.removeprefix("http://")

    def node(self, *calls: dict[str, Any], **options: str) -> list[dict[str, Any]]:
        keys = {"accessKeyId": self.access_key, "secretKey": self.secret_key, "host": self.host}
        answers: list[dict[str, Any]] = node.run("volcengine.mjs", {"options": {**keys, **options}, "calls": calls})
        return answers

    def by_hand(self, action: str, content: bytes, **changed: Any) -> tuple[str, dict[str, str]]:
        """The address and the headers of a call that is signed without any client of the vendor's."""
        url = self.server.url + path(action, changed.pop("version", OLD))
        return url, signed(url, content, self.access_key, self.secret_key, **changed)


def pair(data: Path, *flags: str) -> dict[str, str]:
    made = ("keys", "create", "--account", "acme", "--type", "pair", "--json", "--data-dir", data, *flags)
    done = command(*made, cwd=data.parent)
    assert done.returncode == 0, done.stderr
    shown: dict[str, str] = json.loads(done.stdout)
    return shown


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    data = tmp_path_factory.mktemp("volcengine") / "data"
    made = pair(data)
    with serving(data, "--engine", "fake") as server:
        yield Scene(server, made["access_key"], made["secret_key"], data)


@pytest.fixture
def client(scene: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The Python client, as its users set it up; there is one for each process, made anew by constructing it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "*")
    for name in ("VOLC_ACCESSKEY", "VOLC_SECRETKEY"):
        monkeypatch.delenv(name, raising=False)
    service = VisualService()
    service.set_ak(scene.access_key)
    service.set_sk(scene.secret_key)
    service.set_scheme("http")
    service.set_host(scene.host)
    return service


def error_of(call: Callable[[], Any]) -> dict[str, Any]:
    """What the Python client raises holds the answer's bytes as Python writes them."""
    with pytest.raises(Exception) as caught:
        call()
    raised = ast.literal_eval(str(caught.value))
    assert isinstance(raised, bytes)
    answer: dict[str, Any] = json.loads(raised)
    return answer


def gateway_code(answer: dict[str, Any]) -> str:
    code: str = answer["ResponseMetadata"]["Error"]["Code"]
    return code


def picture_in(answer: dict[str, Any]) -> Any:
    (encoded_picture,) = answer["data"]["binary_data_base64"]
    return opened(base64.b64decode(encoded_picture))


def until_done(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while (answer := ask())["data"]["status"] in ("in_queue", "generating"):
        assert time.monotonic() < deadline
    return answer


# Python


def test_python_draws_a_picture(client: Any) -> None:
    sent = body(prompt=PROMPT, seed=7, strength=0.9, scale=7, ddim_steps=25, clip_skip=2, canny_weight=0.8)
    answer = client.cv_process(sent)
    assert (answer["code"], answer["status"], answer["message"]) == (10000, 10000, "Success")
    assert picture_in(answer).size == (192, 256)
    assert picture_in(client.cv_process(sent)) == picture_in(answer)
    assert picture_in(client.img2img_create_pastel_boys2d({**sent, "req_key": "img2img_pastel_boys_style"})).size


def test_python_gets_a_link_that_opens_without_a_signature(client: Any) -> None:
    answer = client.cv_process(body(return_url=True, logo_info={"add_logo": True}))
    assert answer["data"]["binary_data_base64"] == []
    (link,) = answer["data"]["image_urls"]
    assert opened(httpx2.get(link).content).size == (192, 256)


@pytest.mark.parametrize(
    "names", [("cv_sync2async_submit_task", "cv_sync2async_get_result"), ("cv_submit_task", "cv_get_result")]
)
def test_python_follows_a_task_to_its_end(client: Any, names: tuple[str, str]) -> None:
    submit, ask = (getattr(client, name) for name in names)
    task_id = submit(body(prompt=PROMPT, seed=7))["data"]["task_id"]
    query = {"req_key": REQ_KEY, "task_id": task_id}
    done = until_done(lambda: ask(query))
    assert (done["data"]["status"], picture_in(done).size) == ("done", (192, 256))
    marked = ask({**query, "req_json": json.dumps({"logo_info": {"add_logo": True, "opacity": 1}})})
    assert picture_in(marked) != picture_in(done)
    linked = ask({**query, "req_json": json.dumps({"return_url": True, "logo_info": {"add_logo": True, "opacity": 1}})})
    assert linked["data"]["binary_data_base64"] is None
    assert opened(httpx2.get(linked["data"]["image_urls"][0]).content) == picture_in(marked)


def test_python_withdraws_a_task(client: Any) -> None:
    task_id = client.cv_submit_task(body(prompt="fail:hang"))["data"]["task_id"]
    query = {"req_key": REQ_KEY, "task_id": task_id}
    assert client.cv_cancel_task(query)["data"]["status"] == "expired"
    assert client.cv_get_result(query)["data"]["status"] == "expired"
    assert client.cv_get_result({**query, "task_id": "7392616336519610409"})["data"]["status"] == "not_found"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"strength": 7}, 50200),
        ({"prompt": ""}, 50201),
        ({"seed": "7"}, 50204),
        ({"binary_data_base64": ["iVBORw0KGgo="]}, 50207),
        ({"binary_data_base64": []}, 50206),
        ({"req_key": "jimeng"}, 50400),
        ({"prompt": "fail:error"}, 50501),
        ({"lora_multipers": {"雕像": 1}}, 50200),
    ],
)
def test_python_raises_what_the_service_answered(client: Any, fields: dict[str, Any], code: int) -> None:
    with pytest.raises(Exception, match=f'"code":{code},'):
        client.cv_process(body(**fields))
    answer = error_of(lambda: client.cv_process(body(**fields)))
    assert (answer["code"], answer["status"], answer["data"]) == (code, code, None)


def test_a_wrong_secret_and_an_unknown_key_are_refused(client: Any) -> None:
    client.set_sk("wrong")
    assert gateway_code(error_of(lambda: client.cv_process(body()))) == "SignatureDoesNotMatch"
    client.set_ak("AKLTnobody")
    answer = error_of(lambda: client.cv_process(body()))
    assert gateway_code(answer) == "InvalidAccessKey"
    assert "AKLTnobody" in answer["ResponseMetadata"]["Error"]["Message"]


@pytest.mark.parametrize("minutes", [-16, 16, -60 * 24])
def test_an_expired_date_and_a_clock_that_is_far_ahead_are_refused(
    client: Any, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    def off() -> str:
        return (datetime.now(tz=UTC) + timedelta(minutes=minutes)).strftime("%Y%m%dT%H%M%SZ")

    monkeypatch.setattr(SignerV4, "get_current_format_date", staticmethod(off))
    assert gateway_code(error_of(lambda: client.cv_process(body()))) == "InvalidTimestamp"


@pytest.mark.parametrize("minutes", [-14, 14])
def test_a_clock_that_is_a_little_off_is_let_in(client: Any, monkeypatch: pytest.MonkeyPatch, minutes: int) -> None:
    def off() -> str:
        return (datetime.now(tz=UTC) + timedelta(minutes=minutes)).strftime("%Y%m%dT%H%M%SZ")

    monkeypatch.setattr(SignerV4, "get_current_format_date", staticmethod(off))
    assert client.cv_process(body())["code"] == 10000


def test_a_session_token_is_signed_and_needs_no_table(client: Any) -> None:
    client.set_session_token(TOKEN)
    assert client.cv_process(body())["code"] == 10000


def test_an_action_that_is_not_offered_is_not_found(client: Any) -> None:
    client.set_api_info("NoSuchAction", OLD)
    assert gateway_code(error_of(lambda: client.cv_json_api("NoSuchAction", body()))) == "InvalidActionOrVersion"


def test_python_signs_equal_requests_alike_and_all_are_drawn(client: Any) -> None:
    # Within a second the client signs the same twice; without a seed each is a picture of its own.
    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(lambda _: client.cv_process(body()), range(4)))
    pictures = {answer["data"]["binary_data_base64"][0] for answer in answers}
    assert len(pictures) == 4


@pytest.mark.parametrize("token", ["", TOKEN])
def test_python_makes_links_that_are_signed(scene: Scene, client: Any, token: str) -> None:
    client.set_session_token(token)
    query = client.get_sign_url("CVProcess", {})
    headers = {"content-type": "application/json"}
    answer = httpx2.post(f"{scene.server.url}/?{query}", content=encoded(body()), headers=headers)
    assert answer.json()["code"] == 10000, answer.text
    forged = query.replace("CVProcess", "CVSubmitTask")
    answer = httpx2.post(f"{scene.server.url}/?{forged}", content=encoded(body()), headers=headers)
    assert gateway_code(answer.json()) == "SignatureDoesNotMatch"


# Node


def drawing(**fields: Any) -> dict[str, Any]:
    return {"action": "CVProcess", "version": OLD, "body": body(**fields)}


def test_node_draws_decodes_and_is_told_what_is_wrong(scene: Scene) -> None:
    good, wrong, stylised, unknown, presigned = scene.node(
        drawing(prompt=PROMPT, seed=7),
        drawing(prompt=PROMPT, strength=7),
        {**drawing(prompt=None), "action": "AIGCStylizeImageUsage", "version": NEW},
        {**drawing(), "action": "NoSuchAction"},
        {**drawing(), "presigned": True},
    )
    assert picture_in(good).size == (192, 256)
    assert (wrong["code"], wrong["data"]) == (50200, None)
    assert picture_in(stylised["Result"]).size == (192, 256)
    assert gateway_code(unknown) == "InvalidActionOrVersion"
    assert picture_in(presigned).size == (192, 256)


def test_node_follows_a_task_to_its_end(scene: Scene) -> None:
    (submitted,) = scene.node({**drawing(), "action": "CVSync2AsyncSubmitTask"})
    query = {"req_key": REQ_KEY, "task_id": submitted["data"]["task_id"]}
    call = {"action": "CVSync2AsyncGetResult", "version": OLD, "body": query}
    assert picture_in(until_done(lambda: scene.node(call)[0])).size == (192, 256)


def test_node_with_a_session_token_or_a_wrong_secret(scene: Scene) -> None:
    assert picture_in(scene.node(drawing(), sessionToken=TOKEN)[0]).size == (192, 256)
    assert gateway_code(scene.node(drawing(), secretKey="wrong")[0]) == "SignatureDoesNotMatch"


# By hand


def test_a_request_that_is_signed_by_hand(scene: Scene) -> None:
    content = json.dumps(body(prompt=PROMPT), ensure_ascii=False).encode()
    url, headers = scene.by_hand("CVProcess", content)
    answer = httpx2.post(url, content=content, headers=headers)
    assert answer.headers["content-type"] == "application/json"
    assert picture_in(answer.json()).size == (192, 256)


def test_a_request_that_was_recorded_cannot_be_sent_again(scene: Scene, tmp_path: Path) -> None:
    data = tmp_path / "data"
    made = pair(data)
    content = encoded(body())
    with serving(data, "--engine", "fake", volcengine_replay_seconds="0") as strict:
        url = strict.url + path("CVSync2AsyncSubmitTask")
        headers = signed(url, content, made["access_key"], made["secret_key"])
        first, second = (httpx2.post(url, content=content, headers=headers) for _ in range(2))
        assert first.json()["code"] == 10000
        assert (second.status_code, gateway_code(second.json())) == (400, "InvalidTimestamp")
    # As the server is shipped, equal requests of one moment are let in: what they look like is what a client makes of them.
    url, headers = scene.by_hand("CVSync2AsyncSubmitTask", content)
    assert [httpx2.post(url, content=content, headers=headers).json()["code"] for _ in range(2)] == [10000, 10000]


def test_a_call_without_a_signature_is_refused(scene: Scene) -> None:
    answer = httpx2.post(scene.server.url + path("CVProcess"), json=body())
    assert (answer.status_code, gateway_code(answer.json())) == (401, "MissingAuthenticationToken")


def test_a_key_of_another_account_finds_no_task(scene: Scene) -> None:
    other = pair(scene.data, "--account", "other")
    content = encoded(body())
    url, headers = scene.by_hand("CVSubmitTask", content)
    task_id = httpx2.post(url, content=content, headers=headers).json()["data"]["task_id"]
    content = encoded({"req_key": REQ_KEY, "task_id": task_id})
    url = scene.server.url + path("CVGetResult")
    headers = signed(url, content, other["access_key"], other["secret_key"])
    assert httpx2.post(url, content=content, headers=headers).json()["data"]["status"] == "not_found"


def test_an_open_server_takes_signed_and_unsigned_calls_alike(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--engine", "fake") as server:
        url, content = server.url + path("CVProcess"), encoded(body())
        plain = {"content-type": "application/json"}
        for headers in (plain, signed(url, content, "AKLTanybody", "anything")):
            assert httpx2.post(url, content=content, headers=headers).json()["code"] == 10000
