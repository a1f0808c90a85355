"""Who calls Volcengine's actions: signatures on a closed server, and what is said to those that are refused."""

from __future__ import annotations

import io
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
import structlog

from diffuserve import logs
from diffuserve.auth import volcengine
from diffuserve.auth.volcengine import Claim, Credential, Message
from diffuserve.core.account import KeyType
from diffuserve.dialects.volcengine.envelope import go_duration
from support.app import BASE, HeldClock, Server, serving
from support.volcengine import OLD, REQ_KEY, body, encoded, path, signed

pytestmark = pytest.mark.unit

URL = BASE + path("CVSync2AsyncGetResult")
CONTENT = encoded({"req_key": REQ_KEY, "task_id": "1"})


@dataclass
class Scene:
    """A closed server with a pair."""

    server: Server
    clock: HeldClock
    access_key: str
    secret: str

    def headers(self, content: bytes = CONTENT, url: str = URL, **changed: Any) -> dict[str, str]:
        return signed(
            url,
            content,
            changed.pop("access_key", self.access_key),
            changed.pop("secret", self.secret),
            **{"now": self.clock.now(), **changed},
        )

    async def post(self, headers: dict[str, str], content: bytes = CONTENT, url: str = URL) -> httpx2.Response:
        return await self.server.client.post(url, content=content, headers=headers)

    async def error(
        self, headers: dict[str, str], content: bytes = CONTENT, url: str = URL
    ) -> tuple[int, int, str, str]:
        answer = await self.post(headers, content, url)
        error = answer.json()["ResponseMetadata"]["Error"]
        assert (answer.status_code == 401) == ("www-authenticate" in answer.headers)
        return answer.status_code, error["CodeN"], error["Code"], error["Message"]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    clock = HeldClock()
    async with serving(tmp_path, clock=clock, start=False) as server:
        made = await server.keys.create("acme", KeyType.PAIR)
        yield Scene(server, clock, made.key.access_key or "", made.secret)


async def test_a_signed_request_is_let_in(scene: Scene) -> None:
    answer = await scene.post(scene.headers())
    assert (answer.status_code, answer.json()["data"]["status"]) == (200, "not_found")


async def test_the_account_and_key_of_the_pair_own_the_task(scene: Scene) -> None:
    submitted = scene.server.submissions()
    url, content = BASE + path("CVSync2AsyncSubmitTask"), encoded(body(prompt="白色雕像"))
    answer = await scene.post(scene.headers(content, url), content, url)
    assert answer.json()["code"] == 10000
    job = submitted.get_nowait()
    assert (job.account, job.key_id) == ("acme", (await scene.server.accounts.keys())[0].id)
    asking = encoded({"req_key": REQ_KEY, "task_id": answer.json()["data"]["task_id"]})
    found = await scene.post(scene.headers(asking), asking)
    assert found.json()["data"]["status"] == "in_queue"


async def test_an_open_server_looks_at_no_signature(tmp_path: Path) -> None:
    async with serving(tmp_path, start=False) as server:
        headers = signed(URL, CONTENT, "AKLTnobody", "wrong", now=0)
        assert (await server.client.post(URL, content=CONTENT, headers=headers)).status_code == 200


async def test_a_path_under_the_dialects_name_is_signed_as_it_is(scene: Scene) -> None:
    url = BASE + "/volcengine" + path("CVSync2AsyncGetResult")
    assert (await scene.post(scene.headers(url=url), url=url)).status_code == 200
    assert (await scene.error(scene.headers(), url=url))[2] == "SignatureDoesNotMatch"


