"""The native dialect over the whole server."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from diffuserve.core.events import Preview, Progress, Started
from diffuserve.core.job import JobStatus
from diffuserve.core.principal import ANONYMOUS
from diffuserve.dialects.native.events import HEARTBEAT_SECONDS, event_stream
from support.app import Caller, HeldClock, Server, serving
from support.pictures import HTML, as_base64, opened, picture

pytestmark = pytest.mark.unit

JOBS = "/diffuserve/v1/jobs"
UNSTEERED = {
    "asked_prompt": None,
    "loras": {},
    "controls": [],
    "reference": None,
    "inpaint": None,
    "hires": None,
    "variation": None,
    "keep_texture": True,
    "watermark": None,
    "format": "png",
    "quality": 90,
}
"""What a settled request says of all that was not asked for."""


async def problem(server: Server, body: Any, path: str = JOBS) -> dict[str, Any]:
    answer = await server.client.post(path, json=body)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    fields: dict[str, Any] = answer.json()
    assert fields["status"] == 400
    return fields


async def drawn(server: Server, **body: Any) -> dict[str, Any]:
    answer = await server.client.post(JOBS + "?wait=60", json={"prompt": "a red apple", **body})
    assert answer.status_code == 200, answer.text
    job: dict[str, Any] = answer.json()
    return job


async def test_a_job_is_accepted_with_its_address(tmp_path: Path) -> None:
    async with serving(tmp_path, start=False) as server:
        answer = await server.client.post(JOBS, json={"prompt": "a red apple"})
        job = answer.json()
        assert (answer.status_code, job["status"], job["images"]) == (202, "queued", [])
        assert answer.headers["location"] == f"{JOBS}/{job['id']}"
        assert (await server.client.get(answer.headers["location"])).json() == job


async def test_waiting_answers_the_ended_job(server: Server) -> None:
    job = await drawn(server, num_images=2, seed=7, width=40, height=24)
    assert (job["status"], job["error"], job["progress"]) == ("succeeded", None, None)
    assert [image["seed"] for image in job["images"]] == [7, 8]
    assert job["usage"]["images"] == 2
    for image in job["images"]:
        file = await server.client.get(image["url"])
        assert opened(file.content).size == (40, 24) == (image["width"], image["height"])
        assert image["size"] == len(file.content)


async def test_the_settled_request_shows_every_default(server: Server) -> None:
    assert (await drawn(server))["request"] | {"seeds": []} == {
        "prompt": "a red apple",
        "negative_prompt": "",
        "model": "tiny",
        "width": 64,
        "height": 64,
        "seeds": [],
        "num_inference_steps": 5,
        "guidance_scale": 3.0,
        "sampler": "euler",
        "schedule": "automatic",
        "clip_skip": 0,
        "eta": 0.0,
        "strength": None,
        **UNSTEERED,
    }


async def test_every_parameter_reaches_the_request(server: Server) -> None:
    asked = {
        "prompt": "cat",
        "negative_prompt": "dog",
        "model": "other",
        "width": 70,
        "height": 50,
        "seeds": [3, 2**63],
        "num_inference_steps": 4,
        "guidance_scale": 2,
        "sampler": "Euler a",
        "schedule": "karras",
        "clip_skip": 2,
        "eta": 0.25,
        "strength": 0.5,
    }
    body = {**asked, "num_images": 2, "init_image": as_base64(picture()), "preview_every": 2}
    settled = (await drawn(server, **body))["request"]
    assert settled == {**UNSTEERED, **asked, "sampler": "euler_a"}


async def test_null_means_the_default(server: Server) -> None:
    assert (await drawn(server, width=None, seed=None, model=None, init_image=None))["status"] == "succeeded"


async def test_notes_say_what_was_done_otherwise(server: Server) -> None:
    job = await drawn(server, sampler="Restart", model="other", width=256, height=256)
    assert any("Restart was replaced" in note for note in job["notes"])
    assert any("64x64" in note and "256x256" in note for note in job["notes"])


@pytest.mark.parametrize(
    ("change", "code", "param", "detail"),
    [
        ({"prompt": None}, "invalid_parameter", "prompt", "prompt must be text"),
        ({"prompt": " "}, "missing_parameter", "prompt", "prompt is required"),
        (
            {"steps": 9},
            "invalid_parameter",
            "steps",
            "steps must be one of the known parameters: prompt, negative_prompt",
        ),
        ({"width": "64"}, "invalid_parameter", "width", "width must be a whole number, got 64"),
        ({"width": 64.5}, "invalid_parameter", "width", "width must be a whole number, got 64.5"),
        ({"width": True}, "invalid_parameter", "width", "width must be a whole number, got True"),
        ({"width": 0}, "invalid_parameter", "width", "width must be a whole number between 1"),
        ({"guidance_scale": 1e999}, "invalid_parameter", "guidance_scale", "guidance_scale must be a"),
        ({"num_images": 17}, "invalid_parameter", "num_images", "num_images must be a whole number between 1 and 16"),
        ({"num_images": 10**9, "seed": 1}, "invalid_parameter", "num_images", "num_images must be"),
        ({"seed": -1}, "invalid_parameter", "seed", "seed must be between 0 and 18446744073709551615, got -1"),
        ({"seed": 1, "seeds": [2]}, "invalid_parameter", "seed", "seed must be absent where seeds is given"),
        ({"seeds": [1, 2]}, "invalid_parameter", "seeds", "seeds must be at most one for each"),
        ({"seeds": ["a"]}, "invalid_parameter", "seeds[0]", "seeds[0] must be a whole number"),
        ({"sampler": "magic"}, "invalid_parameter", "sampler", "sampler must be one of Euler"),
        ({"model": "x"}, "unknown_model", "model", "no such model: x; known models: tiny, other"),
        ({"strength": 0.5}, "missing_parameter", "init_image", "init_image is required"),
        ({"init_image": as_base64(HTML)}, "unreadable_picture", "init_image", "init_image is not a picture"),
    ],
)
async def test_a_refusal_names_the_parameter_and_what_it_may_be(
    server: Server, change: dict[str, Any], code: str, param: str, detail: str
) -> None:
    body = json.dumps({"prompt": "x", **change}).replace("Infinity", "1e999")
    answer = await server.client.post(JOBS, content=body, headers={"content-type": "application/json"})
    fields = answer.json()
    assert (answer.status_code, fields["code"], fields["param"]) == (400, code, param)
    assert fields["detail"].startswith(detail)


async def test_a_missing_prompt_is_named(server: Server) -> None:
    assert (await problem(server, {}))["detail"] == "prompt is required"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"x"', b"\xff", b'{"prompt":"\\ud800"}', b"[" * 100_000])
async def test_a_body_that_is_no_json_object_is_malformed(server: Server, content: bytes) -> None:
    answer = await server.client.post(JOBS, content=content, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_body")


@pytest.mark.parametrize("headers", [{}, {"content-type": "text/plain"}])
async def test_only_json_is_understood(server: Server, headers: dict[str, str]) -> None:
    answer = await server.client.post(JOBS, content=b'{"prompt":"x"}', headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("wait", ["-1", "x", "nan", "99999"])
async def test_a_bad_wait_is_refused(server: Server, wait: str) -> None:
    assert (await problem(server, {"prompt": "x"}, f"{JOBS}?wait={wait}"))["param"] == "wait"


async def test_a_wait_that_is_over_answers_the_job_as_it_is(tmp_path: Path) -> None:
    clock = HeldClock()
    async with serving(tmp_path, clock=clock, start=False) as server:
        submitted = server.submissions()
        caller = Caller(server.app, "POST", f"{JOBS}?wait=5", b'{"prompt":"x"}', content_type="application/json").call()
        await submitted.get()
        await clock.advance(6)
        assert (await caller.start())[0] == 202
        assert json.loads(await caller.chunk())["status"] == "queued"


async def test_hanging_up_while_waiting_cancels_the_job(server: Server) -> None:
    submitted = server.submissions()
    body = b'{"prompt":"fail:hang"}'
    caller = Caller(server.app, "POST", f"{JOBS}?wait=60", body, content_type="application/json").call()
    job = await submitted.get()
    caller.hang_up()
    await caller.finished()
    assert (await server.jobs.get(ANONYMOUS, job.id)).status is JobStatus.CANCELED


@pytest.mark.parametrize(("prompt", "code"), [("fail:error", "generation_failed"), ("fail:oom", "out_of_memory")])
async def test_a_failed_job_carries_its_error(server: Server, prompt: str, code: str) -> None:
    job = await drawn(server, prompt=prompt)
    assert (job["status"], job["error"]["code"], job["images"]) == ("failed", code, [])


async def test_cancelling_ends_a_job_once_and_may_be_repeated(server: Server) -> None:
    job = (await server.client.post(JOBS, json={"prompt": "fail:hang"})).json()
    for _ in range(2):
        answer = await server.client.delete(f"{JOBS}/{job['id']}")
        assert (answer.status_code, answer.json()["status"]) == (200, "canceled")


async def test_cancelling_an_ended_job_leaves_it(server: Server) -> None:
    job = await drawn(server)
    assert (await server.client.delete(f"{JOBS}/{job['id']}")).json()["status"] == "succeeded"


@pytest.mark.parametrize("job_id", ["1", "x", "-1", "0", "9" * 30, "１", "9223372036854775808", "%2e%2e"])
@pytest.mark.parametrize(("method", "tail"), [("GET", ""), ("DELETE", ""), ("GET", "/events")])
async def test_an_unknown_job_is_answered_404(server: Server, method: str, tail: str, job_id: str) -> None:
    answer = await server.client.request(method, f"{JOBS}/{job_id}{tail}")
    assert answer.status_code == 404
    assert answer.json()["code"] in ("job_not_found", "route_not_found")


# Events


def events_of(text: str) -> list[tuple[str, Any]]:
    events = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in fields:
            events.append((fields["event"], json.loads(fields["data"])))
    return events


async def test_events_are_the_jobs_life_and_end_with_the_whole_job(server: Server) -> None:
    job = (await server.client.post(JOBS, json={"prompt": "x"})).json()
    answer = await server.client.get(f"{JOBS}/{job['id']}/events")
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")
    name, data = events_of(answer.text)[-1]
    assert (name, data["id"], data["status"], len(data["images"])) == ("succeeded", job["id"], "succeeded", 1)


@pytest.mark.parametrize(("prompt", "name"), [("x", "succeeded"), ("fail:error", "failed")])
async def test_an_ended_job_has_one_event(server: Server, prompt: str, name: str) -> None:
    job = await drawn(server, prompt=prompt)
    answer = await server.client.get(f"{JOBS}/{job['id']}/events")
    assert [event[0] for event in events_of(answer.text)] == [name]


async def test_a_browser_that_reconnects_after_the_end_is_told_to_stop(server: Server) -> None:
    job = await drawn(server)
    answer = await server.client.get(f"{JOBS}/{job['id']}/events", headers={"last-event-id": "end"})
    assert answer.status_code == 204


async def test_events_arrive_while_the_job_runs_and_hanging_up_does_not_cancel_it(server: Server) -> None:
    job = (await server.client.post(JOBS, json={"prompt": "fail:hang"})).json()
    caller = Caller(server.app, "GET", f"{JOBS}/{job['id']}/events").call()
    assert (await caller.start())[0] == 200
    assert (await caller.chunk()).startswith(b":")
    assert (await caller.chunk()).startswith(b"event: started")
    caller.hang_up()
    await caller.finished()
    assert not (await server.jobs.get(ANONYMOUS, int(job["id"]))).status.ended


async def test_cancelling_ends_the_stream(server: Server) -> None:
    job = (await server.client.post(JOBS, json={"prompt": "fail:hang"})).json()
    caller = Caller(server.app, "GET", f"{JOBS}/{job['id']}/events").call()
    await caller.start()
    await server.client.delete(f"{JOBS}/{job['id']}")
    text = ""
    while chunk := await caller.chunk():
        text += chunk.decode()
    assert events_of(text)[-1][0] == "canceled"


async def test_progress_and_previews_have_their_own_events() -> None:
    async def happenings() -> Any:
        yield Started()
        yield Progress(1, 4)
        yield Preview(0, 1, 2, 2, bytes(12))

    response = event_stream(happenings(), lambda artifact: "", HeldClock())
    text = "".join([bytes(part).decode() async for part in response.body_iterator])
    events = events_of(text)
    assert events[:2] == [("started", {}), ("progress", {"done": 1, "total": 4})]
    name, data = events[2]
    prefix, _, encoded = data["image"].partition(",")
    assert (name, data["step"], prefix) == ("preview", 1, "data:image/jpeg;base64")
    assert opened(base64.b64decode(encoded)).size == (2, 2)


async def test_a_silence_is_filled_with_comments() -> None:
    clock = HeldClock()

    async def silence() -> Any:
        await clock.sleep(2.5 * HEARTBEAT_SECONDS)
        yield Started()

    frames = aiter(event_stream(silence(), lambda artifact: "", clock).body_iterator)
    assert (await anext(frames)).startswith(b":")
    for expected in (b": still here", b": still here", b"event: started"):
        moved = asyncio.create_task(clock.advance(HEARTBEAT_SECONDS, sleepers=2))
        assert bytes(await anext(frames)).startswith(expected)
        await moved


# Tables


async def test_models_are_listed_with_their_defaults_and_without_paths(server: Server) -> None:
    answer = await server.client.get("/diffuserve/v1/models")
    first, second = answer.json()["models"]
    assert (first["name"], first["default"], first["aliases"], second["default"]) == ("tiny", True, ["t"], False)
    assert first["defaults"] == {
        "sampler": "euler",
        "num_inference_steps": 5,
        "guidance_scale": 3.0,
        "width": 64,
        "height": 64,
    }
    assert "secret" not in answer.text


async def test_samplers_schedules_and_substitutes_are_listed(server: Server) -> None:
    body = (await server.client.get("/diffuserve/v1/samplers")).json()
    assert "euler_a" in [sampler["id"] for sampler in body["samplers"]]
    assert "karras" in [schedule["id"] for schedule in body["schedules"]]
    assert all(entry["reason"] for entry in body["substitutes"])
