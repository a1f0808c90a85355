"""The Qianfan dialect over the whole server: parameters, answers, errors."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest

from diffuserve.core import samplers
from diffuserve.core.account import KeyLimits, KeyType
from diffuserve.core.job import JobStatus
from diffuserve.core.principal import ANONYMOUS
from diffuserve.core.request import ResolvedRequest
from diffuserve.dialects.qianfan import wire
from diffuserve.dialects.qianfan.parse import to_wish
from diffuserve.dialects.qianfan.render import usage_of
from diffuserve.prompts import styles
from support.app import Caller, Server
from support.pictures import opened
from support.qianfan import PREFIX, SDXL

pytestmark = pytest.mark.unit


async def drawn(server: Server, path: str = SDXL, **body: Any) -> dict[str, Any]:
    answer = await server.client.post(path, json={"prompt": "a red apple", "size": "768x768", **body})
    assert answer.status_code == 200
    fields: dict[str, Any] = answer.json()
    assert "error_code" not in fields, fields
    return fields


async def resolved(server: Server, **body: Any) -> ResolvedRequest:
    submitted = server.submissions()
    await drawn(server, **body)
    return (await submitted.get()).request


# Success


async def test_an_answer_has_the_vendors_shape_and_nothing_else(server: Server) -> None:
    answer = await drawn(server, n=2, seed=7, prompt="cat", negative_prompt="white")
    assert set(answer) == {"id", "object", "created", "data", "usage"}
    assert re.fullmatch(r"as-[a-z0-9]{10}", answer["id"])
    assert answer["object"] == "image"
    assert type(answer["created"]) is int
    assert [(entry["object"], entry["index"]) for entry in answer["data"]] == [("image", 1), ("image", 2)]
    assert answer["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    for entry in answer["data"]:
        assert set(entry) == {"object", "b64_image", "index"}
        assert opened(base64.b64decode(entry["b64_image"], validate=True)).size == (768, 768)


async def test_defaults_are_the_vendors_and_not_the_models(server: Server) -> None:
    request = await resolved(server, size=None)
    assert (request.width, request.height, request.num_images) == (1024, 1024, 1)
    assert (request.num_inference_steps, request.guidance_scale) == (20, 5.0)
    assert (request.sampler, request.schedule, request.negative_prompt) == ("euler_a", "automatic", "")


async def test_every_parameter_reaches_the_request(server: Server) -> None:
    request = await resolved(
        server,
        prompt="猫",
        negative_prompt="狗",
        size="1024x576",
        n=3,
        steps=11,
        sampler_index="DPM++ 2M Karras",
        seed=2**32 - 2,
        cfg_scale=7.5,
        user_id="u",
    )
    assert (request.prompt, request.negative_prompt) == ("猫", "狗")
    assert (request.width, request.height) == (1024, 576)
    assert request.seeds == (2**32 - 2, 2**32 - 1, 0)
    assert (request.num_inference_steps, request.guidance_scale) == (11, 7.5)
    assert (request.sampler, request.schedule) == ("dpmpp_2m", "karras")


async def test_a_style_is_put_around_the_prompt_and_base_adds_nothing(server: Server) -> None:
    plain, styled = await resolved(server, style="Base"), await resolved(server, style="pixel  art")
    assert (plain.prompt, plain.negative_prompt) == ("a red apple", "")
    assert "a red apple" in styled.prompt != plain.prompt
    assert styled.negative_prompt


async def test_without_a_seed_pictures_differ(server: Server) -> None:
    assert len({entry["b64_image"] for entry in (await drawn(server, n=2))["data"]}) == 2


async def test_the_first_picture_does_not_depend_on_how_many_there_are(server: Server) -> None:
    one, two = await drawn(server, seed=5), await drawn(server, seed=5, n=2)
    assert one["data"][0]["b64_image"] == two["data"][0]["b64_image"]


@pytest.mark.parametrize("size", wire.SIZES)
def test_every_size_is_drawn_exactly(size: str) -> None:
    request = to_wish({"prompt": "x", "size": size}, None).request
    assert f"{request.width}x{request.height}" == size


def test_there_are_twelve_sizes_fifteen_samplers_and_eighteen_styles() -> None:
    assert [len(set(table)) for table in (wire.SIZES, wire.SAMPLERS, wire.STYLES)] == [12, 15, 18]


@pytest.mark.parametrize("name", wire.SAMPLERS)
def test_every_sampler_runs_as_it_is_and_is_not_replaced(name: str) -> None:
    for spelling in (name, name.upper(), f"  {name.lower().replace(' ', '  ')} "):
        chosen = to_wish({"prompt": "x", "sampler_index": spelling}, None).request.sampler
        assert chosen == name
    choice = samplers.resolve(name)
    assert choice.notes == ()
    assert (choice.schedule.id == "karras") == name.endswith("Karras")


@pytest.mark.parametrize("name", wire.STYLES)
def test_every_style_is_one_of_ours_and_base_is_none(name: str) -> None:
    assert styles.find(name).name == name
    chosen = to_wish({"prompt": "x", "style": name.lower()}, None).request.style
    assert chosen == (None if name == "Base" else name)


async def test_another_endpoint_is_a_model(server: Server) -> None:
    for endpoint, model in (("sd_xl", "tiny"), ("SD_XL", "tiny"), ("t", "tiny"), ("OTHER", "other")):
        submitted = server.submissions()
        await drawn(server, path=f"{PREFIX}/text2image/{endpoint}")
        assert (await submitted.get()).request.model == model


async def test_the_paths_stand_below_the_dialects_name_too(server: Server) -> None:
    await drawn(server, path=f"/qianfan{SDXL}")


async def test_what_has_no_meaning_here_is_ignored(server: Server) -> None:
    extra = {"stream": False, "extra_parameters": {"request_source": "x"}, "model": "y", "stop": [1]}
    await drawn(server, **extra)


async def test_null_and_empty_fields_count_as_absent(server: Server) -> None:
    names = ("negative_prompt", "size", "n", "steps", "sampler_index", "seed", "cfg_scale", "style", "user_id")
    for nothing in (None, ""):
        await drawn(server, **dict.fromkeys(names, nothing))


@pytest.mark.parametrize("kind", ["", "application/x-www-form-urlencoded", "text/plain; charset=gbk"])
async def test_json_is_read_whatever_the_content_type_says(server: Server, kind: str) -> None:
    headers = {"content-type": kind} if kind else {}
    body = '\ufeff{"prompt": "红苹果", "size": "768x768"}'.encode()
    answer = await server.client.post(SDXL, content=body, headers=headers)
    assert answer.json()["object"] == "image"


async def test_the_clients_request_id_comes_back(server: Server) -> None:
    headers = {"Request_id": "sdk-py-0.4.12.3-abcdefgh12345678"}
    for body in ({"prompt": "x", "size": "768x768"}, {}):
        answer = await server.client.post(SDXL, json=body, headers=headers)
        assert answer.headers["x-baidu-request-id"] == headers["Request_id"]
    assert (await server.client.post(SDXL, json={})).headers["x-baidu-request-id"]


async def test_notes_and_the_jobs_id_are_in_headers(server: Server) -> None:
    body = {"prompt": "x", "size": "768x768"}
    answer = await server.client.post(f"{PREFIX}/text2image/other", json=body)
    assert "64x64" in answer.headers["diffuserve-notes"]
    job = await server.jobs.get(ANONYMOUS, int(answer.headers["diffuserve-job"]))
    assert job.dialect == "qianfan"


async def test_a_key_with_a_limit_is_told_requests_per_minute(server: Server) -> None:
    body = {"prompt": "x", "size": "768x768"}
    limited = await server.keys.create("acme", KeyType.BEARER, limits=KeyLimits(requests_per_second=2.5))
    free = await server.keys.create("acme", KeyType.BEARER)
    told = await server.client.post(SDXL, json=body, params={"access_token": limited.secret})
    assert told.headers["x-ratelimit-limit-requests"] == "150"
    untold = await server.client.post(SDXL, json=body, params={"access_token": free.secret})
    assert not [name for name in untold.headers if name.startswith("x-ratelimit")]


async def test_hanging_up_cancels_the_job(server: Server) -> None:
    submitted = server.submissions()
    caller = Caller(server.app, "POST", SDXL, b'{"prompt":"fail:hang"}', content_type="application/json").call()
    job = await submitted.get()
    caller.hang_up()
    await caller.finished()
    assert (await server.jobs.get(ANONYMOUS, job.id)).status is JobStatus.CANCELED


# Usage


@pytest.mark.parametrize(
    ("prompt", "negative", "tokens"),
    [
        ("cat", "", 2),
        ("cat", "white", 3),
        ("红苹果", "", 3),
        ("一只红色的猫 sitting on 2 chairs", "狗", 13),
        ("a, b; c!", "", 4),
        ("!?", "", 1),
        (" ".join(["word"] * 10), "", 13),
        ("snake_case", "", 3),
        ("𠀀", "", 1),
        ("ねこ", "", 2),
    ],
)
def test_tokens_are_chinese_characters_and_words(prompt: str, negative: str, tokens: int) -> None:
    usage = usage_of(prompt, negative)
    assert usage.prompt_tokens == usage.total_tokens == tokens
