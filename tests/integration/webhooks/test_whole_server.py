"""From `POST jobs` to the receiver, through the server as it is wired."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook

from diffuserve.config import Settings
from diffuserve.core.errors import ConfigurationError
from diffuserve.core.events import Started
from diffuserve.core.principal import ANONYMOUS
from diffuserve.jobs.catalog import Catalog
from diffuserve.webhooks.sign import write_secret
from diffuserve.wiring import App, build, open_books
from support.app import BASE, MODELS
from support.receiver import Received, receiving

pytestmark = pytest.mark.integration

JOBS = "/diffuserve/v1/jobs"
SECRET = write_secret(bytes(range(32)))


def settings(folder: Path, **changes: Any) -> Settings:
    return Settings(data_dir=folder / "data", engine="fake", allow_private_urls=True, **changes)


@asynccontextmanager
async def server(folder: Path, **changes: Any) -> AsyncIterator[tuple[App, httpx2.AsyncClient]]:
    app = await build(settings(folder, **changes), Catalog(MODELS, MODELS[0].name))
    await app.start()
    await app.ready()
    try:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app.asgi), base_url=BASE) as client:
            yield app, client
    finally:
        await app.stop()


def without_links(job: dict[str, Any]) -> dict[str, Any]:
    """Links carry the second in which they were made."""
    return {**job, "images": [{**image, "url": image["url"].partition("?")[0]} for image in job["images"]]}


async def notified(client: httpx2.AsyncClient, receiver: Any, **body: Any) -> tuple[dict[str, Any], Received]:
    answer = await client.post(JOBS, json={"prompt": "an apple", "callback_url": receiver.url, **body})
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job, await receiver.call()


async def test_a_drawn_job_is_told_as_it_is_shown_and_its_links_open(tmp_path: Path) -> None:
    async with server(tmp_path) as (_, client), receiving() as receiver:
        job, call = await notified(client, receiver, callback_secret=SECRET)
        told = Webhook(SECRET).verify(call.body, call.headers)
        shown = (await client.get(f"{JOBS}/{job['id']}")).json()
        assert (told["type"], told["timestamp"]) == ("job.succeeded", shown["finished_at"])
        assert without_links(told["data"]) == without_links(shown)
        assert (await client.get(told["data"]["images"][0]["url"])).headers["content-type"] == "image/png"


@pytest.mark.parametrize(("prompt", "kind"), [("fail:error", "job.failed"), ("fail:hang", "job.canceled")])
async def test_other_ends_are_told_too(tmp_path: Path, prompt: str, kind: str) -> None:
    async with server(tmp_path) as (_, client), receiving() as receiver:
        answer = await client.post(JOBS, json={"prompt": prompt, "callback_url": receiver.url})
        if kind == "job.canceled":
            await client.delete(f"{JOBS}/{answer.json()['id']}")
        assert (await receiver.call()).json["type"] == kind


async def test_without_a_secret_of_its_own_the_accounts_secret_signs(tmp_path: Path) -> None:
    async with server(tmp_path) as (_, client), receiving() as receiver:
        _, call = await notified(client, receiver)
        async with open_books(settings(tmp_path)) as books:
            ours, others = books.signing.of("local"), books.signing.of("acme")
        assert Webhook(ours).verify(call.body, call.headers)["type"] == "job.succeeded"
        assert ours != others


async def test_the_operators_secret_signs_where_there_is_one(tmp_path: Path) -> None:
    async with server(tmp_path, webhook_secret=SECRET) as (_, client), receiving() as receiver:
        _, call = await notified(client, receiver)
        assert Webhook(SECRET).verify(call.body, call.headers)["type"] == "job.succeeded"


async def test_an_operators_secret_that_is_none_is_refused_at_the_start_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="webhook_secret cannot be used") as refusal:
        await build(settings(tmp_path, webhook_secret="hunter2"), Catalog(MODELS, MODELS[0].name))
    assert "hunter2" not in str(refusal.value)


async def test_what_was_not_told_before_a_stop_is_told_after_the_next_start(tmp_path: Path) -> None:
    async with receiving() as receiver:
        url, port = receiver.url, receiver.port
    async with server(tmp_path) as (app, client):
        await app.sender.close()
        answer = await client.post(JOBS + "?wait=60", json={"prompt": "an apple", "callback_url": url})
        assert answer.status_code == 200
    async with receiving(port=port) as receiver, server(tmp_path):
        assert (await receiver.call()).json["data"]["id"] == answer.json()["id"]


async def test_a_job_that_ends_while_the_server_stops_is_told_before_it_is_gone(tmp_path: Path) -> None:
    async with receiving() as receiver, server(tmp_path, fake_step_seconds=0.02) as (app, client):
        body = {"prompt": "an apple", "num_inference_steps": 10, "callback_url": receiver.url}
        job = (await client.post(JOBS, json=body)).json()
        async with aclosing(app.jobs.watch(ANONYMOUS, int(job["id"]))) as news:
            assert isinstance(await anext(news), Started)
        await app.drain(20)
        assert receiver.calls.qsize() == 1
