"""The plain dialect over the whole server."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from diffuserve.core.job import JobStatus
from diffuserve.core.principal import ANONYMOUS
from support.app import Caller, Server, model, serving
from support.pictures import HTML, SVG, as_base64, bomb, encoded, opened, picture

pytestmark = pytest.mark.unit

FORM = {"content-type": "application/x-www-form-urlencoded;charset=utf-8"}


async def ask(server: Server, path: str = "/txt2img", **fields: Any) -> tuple[int, dict[str, Any]]:
    answer = await server.client.post(path, data={"prompt": "a red apple", "width": "64", "height": "64", **fields})
    return answer.status_code, answer.json()


async def refusal(server: Server, path: str = "/txt2img", **fields: Any) -> str:
    status, body = await ask(server, path, **fields)
    assert (status, body["status"]) == (400, "failure")
    assert set(body) == {"status", "message"}
    return str(body["message"])


async def the_job(server: Server, answer: Any) -> Any:
    return await server.jobs.get(ANONYMOUS, int(answer.headers["diffuserve-job"]))


async def the_prompt(server: Server, answer: Any) -> str:
    assert answer.status_code == 200, answer.text
    return str((await the_job(server, answer)).request.prompt)


async def test_txt2img_answers_a_link_to_a_picture_of_the_size_asked_for(server: Server) -> None:
    status, body = await ask(server, width="70", height="33", seed="7")
    assert status == 200
    assert body["status"] == "success"
    [image] = body["images"]
    assert set(image) == {"image_url", "mime_type", "seed"}
    assert (image["mime_type"], image["seed"]) == ("image/png", 7)
    assert image["image_url"].startswith("http://localhost:8000/files/")
    file = await server.client.get(image["image_url"])
    assert (file.status_code, file.headers["content-type"]) == (200, "image/png")
    assert opened(file.content).size == (70, 33)


async def test_the_same_paths_stand_under_the_dialects_name(server: Server) -> None:
    assert (await ask(server, "/plain/txt2img"))[0] == 200
    assert (await server.client.get("/plain/ping")).json() == {"status": "success"}


async def test_defaults_are_those_of_the_api_but_for_guidance_which_is_the_models_own(server: Server) -> None:
    answer = await server.client.post("/txt2img", data={"prompt": "x"})
    request = (await the_job(server, answer)).request
    assert (request.width, request.height, request.num_inference_steps, request.guidance_scale) == (512, 512, 30, 3.0)


async def test_every_parameter_reaches_the_request(server: Server) -> None:
    fields = {
        "prompt": " a cat ",
        "negative_prompt": "a dog",
        "model": "other",
        "width": "72",
        "height": "64",
        "num_outputs": "2",
        "num_inference_steps": "3",
        "guidance_scale": "9",
        "scheduler": "DPM++ 2M Karras",
        "clip_skip": "1",
        "eta": "0.5",
    }
    answer = await server.client.post("/txt2img", data=fields)
    request = (await the_job(server, answer)).request
    assert (request.prompt, request.negative_prompt, request.model) == ("a cat", "a dog", "other")
    assert (request.width, request.height, request.num_images, request.num_inference_steps) == (72, 64, 2, 3)
    assert (request.guidance_scale, request.sampler, request.schedule) == (9.0, "dpmpp_2m", "karras")
    assert (request.clip_skip, request.eta) == (1, 0.5)


# Encodings


@pytest.mark.parametrize(
    ("body", "charset", "prompt"),
    [
        (b"prompt=a+red%20apple", "utf-8", "a red apple"),
        (b"prompt=" + quote("红苹果").encode(), "utf-8", "红苹果"),
        (b"prompt=" + "红苹果".encode(), "utf-8", "红苹果"),
        (b"prompt=" + quote("红苹果", encoding="gbk").encode(), "gbk", "红苹果"),
        (b"prompt=" + quote("红苹果", encoding="gbk").encode(), '"GB2312"', "红苹果"),
        (b"prompt=a%ffb", "utf-8", "a\ufffdb"),
        (b"prompt=100%", "utf-8", "100%"),
        (b"prompt=first&prompt=second", "utf-8", "first"),
        (b"prompt=one%26two%3Dtwo", "utf-8", "one&two=two"),
        (b"&&prompt=x&&=&y", "utf-8", "x"),
    ],
)
async def test_forms_are_read_as_clients_write_them(server: Server, body: bytes, charset: str, prompt: str) -> None:
    headers = {"content-type": f"application/x-www-form-urlencoded; charset={charset}"}
    answer = await server.client.post("/txt2img", content=body + b"&width=64&height=64", headers=headers)
    assert await the_prompt(server, answer) == prompt


async def test_json_with_numbers_texts_and_nulls_is_understood(server: Server) -> None:
    body = {"prompt": "x", "width": 64, "height": "64", "num_outputs": 2.0, "seed": 5, "model": None, "extra": [1]}
    answer = await server.client.post("/txt2img", json=body)
    assert answer.json()["images"][0]["seed"] == 5
    assert len(answer.json()["images"]) == 2


async def test_json_in_another_charset_is_understood(server: Server) -> None:
    body = json.dumps({"prompt": "红苹果", "width": 64, "height": 64}, ensure_ascii=False).encode("gbk")
    answer = await server.client.post(
        "/txt2img", content=body, headers={"content-type": "application/json; charset=gbk"}
    )
    assert await the_prompt(server, answer) == "红苹果"


@pytest.mark.parametrize("body", [b' {"prompt": "x", "width": 64, "height": 64}', b"prompt=x&width=64&height=64"])
async def test_without_a_content_type_the_first_byte_decides(server: Server, body: bytes) -> None:
    assert await the_prompt(server, await server.client.post("/txt2img", content=body)) == "x"


async def test_a_multipart_form_is_understood(server: Server) -> None:
    files = {"prompt": (None, "红苹果"), "width": (None, "64"), "height": (None, "64")}
    assert await the_prompt(server, await server.client.post("/txt2img", files=files)) == "红苹果"


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "image/png",
        "application/x-www-form-urlencoded; charset=utf-16",
        "application/json;charset=x",
        "application/json;charset=unicode_escape",
        "multipart/form-data; boundary=x; charset=idna",
    ],
)
async def test_other_content_types_and_charsets_are_answered_415(server: Server, content_type: str) -> None:
    answer = await server.client.post("/txt2img", content=b"prompt=x", headers={"content-type": content_type})
    assert (answer.status_code, answer.json()["status"]) == (415, "failure")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"prompt": }',
        b"[]",
        b'"x"',
        b"",
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
async def test_broken_json_is_answered_400(server: Server, body: bytes) -> None:
    answer = await server.client.post("/txt2img", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["status"]) == (400, "failure")


async def test_a_lone_surrogate_is_refused_and_not_a_bug(server: Server) -> None:
    answer = await server.client.post(
        "/txt2img", content=b'{"prompt":"\\ud800"}', headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400


@pytest.mark.parametrize("body", [b"--x\r\nfoo", b"", b"--x\r\nContent-Disposition: form-data\r\n\r\nv\r\n--x--\r\n"])
async def test_a_broken_multipart_body_is_answered_400(server: Server, body: bytes) -> None:
    answer = await server.client.post(
        "/txt2img", content=body, headers={"content-type": "multipart/form-data; boundary=x"}
    )
    assert (answer.status_code, answer.json()["status"]) == (400, "failure")


async def test_a_multipart_body_without_boundary_is_answered_400(server: Server) -> None:
    answer = await server.client.post("/txt2img", content=b"x", headers={"content-type": "multipart/form-data"})
    assert (answer.status_code, answer.json()["status"]) == (400, "failure")


async def test_too_many_fields_and_files_are_refused(server: Server) -> None:
    for answer in (
        await server.client.post("/txt2img", files=[("x", (None, "1"))] * 300),
        await server.client.post("/txt2img", files=[("x", ("a.png", b"1"))] * 20),
        await server.client.post("/txt2img", content=b"a=1&" * 5000, headers=FORM),
    ):
        assert (answer.status_code, answer.json()["status"]) == (400, "failure")


# Values


@pytest.mark.parametrize("text", ["3", " 3 ", "3.0", "3.", "+3", "03"])
async def test_whole_numbers_are_understood_in_every_honest_spelling(server: Server, text: str) -> None:
    status, body = await ask(server, num_outputs=text)
    assert (status, len(body["images"])) == (200, 3)


@pytest.mark.parametrize("text", ["30.5", "1e2", "0x10", "NaN", "d.512", "1_0", "３", "-", "true", "1,5", "inf"])
async def test_what_is_no_whole_number_is_refused(server: Server, text: str) -> None:
    message = await refusal(server, num_inference_steps=text)
    assert message == f"num_inference_steps must be a whole number between 1 and 150, got {text}" or not text.isascii()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_outputs", "9", "num_outputs must be between 1 and 4, got 9"),
        ("num_outputs", "0", "num_outputs must be between 1 and 4, got 0"),
        ("width", "0", "width must be between 1 and 1024, got 0"),
        ("height", "1025", "height must be between 1 and 1024, got 1025"),
        ("num_inference_steps", "151", "num_inference_steps must be between 1 and 150, got 151"),
        ("guidance_scale", "0", "guidance_scale must be more than 0 and at most 20, got 0"),
        ("guidance_scale", "20.01", "guidance_scale must be more than 0 and at most 20, got 20.01"),
        ("guidance_scale", "1e999", "guidance_scale must be more than 0 and at most 20, got 1e999"),
        ("guidance_scale", "nan", "guidance_scale must be a number more than 0 and at most 20, got nan"),
        ("eta", "1.1", "eta must be between 0 and 1, got 1.1"),
        ("clip_skip", "12", "clip_skip must be between 0 and 11, got 12"),
        ("seed", "-2", "seed must be between -1 and 9223372036854775807, got -2"),
        ("seed", "9223372036854775808", "seed must be between -1 and 9223372036854775807, got 9223372036854775808"),
        ("response", "xml", "response must be one of url, base64, got xml"),
        ("prompt", "", "prompt is required"),
        ("prompt", "  ", "prompt is required"),
    ],
)
async def test_a_value_out_of_its_range_is_named_with_the_range(
    server: Server, name: str, value: str, message: str
) -> None:
    assert await refusal(server, **{name: value}) == message


async def test_a_number_of_many_digits_is_out_of_range_and_costs_nothing(server: Server) -> None:
    assert (await refusal(server, seed="9" * 5000)).startswith(
        "seed must be between -1 and 9223372036854775807, got 999"
    )


async def test_bounds_that_are_included_are_accepted(server: Server) -> None:
    assert (await ask(server, guidance_scale="20", num_outputs="4", num_inference_steps="1"))[0] == 200
    assert (await ask(server, width="1", height="1"))[0] == 200


async def test_an_unknown_sampler_is_refused_under_our_name_for_it(server: Server) -> None:
    assert (await refusal(server, scheduler="magic")).startswith("scheduler must be one of Euler, Euler a")


async def test_json_values_of_other_types_are_refused(server: Server) -> None:
    for value in (True, [1], {"a": 1}):
        answer = await server.client.post("/txt2img", json={"prompt": "x", "num_outputs": value})
        assert answer.status_code == 400
        assert answer.json()["message"].startswith("num_outputs must be text")


async def test_an_empty_value_counts_as_absent(server: Server) -> None:
    assert (await ask(server, seed="", num_outputs=" ", guidance_scale="", model="", scheduler="", response=""))[
        0
    ] == 200


async def test_a_failure_queues_nothing(server: Server) -> None:
    await refusal(server, num_outputs="9")
    assert "diffuserve_jobs_total{" not in server.metrics.text(0).decode()


async def test_a_substitution_is_told_in_a_header(server: Server) -> None:
    answer = await server.client.post(
        "/txt2img", data={"prompt": "x", "width": "64", "height": "64", "scheduler": "Restart"}
    )
    assert "Restart was replaced by Heun" in answer.headers["diffuserve-notes"]


# Seeds


async def test_a_reported_seed_draws_the_same_picture_again(server: Server) -> None:
    _, four = await ask(server, seed="10086", num_outputs="4")
    assert four["images"][0]["seed"] == 10086
    assert len({image["seed"] for image in four["images"]}) == 4
    again = (await ask(server, seed=str(four["images"][2]["seed"])))[1]["images"][0]
    first, second = [(await server.client.get(image["image_url"])).content for image in (four["images"][2], again)]
    assert first == second


async def test_derived_seeds_are_fixed_for_all_time(server: Server) -> None:
    _, body = await ask(server, seed="10086", num_outputs="3")
    assert [image["seed"] for image in body["images"]] == [10086, 8438452084209538, 2160362254915776]


@pytest.mark.parametrize("seed", ["0", "-1", ""])
async def test_no_seed_is_random_and_readable_by_javascript(server: Server, seed: str) -> None:
    _, body = await ask(server, seed=seed, num_outputs="4")
    drawn = [image["seed"] for image in body["images"]]
    assert len(set(drawn)) == 4
    assert all(0 < value < 2**53 for value in drawn)


async def test_the_largest_seed_is_echoed_as_it_is(server: Server) -> None:
    _, body = await ask(server, seed=str(2**63 - 1))
    assert body["images"][0]["seed"] == 2**63 - 1


# Base64 in the answer


async def test_base64_is_added_on_request(server: Server) -> None:
    _, body = await ask(server, response="base64")
    [image] = body["images"]
    assert opened(base64.b64decode(image["base64"])).size == (64, 64)
    assert image["nsfw"] is False
    assert (await server.client.get(image["image_url"])).content == base64.b64decode(image["base64"])


async def test_base64_can_be_the_servers_manner(tmp_path: Path) -> None:
    async with serving(tmp_path, plain_base64=True) as server:
        assert "base64" in (await ask(server))[1]["images"][0]


async def test_failures_can_be_answered_200(tmp_path: Path) -> None:
    async with serving(tmp_path, plain_always_200=True) as server:
        for answer in (
            await server.client.post("/txt2img", data={"prompt": ""}),
            await server.client.get("/txt2img"),
            await server.client.post("/masking"),
        ):
            assert (answer.status_code, answer.json()["status"]) == (200, "failure")


async def test_default_steps_can_be_set(tmp_path: Path) -> None:
    async with serving(tmp_path, plain_default_steps=100) as server:
        answer = await server.client.post("/txt2img", data={"prompt": "x", "width": "64", "height": "64"})
        assert (await the_job(server, answer)).request.num_inference_steps == 100


# img2img


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_img2img_gives_a_result_of_the_sources_size(server: Server, kind: str) -> None:
    source = as_base64(picture(50, 41, kind=kind))
    status, body = await ask(server, "/img2img", init_image=source, width="999", height="7")
    assert status == 200
    assert opened((await server.client.get(body["images"][0]["image_url"])).content).size == (50, 41)


async def test_a_base64_picture_that_was_not_escaped_is_understood(server: Server) -> None:
    source = as_base64(picture(64, 64, kind="JPEG"))
    assert "+" in source
    answer = await server.client.post("/img2img", content=f"prompt=x&init_image={source}", headers=FORM)
    assert answer.status_code == 200


async def test_a_file_part_and_a_data_url_are_understood(server: Server) -> None:
    part = await server.client.post("/img2img", data={"prompt": "x"}, files={"init_image": ("a.png", picture())})
    url = f"data:image/gif;base64,{as_base64(picture())}"
    assert part.status_code == 200
    assert (await ask(server, "/img2img", init_image=url))[0] == 200


async def test_img2img_takes_strength_and_its_default(server: Server) -> None:
    for given, expected in ((None, 0.7), ("0.35", 0.35)):
        fields = {"prompt": "x", "init_image": as_base64(picture())} | ({"strength": given} if given else {})
        answer = await server.client.post("/img2img", data=fields)
        assert (await the_job(server, answer)).request.strength == expected


@pytest.mark.parametrize("value", ["0", "1", "1.0", "-0.5"])
async def test_strength_excludes_both_ends(server: Server, value: str) -> None:
    message = await refusal(server, "/img2img", init_image=as_base64(picture()), strength=value)
    assert message == f"strength must be more than 0 and less than 1, got {value}"


async def test_a_source_over_1024_is_scaled_down(server: Server) -> None:
    status, body = await ask(server, "/img2img", init_image=as_base64(picture(1500, 300)), num_inference_steps="1")
    assert status == 200
    assert opened((await server.client.get(body["images"][0]["image_url"])).content).size == (1024, 205)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "init_image is required"),
        ("!!", "init_image is not valid base64"),
        (as_base64(HTML), "init_image is not a picture"),
        (as_base64(SVG), "init_image is not a picture"),
        (as_base64(bomb(60_000, 60_000)), "init_image is too large: more than 1000000 pixels"),
        (as_base64(picture(64, 64)[:-40]), "init_image is a damaged or truncated picture"),
        ("http://127.0.0.1:1/a.png", "init_image is a link to an address that is not public"),
        ("ftp://example.org/a.png", "init_image is not valid base64"),
    ],
)
async def test_a_source_that_is_no_picture_is_refused(server: Server, source: str, message: str) -> None:
    assert await refusal(server, "/img2img", init_image=source) == message


async def test_fields_are_checked_before_pictures_and_pictures_before_the_model(server: Server) -> None:
    bad = as_base64(HTML)
    assert (await refusal(server, "/img2img", init_image=bad, num_outputs="9")).startswith("num_outputs")
    assert (await refusal(server, "/img2img", init_image=bad, model="nope")).startswith("init_image")


async def test_txt2img_ignores_what_belongs_to_img2img(server: Server) -> None:
    assert (await ask(server, init_image="!!", strength="7", mask_image="?"))[0] == 200


# Models


async def test_custom_models_are_all_but_the_default_and_show_no_paths(server: Server) -> None:
    answer = await server.client.get("/custom_models")
    assert answer.json() == [
        {"model_path": "other", "ui_label": "other", "url_path": "other", "requires_safety_checker": False}
    ]


async def test_a_custom_path_draws_with_that_model(server: Server) -> None:
    answer = await server.client.post("/custom/other", data={"prompt": "x", "width": "64", "height": "64"})
    assert (await the_job(server, answer)).request.model == "other"


@pytest.mark.parametrize("path", ["/custom/x", "/txt2img"])
async def test_an_unknown_model_is_answered_404(server: Server, path: str) -> None:
    status, body = await ask(server, path, model="x")
    assert status == 404
    assert body["message"].startswith("no such model: x")


# masking


def black_and_white() -> bytes:
    """White on its left half."""
    mask = Image.new("L", (32, 16), 0)
    mask.paste(255, (0, 0, 16, 16))
    return encoded(mask)


async def test_masking_repaints_the_white_part_and_keeps_the_rest(server: Server) -> None:
    source = picture(64, 32, (10, 200, 30))
    fields = {"prompt": "x", "strength": "0.9", "scheduler": "Euler a"}
    files = {"init_image": ("a.png", source), "mask_image": ("b.png", black_and_white())}
    answer = await server.client.post("/masking", data=fields, files=files)
    assert answer.status_code == 200, answer.text
    drawn = opened((await server.client.get(answer.json()["images"][0]["image_url"])).content)
    assert drawn.size == (64, 32)
    assert drawn.getpixel((60, 16)) == (10, 200, 30)
    assert drawn.getpixel((2, 16)) != (10, 200, 30)
    request = (await the_job(server, answer)).request
    assert (request.strength, request.sampler, request.inpaint.mask.width) == (0.9, "euler_a", 32)


async def test_masking_takes_base64(server: Server) -> None:
    pictures = {"init_image": as_base64(picture(16, 16)), "mask_image": as_base64(black_and_white())}
    assert (await ask(server, "/masking", **pictures))[0] == 200


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "init_image is required"),
        ({"init_image": as_base64(picture())}, "mask_image is required"),
        ({"mask_image": as_base64(picture())}, "init_image is required"),
        ({"init_image": as_base64(picture()), "mask_image": as_base64(HTML)}, "mask_image is not a picture"),
        (
            {"init_image": as_base64(picture()), "mask_image": as_base64(picture()), "strength": "1"},
            "strength must be more than 0 and less than 1, got 1",
        ),
    ],
)
async def test_masking_says_what_it_lacks(server: Server, fields: dict[str, str], message: str) -> None:
    assert await refusal(server, "/masking", **fields) == message


async def test_a_model_that_only_repaints_is_refused_without_a_mask_under_our_name_for_it(tmp_path: Path) -> None:
    async with serving(tmp_path, models=(model("filler", inpainting=True),)) as server:
        assert (await refusal(server)).startswith("mask_image must be given with the model filler")


async def test_a_lora_tag_that_is_unknown_is_told_in_the_header(server: Server) -> None:
    answer = await server.client.post("/txt2img", data={"prompt": "x <lora:ink:1>", "width": "64", "height": "64"})
    assert "there is no LoRA ink for the model tiny" in answer.headers["diffuserve-notes"]
    assert await the_prompt(server, answer) == "x"


# Failures behind the door


@pytest.mark.parametrize("failure", ["fail:error", "fail:oom", "fail:crash"])
async def test_an_engine_failure_is_one_sentence_with_status_500(server: Server, failure: str) -> None:
    status, body = await ask(server, prompt=failure)
    assert (status, body["status"]) == (500, "failure")
    assert "Traceback" not in body["message"]


async def test_a_full_queue_is_answered_503_with_retry_after(tmp_path: Path) -> None:
    async with serving(tmp_path, start=False, max_queue=1) as server:
        await server.client.post("/diffuserve/v1/jobs", json={"prompt": "x"})
        answer = await server.client.post("/txt2img", data={"prompt": "x"})
        assert (answer.status_code, answer.json()["status"]) == (503, "failure")
        assert int(answer.headers["retry-after"]) >= 1


async def test_a_caller_who_hangs_up_cancels_the_job(server: Server) -> None:
    submitted = server.submissions()
    caller = Caller(server.app, "POST", "/txt2img", b"prompt=fail:hang", **FORM).call()
    job = await submitted.get()
    caller.hang_up()
    await caller.finished()
    assert (await server.jobs.get(ANONYMOUS, job.id)).status is JobStatus.CANCELED


async def test_an_unexpected_exception_leaks_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("/secret/path")

    monkeypatch.setattr(server.jobs, "submit", broken)
    status, body = await ask(server)
    assert status == 500
    assert body == {"status": "failure", "message": "something went wrong on the server; its log says more"}
