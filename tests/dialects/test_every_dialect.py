"""The law: whatever goes wrong, every dialect has its own words for it and answers in its own shape."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.requests import Request

from diffuserve.config import Settings
from diffuserve.core import errors
from diffuserve.core.account import KeyLimits, KeyType, Plan, PlanUnit
from diffuserve.core.errors import ConfigurationError, DiffuserveError, leaves
from diffuserve.core.job import JobError
from diffuserve.core.principal import Principal
from diffuserve.core.request import GenerationRequest
from diffuserve.dialects import dialects
from diffuserve.dialects.base import Dialect
from support.app import Server, serving
from support.pictures import as_base64, picture

pytestmark = pytest.mark.unit

LEAVES = [leaf for leaf in leaves() if leaf is not ConfigurationError]
ALL = dialects(Settings())


@dataclass(frozen=True)
class Example:
    """One drawing operation of a dialect, and how its failures look. A new dialect adds its own."""

    path: str
    content_type: str
    good: bytes
    malformed: bytes
    unknown_value: bytes
    failure_keys: frozenset[str]
    other_keys: frozenset[str] = frozenset()
    """Of the second shape, where the vendor has two."""
    always_200: bool = False
    """Failures come with HTTP 200, because the vendor's clients look at nothing but the body."""


PASTEL = {
    "req_key": "img2img_pastel_boys_style_usage",
    "prompt": "x",
    "binary_data_base64": [as_base64(picture(600, 800))],
    "long_resolution": 256,
}

EXAMPLES = {
    "native": Example(
        "/diffuserve/v1/jobs",
        "application/json",
        b'{"prompt": "x"}',
        b"{",
        b'{"prompt": "x", "sampler": "magic"}',
        frozenset({"type", "title", "status", "detail", "code"}),
    ),
    "modelslab": Example(
        "/api/v6/images/text2img",
        "application/json",
        b'{"prompt": "x", "width": "64", "height": "64"}',
        b"{",
        b'{"prompt": "x", "scheduler": "magic"}',
        frozenset({"status", "message", "tip"}),
        other_keys=frozenset({"status", "message", "tip", "retry_after"}),
    ),
    "plain": Example(
        "/txt2img",
        "application/json",
        b'{"prompt": "x"}',
        b"{",
        b'{"prompt": "x", "scheduler": "magic"}',
        frozenset({"status", "message"}),
    ),
    "qianfan": Example(
        "/rpc/2.0/ai_custom/v1/wenxinworkshop/text2image/sd_xl",
        "application/json",
        b'{"prompt": "x"}',
        b"{",
        b'{"prompt": "x", "sampler_index": "magic"}',
        frozenset({"error_code", "error_msg", "id"}),
        always_200=True,
    ),
    "ipollo": Example(
        "/iPollo/stableDiffsionXL/txt2img",
        "application/json",
        b'{"prompt": "x", "btc_address": "0x6fd5", "width": 64, "height": 64, "steps": 5}',
        b"{",
        b'{"prompt": "x", "btc_address": "0x6fd5", "seed": "magic"}',
        frozenset({"result_code", "msg", "prompt", "key", "image_base"}),
        other_keys=frozenset({"result_code", "msg"}),
    ),
    "volcengine": Example(
        "/volcengine/?Action=CVProcess&Version=2022-08-31",
        "application/json",
        json.dumps(PASTEL).encode(),
        b"{",
        json.dumps({**PASTEL, "lora_multipers": {"magic": 1}}).encode(),
        frozenset({"code", "data", "message", "request_id", "status", "time_elapsed"}),
        other_keys=frozenset({"ResponseMetadata"}),
    ),
}


def instance(leaf: type[DiffuserveError]) -> DiffuserveError:
    """An error of the class, however it is made."""
    error = errors.rebuild(JobError(leaf.code, f"something about {leaf.__name__}"))
    assert type(error) is leaf
    return error


