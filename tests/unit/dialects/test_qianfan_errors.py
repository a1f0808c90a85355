"""What the Qianfan dialect refuses, with which code and in which words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from diffuserve.core.account import KeyLimits, KeyType
from diffuserve.core.errors import InvalidRequest
from diffuserve.dialects.qianfan import errors, wire
from diffuserve.dialects.qianfan.parse import to_wish
from support.app import Server, serving
from support.qianfan import PREFIX, SDXL

pytestmark = pytest.mark.unit


async def failure(server: Server, path: str = SDXL, **call: Any) -> tuple[int, str]:
    answer = await server.client.post(path, **call)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    fields = answer.json()
    assert set(fields) == {"error_code", "error_msg", "id"}
    assert type(fields["error_code"]) is int
    return fields["error_code"], fields["error_msg"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("768x768"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*wire.ImageBody.model_fields, "stream", "x"]), json_values))
def test_every_object_is_a_wish_or_refused_by_the_name_of_a_field(body: dict[str, Any]) -> None:
    try:
        request = to_wish(body, None).request
    except InvalidRequest as error:
        assert error.param in wire.ImageBody.model_fields
    else:
        assert request.prompt == body["prompt"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"prompt": None}, "prompt is required"),
        ({"prompt": ""}, "prompt is required"),
        ({"prompt": " "}, "prompt is required"),
        ({"prompt": 7}, "prompt must be text, got 7"),
        ({"prompt": "字" * 1025}, "prompt must be at most 1024 characters long, got 1025"),
        ({"prompt": "\ud800"}, "prompt must be valid Unicode text"),
        ({"negative_prompt": "x" * 1025}, "negative_prompt must be at most 1024 characters long"),
        ({"negative_prompt": ["x"]}, "negative_prompt must be text"),
        ({"size": "512x512"}, "size must be one of 768x768, 1024x1024"),
        ({"size": "1024*1024"}, "size must be one of"),
        ({"size": "1024X1024"}, "size must be one of"),
        ({"n": 0}, "n must be a whole number between 1 and 4, got 0"),
        ({"n": 5}, "n must be a whole number between 1 and 4, got 5"),
        ({"n": "2"}, "n must be a whole number between 1 and 4, got 2"),
        ({"n": True}, "n must be a whole number between 1 and 4, got True"),
        ({"n": 2.0}, "n must be a whole number between 1 and 4, got 2.0"),
        ({"steps": 9}, "steps must be a whole number between 10 and 50, got 9"),
        ({"steps": 51}, "steps must be a whole number between 10 and 50, got 51"),
        ({"sampler_index": "magic"}, "sampler_index must be one of Euler, Euler a"),
        ({"seed": -1}, "seed must be a whole number between 0 and 4294967295, got -1"),
        ({"seed": 2**32}, "seed must be a whole number between 0 and 4294967295"),
        ({"cfg_scale": 30.5}, "cfg_scale must be a number between 0 and 30, got 30.5"),
        ({"cfg_scale": -0.1}, "cfg_scale must be a number between 0 and 30"),
        ({"cfg_scale": False}, "cfg_scale must be a number between 0 and 30"),
        ({"style": "magic"}, "style must be one of Base, 3D Model"),
        ({"user_id": {}}, "user_id must be text"),
    ],
)
async def test_a_refusal_names_field_range_and_value(server: Server, change: dict[str, Any], text: str) -> None:
    code, message = await failure(server, content=json.dumps({"prompt": "x", **change}))
    assert code == 336003
    assert message.startswith(text)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 336002),
        (b"{", 336002),
        (b"\xff\xfe{}", 336002),
        (b'{"prompt": "x", "cfg_scale": NaN}', 336002),
        (b'{"prompt": "x", "seed": ' + b"9" * 5000 + b"}", 336002),
        (b"[" * 100_000, 336002),
        (b"x" * 200_000, 336002),
        (b'""', 336001),
        (b"[]", 336001),
        (b"null", 336001),
        (b"{}", 336003),
        (b'{"prompt": "x", "cfg_scale": 1e999}', 336003),
    ],
)
async def test_a_body_that_is_no_request_has_its_own_code(server: Server, body: bytes, code: int) -> None:
    assert (await failure(server, content=body))[0] == code


@pytest.mark.parametrize(
    ("prompt", "code"), [("fail:error", 336000), ("fail:oom", 336000), ("fail:crash fail:crash", 336000)]
)
async def test_a_picture_that_could_not_be_drawn_is_an_internal_error(server: Server, prompt: str, code: int) -> None:
    found, message = await failure(server, json={"prompt": prompt, "size": "768x768"})
    assert found == code
    assert message.startswith("Internal error: ")


async def test_an_unknown_endpoint_is_an_unsupported_method(server: Server) -> None:
    for path in (f"{PREFIX}/text2image/nope", f"{PREFIX}/chat/completions", f"{SDXL}/", f"{PREFIX}/text2image"):
        code, message = await failure(server, path=path, json={"prompt": "x"})
        assert code == 3
        assert message.startswith("Unsupported openapi method: ")


async def test_a_get_is_a_wrong_method(server: Server) -> None:
    answer = await server.client.get(SDXL)
    assert (answer.status_code, answer.headers["allow"], answer.json()["error_code"]) == (200, "POST", 336101)


async def test_a_full_queue_is_answered_with_the_code_that_clients_repeat(tmp_path: Path) -> None:
    async with serving(tmp_path, start=False, max_queue=1) as server:
        await server.client.post("/diffuserve/v1/jobs", json={"prompt": "x"})
        assert (await failure(server, json={"prompt": "x"}))[0] == 336100


async def test_an_answer_about_a_limit_says_whether_repeating_helps(server: Server) -> None:
    busy = await server.keys.create("acme", KeyType.BEARER, limits=KeyLimits(requests_per_second=0.5))
    for code in (336003, 18):
        assert (await failure(server, params={"access_token": busy.secret}, json={}))[0] == code


@pytest.mark.parametrize(("seconds", "code"), [(0.5, 18), (60.0, 18), (61.0, 17), (80_000.0, 17)])
def test_a_limit_that_lasts_is_the_daily_one(seconds: float, code: int) -> None:
    request = Request({"type": "http", "method": "POST", "path": SDXL, "headers": [], "query_string": b""})
    assert errors.code_of(errors.e.RateLimited("wait", retry_after=seconds), request) == code


def test_codes_that_clients_repeat_are_those_of_errors_that_pass() -> None:
    repeated = {2, 15, 18, 336100, 336501, 336502}
    passing = {cls.__name__ for cls, code in errors.CODES.rows.items() if code in repeated}
    assert passing == {"QueueFull", "RateLimited", "EngineNotReady", "DeadlineExceeded"}
