"""What the native dialect promises beyond the answer: a notification, and the same job for the same request."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from diffuserve.core.account import KeyType
from diffuserve.core.job import JobStatus
from diffuserve.core.principal import ANONYMOUS
from diffuserve.webhooks.sign import write_secret
from support.app import BASE, Caller, Server, serving
from support.pictures import picture

pytestmark = pytest.mark.unit

JOBS = "/diffuserve/v1/jobs"
TARGET = "https://shop.example/done"
SECRET = write_secret(bytes(range(32)))


# Notifications


async def test_where_to_notify_is_kept_with_the_job(server: Server) -> None:
    submitted = server.submissions()
    body = {"prompt": "x", "callback_url": TARGET, "callback_secret": SECRET}
    assert (await server.client.post(JOBS, json=body)).status_code == 202
    callback = (await submitted.get()).callback
    assert callback is not None
    assert (callback.url, callback.secret, callback.dialect, callback.base_url) == (TARGET, SECRET, "native", BASE)


async def test_the_secret_is_not_shown_again(server: Server) -> None:
    submitted = server.submissions()
    body = {"prompt": "x", "callback_url": TARGET, "callback_secret": SECRET}
    answer = await server.client.post(JOBS + "?wait=60", json=body)
    assert SECRET not in answer.text
    assert SECRET not in repr(await submitted.get())


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"callback_url": "shop.example/done"}, "callback_url"),
        ({"callback_url": "ftp://shop.example/"}, "callback_url"),
        ({"callback_url": "http://127.0.0.1:8000/"}, "callback_url"),
        ({"callback_url": "http://169.254.169.254/latest/meta-data"}, "callback_url"),
        ({"callback_url": 7}, "callback_url"),
        ({"callback_url": TARGET, "callback_secret": "hunter2"}, "callback_secret"),
        ({"callback_url": TARGET, "callback_secret": 123456789}, "callback_secret"),
        ({"callback_secret": SECRET}, "callback_url"),
    ],
)
async def test_a_wish_that_cannot_be_kept_is_refused(server: Server, change: dict[str, Any], param: str) -> None:
    answer = await server.client.post(JOBS, json={"prompt": "x", **change})
    assert (answer.status_code, answer.json()["param"]) == (400, param)
    assert str(change.get("callback_secret", "nowhere")) not in answer.text


async def test_the_documentation_describes_the_notification(server: Server) -> None:
    answer = await server.client.get("/openapi.json")
    schemas = answer.json()["components"]["schemas"]
    assert set(re.findall(r"#/components/schemas/(\w+)", answer.text)) <= set(schemas)
    assert set(schemas["Notification"]["properties"]) == {"type", "timestamp", "data"}
    offered = answer.json()["paths"][JOBS]["post"]["callbacks"]["ended"]
    assert list(offered) == ["{$request.body#/callback_url}"]


# The same request twice


async def post(server: Server, key: str | None = "order-1", path: str = JOBS, **body: Any) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await server.client.post(path, json={"prompt": "x", **body}, headers=headers)


async def test_a_repetition_answers_the_same_job_and_says_so(server: Server) -> None:
    first, second = await post(server), await post(server)
    assert first.json()["id"] == second.json()["id"]
    assert "idempotent-replay" not in first.headers
    assert (second.headers["idempotent-replay"], second.headers["location"]) == ("true", first.headers["location"])


async def test_a_repetition_may_wait_and_gets_the_end(server: Server) -> None:
    first = await post(server)
    second = await post(server, path=JOBS + "?wait=60")
    assert (second.status_code, second.json()["id"], second.json()["status"]) == (200, first.json()["id"], "succeeded")


async def test_repetitions_at_the_same_time_make_one_job(server: Server) -> None:
    answers = await asyncio.gather(*(post(server) for _ in range(10)))
    assert {answer.status_code for answer in answers} <= {200, 202}
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_another_request_with_the_same_key_is_refused(server: Server) -> None:
    await post(server)
    answer = await post(server, seed=7)
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_conflict")


@pytest.mark.parametrize("key", [None, "order-2"])
async def test_without_the_same_key_there_are_two_jobs(server: Server, key: str | None) -> None:
    assert (await post(server)).json()["id"] != (await post(server, key)).json()["id"]


async def test_a_refused_request_leaves_its_key_free(server: Server) -> None:
    assert (await post(server, seed=-1)).status_code == 400
    assert (await post(server, seed=1)).status_code == 202


async def test_keys_belong_to_their_account(server: Server) -> None:
    made = [await server.keys.create(account, KeyType.BEARER) for account in ("acme", "acme", "other")]
    ids = []
    for key in made:
        headers = {"Authorization": f"Bearer {key.secret}", "Idempotency-Key": "order-1"}
        answer = await server.client.post(JOBS, json={"prompt": "x"}, headers=headers)
        ids.append(answer.json()["id"])
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize("key", ["", "x" * 256, "\u00e4"])
async def test_a_key_that_is_no_key_is_refused(server: Server, key: str) -> None:
    headers = [(b"idempotency-key", key.encode("latin-1")), (b"content-type", b"application/json")]
    answer = await server.client.post(JOBS, content=b'{"prompt":"x"}', headers=headers)
    assert (answer.status_code, answer.json()["param"]) == (400, "Idempotency-Key")


async def test_a_repetition_is_answered_though_the_queue_is_full(tmp_path: Path) -> None:
    async with serving(tmp_path, start=False, max_queue=1) as server:
        first = await post(server)
        assert (await post(server, "order-2")).status_code == 503
        assert (await post(server)).json()["id"] == first.json()["id"]


async def test_a_repetition_does_not_fetch_its_picture_again(tmp_path: Path) -> None:
    fetches: list[str] = []

    class Once:
        async def get(self, url: str, param: str) -> bytes:
            fetches.append(url)
            return picture()

    async with serving(tmp_path, fetcher=Once()) as server:  # type: ignore[arg-type]
        answers = [await post(server, init_image="https://shop.example/a.png") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert len(fetches) == 1


async def test_hanging_up_does_not_cancel_a_job_that_came_with_a_key(server: Server) -> None:
    submitted = server.submissions()
    caller = Caller(
        server.app,
        "POST",
        f"{JOBS}?wait=60",
        b'{"prompt":"fail:hang"}',
        content_type="application/json",
        idempotency_key="order-1",
    ).call()
    job = await submitted.get()
    caller.hang_up()
    await caller.finished()
    assert (await server.jobs.get(ANONYMOUS, job.id)).status is not JobStatus.CANCELED