def request(path: str = "/") -> Request:
    return Request({"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""})


def status(dialect: Dialect, honest: int) -> int:
    """The HTTP status with which the dialect says what `honest` means."""
    return 200 if EXAMPLES[dialect.name].always_200 else honest


def has_its_shape(dialect: Dialect, answer: httpx2.Response) -> Any:
    body = answer.json()
    assert is_a_failure(dialect, body)
    return body


def is_a_failure(dialect: Dialect, body: dict[str, Any]) -> bool:
    example = EXAMPLES[dialect.name]
    return set(body) - {"param"} in filter(None, (example.failure_keys, example.other_keys))


def test_every_dialect_has_an_example_here() -> None:
    assert {dialect.name for dialect in ALL} == set(EXAMPLES)


@pytest.mark.parametrize("dialect", ALL, ids=lambda d: d.name)
def test_no_error_is_left_to_chance(dialect: Dialect) -> None:
    assert dialect.errors.missing() == []


@pytest.mark.parametrize("dialect", ALL, ids=lambda d: d.name)
@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_every_error_is_rendered_with_its_message_and_an_error_status(
    dialect: Dialect, leaf: type[DiffuserveError]
) -> None:
    response = dialect.render_error(instance(leaf), request())
    assert 400 <= response.status_code < 600 or response.status_code == status(dialect, 400)
    assert response.status_code == dialect.errors[instance(leaf)]
    assert is_a_failure(dialect, json.loads(response.body))
    assert f"something about {leaf.__name__}" in bytes(response.body).decode()


@pytest.mark.parametrize("dialect", ALL, ids=lambda d: d.name)
def test_errors_that_pass_say_when_to_come_back(dialect: Dialect) -> None:
    assert dialect.render_error(errors.QueueFull(retry_after=7.2), request()).headers["retry-after"] == "7"


@pytest.mark.parametrize("dialect", ALL, ids=lambda d: d.name)
def test_territories_do_not_overlap(dialect: Dialect) -> None:
    for other in ALL:
        if other is not dialect:
            assert not any(other.owns(root) for root in dialect.territory)
    assert dialect.owns(EXAMPLES[dialect.name].path)


@pytest.mark.parametrize("dialect", ALL, ids=lambda d: d.name)
class TestOverHttp:
    async def post(self, server: Server, dialect: Dialect, content: bytes, **headers: str) -> httpx2.Response:
        example = EXAMPLES[dialect.name]
        named = {"content-type": example.content_type, **headers}
        return await server.client.post(example.path, content=content, headers=named)

    async def test_the_example_is_accepted(self, server: Server, dialect: Dialect) -> None:
        answer = await self.post(server, dialect, EXAMPLES[dialect.name].good)
        assert answer.status_code in (200, 202)

    async def test_a_malformed_body_is_answered_400(self, server: Server, dialect: Dialect) -> None:
        answer = await self.post(server, dialect, EXAMPLES[dialect.name].malformed)
        assert answer.status_code == status(dialect, 400)
        has_its_shape(dialect, answer)

    async def test_an_unknown_value_is_answered_400_and_named(self, server: Server, dialect: Dialect) -> None:
        answer = await self.post(server, dialect, EXAMPLES[dialect.name].unknown_value)
        assert answer.status_code == status(dialect, 400)
        assert "magic" in str(has_its_shape(dialect, answer))

    async def test_a_wrong_method_is_answered_405_with_the_right_ones(self, server: Server, dialect: Dialect) -> None:
        answer = await server.client.put(EXAMPLES[dialect.name].path, content=b"x")
        assert (answer.status_code, answer.headers["allow"]) == (status(dialect, 405), "POST")
        has_its_shape(dialect, answer)

    async def test_an_unknown_path_is_answered_404(self, server: Server, dialect: Dialect) -> None:
        for root in dialect.territory:
            if root == "/":
                continue  # that very path, and nothing below it
            answer = await server.client.get(f"{root}/no/such/thing")
            assert answer.status_code == status(dialect, 404)
            has_its_shape(dialect, answer)

    async def test_an_announced_body_over_the_limit_is_answered_413(self, server: Server, dialect: Dialect) -> None:
        answer = await self.post(server, dialect, b"x" * (2**20 + 1))
        assert (answer.status_code, answer.headers["connection"]) == (status(dialect, 413), "close")
        assert "1048576 bytes" in str(has_its_shape(dialect, answer))

    async def test_a_streamed_body_over_the_limit_is_answered_413(self, server: Server, dialect: Dialect) -> None:
        async def stream() -> Any:
            for _ in range(20):
                yield b"x" * 2**16

        example = EXAMPLES[dialect.name]
        headers = {"content-type": example.content_type}
        answer = await server.client.post(example.path, content=stream(), headers=headers)
        assert answer.status_code == status(dialect, 413)
        has_its_shape(dialect, answer)

    async def test_a_content_type_that_is_not_understood_is_answered_415(
        self, server: Server, dialect: Dialect
    ) -> None:
        answer = await self.post(server, dialect, b"x", **{"content-type": "text/csv"})
        assert answer.status_code == status(dialect, 415)
        has_its_shape(dialect, answer)

    async def test_a_foreign_web_page_is_answered_403(self, server: Server, dialect: Dialect) -> None:
        answer = await self.post(server, dialect, EXAMPLES[dialect.name].good, origin="https://evil.example")
        assert answer.status_code == status(dialect, 403)
        has_its_shape(dialect, answer)

    async def test_a_caller_without_a_key_is_answered_401_whatever_else_is_wrong(
        self, server: Server, dialect: Dialect
    ) -> None:
        await server.keys.create("acme", KeyType.BEARER)
        answer = await self.post(server, dialect, EXAMPLES[dialect.name].malformed)
        assert answer.status_code == status(dialect, 401)
        assert answer.status_code != 401 or answer.headers["www-authenticate"] == 'Bearer realm="diffuserve"'
        assert "a key is required" in str(has_its_shape(dialect, answer))

    async def test_a_wrong_key_is_answered_401_and_not_repeated(self, server: Server, dialect: Dialect) -> None:
        made = await server.keys.create("acme", KeyType.BEARER)
        for wrong in (made.secret + "x", "dsk_" + "0" * 43, made.key.id):
            answer = await self.post(server, dialect, EXAMPLES[dialect.name].good, authorization=f"Bearer {wrong}")
            assert answer.status_code == status(dialect, 401)
            assert "the key is not valid" in str(has_its_shape(dialect, answer))
            assert wrong not in answer.text

    async def test_a_good_key_is_let_in(self, server: Server, dialect: Dialect) -> None:
        made = await server.keys.create("acme", KeyType.BEARER, scopes=frozenset({f"dialect:{dialect.name}"}))
        answer = await self.post(server, dialect, EXAMPLES[dialect.name].good, authorization=f"Bearer {made.secret}")
        assert answer.status_code in (200, 202)

    async def test_a_key_for_another_dialect_is_answered_403(self, server: Server, dialect: Dialect) -> None:
        made = await server.keys.create("acme", KeyType.BEARER, scopes=frozenset({"dialect:another"}))
        answer = await self.post(server, dialect, EXAMPLES[dialect.name].good, authorization=f"Bearer {made.secret}")
        assert answer.status_code == status(dialect, 403)
        has_its_shape(dialect, answer)

    async def test_a_key_for_another_model_is_answered_403(self, server: Server, dialect: Dialect) -> None:
        made = await server.keys.create("acme", KeyType.BEARER, scopes=frozenset({"model:another"}))
        answer = await self.post(server, dialect, EXAMPLES[dialect.name].good, authorization=f"Bearer {made.secret}")
        assert answer.status_code == status(dialect, 403)
        has_its_shape(dialect, answer)

    async def test_a_key_that_calls_too_often_is_answered_429_with_the_time_to_come_back(
        self, server: Server, dialect: Dialect
    ) -> None:
        made = await server.keys.create("acme", KeyType.BEARER, limits=KeyLimits(requests_per_day=1))
        for honest in (400, 429):
            answer = await self.post(
                server, dialect, EXAMPLES[dialect.name].malformed, authorization=f"Bearer {made.secret}"
            )
            assert answer.status_code == status(dialect, honest)
        assert int(answer.headers["retry-after"]) >= 1
        has_its_shape(dialect, answer)

    async def test_an_account_whose_plan_is_over_is_answered_402(self, server: Server, dialect: Dialect) -> None:
        made = await server.keys.create("acme", KeyType.BEARER)
        over = Plan(0, "acme", PlanUnit.IMAGES, amount=10, used=0, reserved=0, valid_from=0, valid_until=1)
        await server.accounts.add_plan(over)
        answer = await self.post(server, dialect, EXAMPLES[dialect.name].good, authorization=f"Bearer {made.secret}")
        assert answer.status_code == status(dialect, 402)
        assert "plan has 0 images left" in str(has_its_shape(dialect, answer))

    async def test_a_key_with_too_many_open_jobs_is_answered_429(self, dialect: Dialect, tmp_path: Path) -> None:
        async with serving(tmp_path, start=False) as busy:
            made = await busy.keys.create("acme", KeyType.BEARER, limits=KeyLimits(concurrent_jobs=1))
            key = Principal("acme", made.key.id, limits=made.key.limits)
            await busy.jobs.submit(key, dialect.name, GenerationRequest(prompt="x"))
            answer = await self.post(busy, dialect, EXAMPLES[dialect.name].good, authorization=f"Bearer {made.secret}")
            assert answer.status_code == status(dialect, 429)
            assert "retry-after" in answer.headers
            has_its_shape(dialect, answer)

    async def test_a_bug_is_answered_500_and_leaks_nothing(
        self, server: Server, dialect: Dialect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken(*_: object) -> None:
            raise ZeroDivisionError("/secret/path")

        monkeypatch.setattr(server.jobs, "submit", broken)
        answer = await self.post(server, dialect, EXAMPLES[dialect.name].good)
        assert answer.status_code == status(dialect, 500)
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text
        has_its_shape(dialect, answer)
