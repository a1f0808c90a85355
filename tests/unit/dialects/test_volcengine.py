"""Volcengine's calls that draw: every parameter, every rule about pictures, and the words of what is refused."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from diffuserve.core.model import AdapterInfo, ControlNetInfo, Family, LoraInfo
from diffuserve.core.request import Corner, Lora, Preprocessor, ResolvedRequest
from diffuserve.dialects.volcengine.parse import MAX_BODY, share_of
from diffuserve.http.guards import Doors
from diffuserve.jobs.catalog import Catalog
from support.app import MODELS, Server, serving
from support.pictures import as_base64, bomb, opened, picture
from support.volcengine import NEW, REQ_KEY, body, path

pytestmark = pytest.mark.unit

LORAS = (LoraInfo("ink", Family.SD15, "/x", aliases=("moxin",)), LoraInfo("glow", Family.SD15, "/x"))
NETS = (ControlNetInfo("edges", Family.SD15, "/x"), ControlNetInfo("tiles", Family.SD15, "/x", kind="tile"))
FACES = (AdapterInfo("faces", Family.SD15, "/x", "/y"),)


@pytest.fixture
async def waiting(tmp_path: Path) -> AsyncIterator[Server]:
    """A server that takes large pictures and draws nothing."""
    async with serving(tmp_path, start=False, doors=Doors(max_body_bytes=2**25)) as server:
        yield server


async def call(
    server: Server, action: str = "CVProcess", version: str = "2022-08-31", **fields: Any
) -> httpx2.Response:
    return await server.client.post(path(action, version), json=body(**fields))


async def asked(server: Server, **fields: Any) -> ResolvedRequest:
    """What is to be drawn for a body with these fields."""
    submitted = server.submissions()
    answer = await call(server, "CVSync2AsyncSubmitTask", **fields)
    assert answer.status_code == 200, answer.text
    return submitted.get_nowait().request


async def refused(server: Server, action: str = "CVProcess", **fields: Any) -> tuple[int, int, str]:
    answer = await call(server, action, **fields)
    failure = answer.json()
    assert set(failure) == {"code", "data", "message", "request_id", "status", "time_elapsed"}
    assert (failure["data"], failure["status"]) == (None, failure["code"])
    return answer.status_code, failure["code"], failure["message"]


# The answer


async def test_a_picture_comes_as_base64(server: Server) -> None:
    answer = await call(server)
    said = answer.json()
    assert (answer.status_code, said["code"], said["status"], said["message"]) == (200, 10000, 10000, "Success")
    assert list(said) == ["code", "data", "message", "request_id", "status", "time_elapsed"]
    assert set(said["data"]) == {"algorithm_base_resp", "binary_data_base64"}
    assert said["data"]["algorithm_base_resp"] == {"status_code": 0, "status_message": "Success"}
    (encoded,) = said["data"]["binary_data_base64"]
    assert opened(base64.b64decode(encoded)).size == (192, 256)
    assert len(said["request_id"]) == 34
    assert answer.text.startswith('{"code":10000,"data":{')


async def test_a_picture_comes_as_a_link_that_opens_for_a_day(server: Server) -> None:
    data = (await call(server, return_url=True)).json()["data"]
    assert data["binary_data_base64"] == []
    (link,) = data["image_urls"]
    opened_link = await server.client.get(link)
    assert opened(opened_link.content).size == (192, 256)
    assert 86_390 < int(opened_link.headers["cache-control"].split("max-age=")[1].split(",")[0]) <= 86_400


async def test_the_same_path_stands_under_the_dialects_name(server: Server) -> None:
    answer = await server.client.post("/volcengine" + path("CVProcess"), json=body())
    assert answer.json()["code"] == 10000


async def test_the_front_page_stays_where_it_is(server: Server) -> None:
    answer = await server.client.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "Volcengine" in answer.text


async def test_the_older_action_draws_the_same_style(server: Server) -> None:
    answer = await call(server, "Img2ImgCreatePastelBoys2D", req_key="img2img_pastel_boys_style")
    assert answer.json()["code"] == 10000


@pytest.mark.parametrize("action", ["AIGCStylizeImage", "AIGCStylizeImageUsage"])
async def test_the_stylise_call_needs_no_prompt_and_wraps_its_answer(server: Server, action: str) -> None:
    said = (await call(server, action, NEW, prompt=None)).json()
    assert set(said) == {"ResponseMetadata", "Result"}
    assert set(said["ResponseMetadata"]) == {"RequestId", "Action", "Version", "Service", "Region"}
    assert said["ResponseMetadata"]["Action"] == action
    assert said["Result"]["code"] == 10000


async def test_who_hangs_up_loses_the_job(tmp_path: Path) -> None:
    from support.app import Caller

    async with serving(tmp_path) as server:
        submitted = server.submissions()
        content = json.dumps(body(prompt="fail:hang")).encode()
        caller = Caller(server.app, "POST", path("CVProcess"), content, content_type="application/json").call()
        job = await submitted.get()
        caller.hang_up()
        assert (await server.jobs.wait(job.id)).status == "canceled"
        await caller.finished()


# Every parameter


async def test_the_vendors_defaults_are_filled_in(waiting: Server) -> None:
    request = await asked(waiting, long_resolution=None)
    assert (request.width, request.height) == (528, 704)
    assert (request.num_inference_steps, request.guidance_scale, request.strength) == (20, 8.0, 0.6)
    assert (request.clip_skip, request.keep_texture, request.watermark, request.reference) == (0, True, None, None)
    assert request.prompt == "a statue, pastel colors, soft light, delicate lines, 2d illustration"
    assert "lowres" in request.negative_prompt
    assert request.init_image is not None


async def test_each_parameter_is_honoured(waiting: Server) -> None:
    request = await asked(
        waiting,
        prompt="(((雕像)))",
        negative_prompt="",
        strength=0.9,
        seed=7,
        scale=7,
        ddim_steps=25,
        clip_skip=2,
        sampler_name="DPM++ 2M Karras",
        i2i_keep_texture=0,
        long_resolution=1000,
    )
    assert request.prompt.startswith("(((雕像))), ")
    assert (request.negative_prompt, request.seeds, request.guidance_scale) == ("", (7,), 7.0)
    assert (request.num_inference_steps, request.clip_skip, request.keep_texture) == (25, 1, False)
    assert (request.sampler, request.schedule) == ("dpmpp_2m", "karras")
    assert (request.width, request.height) == (752, 1000)
    # 22.5 steps are 22, the even neighbour, as Python rounds.
    assert int(request.num_inference_steps * request.strength) == 22


async def test_a_null_is_absent_and_an_unknown_field_is_ignored(waiting: Server) -> None:
    answer = await waiting.client.post(
        path("CVSync2AsyncSubmitTask"),
        json={**body(), "seed": None, "strength": None, "logo_info": {"position": None}, "unknown": {"x": 1}},
    )
    assert answer.status_code == 200


async def test_seed_minus_one_is_random(waiting: Server) -> None:
    seeds = {(await asked(waiting, seed=seed)).seeds for seed in (-1, -1, None)}
    assert len(seeds) == 3
    assert (await asked(waiting, seed=2**32 - 1)).seeds == (2**32 - 1,)


@pytest.mark.parametrize("steps", range(1, 51))
def test_the_steps_that_run_are_the_nearest_number_and_at_least_one(steps: int) -> None:
    for hundredth in range(101):
        strength = share_of(hundredth / 100, steps)
        assert 0 < strength <= 1
        assert max(1, int(steps * strength)) == max(1, round(hundredth / 100 * steps))


@pytest.mark.parametrize(
    ("name", "schedule", "expected"),
    [
        ("dpmpp_2m", "karras", ("dpmpp_2m", "karras")),
        ("euler_a", None, ("euler_a", "automatic")),
        ("dpmpp_2m", "no such schedule", ("dpmpp_2m", "automatic")),
        ("no such sampler", "karras", ("euler", "automatic")),
        ("  ", None, ("euler", "automatic")),
    ],
)
async def test_samplers_in_both_spellings(
    waiting: Server, name: str, schedule: str | None, expected: tuple[str, str]
) -> None:
    request = await asked(waiting, sampler_name=name, scheduler=schedule)
    assert (request.sampler, request.schedule) == expected


async def test_what_has_no_effect_is_told_in_a_header(waiting: Server) -> None:
    answer = await call(
        waiting,
        "CVSync2AsyncSubmitTask",
        sampler_name="magic",
        id_scale=0.5,
        lora_multipers={"Colorwater_v4": 1},
    )
    notes = answer.headers["diffuserve-notes"]
    for said in ("sampler_name magic", "canny_weight has no effect", "id_scale has no effect", "no LoRA Colorwater_v4"):
        assert said in notes


class TestWithControls:
    @pytest.fixture
    def equipped(self, waiting: Server) -> Server:
        waiting.jobs.catalog = Catalog(MODELS, "tiny", loras=LORAS, controlnets=NETS, adapters=FACES)
        return waiting

    async def test_canny_weight_is_the_scale_of_the_edges_of_the_picture(self, equipped: Server) -> None:
        request = await asked(equipped, canny_weight=0.8)
        (control,) = request.controls
        assert (control.model, control.preprocessor, control.scale) == ("edges", Preprocessor.CANNY, 0.8)
        assert control.image == request.init_image
        assert (await asked(equipped)).controls[0].scale == 1.0

    async def test_canny_weight_0_switches_it_off(self, equipped: Server) -> None:
        assert (await asked(equipped, canny_weight=0)).controls == ()

    async def test_id_scale_keeps_the_face(self, equipped: Server) -> None:
        request = await asked(equipped, id_scale=0.5)
        assert request.reference is not None
        assert request.init_image is not None
        assert (request.reference.adapter, request.reference.scale, request.reference.face) == ("faces", 0.5, True)
        assert request.reference.image == request.init_image
        assert (await asked(equipped, id_scale=0)).reference is None

    async def test_loras_are_mixed_by_their_weights(self, equipped: Server) -> None:
        request = await asked(equipped, lora_multipers={"moxin": 0.5, "glow": -2, "Dragon_v1": 1})
        assert request.loras == (Lora("ink", 0.5), Lora("glow", -2.0))

    async def test_an_unknown_lora_is_refused_and_named(self, equipped: Server) -> None:
        status, code, message = await refused(equipped, lora_multipers={"magic": 1})
        assert (status, code) == (400, 50200)
        assert "lora_multipers" in message
        assert "magic" in message


async def test_a_watermark_is_laid_over_the_same_picture(server: Server) -> None:
    async def drawn(**logo: Any) -> Any:
        answer = await call(server, seed=7, logo_info={"add_logo": True, **logo} if logo is not None else None)
        return opened(base64.b64decode(answer.json()["data"]["binary_data_base64"][0]))

    plain = opened(base64.b64decode((await call(server, seed=7)).json()["data"]["binary_data_base64"][0]))
    off = await call(server, seed=7, logo_info={"add_logo": False})
    assert opened(base64.b64decode(off.json()["data"]["binary_data_base64"][0])) == plain
    width, height = plain.size
    corners = {0: (1, 1), 1: (0, 1), 2: (0, 0), 3: (1, 0)}
    for position, (right, bottom) in corners.items():
        marked = await drawn(position=position, opacity=1, language=position % 2)
        for x, y in corners.values():
            quarter = (x * width // 2, y * height // 2, (x + 1) * width // 2, (y + 1) * height // 2)
            assert (marked.crop(quarter) != plain.crop(quarter)) == ((x, y) == (right, bottom))


async def test_a_watermark_says_what_was_asked(waiting: Server) -> None:
    async def mark(**logo: Any) -> Any:
        return (await asked(waiting, logo_info={"add_logo": True, **logo})).watermark

    default = await mark()
    assert (default.text, default.position, default.opacity) == ("AI生成", Corner.BOTTOM_RIGHT, 0.3)
    assert (await mark(language=1)).text == "Generated by AI"
    own = await mark(logo_text_content="mine", language=1, position=2, opacity=1)
    assert (own.text, own.position, own.opacity) == ("mine", Corner.TOP_LEFT, 1.0)


# Refusals


@pytest.mark.parametrize(
    ("fields", "code", "named"),
    [
        ({"req_key": None}, 50201, "req_key"),
        ({"req_key": ""}, 50201, "req_key"),
        ({"prompt": None}, 50201, "prompt"),
        ({"prompt": "  "}, 50201, "prompt"),
        ({"req_key": 1}, 50204, "req_key"),
        ({"prompt": 1}, 50204, "prompt"),
        ({"strength": "0.5"}, 50204, "strength"),
        ({"seed": 1.5}, 50204, "seed"),
        ({"seed": True}, 50204, "seed"),
        ({"return_url": 1}, 50204, "return_url"),
        ({"lora_multipers": [1]}, 50204, "lora_multipers"),
        ({"lora_multipers": {"x": "1"}}, 50204, "lora_multipers.x"),
        ({"image_urls": "http://x"}, 50204, "image_urls"),
        ({"logo_info": "x"}, 50204, "logo_info"),
        ({"logo_info": {"position": "x"}}, 50204, "logo_info.position"),
        ({"strength": 1.1}, 50200, "strength"),
        ({"strength": -0.1}, 50200, "strength"),
        ({"seed": -2}, 50200, "seed"),
        ({"seed": 2**32}, 50200, "seed"),
        ({"scale": 0.5}, 50200, "scale"),
        ({"scale": 31}, 50200, "scale"),
        ({"ddim_steps": 0}, 50200, "ddim_steps"),
        ({"ddim_steps": 51}, 50200, "ddim_steps"),
        ({"clip_skip": 0}, 50200, "clip_skip"),
        ({"clip_skip": 4}, 50200, "clip_skip"),
        ({"canny_weight": 2}, 50200, "canny_weight"),
        ({"i2i_keep_texture": 2}, 50200, "i2i_keep_texture"),
        ({"long_resolution": 255}, 50200, "long_resolution"),
        ({"long_resolution": 2049}, 50200, "long_resolution"),
        ({"id_scale": 1.5}, 50200, "id_scale"),
        ({"lora_multipers": {"x": 3}}, 50200, "lora_multipers.x"),
        ({"lora_multipers": {"x": float("nan")}}, 50200, "lora_multipers.x"),
        ({"logo_info": {"add_logo": True, "position": 4}}, 50200, "logo_info.position"),
        ({"logo_info": {"opacity": 2}}, 50200, "logo_info.opacity"),
        ({"prompt": "x" * 2001}, 50200, "prompt"),
        ({"binary_data_base64": ["x", "y"]}, 50200, "binary_data_base64"),
        ({"binary_data_base64": []}, 50206, "image_urls"),
        ({"binary_data_base64": ["data:image/png;base64,eA=="]}, 50207, "prefix"),
        ({"binary_data_base64": ["http://example.com/x.png"]}, 50207, "image_urls"),
        ({"binary_data_base64": ["%%%"]}, 50207, "base64"),
        ({"binary_data_base64": [""]}, 50207, "picture"),
        ({"binary_data_base64": ["eHh4"]}, 50207, "picture"),
        ({"binary_data_base64": [as_base64(picture(600, 800, kind="WEBP"))]}, 50207, "JPEG"),
        ({"binary_data_base64": [as_base64(picture(600, 800)[:200])]}, 50207, "damaged"),
        ({"binary_data_base64": [as_base64(picture(599, 800))]}, 50205, "599x800"),
        ({"binary_data_base64": [as_base64(picture(700, 700))]}, 50205, "700x700"),
        ({"binary_data_base64": [as_base64(bomb(40_000, 40_000))]}, 50205, "too large"),
        ({"binary_data_base64": None, "image_urls": ["http://127.0.0.1:1/x.png"]}, 50207, "not public"),
        ({"binary_data_base64": None, "image_urls": ["no link"]}, 50207, "link"),
    ],
)
async def test_each_refusal_has_its_code_and_names_the_field(
    waiting: Server, fields: dict[str, Any], code: int, named: str
) -> None:
    sent = {**body(), **fields}
    content = json.dumps({name: value for name, value in sent.items() if value is not None})
    headers = {"content-type": "application/json"}
    answer = await waiting.client.post(path("CVProcess"), content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert named in answer.json()["message"]


@pytest.mark.parametrize("size", [(800, 600), (600, 800), (1000, 900)])
async def test_pictures_within_the_limits_are_taken_lying_and_standing(waiting: Server, size: tuple[int, int]) -> None:
    await asked(waiting, binary_data_base64=[as_base64(picture(*size, kind="JPEG"))])


async def test_a_file_over_5_mb_is_too_large(waiting: Server) -> None:
    large = as_base64(picture(600, 800) + b"\0" * (5 * 2**20))
    status, code, message = await refused(waiting, binary_data_base64=[large])
    assert (status, code) == (400, 50205)
    assert message.startswith("Image Size Limited: binary_data_base64 is too large")


async def test_a_body_over_10_mb_is_too_large(waiting: Server) -> None:
    for prompt in ("x" * MAX_BODY, "x" * 2**24):
        status, code, message = await refused(waiting, prompt=prompt)
        assert (status, code) == (413, 50213)
        assert message.startswith("Request Body Size Limited")


async def test_base64_goes_before_links(waiting: Server) -> None:
    await asked(waiting, image_urls=["http://127.0.0.1:1/not-looked-at"])


async def test_an_unknown_req_key_is_denied(server: Server) -> None:
    for action in ("CVProcess", "CVSync2AsyncSubmitTask"):
        status, code, message = await refused(server, action, req_key="jimeng_high_aes")
        assert (status, code) == (401, 50400)
        assert message.startswith("Access Denied: Internal Error")
    status, code, _ = await refused(server, "CVSync2AsyncGetResult", req_key="x", task_id="1")
    assert (status, code) == (401, 50400)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff", b"{" * 100_000, b'{"prompt": "\\ud800"'])
async def test_a_body_that_is_no_json_object_is_refused(server: Server, content: bytes) -> None:
    answer = await server.client.post(path("CVProcess"), content=content)
    assert (answer.status_code, answer.json()["code"]) == (400, 50200)


async def test_half_of_a_surrogate_pair_is_refused_and_can_be_said_back(server: Server) -> None:
    for fields in ({"prompt": "\ud800"}, {"req_key": "\ud800"}, {"lora_multipers": {"\ud800": 1}}):
        content = json.dumps(body(**fields))
        answer = await server.client.post(path("CVProcess"), content=content)
        assert answer.status_code in (400, 401)
        assert answer.json()["code"] in (50200, 50400)


@pytest.mark.parametrize(("prompt", "status", "code"), [("fail:error", 500, 50501), ("fail:oom", 500, 50501)])
async def test_an_engine_that_fails_is_told_of(server: Server, prompt: str, status: int, code: int) -> None:
    found = await refused(server, prompt=prompt)
    assert found[:2] == (status, code)
    assert found[2].startswith("Internal RPC Error: ")


async def test_a_full_queue_is_a_concurrent_limit(tmp_path: Path) -> None:
    async with serving(tmp_path, start=False, max_queue=1) as server:
        assert (await call(server, "CVSync2AsyncSubmitTask")).status_code == 200
        answer = await call(server, "CVSync2AsyncSubmitTask")
        assert (answer.status_code, answer.json()["code"]) == (429, 50430)
        assert "retry-after" in answer.headers


# The gateway


@pytest.mark.parametrize(
    ("query", "status", "code", "number", "message"),
    [
        ("", 400, "MissingParameter", 100002, "The request is missing Action parameter."),
        ("?Action=CVProcess", 400, "MissingParameter", 100002, "The request is missing Version parameter."),
        ("?Version=2022-08-31", 400, "MissingParameter", 100002, "The request is missing Action parameter."),
        (
            path("Nothing")[1:],
            404,
            "InvalidActionOrVersion",
            100008,
            "Could not find operation Nothing for version 2022-08-31.",
        ),
        (
            path("CVProcess", NEW)[1:],
            404,
            "InvalidActionOrVersion",
            100008,
            f"Could not find operation CVProcess for version {NEW}.",
        ),
    ],
)
async def test_what_names_no_action_is_refused_by_the_gateway(
    server: Server, query: str, status: int, code: str, number: int, message: str
) -> None:
    answer = await server.client.post("/" + query, json=body())
    said = answer.json()
    assert (answer.status_code, set(said)) == (status, {"ResponseMetadata"})
    assert said["ResponseMetadata"]["Error"] == {"CodeN": number, "Code": code, "Message": message}
    assert (said["ResponseMetadata"]["Service"], said["ResponseMetadata"]["Region"]) == ("cv", "cn-north-1")


async def test_other_methods_are_refused_by_the_gateway(server: Server) -> None:
    answer = await server.client.put(path("CVProcess"), json=body())
    error = answer.json()["ResponseMetadata"]["Error"]
    assert (answer.status_code, error["Code"], error["CodeN"]) == (405, "MethodNotAllowed", 100020)


async def test_an_engine_that_is_not_ready_does_not_lose_the_call(server: Server) -> None:
    await server.engine.close()
    answer = asyncio.ensure_future(call(server))
    await server.engine.start()
    assert (await answer).json()["code"] == 10000


def test_the_style_is_named_in_two_ways() -> None:
    assert REQ_KEY == "img2img_pastel_boys_style_usage"
