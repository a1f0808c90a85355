"""ModelsLab's webhooks, through the server as it is wired: what a receiver is told of good ends and bad ones, and again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook

from diffuserve.config import Settings
from diffuserve.jobs.catalog import Catalog
from diffuserve.webhooks.sign import write_secret
from diffuserve.wiring import build
from support.app import BASE, MODELS
from support.receiver import answer, receiving

pytestmark = pytest.mark.integration

SECRET = write_secret(bytes(range(32)))


@asynccontextmanager
async def server(folder: Path, **changes: Any) -> AsyncIterator[httpx2.AsyncClient]:
    settings = Settings(
        data_dir=folder / "data", engine="fake", allow_private_urls=True, webhook_secret=SECRET, **changes
    )
    app = await build(settings, Catalog(MODELS, MODELS[0].name))
    await app.start()
    await app.ready()
    try:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app.asgi), base_url=BASE) as client:
            yield client
    finally:
        await app.stop()


async def ask(client: httpx2.AsyncClient, url: str, **body: Any) -> dict[str, Any]:
    asked = {"prompt": "an apple", "width": 64, "height": 64, "enhance_prompt": "no", "webhook": url, **body}
    told = (await client.post("/api/v1/enterprise/images/text2img", json=asked)).json()
    assert (told["status"], told["webhook_status"]) == ("processing", "")
    return dict(told)


@pytest.mark.parametrize("track_id", ["order-77", 77, 7.5, None])
async def test_a_receiver_sees_what_a_fetch_shows_and_its_own_track_id(tmp_path: Path, track_id: Any) -> None:
    async with server(tmp_path) as client, receiving() as receiver:
        told = await ask(client, receiver.url, samples=2, track_id=track_id)
        call = await receiver.call()
        assert call.headers["content-type"] == "application/json"
        seen = Webhook(SECRET).verify(call.body, call.headers)
        fetched = (await client.post(f"/api/v1/enterprise/images/fetch/{told['id']}", json={})).json()
        assert (seen["status"], seen["id"], seen["track_id"]) == ("success", told["id"], track_id)
        assert type(seen["track_id"]) is type(track_id)
        assert (seen["meta"], seen["generationTime"]) == (fetched["meta"], fetched["generationTime"])
        assert seen["meta"]["webhook"] == receiver.url
        assert len(seen["output"]) == 2
        for link in seen["output"]:
            assert (await client.get(link)).headers["content-type"] == "image/png"


async def test_a_receiver_is_told_why_a_job_failed(tmp_path: Path) -> None:
    async with server(tmp_path) as client, receiving() as receiver:
        told = await ask(client, receiver.url, prompt="fail:oom", track_id="order-78")
        seen = (await receiver.call()).json
        assert (seen["status"], seen["id"], seen["track_id"], seen["output"]) == ("failed", told["id"], "order-78", [])
        assert seen["message"] == "the device has not enough memory for this picture"


async def test_a_receiver_that_was_away_is_told_again_under_the_same_id(tmp_path: Path) -> None:
    async with server(tmp_path) as client, receiving(answer(500)) as receiver:
        await ask(client, receiver.url, track_id="order-79")
        calls = [await receiver.call() for _ in range(2)]
        assert len({call.id for call in calls}) == 1
        assert {call.json["track_id"] for call in calls} == {"order-79"}


async def test_pictures_asked_for_as_text_come_as_text(tmp_path: Path) -> None:
    async with server(tmp_path) as client, receiving() as receiver:
        await ask(client, receiver.url, base64="yes")
        seen = (await receiver.call()).json
        assert seen["output"][0].startswith("iVBORw0KGgo") and seen["proxy_links"][0].startswith(BASE)
