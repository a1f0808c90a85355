"""Doors, files, health, and the pages that belong to no dialect."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from diffuserve.http.guards import Doors
from support.app import Server, model, serving
from support.pictures import opened

pytestmark = pytest.mark.unit


async def link(server: Server) -> str:
    answer = await server.client.post("/txt2img", data={"prompt": "x", "width": "64", "height": "64"})
    return str(answer.json()["images"][0]["image_url"])


# Files


async def test_a_file_is_shown_and_never_run(server: Server) -> None:
    answer = await server.client.get(await link(server))
    assert opened(answer.content).format == "PNG"
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert re.fullmatch(r'inline; filename="[0-9a-f]{32}\.png"', answer.headers["content-disposition"])
    assert re.fullmatch(r"private, max-age=3[56]\d\d, immutable", answer.headers["cache-control"])


async def test_head_answers_the_same_headers_without_a_body(server: Server) -> None:
    url = await link(server)
    whole, head = await server.client.get(url), await server.client.head(url)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "content-type", "etag"):
        assert head.headers[name] == whole.headers[name]


async def test_a_file_that_the_browser_has_is_not_sent_again(server: Server) -> None:
    url = await link(server)
    etag = (await server.client.get(url)).headers["etag"]
    again = await server.client.get(url, headers={"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")


async def test_a_changed_link_leads_nowhere(server: Server) -> None:
    url = await link(server)
    for wrong in (url[:-1], url.replace("expires=", "expires=9"), url.partition("?")[0], url + "x" * 200):
        answer = await server.client.get(wrong)
        assert (answer.status_code, answer.json()["code"]) == (404, "artifact_not_found")


async def test_no_path_is_made_of_a_name(server: Server) -> None:
    for name in ("..%2f..%2fetc%2fpasswd", "artifacts", "%00"):
        assert (await server.client.get(f"/files/{name}?expires=9999999999&signature=0")).status_code == 404


# Doors


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1", 200),
        ("[::1]:8000", 200),
        ("LOCALHOST", 200),
        ("draw.example.org", 200),
        ("friend.example:9", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example:8000", 403),
        ("", 403),
    ],
)
async def test_a_loopback_server_answers_to_its_own_names_only(tmp_path: Path, host: str, status: int) -> None:
    doors = Doors(public_url="https://draw.example.org/sd", trusted_hosts=("friend.example",))
    async with serving(tmp_path, doors=doors) as server:
        assert (await server.client.get("/ping", headers={"host": host})).status_code == status


async def test_other_addresses_do_not_check_the_host(tmp_path: Path) -> None:
    async with serving(tmp_path, doors=Doors(check_host=False)) as server:
        assert (await server.client.get("/ping", headers={"host": "any.example"})).status_code == 200


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"origin": "http://localhost:8000"}, True),
        ({"origin": "https://localhost:8000"}, True),
        ({"origin": "https://page.example"}, True),
        ({"origin": "http://localhost:9000"}, False),
        ({"origin": "null"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "same-origin"}, True),
    ],
)
async def test_only_welcome_web_pages_may_submit(tmp_path: Path, headers: dict[str, str], allowed: bool) -> None:
    async with serving(tmp_path, doors=Doors(cors_origins=("https://page.example",))) as server:
        answer = await server.client.post("/txt2img", data={"prompt": ""}, headers=headers)
        assert answer.status_code == (400 if allowed else 403)


async def test_a_foreign_page_may_show_a_picture(server: Server) -> None:
    answer = await server.client.get(
        await link(server), headers={"origin": "https://a.example", "sec-fetch-site": "cross-site"}
    )
    assert answer.status_code == 200
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"


async def test_cors_is_answered_for_the_origins_that_are_set(tmp_path: Path) -> None:
    ask = {"access-control-request-method": "POST", "origin": "https://page.example"}
    async with serving(tmp_path, doors=Doors(cors_origins=("https://page.example",))) as server:
        preflight = await server.client.options("/txt2img", headers=ask)
        assert preflight.headers["access-control-allow-origin"] == "https://page.example"
        answer = await server.client.post("/txt2img", data={}, headers={"origin": "https://page.example"})
        assert answer.headers["access-control-allow-origin"] == "https://page.example"
        other = await server.client.options("/txt2img", headers={**ask, "origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


async def test_without_cors_origins_nothing_is_allowed(server: Server) -> None:
    headers = {"origin": "https://page.example", "access-control-request-method": "POST"}
    answer = await server.client.options("/txt2img", headers=headers)
    assert answer.status_code == 405
    assert "access-control-allow-origin" not in answer.headers


async def test_405_names_every_method_of_the_path(server: Server) -> None:
    answer = await server.client.post("/diffuserve/v1/jobs/5")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET")
    assert "use DELETE or GET" in answer.json()["detail"]


async def test_a_path_that_is_nobodys_is_answered_404_by_the_native_dialect(server: Server) -> None:
    answer = await server.client.get("/wp-login.php")
    assert (answer.status_code, answer.json()["code"]) == (404, "route_not_found")


# Health


async def test_a_living_server_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path, start=False) as server:
        assert (await server.client.get("/healthz")).json() == {"status": "ok"}
        waiting = await server.client.get("/readyz")
        assert (waiting.status_code, waiting.json()["ready"]) == (503, False)
        await server.engine.start()
        assert (await server.client.get("/readyz")).status_code == 200


async def test_metrics_count_answers_and_what_waits(tmp_path: Path) -> None:
    async with serving(tmp_path, start=False) as server:
        await server.client.post("/diffuserve/v1/jobs", json={"prompt": "x"})
        await server.client.get("/txt2img")
        text = (await server.client.get("/metrics")).text
        assert 'diffuserve_http_requests_total{dialect="native",status="202"} 1.0' in text
        assert 'diffuserve_http_requests_total{dialect="plain",status="405"} 1.0' in text
        assert 'diffuserve_queued_jobs{key="none",model="tiny"} 1.0' in text
        assert "diffuserve_engine_ready 0.0" in text


async def test_metrics_count_jobs_that_ended(server: Server) -> None:
    from diffuserve.core.principal import ANONYMOUS

    answer = await server.client.post("/txt2img", data={"prompt": "x", "width": "64", "height": "64"})
    server.metrics.job_ended(await server.jobs.get(ANONYMOUS, int(answer.headers["diffuserve-job"])))
    text = (await server.client.get("/metrics")).text
    assert 'diffuserve_jobs_total{dialect="plain",status="succeeded"} 1.0' in text
    assert 'diffuserve_job_run_seconds_count{dialect="plain"} 1.0' in text


# Pages


async def test_the_landing_page_says_what_this_is_and_what_to_try(server: Server) -> None:
    answer = await server.client.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src &#x27;none&#x27;" not in answer.headers["content-security-policy"]
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "curl http://localhost:8000/txt2img" in answer.text
    assert "Ready on fake" in answer.text
    assert "<script" not in answer.text


async def test_the_landing_page_escapes_what_it_did_not_write(tmp_path: Path) -> None:
    evil = model("evil", description="<script>alert(1)</script>")
    async with serving(tmp_path, doors=Doors(check_host=False), models=(evil,), start=False) as server:
        answer = await server.client.get("/", headers={"host": "<b>"})
        assert "<script>" not in answer.text
        assert "<b>" not in answer.text
        assert "Not ready yet" in answer.text


async def test_the_documentation_needs_nothing_from_elsewhere(server: Server) -> None:
    page = await server.client.get("/docs")
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert sources
    for source in sources:
        assert not source.startswith(("http", "//")), source
        assert (await server.client.get("/" + source)).status_code == 200, source
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert (await server.client.get("/docs/..%2fapp.py")).status_code == 404


async def description(server: Server) -> dict[str, Any]:
    body: dict[str, Any] = (await server.client.get("/openapi.json")).json()
    return body


async def test_every_operation_is_grouped_named_and_summed_up(server: Server) -> None:
    body = await description(server)
    operations = [operation for path in body["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert {"plain_txt2img", "native_submit_job", "native_job_events", "get_file", "readyz"} <= set(names)
    tags = {tag["name"] for tag in body["tags"]}
    assert all(set(operation["tags"]) <= tags and operation["summary"] for operation in operations)


async def test_no_answer_is_described_that_nobody_gives(server: Server) -> None:
    body = await description(server)
    for path in body["paths"].values():
        for operation in path.values():
            assert "422" not in operation["responses"]
    assert "HTTPValidationError" not in body["components"]["schemas"]


async def test_each_operation_is_described_once_at_its_vendors_own_path(server: Server) -> None:
    assert not any(path.startswith("/plain") for path in (await description(server))["paths"])


async def test_request_bodies_are_described_field_by_field(server: Server) -> None:
    paths = (await description(server))["paths"]
    form = paths["/img2img"]["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
    assert {"prompt", "init_image", "strength"} <= set(form["properties"])
    assert form["required"] == ["prompt", "init_image"]
    body = paths["/diffuserve/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "num_inference_steps" in body["properties"]
