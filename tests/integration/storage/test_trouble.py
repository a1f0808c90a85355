"""The whole server with its pictures in a bucket or on a full disk: what callers see, and that nobody gets a dead link."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from diffuserve.config import Settings
from diffuserve.core.errors import ConfigurationError
from diffuserve.dialects.links import Links
from diffuserve.wiring import App, build
from support.s3 import BUCKET, S3Service, s3_service

pytestmark = pytest.mark.integration

NATIVE = "/diffuserve/v1/jobs?wait=60"
APPLE = {"prompt": "a red apple", "width": 64, "height": 64}


class HurriedClock:
    """Real time, but nobody sleeps for long: pauses between tries are not what is tested here."""

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.01))


@asynccontextmanager
async def serving(folder: Path, **settings: Any) -> AsyncIterator[tuple[App, httpx2.AsyncClient]]:
    app = await build(Settings(engine="fake", data_dir=folder / "data", **settings), clock=HurriedClock())
    await app.start()
    await app.ready()
    transport = httpx2.ASGITransport(app.asgi)  # type: ignore[arg-type]
    try:
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
            yield app, client
    finally:
        await app.stop()


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Service]:
    with s3_service(tmp_path / "s3") as service:
        yield service


async def fetched(url: str) -> httpx2.Response:
    async with httpx2.AsyncClient(trust_env=False) as client:
        return await client.get(url)


async def test_links_of_every_dialect_lead_to_the_bucket_and_open(tmp_path: Path, s3: S3Service) -> None:
    async with serving(tmp_path, **s3.settings()) as (_, client):
        native = (await client.post(NATIVE, json=APPLE)).json()["images"][0]["url"]
        plain = (await client.post("/txt2img", data=APPLE)).json()["images"][0]["image_url"]
    for url in (native, plain):
        assert url.startswith(f"{s3.endpoint}/{BUCKET}/artifacts/")
        answer = await fetched(url)
        assert answer.headers["content-type"] == "image/png"
        assert answer.content.startswith(b"\x89PNG")


async def test_links_on_a_public_base_url_name_objects_that_are_there(tmp_path: Path, s3: S3Service) -> None:
    base = "https://cdn.example.org"
    async with serving(tmp_path, **s3.settings(), s3_public_base_url=base) as (_, client):
        job = (await client.post(NATIVE, json=APPLE)).json()
        again = (await client.get(f"/diffuserve/v1/jobs/{job['id']}")).json()
    assert job["images"][0]["url"] == again["images"][0]["url"]
    assert job["images"][0]["url"].removeprefix(base + "/") in s3.objects()


async def test_the_server_s_own_links_open_pictures_in_the_bucket_too(tmp_path: Path, s3: S3Service) -> None:
    async with serving(tmp_path, **s3.settings()) as (app, client):
        image = (await client.post(NATIVE, json=APPLE)).json()["images"][0]
        artifact = image["url"].partition("?")[0].rpartition("/")[2].removesuffix(".png")
        own = Links(app.data.secret, 60, HurriedClock()).url(await app.jobs.artifact(artifact), "http://localhost:8000")
        answer = await client.get(own)
    assert answer.content.startswith(b"\x89PNG")
    assert len(answer.content) == image["size"]


async def test_with_the_service_down_jobs_fail_in_their_dialect_and_work_again_when_it_is_back(
    tmp_path: Path, s3: S3Service
) -> None:
    async with serving(tmp_path, **s3.settings()) as (_, client):
        s3.stop()
        native = (await client.post(NATIVE, json=APPLE)).json()
        plain = await client.post("/txt2img", data=APPLE)
        with s3_service(tmp_path / "s3", s3.port):
            after = (await client.post(NATIVE, json=APPLE)).json()
    assert (native["status"], native["error"]["code"], native["images"]) == ("failed", "storage_failed", [])
    assert plain.status_code >= 500
    assert plain.json()["status"] == "failure"
    assert "image_url" not in plain.text
    assert after["status"] == "succeeded"


async def test_an_input_picture_that_cannot_be_stored_is_refused_at_once(tmp_path: Path, s3: S3Service) -> None:
    pixel = (await _drawn(tmp_path))[0]
    async with serving(tmp_path / "b", **s3.settings()) as (_, client):
        s3.stop()
        answer = await client.post(NATIVE, json={**APPLE, "init_image": pixel})
    assert answer.status_code >= 500
    assert answer.json()["code"] == "storage_failed"


async def test_a_bucket_that_is_not_there_is_said_at_the_start_and_nothing_stays_open(
    tmp_path: Path, s3: S3Service
) -> None:
    with pytest.raises(ConfigurationError, match="there is no such bucket"):
        async with serving(tmp_path, **{**s3.settings(), "s3_bucket": "missing"}):
            pass
    async with serving(tmp_path, **s3.settings()) as (_, client):
        assert (await client.get("/readyz")).status_code == 200


@contextmanager
def disk_full_at(size: int) -> Iterator[None]:
    """No file may grow over `size` bytes, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_on_a_full_disk_jobs_fail_and_work_again_when_there_is_room(tmp_path: Path) -> None:
    # Larger than the database and its log will get here, smaller than the picture.
    large = {"prompt": "a red apple", "width": 3072, "height": 3072, "seed": 7}
    async with serving(tmp_path) as (app, client):
        whole = (await client.post(NATIVE, json=large)).json()["images"][0]["size"]
        with disk_full_at(whole - 1):
            failed = (await client.post(NATIVE, json=large)).json()
        after = (await client.post(NATIVE, json=large)).json()
        files = [path for path in app.data.blobs.rglob("*") if path.is_file()]
    assert (failed["status"], failed["error"]["code"], failed["images"]) == ("failed", "storage_failed", [])
    assert after["status"] == "succeeded"
    assert len(files) == 2, "half a picture was left behind"


async def _drawn(folder: Path) -> list[str]:
    """Pictures as data URLs."""
    async with serving(folder / "a", plain_base64=True) as (_, client):
        images = (await client.post("/txt2img", data=APPLE)).json()["images"]
    return [f"data:image/png;base64,{image['base64']}" for image in images]
