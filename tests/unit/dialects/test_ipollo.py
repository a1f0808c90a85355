"""iPollo's pictures: the answer, its `info`, every parameter, and the words of what is refused."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from diffuserve.core.errors import ConfigurationError
from diffuserve.core.request import PictureFormat, ResolvedRequest
from diffuserve.dialects import infotext, ipollo
from diffuserve.dialects.ipollo.manners import Manners
from support.app import Caller, HeldClock, Server, model, serving
from support.ipollo import CHAT, RECORD, RIGHTLY_SPELT, STATE, TXT2IMG, VOICE, body
from support.pictures import opened

pytestmark = pytest.mark.unit

KEYS = ["result_code", "msg", "prompt", "key", "image_base"]


@pytest.fixture
async def waiting(tmp_path: Path) -> AsyncIterator[Server]:
    """A server that draws nothing."""
    async with serving(tmp_path, start=False) as server:
        yield server


async def call(server: Server, path: str = TXT2IMG, **fields: Any) -> httpx2.Response:
    return await server.client.post(path, json=body(**fields))


async def asked(server: Server, path: str = TXT2IMG, **fields: Any) -> ResolvedRequest:
    """What is to be drawn for a body with these fields."""
    submitted = server.submissions()
    caller = Caller(server.app, "POST", path, json.dumps(body(**fields)).encode()).call()
    job = await submitted.get()
    caller.hang_up()
    await caller.finished()
    return job.request


async def refused(server: Server, path: str = TXT2IMG, **fields: Any) -> tuple[int, int, str]:
    answer = await call(server, path, **fields)
    failure = answer.json()
    if path == TXT2IMG:
        assert list(failure) == KEYS
        assert (failure["prompt"], failure["key"], failure["image_base"]) == ("", None, None)
    else:
        assert list(failure) == ["result_code", "msg"]
    assert failure["msg"] != "success"
    return answer.status_code, failure["result_code"], failure["msg"]


# The answer


async def test_the_answer_has_the_vendors_keys_in_their_order(server: Server) -> None:
    answer = await call(server, seed=None)
    said = answer.json()
    assert (answer.status_code, list(said)) == (200, KEYS)
    assert (said["result_code"], said["msg"], said["prompt"]) == (200, "success", "a girl in a garden")
    assert list(said["key"]) == ["ok", "result"]
    (record,) = said["key"]["result"]
    assert (said["key"]["ok"], tuple(record)) == (True, RECORD)
    assert list(said["image_base"]) == ["parameters", "info", "imageUrl"]
    parameters = {"enable_hr": False, "Prompt": "a girl in a garden", "Seed": -1, "Batch_size": 1}
    assert said["image_base"]["parameters"] == {**parameters, "Width": 64, "Height": 64}
    assert list(said["image_base"]["parameters"]) == [*parameters, "Width", "Height"]
    assert answer.text.startswith('{"result_code":200,"msg":"success","prompt":')


async def test_chinese_stands_raw_outside_and_escaped_in_info(server: Server) -> None:
    answer = await call(server, prompt="花园里的女孩，a girl")
    assert '"prompt":"花园里的女孩，a girl"' in answer.text
    info = answer.json()["image_base"]["info"]
    assert info.isascii()
    assert r"\u82b1\u56ed\u91cc\u7684\u5973\u5b69\uff0ca girl" in info


async def test_info_tells_what_was_really_drawn(server: Server) -> None:
    submitted = server.submissions()
    said = (await call(server, cfg_scale=6.5, negative_prompt="blurry, ugly")).json()
    job = await submitted.get()
    info = json.loads(said["image_base"]["info"])
    assert info["all_seeds"] == [info["seed"]] == list(job.request.seeds)
    assert 0 <= info["seed"] < 2**32 - 2
    assert 0 <= info["subseed"] < 2**32 - 2
    assert (info["width"], info["height"], info["steps"], info["cfg_scale"]) == (64, 64, 5, 6.5)
    assert (info["sampler_name"], info["sd_model_name"], info["batch_size"]) == ("Euler", "tiny", 1)
    assert re.fullmatch(r"20[0-9]{12}", info["job_timestamp"])
    read = infotext.parse(info["infotexts"][0])
    assert (read.prompt, read.negative_prompt) == ("a girl in a garden", "blurry, ugly")
    assert read.settings["Seed"] == str(info["seed"])
    assert read.settings["Version"] == "v1.6.0"


async def test_the_seed_in_info_draws_the_same_picture_again(server: Server) -> None:
    first = (await call(server)).json()["image_base"]
    seed = json.loads(first["info"])["seed"]
    second = (await call(server, seed=seed)).json()["image_base"]
    assert second["parameters"]["Seed"] == seed
    pictures = [(await server.client.get(one["imageUrl"])).content for one in (first, second)]
    assert pictures[0] == pictures[1]


async def test_info_says_where_something_else_was_drawn_than_was_written(server: Server) -> None:
    said = (await call(server, prompt="a cat, <lora:nobody:0>", width=2048, height=2048)).json()
    if said["image_base"] is None:
        pytest.fail(said["msg"])
    info = json.loads(said["image_base"]["info"])
    assert info["prompt"] == "a cat, <lora:nobody:0>"
    assert info["extra_generation_params"]["Drawn prompt"].startswith("a cat")
    assert re.fullmatch("[0-9]+x[0-9]+", info["extra_generation_params"]["First pass size"])


async def test_the_link_leads_to_a_jpeg_and_ends_in_its_time_and_jpg(server: Server) -> None:
    link = (await call(server)).json()["image_base"]["imageUrl"]
    assert re.search(r"#20[0-9]{2}-[0-9]{2}-[0-9]{2}_[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}\.jpg$", link)
    assert urlsplit(link).path.endswith(".jpg")
    answer = await server.client.get(link)
    assert answer.headers["content-type"] == "image/jpeg"
    assert (opened(answer.content).format, opened(answer.content).size) == ("JPEG", (64, 64))


async def test_the_hash_is_that_of_the_models_file(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"w" * 3_000_000)
    async with serving(tmp_path, models=(model("big", path=str(weights)),)) as server:
        for _ in range(2):
            info = json.loads((await call(server)).json()["image_base"]["info"])
            assert info["sd_model_hash"] == hashlib.sha256(weights.read_bytes()).hexdigest()[:10]
            assert f"Model hash: {info['sd_model_hash']}, Model: big" in info["infotexts"][0]
            weights.touch()


async def test_a_model_whose_files_are_gone_has_no_hash(server: Server) -> None:
    info = json.loads((await call(server)).json()["image_base"]["info"])
    assert (info["sd_model_hash"], "Model hash" in info["infotexts"][0]) == ("", False)


async def test_several_pictures_have_consecutive_seeds_and_a_list_of_links(server: Server) -> None:
    base = (await call(server, batch_size=3, seed=2**32 - 2)).json()["image_base"]
    info = json.loads(base["info"])
    assert info["all_seeds"] == [2**32 - 2, 2**32 - 1, 2**32]
    assert [later - info["subseed"] for later in info["all_subseeds"]] == [0, 1, 2]
    assert (len(info["infotexts"]), info["batch_size"], base["parameters"]["Batch_size"]) == (3, 3, 3)
    assert (base["imageUrl"], len(set(base["imageUrls"]))) == (base["imageUrls"][0], 3)


async def test_the_rightly_spelt_path_and_the_mount_are_the_same(server: Server) -> None:
    for path in (RIGHTLY_SPELT, f"/ipollo{TXT2IMG}", f"/ipollo{RIGHTLY_SPELT}"):
        assert (await call(server, path)).json()["msg"] == "success"
    assert (await server.client.post("/ipollo" + TXT2IMG, json={})).json()["image_base"] is None


@pytest.mark.parametrize("kind", ["json", "data", "files"])
async def test_json_forms_and_multipart_are_understood(server: Server, kind: str) -> None:
    fields = {name: str(value) for name, value in body(seed=7).items()}
    sent = {name: (None, value) for name, value in fields.items()} if kind == "files" else fields
    said = (await server.client.post(TXT2IMG, **{kind: sent})).json()
    assert json.loads(said["image_base"]["info"])["seed"] == 7


async def test_half_a_character_is_refused_and_not_a_crash(server: Server) -> None:
    content = rb'{"prompt": "a \ud83d cat", "btc_address": "x1"}'
    answer = await server.client.post(TXT2IMG, content=content, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["result_code"]) == (400, 200)
    assert answer.json()["msg"].startswith("parameter error: prompt must be")


# Parameters


async def test_the_fixed_settings_are_the_web_uis(waiting: Server) -> None:
    drawn = await asked(waiting, width=None, height=None, steps=None)
    assert (drawn.width, drawn.height, drawn.num_images) == (512, 512, 1)
    assert (drawn.sampler, drawn.num_inference_steps, drawn.guidance_scale, drawn.clip_skip) == ("euler", 50, 7.0, 0)
    assert (drawn.model, drawn.format, drawn.negative_prompt) == ("tiny", PictureFormat.JPEG, "")


async def test_every_extension_is_honoured(waiting: Server) -> None:
    sent = {"negative_prompt": "fog", "width": 640, "height": 480, "seed": 9, "cfg_scale": 3.5, "batch_size": 2}
    drawn = await asked(waiting, **sent, steps=20)
    assert (drawn.negative_prompt, drawn.width, drawn.height, drawn.seeds) == ("fog", 640, 480, (9, 10))
    assert (drawn.guidance_scale, drawn.num_inference_steps) == (3.5, 20)


async def test_an_installation_chooses_model_and_size(tmp_path: Path) -> None:
    async with serving(tmp_path, start=False, ipollo_model="other", ipollo_side=64) as server:
        drawn = await asked(server, width=None, height=None)
        assert (drawn.model, drawn.width, drawn.height) == ("other", 64, 64)


async def test_a_model_that_is_not_there_stops_the_server(server: Server) -> None:
    with pytest.raises(ConfigurationError, match="ipollo_model: no such model: gone"):
        ipollo.dialect(Manners(model="gone")).build(server.rooms)


async def test_empty_values_and_unknown_names_count_for_nothing(waiting: Server) -> None:
    drawn = await asked(waiting, seed="", steps="", cfg_scale="", batch_size="", whatever=[1], width="", height=" ")
    assert (drawn.width, drawn.num_inference_steps, drawn.num_images) == (512, 50, 1)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"prompt": None}, "prompt is required"),
        ({"prompt": " \n"}, "prompt is required"),
        ({"prompt": ["x"]}, "prompt must be text"),
        ({"btc_address": None}, "btc_address is required"),
        ({"btc_address": "  "}, "btc_address is required"),
        ({"btc_address": "x" * 201}, "btc_address must be at most 200 printable characters"),
        ({"btc_address": "0x\u0000"}, "btc_address must be at most 200 printable characters"),
        ({"btc_address": True}, "btc_address must be text"),
        ({"seed": -2}, "seed must be a whole number between -1 and 4294967295, got -2"),
        ({"seed": 2**32}, "seed must be"),
        ({"seed": "9" * 50}, "seed must be"),
        ({"width": 63}, "width must be a whole number between 64 and 2048, got 63"),
        ({"height": 2049}, "height must be"),
        ({"steps": 0}, "steps must be"),
        ({"steps": 1.5}, "steps must be"),
        ({"cfg_scale": 31}, "cfg_scale must be a number between 1 and 30, got 31"),
        ({"cfg_scale": "nan"}, "cfg_scale must be"),
        ({"batch_size": 9}, "batch_size must be"),
    ],
)
async def test_what_is_wrong_is_named_with_code_200_and_status_400(
    server: Server, fields: dict[str, Any], words: str
) -> None:
    status, code, message = await refused(server, **fields)
    assert (status, code) == (400, 200)
    assert message.startswith(f"parameter error: {words}")


async def test_the_pages_own_refusal_is_ours(server: Server) -> None:
    answer = await server.client.post(TXT2IMG, json={"btc_address": "x1"})
    page = '{"result_code":200,"msg":"parameter error: prompt is required","prompt":"","key":null,"image_base":null}'
    assert (answer.status_code, answer.text) == (400, page)


# What goes wrong


@pytest.mark.parametrize("prompt", ["fail:error", "fail:oom", "fail:crash"])
async def test_a_picture_that_cannot_be_drawn_is_203_and_500(server: Server, prompt: str) -> None:
    assert (await refused(server, prompt=prompt))[:2] == (500, 203)


async def test_a_full_queue_is_203_and_503_with_the_time_to_come_back(tmp_path: Path) -> None:
    async with serving(tmp_path, start=False, max_queue=1) as server:
        caller = Caller(server.app, "POST", TXT2IMG, json.dumps(body()).encode())
        submitted = server.submissions()
        caller.call()
        await submitted.get()
        answer = await call(server)
        assert (answer.status_code, answer.json()["result_code"], "retry-after" in answer.headers) == (503, 203, True)
        caller.hang_up()
        await caller.finished()


async def test_a_wait_that_ends_first_is_504_and_names_the_task_to_ask_for(tmp_path: Path) -> None:
    clock = HeldClock()
    async with serving(tmp_path, start=False, clock=clock, ipollo_wait_seconds=1.0) as server:
        submitted = server.submissions()
        answering = asyncio.ensure_future(call(server))
        await submitted.get()
        await clock.advance(1.0)
        answer = await answering
        assert (answer.status_code, answer.json()["result_code"]) == (504, 203)
        named = re.search(r"taskID=([0-9_]+)", answer.json()["msg"])
        assert named is not None
        state = (await server.client.get("/videotalking", params={"taskID": named[1]})).json()
        assert (tuple(state), state["result_code"]) == (STATE, 101)


async def test_whoever_hangs_up_cancels_the_job(waiting: Server) -> None:
    submitted = waiting.submissions()
    caller = Caller(waiting.app, "POST", TXT2IMG, json.dumps(body()).encode()).call()
    job = await submitted.get()
    caller.hang_up()
    await caller.finished()
    assert (await waiting.jobs.wait(job.id)).status.value == "canceled"


@pytest.mark.parametrize(("method", "path"), [("PUT", TXT2IMG), ("PUT", "/videotalking"), ("GET", TXT2IMG)])
async def test_a_wrong_method_has_a_shape_of_its_own(server: Server, method: str, path: str) -> None:
    answer = await server.client.request(method, path)
    assert (answer.status_code, list(answer.json()), answer.json()["result_code"]) == (405, ["result_code", "msg"], 200)


async def test_paths_are_told_apart_by_their_case(server: Server) -> None:
    answer = await call(server, "/iPollo/stablediffsionxl/txt2img")
    assert (answer.status_code, list(answer.json())) == (404, ["result_code", "msg"])


# chatGPT


@pytest.mark.parametrize(("size", "side"), [("256x256", 256), ("512x512", 512), ("1024x1024", 1024), (None, 1024)])
async def test_a_chat_picture_is_a_link(server: Server, size: str | None, side: int) -> None:
    sent = {"prompt": "a cat", "btc_address": "x1", **({"size": size} if size else {})}
    answer = await server.client.post(CHAT, json=sent)
    said = answer.json()
    assert (answer.status_code, list(said), said["result_code"]) == (200, ["result_code", "msg"], 200)
    assert said["msg"].endswith(".jpg")
    assert opened((await server.client.get(said["msg"])).content).size == (side, side)


async def test_a_chat_pictures_size_is_one_of_three(server: Server) -> None:
    status, code, message = await refused(server, CHAT, size="640x480")
    assert (status, code) == (400, 200)
    assert message == "parameter error: size must be one of 256x256, 512x512, 1024x1024, got 640x480"


async def test_speech_is_answered_honestly(server: Server) -> None:
    status, code, message = await refused(server, VOICE, txt="hello", voice="zh-CN-XiaoxiaoNeural")
    assert (status, code) == (501, 203)
    assert message == "this server has no worker for speech, so nothing was queued and nothing is charged"
    assert (await refused(server, VOICE, voice="x"))[:2] == (400, 200)
