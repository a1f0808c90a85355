"""Volcengine's tasks: submitted, asked for, withdrawn, forgotten."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from diffuserve.config import RecipeEntry
from diffuserve.core.account import KeyLimits, KeyType
from diffuserve.core.errors import ConfigurationError
from diffuserve.core.principal import ANONYMOUS
from diffuserve.core.request import GenerationRequest
from diffuserve.dialects.volcengine.recipes import PASTEL, Recipes, prompt_of
from support.app import HeldClock, Server, serving
from support.pictures import opened
from support.volcengine import NEW, REQ_KEY, body, path

pytestmark = pytest.mark.unit

PAIRS = [("CVSync2AsyncSubmitTask", "CVSync2AsyncGetResult"), ("CVSubmitTask", "CVGetResult")]


async def submit(server: Server, action: str = "CVSync2AsyncSubmitTask", token: str = "", **fields: Any) -> str:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    answer = await server.client.post(path(action), json=body(**fields), headers=headers)
    said = answer.json()
    assert (answer.status_code, said["code"], list(said["data"])) == (200, 10000, ["task_id"])
    task_id: str = said["data"]["task_id"]
    assert task_id.isdecimal()
    return task_id


async def query(
    server: Server, task_id: str, options: Any = None, token: str = "", action: str = "CVSync2AsyncGetResult"
) -> dict[str, Any]:
    sent = {"req_key": REQ_KEY, "task_id": task_id}
    if options is not None:
        sent["req_json"] = options if isinstance(options, str) else json.dumps(options, ensure_ascii=False)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    answer = await server.client.post(path(action), json=sent, headers=headers)
    said: dict[str, Any] = answer.json()
    assert answer.status_code == 200, said
    return said


async def status(server: Server, task_id: str, **more: Any) -> str:
    said: str = (await query(server, task_id, **more))["data"]["status"]
    return said


async def done(server: Server, **fields: Any) -> str:
    task_id = await submit(server, **fields)
    await server.jobs.wait(int(task_id))
    return task_id


@pytest.mark.parametrize(("submitting", "asking"), PAIRS)
async def test_a_task_comes_to_its_picture(server: Server, submitting: str, asking: str) -> None:
    task_id = await submit(server, submitting)
    await server.jobs.wait(int(task_id))
    data = (await query(server, task_id, action=asking))["data"]
    assert (data["status"], data["image_urls"]) == ("done", None)
    assert opened(base64.b64decode(data["binary_data_base64"][0])).size == (192, 256)


async def test_a_task_that_waits_is_in_the_queue_and_one_that_is_drawn_is_generating(tmp_path: Path) -> None:
    async with serving(tmp_path, start=False) as server:
        said = await query(server, await submit(server))
        assert said["data"] == {"binary_data_base64": None, "image_urls": None, "status": "in_queue"}
    async with serving(tmp_path) as server:
        task_id = await submit(server, prompt="fail:hang")
        async for _ in server.jobs.watch(ANONYMOUS, int(task_id)):
            break
        assert await status(server, task_id) == "generating"
        await server.jobs.cancel(ANONYMOUS, int(task_id))


async def test_how_it_is_shown_is_chosen_at_each_query_and_the_clean_picture_is_kept(server: Server) -> None:
    task_id = await done(server, seed=7)

    async def shown(**logo: Any) -> Any:
        data = (await query(server, task_id, {"logo_info": logo} if logo else None))["data"]
        return opened(base64.b64decode(data["binary_data_base64"][0]))

    clean, marked = await shown(), await shown(add_logo=True, opacity=1)
    assert clean != marked
    assert await shown() == clean == await shown(add_logo=False)
    linked = (await query(server, task_id, {"return_url": True}))["data"]
    assert linked["binary_data_base64"] is None
    assert opened((await server.client.get(linked["image_urls"][0])).content) == clean
    both = (await query(server, task_id, {"return_url": True, "logo_info": {"add_logo": True, "opacity": 1}}))["data"]
    link = both["image_urls"][0]
    answer = await server.client.get(link)
    assert opened(answer.content) == marked
    assert answer.headers["content-length"] == (await server.client.head(link)).headers["content-length"]
    again = await server.client.get(link, headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304


async def test_a_link_with_a_watermark_does_not_open_without_it(server: Server) -> None:
    task_id = await done(server)
    data = (await query(server, task_id, {"return_url": True, "logo_info": {"add_logo": True}}))["data"]
    link, _, mark = data["image_urls"][0].partition("&mark=")
    assert mark
    for forged in (link, f"{link}&mark=", f"{link}&mark=x", f"{link}&mark={mark}A", f"{link}&mark={'x' * 5000}"):
        assert (await server.client.get(forged)).status_code == 404


async def test_a_logo_that_came_with_the_submission_is_laid_over_once(server: Server) -> None:
    task_id = await done(server, logo_info={"add_logo": True, "opacity": 1})
    plain = (await query(server, task_id))["data"]
    again = (await query(server, task_id, {"logo_info": {"add_logo": True, "position": 2, "opacity": 1}}))["data"]
    assert plain == again


async def test_provenance_is_accepted_and_not_promised(server: Server) -> None:
    task_id = await done(server)
    data = (await query(server, task_id, {"aigc_meta": {"producer_id": "x"}}))["data"]
    assert (data["status"], data["aigc_meta_tagged"]) == ("done", False)


@pytest.mark.parametrize("task_id", ["1", "0", "7392616336519610409", "x", "", "9" * 30, "١", "-1"])
async def test_an_unknown_task_is_not_found(server: Server, task_id: str) -> None:
    data = (await query(server, task_id))["data"]
    assert data == {"binary_data_base64": None, "image_urls": None, "status": "not_found"}


async def test_a_task_of_another_key_is_not_found_and_cannot_be_withdrawn(server: Server) -> None:
    made = [await server.keys.create("acme", KeyType.BEARER) for _ in range(2)]
    stranger = await server.keys.create("stranger", KeyType.BEARER)
    task_id = await submit(server, token=made[0].secret, prompt="fail:hang")
    for key in (made[1], stranger):
        assert await status(server, task_id, token=key.secret) == "not_found"
        headers = {"authorization": f"Bearer {key.secret}"}
        sent = {"req_key": REQ_KEY, "task_id": task_id}
        answer = await server.client.post(path("CVCancelTask", NEW), json=sent, headers=headers)
        assert answer.json()["data"] == {"status": "not_found"}
    assert await status(server, task_id, token=made[0].secret) in ("in_queue", "generating")


async def test_another_dialects_job_is_no_task(server: Server) -> None:
    job = await server.jobs.submit(ANONYMOUS, "native", GenerationRequest(prompt="x"))
    assert await status(server, str(job.id)) == "not_found"


async def test_a_task_that_failed_is_answered_with_its_error(server: Server) -> None:
    task_id = await done(server, prompt="fail:error")
    answer = await server.client.post(path("CVSync2AsyncGetResult"), json={"req_key": REQ_KEY, "task_id": task_id})
    assert (answer.status_code, answer.json()["code"], answer.json()["data"]) == (500, 50501, None)


async def test_a_task_can_be_withdrawn_and_has_expired_then(server: Server) -> None:
    task_id = await submit(server, prompt="fail:hang")
    answer = await server.client.post(path("CVCancelTask", NEW), json={"req_key": REQ_KEY, "task_id": task_id})
    assert answer.json()["data"] == {"status": "expired"}
    assert await status(server, task_id) == "expired"
    finished = await done(server)
    answer = await server.client.post(path("CVCancelTask", NEW), json={"req_key": REQ_KEY, "task_id": finished})
    assert answer.json()["data"] == {"status": "done"}
    assert await status(server, finished) == "done"


async def test_a_result_is_forgotten_after_twelve_hours(tmp_path: Path) -> None:
    clock = HeldClock()
    async with serving(tmp_path, clock=clock) as server:
        task_id = await submit(server)
        # Each of the fake engine's steps sleeps for no time at all, until the clock is told to go on.
        while not (await server.jobs.get(ANONYMOUS, int(task_id))).status.ended:
            await clock.advance(0.0)
        ended = (await server.jobs.get(ANONYMOUS, int(task_id))).finished_at
        assert ended is not None
        clock.set(ended + 12 * 3600)
        assert await status(server, task_id) == "done"
        clock.set(ended + 12 * 3600 + 1)
        assert await status(server, task_id) == "not_found"


async def test_a_picture_that_was_swept_away_has_expired(server: Server) -> None:
    task_id = await done(server)
    job = await server.jobs.get(ANONYMOUS, int(task_id))
    await server.blobs.delete(job.artifacts[0].blob_key)
    assert await status(server, task_id) == "expired"


async def test_too_many_open_tasks_of_a_key_are_a_concurrent_limit(tmp_path: Path) -> None:
    async with serving(tmp_path, start=False) as server:
        made = await server.keys.create("acme", KeyType.BEARER, limits=KeyLimits(concurrent_jobs=1))
        await submit(server, token=made.secret)
        headers = {"authorization": f"Bearer {made.secret}"}
        answer = await server.client.post(path("CVSync2AsyncSubmitTask"), json=body(), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (429, 50430)
        assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"task_id": "1"}, 50201),
        ({"req_key": REQ_KEY}, 50201),
        ({"req_key": REQ_KEY, "task_id": 1}, 50204),
        ({"req_key": REQ_KEY, "task_id": "1", "req_json": {"return_url": True}}, 50204),
        # What the SDK's own example sends: quotation marks of full width.
        ({"req_key": REQ_KEY, "task_id": "1", "req_json": "{“return_url”：true}"}, 50200),
        ({"req_key": REQ_KEY, "task_id": "1", "req_json": "[]"}, 50200),
        ({"req_key": REQ_KEY, "task_id": "1", "req_json": '{"return_url": "yes"}'}, 50204),
        ({"req_key": REQ_KEY, "task_id": "1", "req_json": '{"logo_info": {"position": 9}}'}, 50200),
    ],
)
async def test_a_query_that_is_wrong_is_refused(server: Server, sent: dict[str, Any], code: int) -> None:
    answer = await server.client.post(path("CVSync2AsyncGetResult"), json=sent)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


# Recipes


async def test_a_recipe_of_the_settings_draws_under_its_names(tmp_path: Path) -> None:
    recipe = RecipeEntry(
        name="ghibli",
        aliases=["img2img_ghibli_style"],
        model="other",
        prompt="a film still of {prompt}",
        sampler="Heun",
        num_inference_steps=9,
        guidance_scale=3,
        strength=0.5,
    )
    async with serving(tmp_path, start=False, recipes=[recipe]) as server:
        for name in ("ghibli", "img2img_ghibli_style"):
            job = await server.jobs.get(ANONYMOUS, int(await submit(server, req_key=name)))
            request = job.request
            assert (request.model, request.prompt) == ("other", "a film still of a statue")
            assert (request.sampler, request.num_inference_steps) == ("heun", 9)
            assert (request.guidance_scale, request.strength) == (3.0, 0.5)


def test_a_recipe_may_take_the_place_of_the_built_in_style() -> None:
    mine = RecipeEntry(name="img2img_pastel_boys_style")
    assert Recipes([mine]).find(REQ_KEY) is mine
    assert Recipes().find("img2img_pastel_boys_style") is PASTEL


def test_two_recipes_of_one_name_are_refused_at_the_start() -> None:
    with pytest.raises(ConfigurationError, match="both called b"):
        Recipes([RecipeEntry(name="a", aliases=["b"]), RecipeEntry(name="b")])


@pytest.mark.parametrize(
    "wrong", [{"model": "absent"}, {"loras": {"absent": 1}}, {"sampler": "magic"}, {"adapter": "x"}]
)
async def test_a_recipe_that_cannot_be_drawn_is_refused_at_the_start(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="the recipe mine cannot be used"):
        async with serving(tmp_path, start=False, recipes=[RecipeEntry(name="mine", **wrong)]):
            raise AssertionError("it started")


def test_a_prompt_may_be_left_out_where_the_recipe_has_words_of_its_own() -> None:
    assert prompt_of(PASTEL, "") == "pastel colors, soft light, delicate lines, 2d illustration"
    assert prompt_of(RecipeEntry(name="x"), "{prompt}") == "{prompt}"