async def test_each_refusal_of_a_signature_has_the_vendors_words(scene: Scene) -> None:
    good = scene.headers()

    async def refused(**changed: str) -> tuple[int, int, str, str]:
        return await scene.error({name: value for name, value in {**good, **changed}.items() if value})

    missing = "Request is missing Authentication Token."
    status, number, code, message = await refused(authorization="")
    assert (status, number, code) == (401, 100003, "MissingAuthenticationToken")
    assert message.startswith(missing)
    assert await refused(**{"x-date": ""}) == (
        400,
        100004,
        "MissingRequestInfo",
        "The request is missing X-Date information.",
    )
    unsigned = good["authorization"].partition(", Signature")[0]
    assert await refused(authorization=unsigned) == (
        401,
        100005,
        "MissingSignature",
        "The request is missing signature.",
    )
    stranger = good["authorization"].replace(scene.access_key, "AKLTstranger")
    said = "The accesskey [AKLTstranger] included in the request is invalid."
    assert await refused(authorization=stranger) == (401, 100009, "InvalidAccessKey", said)
    status, number, code, message = await refused(authorization=good["authorization"][:-1] + "g")
    assert (status, number, code) == (401, 100010, "SignatureDoesNotMatch")
    assert message.startswith("The request signature we calculated does not match")
    assert (await refused(authorization="HMAC-SHA256 x"))[:3] == (400, 100024, "InvalidAuthorization")
    assert (await refused(authorization="Basic eDp4"))[:3] == (400, 100024, "InvalidAuthorization")
    broken = good["authorization"].replace("/request", "/aws4_request")
    assert (await refused(authorization=broken))[:3] == (400, 100025, "InvalidCredential")


async def test_a_wrong_secret_is_refused(scene: Scene) -> None:
    assert (await scene.error(scene.headers(secret="wrong")))[2] == "SignatureDoesNotMatch"


@pytest.mark.parametrize("seconds", [-901, 901, -86_400])
async def test_an_old_or_early_signature_is_refused(scene: Scene, seconds: int) -> None:
    found = await scene.error(scene.headers(now=scene.clock.now() + seconds))
    assert found == (400, 100006, "InvalidTimestamp", "The Signature of the request is expired.")


async def test_clocks_may_differ_by_a_quarter_of_an_hour(scene: Scene) -> None:
    for seconds in (-900, 900):
        assert (await scene.post(scene.headers(now=scene.clock.now() + seconds))).status_code == 200


async def test_another_service_is_not_found(scene: Scene) -> None:
    found = await scene.error(scene.headers(service="iam"))
    assert found == (404, 100007, "ServiceNotFound", "This service[iam] not found.")


async def test_a_changed_body_action_or_host_is_refused(scene: Scene) -> None:
    headers = scene.headers()
    other = encoded({"req_key": REQ_KEY, "task_id": "2"})
    assert (await scene.error(headers, other))[2] == "SignatureDoesNotMatch"
    assert (await scene.error(headers, url=BASE + path("CVGetResult")))[2] == "SignatureDoesNotMatch"
    assert (await scene.error({**headers, "host": "localhost:8001"}))[2] == "SignatureDoesNotMatch"


async def test_a_replay_is_refused_but_equal_calls_of_one_moment_are_not(scene: Scene) -> None:
    headers = scene.headers()
    for _ in range(3):
        assert (await scene.post(headers)).status_code == 200
    scene.clock.set(scene.clock.now() + 6)
    status, number, code, message = await scene.error(headers)
    assert (status, number, code) == (400, 100006, "InvalidTimestamp")
    assert "used before" in message
    assert (await scene.post(scene.headers())).status_code == 200


async def test_without_grace_a_signature_serves_once(tmp_path: Path) -> None:
    async with serving(tmp_path, start=False, volcengine_replay_seconds=0) as server:
        made = await server.keys.create("acme", KeyType.PAIR)
        headers = signed(URL, CONTENT, made.key.access_key or "", made.secret)
        answers = [await server.client.post(URL, content=CONTENT, headers=headers) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 400]


async def test_a_refused_signature_is_not_remembered(scene: Scene) -> None:
    headers = scene.headers()
    scene.clock.set(scene.clock.now() - 1000)
    assert (await scene.error(headers))[2] == "InvalidTimestamp"
    scene.clock.set(scene.clock.now() + 1000)
    assert (await scene.post(headers)).status_code == 200


async def test_a_token_that_no_key_needs_is_ignored_but_kept_in_the_signature(scene: Scene) -> None:
    headers = scene.headers(token="STS2anything")
    assert (await scene.post(headers)).status_code == 200
    assert (await scene.error({**headers, "x-security-token": "STS2other"}))[2] == "SignatureDoesNotMatch"


