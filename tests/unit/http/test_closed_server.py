"""A server that asks for keys: where the plain dialect looks for one, and what stays open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from diffuserve.core.account import KeyType
from diffuserve.core.principal import ANONYMOUS
from support.app import Server, serving
from support.clock import FakeClock

pytestmark = pytest.mark.unit

FORM = {"prompt": "x", "width": "64", "height": "64"}


async def token(server: Server, *scopes: str) -> str:
    return (await server.keys.create("acme", KeyType.BEARER, scopes=frozenset(scopes))).secret


# The plain dialect's places


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ("bearer", 200),
        ("x-api-key", 200),
        ("query", 200),
        ("form", 200),
        ("json", 200),
        ("multipart", 200),
        ("nowhere", 401),
        ("file part", 401),
        ("basic", 401),
    ],
)
async def test_plain_callers_may_put_their_key_into_many_places(server: Server, how: str, status: int) -> None:
    key = await token(server)
    ways: dict[str, dict[str, Any]] = {
        "bearer": {"data": FORM, "headers": {"authorization": f"Bearer {key}"}},
        "x-api-key": {"data": FORM, "headers": {"x-api-key": key}},
        "query": {"data": FORM, "params": {"key": key}},
        "form": {"data": {**FORM, "key": key}},
        "json": {"json": {**FORM, "key": key}},
        "multipart": {"data": {**FORM, "key": key}, "files": {"other": b"x"}},
        "nowhere": {"data": FORM},
        "file part": {"data": FORM, "files": {"key": key.encode()}},
        "basic": {"data": FORM, "headers": {"authorization": f"Basic {key}"}},
    }
    answer = await server.client.post("/txt2img", **ways[how])
    assert answer.status_code == status
    assert answer.json()["status"] == ("success" if status == 200 else "failure")


async def test_a_header_goes_before_the_query_and_the_query_before_the_body(server: Server) -> None:
    key = await token(server)
    wrong = {"authorization": "Bearer dsk_wrong"}
    assert (await server.client.get("/ping", params={"key": key}, headers=wrong)).status_code == 401
    answer = await server.client.post("/txt2img", params={"key": "dsk_wrong"}, data={**FORM, "key": key})
    assert answer.status_code == 401


async def test_always_200_hides_the_status_of_a_refusal_but_not_the_refusal(tmp_path: Path) -> None:
    async with serving(tmp_path, plain_always_200=True) as server:
        await token(server)
        answer = await server.client.post("/txt2img", data=FORM)
        assert (answer.status_code, answer.json()["status"]) == (200, "failure")


async def test_the_native_dialect_takes_keys_in_headers_only(server: Server) -> None:
    key = await token(server)
    assert (await server.client.get("/diffuserve/v1/models", params={"key": key})).status_code == 401
    assert (await server.client.get("/diffuserve/v1/models", headers={"x-api-key": key})).status_code == 200


# Open and closed


async def test_the_first_key_closes_a_running_server(tmp_path: Path) -> None:
    clock = FakeClock()
    async with serving(tmp_path, clock=clock) as server:
        assert (await server.client.get("/ping")).status_code == 200
        key = await token(server)
        await clock.advance(2)
        assert (await server.client.get("/ping")).status_code == 401
        assert (await server.client.get("/ping", params={"key": key})).status_code == 200


async def test_a_server_for_others_lets_nobody_in_without_keys(tmp_path: Path) -> None:
    async with serving(tmp_path, may_be_open=False) as server:
        assert (await server.client.get("/ping")).status_code == 401


async def test_jobs_of_the_open_time_belong_to_no_key(tmp_path: Path) -> None:
    async with serving(tmp_path, start=False) as server:
        job = (await server.client.post("/diffuserve/v1/jobs", json={"prompt": "x"})).json()
        assert (await server.jobs.get(ANONYMOUS, int(job["id"]))).key_id is None


async def test_a_job_remembers_its_key_and_its_priority(tmp_path: Path) -> None:
    async with serving(tmp_path, start=False) as server:
        made = await server.keys.create("acme", KeyType.BEARER, priority=5)
        submitted = server.submissions()
        headers = {"authorization": f"Bearer {made.secret}"}
        await server.client.post("/diffuserve/v1/jobs", json={"prompt": "x"}, headers=headers)
        job = submitted.get_nowait()
        assert (job.account, job.key_id, job.priority) == ("acme", made.key.id, 5)


# What belongs to no dialect


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/docs", "/openapi.json"])
async def test_health_and_documentation_need_no_key(server: Server, path: str) -> None:
    await token(server)
    assert (await server.client.get(path)).status_code == 200


async def test_the_interactive_documentation_takes_a_key_where_dialects_do(server: Server) -> None:
    described = (await server.client.get("/openapi.json")).json()
    assert described["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for path, keyed in {
        "/txt2img": True,
        "/diffuserve/v1/jobs": True,
        "/healthz": False,
        "/files/{artifact_id}": False,
    }.items():
        assert all(("security" in operation) == keyed for operation in described["paths"][path].values())


async def test_files_open_by_their_signature_alone(server: Server) -> None:
    key = await token(server)
    answer = await server.client.post("/txt2img", data={**FORM, "key": key})
    url = answer.json()["images"][0]["image_url"]
    assert (await server.client.get(url)).status_code == 200


async def test_the_landing_page_of_a_closed_server_names_no_models(tmp_path: Path) -> None:
    async with serving(tmp_path) as opened:
        assert "A small one." in (await opened.client.get("/")).text
    async with serving(tmp_path, may_be_open=False) as closed:
        page = (await closed.client.get("/")).text
        assert "A small one." not in page
        assert "Authorization: Bearer YOUR_KEY" in page


@pytest.mark.parametrize("proxy", ["x-forwarded-for", "forwarded", "x-real-ip", "via"])
async def test_counters_are_for_administrators_when_somebody_asks_from_elsewhere(server: Server, proxy: str) -> None:
    user, chief = await token(server), await token(server, "admin")

    async def status(**headers: str) -> int:
        return (await server.client.get("/metrics", headers=headers)).status_code

    assert await status() == 200
    forwarded = {proxy: "203.0.113.9"}
    assert await status(**forwarded) == 401
    assert await status(**forwarded, authorization=f"Bearer {user}") == 403
    assert await status(**forwarded, authorization=f"Bearer {chief}") == 200


async def test_counters_are_for_all_on_an_open_server(server: Server) -> None:
    assert (await server.client.get("/metrics", headers={"x-forwarded-for": "203.0.113.9"})).status_code == 200
