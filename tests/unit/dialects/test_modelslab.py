"""ModelsLab's picture calls: what is drawn, and how it is answered."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from diffuserve.core import samplers
from diffuserve.core.account import KeyType
from diffuserve.core.model import ControlNetInfo, Family, LoraInfo
from diffuserve.core.request import Inpaint, Lora, Preprocessor
from diffuserve.dialects.modelslab.solver import LISTED, SEVENTEEN
from diffuserve.jobs.catalog import Catalog
from support.app import BASE, MODELS, Caller, HeldClock, Server, model, serving
from support.models import adapter
from support.modelslab import DOCUMENTED, MASK, PICTURE, drawn, post, raw
from support.pictures import opened

pytestmark = pytest.mark.unit

TEXT2IMG = "/api/v6/images/text2img"
PAGES = ("text2img", "img2img", "inpaint", "controlnet")


def steer(server: Server) -> None:
    """Give the catalog LoRAs, ControlNets and an adapter."""
    steering: dict[str, Any] = {
        "loras": [LoraInfo("ink", Family.SD15, "/ink"), LoraInfo("clay", Family.SD15, "/clay")],
        "controlnets": [
            ControlNetInfo("edges", Family.SD15, "/edges", aliases=("canny-v2",)),
            ControlNetInfo("far", Family.SD15, "/far", kind="depth"),
        ],
        "adapters": [adapter("style")],
    }
    models = (*MODELS, model("mine", aliases=("your_model_id",)))
    server.jobs.catalog = Catalog(models, models[0].name, **steering)


class TestTheDocumentedBodies:
    @pytest.mark.parametrize("page", PAGES)
    @pytest.mark.parametrize("path", ["/api/v1/enterprise", "/api/v1/enterprise/community", "/api/v6/images"])
    async def test_each_is_drawn(self, server: Server, page: str, path: str) -> None:
        steer(server)
        jobs = server.submissions()
        told = await post(server, f"{path}/{page}", raw(DOCUMENTED[page]))
        assert (told["status"], len(told["output"])) == ("success", 1)
        asked = jobs.get_nowait().request
        assert (asked.model, asked.width, asked.height, asked.guidance_scale) == ("mine", 512, 512, 7.5)
        assert asked.num_inference_steps == int(DOCUMENTED[page]["num_inference_steps"])
        assert asked.sampler == samplers.by_class_name(DOCUMENTED[page]["scheduler"]).id
        assert told["meta"]["ignored"] == ["tomesd"]

    async def test_each_draws_what_its_page_is_about(self, server: Server) -> None:
        steer(server)
        jobs = server.submissions()
        for page in PAGES:
            await post(server, f"/api/v1/enterprise/{page}", raw(DOCUMENTED[page]))
        text, image, inpaint, control = (jobs.get_nowait().request for _ in PAGES)
        assert (text.init_image, text.controls, text.clip_skip, text.schedule) == (None, (), 1, "karras")
        assert image.init_image is not None and (image.strength, image.inpaint) == (0.7, None)
        assert inpaint.init_image is not None and isinstance(inpaint.inpaint, Inpaint)
        assert control.init_image is not None and control.strength == 0.55
        (net,) = control.controls
        assert (net.model, net.preprocessor, net.image) == ("edges", Preprocessor.CANNY, control.init_image)


class TestTheAnswer:
    async def test_of_a_picture_that_is_done(self, server: Server) -> None:
        told, job = await drawn(server, samples="2", seed="7", track_id="order-77", scheduler="DDIMScheduler")
        assert set(told) == {"status", "generationTime", "id", "output", "proxy_links", "meta"}
        assert (told["status"], told["id"]) == ("success", job.id)
        assert isinstance(told["generationTime"], float)
        for link in told["output"]:
            assert re.match(rf"{BASE}/files/[0-9a-f]{{32}}\.png\?", link)
            got = await server.client.get(link)
            assert (got.headers["content-type"], opened(got.content).size) == ("image/png", (64, 64))
        meta = told["meta"]
        assert (meta["seed"], meta["seeds"], meta["n_samples"], meta["W"], meta["H"]) == (7, [7, 8], 2, 64, 64)
        assert (meta["prompt"], meta["model_id"], meta["steps"]) == ("a cat", "tiny", 20)
        assert (meta["scheduler"], meta["scheduler_used"]) == ("DDIMScheduler", "DDIMScheduler")
        assert (meta["safetychecker"], meta["track_id"], meta["webhook"]) == ("no", "order-77", None)

    async def test_never_shows_the_key(self, server: Server) -> None:
        made = await server.keys.create("acme", KeyType.BEARER)
        told, _ = await drawn(server, key=made.secret)
        assert made.secret not in json.dumps(told)

    async def test_ids_are_read_exactly_by_javascript(self, server: Server) -> None:
        told, _ = await drawn(server)
        assert 0 < told["id"] < 2**53

    @pytest.mark.parametrize("yes", ["yes", True])
    async def test_is_bare_base64_where_that_is_asked_for(self, server: Server, yes: Any) -> None:
        told, _ = await drawn(server, base64=yes)
        (text,) = told["output"]
        assert opened(base64.b64decode(text, validate=True)).size == (64, 64)
        again = await post(server, f"/api/v6/images/fetch/{told['id']}", {})
        assert again["output"] == [text]
        assert again["proxy_links"][0].startswith(BASE)

    async def test_has_links_for_a_day_where_they_are_temporary(self, tmp_path: Path) -> None:
        async with serving(tmp_path, clock=HeldClock()) as held:
            told, _ = await drawn(held, temp="yes")
            assert f"expires={int(held.clock.now()) + 86400}" in told["output"][0]

    async def test_names_what_had_no_effect(self, server: Server) -> None:
        more = {"panorama": "yes", "self_attention": False, "tomesd": True, "vae": "x", "nonsense": 1, "empty": ""}
        told, _ = await drawn(server, **more)
        assert sorted(told["meta"]["ignored"]) == ["nonsense", "panorama", "tomesd", "vae"]

    async def test_of_a_job_that_broke(self, server: Server) -> None:
        answer = await server.client.post(TEXT2IMG, json={"prompt": "fail:oom", "width": 64, "height": 64})
        assert answer.status_code == 500
        assert answer.json()["status"] == "error" and "memory" in answer.json()["message"]


class TestNotYetDone:
    async def test_who_wants_no_wait_is_told_where_to_look(self, server: Server) -> None:
        told, job = await drawn(server, "/api//v1/enterprise/images/text2img/", instant_response=True, samples=2)
        assert (told["status"], told["output"], told["id"]) == ("processing", [], job.id)
        assert told["fetch_result"] == f"{BASE}/api/v1/enterprise/images/fetch/{job.id}"
        assert isinstance(told["eta"], int) and told["eta"] >= 1
        assert told["message"] == told["messege"]
        assert told["meta"]["seed"] == job.request.seeds[0]
        await server.jobs.wait(job.id)
        for index, link in enumerate(told["future_links"]):
            assert re.match(rf"{BASE}/files/{job.id}-{index}\.png\?", link)
            assert (await server.client.get(link)).headers["content-type"] == "image/png"
        done = await post(server, told["fetch_result"], {"key": "x"})
        assert (done["status"], len(done["output"])) == ("success", 2)

    async def test_a_link_to_what_is_not_drawn_yet_says_when_to_come_back(self, tmp_path: Path) -> None:
        async with serving(tmp_path, start=False) as idle:
            told, _ = await drawn(idle, instant_response="yes")
            early = await idle.client.get(told["future_links"][0])
            assert (early.status_code, early.headers["retry-after"]) == (404, "2")

    async def test_a_link_to_a_picture_that_never_comes_does_not(self, server: Server) -> None:
        told, job = await drawn(server, prompt="fail:error", instant_response="yes")
        await server.jobs.wait(job.id)
        gone = await server.client.get(told["future_links"][0])
        assert gone.status_code == 404 and "retry-after" not in gone.headers

    async def test_everybody_else_waits_as_long_as_the_server_says(self, tmp_path: Path) -> None:
        clock = HeldClock()
        async with serving(tmp_path, start=False, clock=clock, modelslab_wait_seconds=5) as idle:
            caller = Caller(idle.app, "POST", TEXT2IMG, b'{"prompt": "x"}', content_type="application/json").call()
            for _ in range(3):
                await clock.advance(2.0)
            assert (await caller.start())[0] == 200
            told = json.loads(await caller.chunk())
            assert told["status"] == "processing"
            assert told["fetch_result"] == f"{BASE}/api/v6/images/fetch/{told['id']}"

    async def test_fetching_too_early_too_late_and_again(self, tmp_path: Path) -> None:
        async with serving(tmp_path, start=False) as idle:
            told, _ = await drawn(idle, instant_response="yes")
            early = await post(idle, "/api/v6/images/fetch", {"request_id": str(told["id"])})
            assert (early["status"], early["output"], early["messege"]) == ("processing", [], "try again later.")
            assert early["eta"] >= 1
            missing = await idle.client.post("/api/v3/fetch/12345", json={})
            assert missing.status_code == 404
            assert missing.json() == {"status": "error", "message": "Request not found", "tip": "no such job: 12345"}

    @pytest.mark.parametrize("path", ["/api/v1/enterprise/fetch", "/api/v4/dreambooth/fetch", "/api/v7/images/fetch"])
    @pytest.mark.parametrize("number", [True, False], ids=["a number", "text"])
    async def test_any_fetch_path_finds_any_request(self, server: Server, path: str, number: bool) -> None:
        told, _ = await drawn(server)
        body = {"request_id": told["id"] if number else str(told["id"])}
        links = [
            (await post(server, path, body))["output"][0],
            (await post(server, f"{path}/{told['id']}", {}))["output"][0],
        ]
        assert len({link.partition("?")[0] for link in [*links, *told["output"]]}) == 1

    async def test_a_browser_may_fetch_with_get(self, server: Server) -> None:
        told, _ = await drawn(server)
        answer = await server.client.get(f"/api/v6/images/fetch/{told['id']}")
        assert answer.json()["status"] == "success"

    async def test_a_job_that_failed_is_failed_over_http_200(self, server: Server) -> None:
        told, job = await drawn(server, prompt="fail:error", instant_response="yes")
        await server.jobs.wait(job.id)
        failed = await post(server, f"/api/v6/images/fetch/{told['id']}", {})
        assert (failed["status"], failed["output"]) == ("failed", [])
        assert failed["message"] == failed["messege"] == "the picture could not be drawn, as the prompt asked"

    async def test_a_fetch_without_an_id_says_so(self, server: Server) -> None:
        answer = await server.client.post("/api/v6/images/fetch", json={})
        assert (answer.status_code, answer.json()["message"]) == (400, "request_id is required")


class TestParameters:
    async def test_the_seventeen_and_lcm_are_all_accepted(self, server: Server) -> None:
        assert len(SEVENTEEN) == 17
        for name in LISTED:
            told, job = await drawn(server, scheduler=name, num_inference_steps=2)
            assert told["meta"]["scheduler"] == name
            assert job.request.sampler == samplers.by_class_name(name).id
            swapped = told["meta"]["scheduler_used"] != name
            assert swapped is any(name in note for note in told["meta"]["notes"])

    @pytest.mark.parametrize(
        ("asked", "meant"),
        [
            ({}, ("euler", "automatic")),
            ({"use_karras_sigmas": "yes"}, ("euler", "karras")),
            ({"scheduler": "EulerDiscreteScheduler"}, ("euler", "karras")),
            ({"scheduler": "EulerDiscreteScheduler", "use_karras_sigmas": "no"}, ("euler", "automatic")),
            ({"scheduler": "DDIMScheduler", "use_karras_sigmas": "yes"}, ("ddim", "automatic")),
            ({"scheduler": "Euler a"}, ("euler_a", "automatic")),
            ({"scheduler": "DPM++ 2M Karras", "use_karras_sigmas": "no"}, ("dpmpp_2m", "karras")),
            ({"scheduler": "KarrasVeScheduler"}, ("heun", "karras")),
            ({"scheduler": "ScoreSdeVeScheduler"}, ("euler_a", "automatic")),
            (
                {"scheduler": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver+++"},
                ("dpmpp_2m_sde", "karras"),
            ),
            ({"scheduler": "DPMSolverMultistepScheduler", "algorithm_type": None}, ("dpmpp_2m", "karras")),
        ],
    )
    async def test_solvers(self, server: Server, asked: dict[str, Any], meant: tuple[str, str]) -> None:
        _, job = await drawn(server, **asked)
        assert (job.request.sampler, job.request.schedule) == meant

    @pytest.mark.parametrize(
        ("body", "field", "value"),
        [
            ({"num_inference_steps": "41"}, "num_inference_steps", 41),
            ({"num_inference_steps": 500}, "num_inference_steps", 50),
            ({"steps": "30"}, "num_inference_steps", 30),
            ({}, "num_inference_steps", 20),
            ({}, "guidance_scale", 3.0),
            ({"guidance_scale": "12"}, "guidance_scale", 12.0),
            ({"clip_skip": "2"}, "clip_skip", 1),
            ({"clip_skip": None}, "clip_skip", 0),
            ({"negative_prompt": "dogs"}, "negative_prompt", "dogs"),
            ({"model_id": "T"}, "model", "tiny"),
            ({"model_id": ""}, "model", "tiny"),
            ({"width": "128", "height": 72}, "width", 128),
            ({"prompt": "  two  blanks "}, "prompt", "  two  blanks "),
        ],
    )
    async def test_plain_ones(self, server: Server, body: dict[str, Any], field: str, value: Any) -> None:
        _, job = await drawn(server, **body)
        assert getattr(job.request, field) == value

    @pytest.mark.parametrize("seed", [None, "", -1, "-1"])
    async def test_a_seed_that_is_none_is_drawn_and_told(self, server: Server, seed: Any) -> None:
        told, job = await drawn(server, seed=seed)
        assert told["meta"]["seed"] == job.request.seeds[0] > 0

    async def test_realtime_calls_may_do_without_guidance(self, server: Server) -> None:
        _, job = await drawn(server, "/api/v6/realtime/text2img", guidance_scale=0)
        assert job.request.guidance_scale == 0

    async def test_a_prompt_is_enhanced_unless_told_not_to_be_and_only_once(self, server: Server) -> None:
        told, job = await drawn(server, enhance_prompt="yes", negative_prompt="dogs")
        meta = told["meta"]
        assert meta["prompt"].startswith("a cat, ") and meta["negative_prompt"].startswith("dogs, ")
        assert (await drawn(server, enhance_prompt=None))[1].request.prompt == meta["prompt"]
        assert (await drawn(server, prompt=meta["prompt"], enhance_prompt=True))[1].request.prompt == meta["prompt"]
        assert job.request.asked_prompt == "a cat"

    async def test_a_server_with_a_prompt_writer_asks_it(self, tmp_path: Path) -> None:
        async with serving(tmp_path, enhancement="chat") as writing:
            told, _ = await drawn(writing, enhance_prompt="yes")
            assert told["meta"]["notes"] == ["the prompt was not enhanced: this server has no prompt writer"]

    async def test_a_style_of_ours_is_used_and_another_named(self, server: Server) -> None:
        told, _ = await drawn(server, "/api/v4/dreambooth", enhance_style="origami", enhance_prompt="yes")
        assert "folded from paper" in told["meta"]["prompt"]
        other, _ = await drawn(server, enhance_style="cinematic-diva")
        assert (other["meta"]["prompt"], other["meta"]["ignored"]) == ("a cat", ["enhance_style"])

    @pytest.mark.parametrize(
        ("models", "strengths", "meant"),
        [
            ("ink", None, (Lora("ink", 1.0),)),
            ("ink,clay", "0.5", (Lora("ink", 0.5), Lora("clay", 0.5))),
            ("ink, clay", "0.5,2", (Lora("ink", 0.5), Lora("clay", 2.0))),
            (["ink", "clay"], [0.3], (Lora("ink", 0.3), Lora("clay", 0.3))),
            ("ink,clay", "1,,", (Lora("ink", 1.0), Lora("clay", 1.0))),
            (None, None, ()),
        ],
    )
    async def test_loras(self, server: Server, models: Any, strengths: Any, meant: tuple[Lora, ...]) -> None:
        steer(server)
        _, job = await drawn(server, lora_model=models, lora_strength=strengths)
        assert job.request.loras == meant

    @pytest.mark.parametrize(
        ("body", "nets"),
        [
            ({"controlnet_type": "canny"}, [("edges", Preprocessor.CANNY, 1.0)]),
            ({"controlnet_model": "far"}, [("far", Preprocessor.NONE, 1.0)]),
            ({"controlnet_model": "vendors-own", "controlnet_type": "depth"}, [("far", Preprocessor.NONE, 1.0)]),
            (
                {"controlnet_model": "canny,depth", "controlnet_conditioning_scale": "0.5,1.2"},
                [("edges", Preprocessor.CANNY, 0.5), ("far", Preprocessor.NONE, 1.2)],
            ),
            (
                {"controlnet_model": "canny", "auto_hint": "no", "controlnet_conditioning_scale": 0.7},
                [("edges", Preprocessor.NONE, 0.7)],
            ),
        ],
    )
    async def test_controls(self, server: Server, body: dict[str, Any], nets: list[tuple[Any, ...]]) -> None:
        steer(server)
        _, job = await drawn(server, "/api/v5/controlnet", init_image=PICTURE, **body)
        controls = job.request.controls
        assert [(net.model, net.preprocessor, net.scale) for net in controls] == nets
        assert job.request.init_image is None and all(net.image is not None for net in controls)

    async def test_guess_mode_needs_no_prompt(self, server: Server) -> None:
        steer(server)
        body = {"prompt": "", "guess_mode": "yes", "controlnet_type": "canny", "control_image": PICTURE}
        _, job = await drawn(server, "/api/v6/images/controlnet", **body)
        assert job.request.prompt == "best quality"

    async def test_a_reference_picture(self, server: Server) -> None:
        steer(server)
        _, job = await drawn(server, ip_adapter_id="style", ip_adapter_scale="0.6", ip_adapter_image=PICTURE)
        assert job.request.reference is not None
        assert (job.request.reference.adapter, job.request.reference.scale) == ("style", 0.6)

    @pytest.mark.parametrize("source", [PICTURE, f"data:image/png;base64,{PICTURE}"])
    async def test_pictures_are_base64_or_data_urls(self, server: Server, source: str) -> None:
        _, job = await drawn(server, "/api/v3/inpaint", init_image=source, mask_image=MASK, strength=0)
        assert job.request.inpaint is not None and job.request.strength > 0

    @pytest.mark.parametrize(
        ("asked", "size"), [("no", 64), ("1", 64), ("yes", 128), (True, 128), (3, 192), ("2", 128)]
    )
    async def test_upscaling(self, server: Server, asked: Any, size: int) -> None:
        told, job = await drawn(server, upscale=asked)
        assert (job.request.width, job.request.height) == (size, size)
        assert (job.request.hires is not None) is (size > 64)
        assert opened((await server.client.get(told["output"][0])).content).size == (size, size)

    async def test_a_picture_that_is_given_is_not_drawn_in_two_passes(self, server: Server) -> None:
        told, job = await drawn(server, "/api/v6/images/img2img", init_image=PICTURE, highres_fix="yes")
        assert (job.request.hires, told["meta"]["ignored"]) == (None, ["highres_fix"])


class TestRefusals:
    @pytest.mark.parametrize(
        ("path", "body", "message"),
        [
            ("text2img", {"prompt": ""}, "prompt is required"),
            ("text2img", {"prompt": None}, "prompt is required"),
            ("text2img", {"prompt": ["a"]}, "prompt must be a string"),
            ("text2img", {"guidance_scale": 99}, "guidance_scale must be between 1 and 20"),
            ("text2img", {"guidance_scale": 0}, "guidance_scale must be between 1 and 20"),
            ("text2img", {"width": 2048}, "width must be between 64 and 1024"),
            ("text2img", {"height": "100"}, "height must be divisible by 8"),
            ("text2img", {"samples": 5}, "samples must be between 1 and 4"),
            ("text2img", {"num_inference_steps": 0}, "num_inference_steps must be between 1 and 50"),
            ("text2img", {"seed": 2**63}, f"seed must be between -1 and {2**63 - 1}"),
            ("text2img", {"clip_skip": 9}, "clip_skip must be between 0 and 8"),
            ("text2img", {"model_id": "nope"}, "Model not found: nope"),
            ("text2img", {"enhance_prompt": "perhaps"}, 'enhance_prompt must be "yes" or "no"'),
            ("text2img", {"upscale": "4"}, "upscale must be one of no, 0, false, 1, yes, true, 2, 3"),
            ("text2img", {"lora_model": "none-such"}, "lora_model must be one of ink, clay"),
            (
                "text2img",
                {"lora_model": "ink", "lora_strength": "1,2"},
                "lora_strength must be at most 1 numbers, as many as there are names",
            ),
            ("text2img", {"lora_model": "ink", "lora_strength": "11"}, "lora_strength must be between -10 and 10"),
            ("text2img", {"ip_adapter_id": "style"}, "ip_adapter_image is required"),
            ("text2img", {"track_id": {"a": 1}}, "track_id must be a string or a number"),
            ("text2img", {"webhook": "ftp://x"}, "webhook must be an http or https address of up to 2048 characters"),
            ("text2img", {"webhook": "http://127.0.0.1/"}, "webhook must be an address on the public internet"),
            ("img2img", {}, "init_image is required"),
            ("img2img", {"init_image": "!!!"}, "init_image is not valid base64"),
            ("img2img", {"init_image": "http://127.0.0.1:1/x.png"}, "Unable to fetch image from provided URL"),
            ("img2img", {"init_image": PICTURE, "strength": 1.5}, "strength must be between 0 and 1"),
            ("inpaint", {"init_image": PICTURE}, "mask_image is required"),
            ("controlnet", {"init_image": PICTURE}, "controlnet_model is required"),
            ("controlnet", {"controlnet_model": "canny"}, "init_image is required"),
            (
                "controlnet",
                {"init_image": PICTURE, "controlnet_type": "hed"},
                "controlnet_model must be one of edges, far",
            ),
        ],
    )
    async def test_name_the_field_and_the_range(
        self, server: Server, path: str, body: dict[str, Any], message: str
    ) -> None:
        steer(server)
        answer = await server.client.post(
            f"/api/v6/images/{path}", json={"prompt": "x", "width": 64, "height": 64, **body}
        )
        assert (answer.status_code, answer.json()["status"]) == (400, "error")
        assert answer.json()["message"] == message

    async def test_an_unknown_scheduler_is_answered_with_the_list(self, server: Server) -> None:
        answer = await server.client.post(TEXT2IMG, json={"prompt": "x", "scheduler": "Magic"})
        said = answer.json()["message"]
        assert answer.status_code == 400
        assert said.startswith("Invalid scheduler: scheduler must be one of Euler, ") and said.endswith("got Magic")

    async def test_a_full_queue_says_when_to_come_back(self, tmp_path: Path) -> None:
        async with serving(tmp_path, start=False, max_queue=1) as full:
            await drawn(full, instant_response=1)
            answer = await full.client.post(TEXT2IMG, json={"prompt": "x"})
            told = answer.json()
            assert (answer.status_code, told["message"]) == (429, "Rate limit exceeded")
            assert told["retry_after"] == int(answer.headers["retry-after"]) >= 1

    async def test_a_get_is_not_allowed_on_a_drawing_path(self, server: Server) -> None:
        answer = await server.client.get(TEXT2IMG)
        assert (answer.status_code, answer.json()["status"], answer.headers["allow"]) == (405, "error", "POST")


class TestAsIn2023:
    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ({"prompt": ""}, {"prompt": ["The prompt field is required."]}),
            ({"prompt": "x", "samples": 9}, {"samples": ["samples must be between 1 and 4"]}),
            ({"prompt": "x", "model_id": "nope"}, "Model id not found"),
        ],
    )
    async def test_failures_come_with_200_and_field_by_field(
        self, tmp_path: Path, body: dict[str, Any], message: Any
    ) -> None:
        async with serving(tmp_path, modelslab_legacy_errors=True) as old:
            told = await post(old, TEXT2IMG, body)
            assert (told["status"], told["message"], told["messege"]) == ("error", message, message)

    async def test_a_job_that_broke_is_failed(self, tmp_path: Path) -> None:
        async with serving(tmp_path, modelslab_legacy_errors=True) as old:
            told = await post(old, TEXT2IMG, {"prompt": "fail:error"})
            assert (told["status"], told["id"], told["message"], told["output"]) == (
                "failed",
                "",
                "Failed, Try Again",
                "",
            )

    async def test_a_full_queue(self, tmp_path: Path) -> None:
        async with serving(tmp_path, modelslab_legacy_errors=True, start=False, max_queue=1) as old:
            await drawn(old, instant_response="yes")
            full = await post(old, TEXT2IMG, {"prompt": "x"})
            assert (full["message"], "queue is full" in full["tips"]) == ("Rate limit exceeded", True)

    async def test_a_wrong_key(self, tmp_path: Path) -> None:
        async with serving(tmp_path, modelslab_legacy_errors=True) as old:
            await old.keys.create("acme", KeyType.BEARER)
            told = await post(old, TEXT2IMG, {"prompt": "x", "key": "wrong"})
            assert (told["message"], told["tip"]) == ("Invalid Api Key", "the key is not valid")

    async def test_video_too(self, tmp_path: Path) -> None:
        async with serving(tmp_path, modelslab_legacy_errors=True) as old:
            told = await post(old, "/api/v1/enterprise/text2video", {"prompt": "x"})
            assert (told["status"], told["message"]) == ("error", told["messege"])
