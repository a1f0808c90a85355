"""The management calls, on a server of one's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from diffuserve.core.account import KeyType
from diffuserve.core.job import JobStatus
from diffuserve.core.principal import ANONYMOUS
from diffuserve.dialects.modelslab.management import NOT_OFFERED, WITHOUT_MODEL
from support.app import BASE, Server, serving
from support.modelslab import PICTURE, drawn, post
from support.pictures import opened

pytestmark = pytest.mark.unit

ROOT = "/api/v1/enterprise"


@pytest.mark.parametrize("family", ["", "/video", "/images", "/flux"])
async def test_a_server_tells_of_itself_under_every_family(server: Server, family: str) -> None:
    assert await post(server, f"{ROOT}{family}/system_details", {}) == {
        "model_count": 2,
        "queue_time": 0,
        "status": "ok",
    }


async def test_the_queue_is_counted_in_requests_and_seconds(tmp_path: Path) -> None:
    async with serving(tmp_path, start=False) as idle:
        for _ in range(3):
            await drawn(idle, instant_response="yes", num_inference_steps=10)
        told = await post(idle, "/api/v3/system_load", {"key": "x"})
        # Nothing was measured yet: half a second a step is supposed.
        assert told == {"queue_num": 3, "queue_time": 15, "status": "ok"}


async def test_models_are_listed_with_the_day_they_were(server: Server) -> None:
    told = await post(server, f"{ROOT}/get_all_models", {})
    assert (told["status"], [model["model_id"] for model in told["models"]]) == ("success", ["tiny", "other"])
    for model in told["models"]:
        assert re.fullmatch(r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d", model["load_data"])


async def test_the_oldest_list_of_models_is_a_bare_array(server: Server) -> None:
    told = await post(server, "/api/v4/dreambooth/model_list", {})
    assert [(model["model_id"], model["status"]) for model in told] == [
        ("tiny", "model_ready"),
        ("other", "model_ready"),
    ]


async def test_a_model_is_verified_or_not_found(server: Server) -> None:
    assert (await post(server, f"{ROOT}/verify_model", {"model_id": "t"}))["message"] == "Model exists on server"
    for body, message in (({"model_id": "x"}, "Model not found: x"), ({}, "model_id is required")):
        answer = await server.client.post(f"{ROOT}/verify_model", json=body)
        assert (answer.status_code, answer.json()["message"]) == (400, message)


async def test_schedulers_are_the_documented_ones(server: Server) -> None:
    told = await post(server, f"{ROOT}/schedulers_list", {})
    assert len(told["schedulers"]) == 18
    assert "ScoreSdeVeScheduler" in told["schedulers"]


@pytest.mark.parametrize("call", ["load_model", "load_model_v2"])
async def test_a_listed_model_is_loaded_by_its_first_job_and_pickles_never(server: Server, call: str) -> None:
    told = await post(server, f"{ROOT}/{call}", {"model_id": "other", "url": "owner/name", "from_safetensors": "yes"})
    assert (told["status"], told["message"], told["model_id"]) == ("success", "model load started", "other")
    for field, value in (("model_type", "custom_ckpt"), ("model_format", "pt")):
        answer = await server.client.post(f"{ROOT}/{call}", json={"model_id": "other", field: value})
        assert answer.status_code == 400
        assert answer.json()["message"].startswith(f"{field} must be safetensors or diffusers")
    answer = await server.client.post(f"{ROOT}/{call}", json={"model_id": "new", "url": "owner/name"})
    assert (answer.status_code, "[[models]]" in answer.json()["message"]) == (501, True)


@pytest.mark.parametrize("call", sorted(NOT_OFFERED))
async def test_what_changes_the_server_is_an_administrators_affair(server: Server, call: str) -> None:
    for scopes, status in ((frozenset(), 403), (frozenset({"admin"}), 501)):
        made = await server.keys.create("acme", KeyType.BEARER, scopes=scopes)
        answer = await server.client.post(f"{ROOT}/{call}", json={"key": made.secret})
        assert (answer.status_code, answer.json()["status"]) == (status, "error")


@pytest.mark.parametrize("call", sorted(WITHOUT_MODEL))
async def test_what_needs_another_model_is_not_offered(server: Server, call: str) -> None:
    answer = await server.client.post(f"{ROOT}/{call}", json={"init_image": PICTURE})
    assert (answer.status_code, answer.json()["message"]) == (501, WITHOUT_MODEL[call])


async def test_clearing_the_queue_cancels_ones_own_waiting_requests(tmp_path: Path) -> None:
    async with serving(tmp_path, start=False) as idle:
        mine, theirs = [(await idle.keys.create(name, KeyType.BEARER)).secret for name in ("mine", "theirs")]
        made = [await drawn(idle, instant_response="yes", key=key) for key in (mine, mine, theirs)]
        told = await post(idle, f"{ROOT}/clear_queue", {"key": mine})
        assert (told["status"], told["message"]) == ("success", "2 waiting requests were canceled")
        ends = [
            (await post(idle, f"/api/v3/fetch/{one['id']}", {"key": key}))["status"]
            for (one, _), key in zip(made, (mine, mine, theirs), strict=True)
        ]
        assert ends == ["failed", "failed", "processing"]
        assert (await post(idle, f"{ROOT}/clear_queue", {"key": mine}))["message"] == "0 waiting requests were canceled"


async def test_caches_need_no_clearing(server: Server) -> None:
    assert (await post(server, f"{ROOT}/clear_cache", {}))["message"] == "Cache cleared successfully"


@pytest.mark.parametrize(
    ("path", "body", "link"),
    [
        (f"{ROOT}/upload_image", {"base64_image": PICTURE, "image_type": "png"}, lambda told: told["image_url"]),
        ("/api/v6/video/base64_to_url", {"base64_string": PICTURE}, lambda told: told["output"][0]),
    ],
)
async def test_a_picture_that_is_sent_gets_a_link(server: Server, path: str, body: dict[str, Any], link: Any) -> None:
    told = await post(server, path, body)
    assert told["status"] == "success"
    url = link(told)
    assert re.match(rf"{BASE}/files/[0-9a-f]{{64}}\.png\?", url)
    got = await server.client.get(url)
    assert (got.headers["content-type"], opened(got.content).size) == ("image/png", (64, 64))
    assert (await server.client.get(url.replace("signature=", "signature=0"))).status_code == 404


async def test_what_is_no_picture_gets_none(server: Server) -> None:
    for body, message in (
        ({}, "base64_image is required"),
        ({"base64_image": "eA=="}, "base64_image is not a picture"),
    ):
        answer = await server.client.post(f"{ROOT}/upload_image", json=body)
        assert (answer.status_code, answer.json()["message"]) == (400, message)


async def test_jobs_of_others_dialects_are_fetched_too(server: Server) -> None:
    job = (await server.client.post("/diffuserve/v1/jobs?wait=20", json={"prompt": "a cat"})).json()
    told = await post(server, f"{ROOT}/fetch/{job['id']}", {})
    assert (told["status"], told["meta"]["prompt"], told["meta"]["ignored"]) == ("success", "a cat", [])
    assert (await server.jobs.get(ANONYMOUS, int(job["id"]))).status is JobStatus.SUCCEEDED