async def test_a_configured_token_must_be_shown(scene: Scene, tmp_path: Path) -> None:
    async with serving(tmp_path, start=False, volcengine_tokens={scene.access_key: "STSours"}) as server:
        for token, expected in (("STSours", 200), ("STSother", 401), (None, 401)):
            headers = signed(URL, CONTENT, scene.access_key, scene.secret, token=token)
            answer = await server.client.post(URL, content=CONTENT, headers=headers)
            assert answer.status_code == expected
        error = answer.json()["ResponseMetadata"]["Error"]
        assert (error["CodeN"], error["Code"]) == (100026, "InvalidSecretToken")
        assert error["Message"].startswith("Invalid secret token, msg: ")


def presigned(scene: Scene, action: str) -> str:
    """A link as the vendor's SDKs make it."""
    date = volcengine_date(scene.clock.now())
    credential = Credential(scene.access_key, date[:8], "cn-north-1", "cv")
    query = {
        "Action": action,
        "Version": OLD,
        "X-Algorithm": "HMAC-SHA256",
        "X-Credential": f"{scene.access_key}/{credential.scope}",
        "X-Date": date,
        "X-NotSignBody": "",
        "X-SignedHeaders": "",
    }
    names = tuple(query)
    query["X-SignedQueries"] = ";".join(names)
    message = Message("POST", "/", list(query.items()), [])
    claim = Claim(credential, date, "", (), names)
    canonical = volcengine.canonical_request(
        message, claim, volcengine.canonical_query(message.query, names), volcengine.sha256(b"")
    )
    query["X-Signature"] = volcengine.signature(scene.secret, claim, canonical)
    return f"{BASE}/?{urlencode(query)}"


def volcengine_date(now: float) -> str:
    import time

    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))


async def test_a_presigned_link_serves_any_body_and_more_than_once(scene: Scene) -> None:
    url = presigned(scene, "CVSync2AsyncGetResult")
    for seconds in (0, 100, 800):
        scene.clock.set(1_700_000_000.0 + seconds)
        answer = await scene.post({}, encoded({"req_key": REQ_KEY, "task_id": str(seconds)}), url)
        assert answer.json()["data"]["status"] == "not_found"
    scene.clock.set(1_700_000_901.0)
    assert (await scene.error({}, url=url))[2] == "InvalidTimestamp"


async def test_a_presigned_link_is_for_its_action_only(scene: Scene) -> None:
    url = presigned(scene, "CVSync2AsyncGetResult").replace("CVSync2AsyncGetResult", "CVSync2AsyncSubmitTask")
    assert (await scene.error({}, url=url))[2] == "SignatureDoesNotMatch"


async def test_a_key_for_another_dialect_is_denied_by_the_gateway(scene: Scene) -> None:
    made = await scene.server.keys.create("acme", KeyType.PAIR, scopes=frozenset({"dialect:plain"}))
    headers = scene.headers(access_key=made.key.access_key, secret=made.secret)
    status, number, code, message = await scene.error(headers)
    assert (status, number, code) == (403, 100013, "AccessDenied")
    assert message.startswith("User is not authorized to perform: CVSync2AsyncGetResult on resource: *.")


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged, of every level."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    logs.configure("debug", stream=stream)
    yield stream
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


async def test_neither_secret_nor_signature_is_logged_or_answered(scene: Scene, log: io.StringIO) -> None:
    good = scene.headers()
    signature = good["authorization"].rpartition("=")[2]
    wrong = {**good, "authorization": good["authorization"].replace("/cn-north-1/", "/x/")}
    said = [await scene.post(headers) for headers in (good, wrong)]
    assert [answer.status_code for answer in said] == [200, 401]
    for text in (log.getvalue(), *(f"{answer.headers}{answer.text}" for answer in said)):
        assert scene.secret not in text
        assert signature not in text
    assert "is refused: SignatureDoesNotMatch" in log.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-1, "0s"),
        (5e-9, "5ns"),
        (84.448e-6, "84.448µs"),
        (0.001, "1ms"),
        (0.104852309, "104.852309ms"),
        (6.780796541, "6.780796541s"),
        (60, "1m0s"),
        (3661.5, "1h1m1.5s"),
    ],
)
def test_durations_are_written_as_go_does(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text
