"""The iPollo dialect against the real command line: the vendor's own bodies to the byte, wallets that an operator registers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from support.ipollo import (
    ACTING,
    ACTING_BODY,
    ACTING_FILLED,
    ADDRESS,
    CHAT,
    QUERIES,
    RECORD,
    SPEAKING,
    SPEAKING_BODY,
    STATE,
    TXT2IMG,
)
from support.server import PATIENCE, Server, call, command, serving

pytestmark = pytest.mark.acceptance

PICTURE_BODY = f'{{"prompt": "花园里的女孩，a girl in a garden", "btc_address": "{ADDRESS}"}}'.encode()
"""Both fields that the vendor's page has, and none of ours."""
FORM = "application/x-www-form-urlencoded"


def post(
    server: Server, path: str, content: bytes, kind: str = "application/json", token: str = ""
) -> tuple[int, dict[str, Any], Any]:
    """Status, body and headers."""
    headers = {"Content-Type": kind, **({"Authorization": f"Bearer {token}"} if token else {})}
    try:
        with urlopen(Request(server.url + path, data=content, headers=headers), timeout=PATIENCE) as answer:
            return answer.status, json.loads(answer.read()), answer.headers
    except HTTPError as error:
        return error.code, json.loads(error.read()), error.headers


def operator(data: Path, *arguments: str) -> dict[str, Any]:
    done = command(*arguments, "--data-dir", data, "--json", cwd=data.parent)
    assert done.returncode == 0, done.stderr
    made: Any = json.loads(done.stdout)
    return made if isinstance(made, dict) else {"all": made}


def buy(data: Path, amount: int, unit: str = "seconds", until: str = "365d") -> dict[str, Any]:
    common = ("plans", "create", "--account", "shop", "--wallet", ADDRESS)
    return operator(data, *common, "--unit", unit, "--amount", str(amount), "--until", until)


def plans(data: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = operator(data, "plans", "list", "--wallet", ADDRESS)["all"]
    return found


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An open server without plans."""
    folder = tmp_path_factory.mktemp("ipollo")
    with serving(folder / "data", "--engine", "fake") as server:
        yield server


def test_a_picture_for_the_pages_two_fields(opened: Server) -> None:
    status, said, headers = post(opened, TXT2IMG, PICTURE_BODY)
    assert (status, said["result_code"], said["msg"]) == (200, 200, "success")
    assert said["prompt"] == "花园里的女孩，a girl in a garden"
    base = said["image_base"]
    assert list(base["parameters"].values()) == [False, said["prompt"], -1, 1, 512, 512]
    info = json.loads(base["info"])
    assert (info["steps"], info["cfg_scale"], info["sampler_name"], info["clip_skip"]) == (50, 7.0, "Euler", 1)
    assert (info["sd_model_name"], len(info["sd_model_hash"])) == ("emoji-mini", 10)
    assert f"Seed: {info['seed']}, Size: 512x512, Model hash: {info['sd_model_hash']}" in info["infotexts"][0]
    (record,) = said["key"]["result"]
    assert (tuple(record), record["id"], record["address"]) == (RECORD, 0, ADDRESS)
    assert base["imageUrl"].endswith(".jpg")
    assert call(base["imageUrl"]).startswith(b"\xff\xd8\xff")
    for path in QUERIES:
        state = opened.get(f"{path}?taskID={headers['diffuserve-task']}")
        assert (tuple(state), state["result_code"]) == (STATE, 100)


def test_the_documents_tasks_are_answered_honestly(opened: Server) -> None:
    for path, content, code in (
        (SPEAKING, SPEAKING_BODY, 203),
        (ACTING, ACTING_FILLED, 203),
        (ACTING, ACTING_BODY, 202),
    ):
        status, said, _ = post(opened, path, content)
        assert (status, said["task_id"], said["result_code"]) == (200, "", code)
    fields = {"key": "ts-be5f", "audio_url": "https://example.com/a.wav", "video_url": "https://example.com/b.mp4"}
    assert post(opened, "/videotalking", urlencode(fields).encode(), FORM)[1]["result_code"] == 203
    status, said, _ = post(opened, "/iPollo/chatGPT/txt2voice", b'{"txt":"hi","voice":"x","btc_address":"a"}')
    assert (status, said["result_code"]) == (501, 203)


def test_the_documents_query_finds_nothing_politely(opened: Server) -> None:
    state = opened.get("/iPollo/twinSync/videotalking?taskID=xxx")
    assert (tuple(state), state["result_code"], state["msg"]) == (STATE, 200, "cannot find task_id=xxx")


def test_a_chat_picture_is_a_link(opened: Server) -> None:
    content = b'{"prompt": "a cat", "size": "256x256", "btc_address": "x"}'
    status, said, _ = post(opened, CHAT, content)
    assert (status, call(said["msg"]).startswith(b"\xff\xd8\xff")) == (200, True)


def test_on_an_open_server_the_address_of_a_plan_is_enough_and_cannot_be_overspent(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data, "--engine", "fake") as server:
        plan = buy(data, 6, unit="images")
        with ThreadPoolExecutor(12) as callers:
            answers = list(callers.map(lambda _: post(server, TXT2IMG, PICTURE_BODY), range(12)))
        assert sorted(status for status, _, _ in answers) == [200] * 6 + [402] * 6
        for status, said, _ in answers:
            if status == 200:
                (record,) = said["key"]["result"]
                assert (record["id"], record["video_duration"], record["workspace_id"]) == (plan["id"], 6, "")
                assert 1 <= record["use_duration"] <= 6
            else:
                assert said["result_code"] == 201
                assert said["msg"] == "the plan of this address has 0 images left and this needs 1"
        (spent,) = plans(data)
        assert (spent["used"], spent["reserved"]) == (6, 0)


def test_on_a_closed_server_an_address_is_no_key_until_the_operator_makes_it_one(tmp_path: Path) -> None:
    data = tmp_path / "data"
    key = operator(data, "keys", "create", "--account", "shop")
    buy(data, 1000)
    with serving(data, "--engine", "fake") as server:
        status, said, _ = post(server, TXT2IMG, PICTURE_BODY)
        assert (status, said["result_code"], said["key"]) == (401, 201, None)
        assert post(server, ACTING, ACTING_FILLED)[1]["result_code"] == 201
        status, said, _ = post(server, TXT2IMG, PICTURE_BODY, token=key["token"])
        (record,) = said["key"]["result"]
        assert (status, record["workspace_id"], record["address"]) == (200, "shop", ADDRESS)
        register = ("keys", "create", "--account", "shop", "--token", ADDRESS)
        refused = command(*register, "--data-dir", data, cwd=tmp_path)
        assert (refused.returncode, "scope must be dialect:NAME" in refused.stderr) == (2, True)
        assert operator(data, *register, "--scope", "dialect:ipollo")["token"] == ADDRESS
        status, said, headers = post(server, TXT2IMG, PICTURE_BODY)
        assert (status, said["msg"]) == (200, "success")
        assert said["key"]["result"][0]["use_duration"] > record["use_duration"]
        # The vendor's query shows nothing but the id.
        assert server.get(f"/iPollo/twinSync/videotalking?taskID={headers['diffuserve-task']}")["result_code"] == 100
        assert server.stop() == 0
        assert key["token"] not in server.output


def test_an_expired_plan_is_told(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data, "--engine", "fake") as server:
        buy(data, 100, until="1s")
        while (answer := post(server, TXT2IMG, PICTURE_BODY))[0] == 200:
            pass
        status, said, _ = answer
        assert (status, said["result_code"]) == (402, 201)
        assert said["msg"].startswith("the plan of this address ended at 20")
