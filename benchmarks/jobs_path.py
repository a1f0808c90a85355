"""What a job costs without HTTP, on both databases: submit, draw (the fake engine), one picture, one notification posted.

Also: how long a dead server's jobs lie before another takes them up, beyond the lease that has to run out, and how long a
bill over a ledger of a million rows takes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from obstore.store import MemoryStore
from sqlalchemy import Connection, insert

import common

sys.path.insert(0, str(common.ROOT / "tests"))

from diffuserve.blobs import ObjectBlobs
from diffuserve.core.delivery import Callback
from diffuserve.core.job import JobStatus
from diffuserve.core.principal import Principal
from diffuserve.engine.fake import FakeEngine
from diffuserve.jobs.hub import Hub
from diffuserve.jobs.resolve import Limits
from diffuserve.jobs.service import JobService
from diffuserve.jobs.worker import Worker
from diffuserve.store import Stores, open_store, upgrade
from diffuserve.store.tables import ledger
from diffuserve.wiring import SystemClock
from support import postgres
from support.jobs import PICTURES
from support.models import catalog, job, wish

CALLER = Principal("acme", "key_1")
CALLBACK = Callback("https://example.com/hook", "native")
DAY = 86400.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--orphans", type=int, default=200)
    parser.add_argument("--ledger", type=int, default=1_000_000)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    figures: dict[str, Any] = {}
    with databases() as urls:
        for name, url in urls.items():
            figures[name] = asyncio.run(_measure(url, options))
            print(name, json.dumps(figures[name]), file=sys.stderr)
    common.save("jobs_path", figures)


@contextlib.contextmanager
def databases() -> Iterator[dict[str, str]]:
    """SQLite on disk, and PostgreSQL (one that waits for its disk) where it is installed."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        urls = {"sqlite": f"sqlite:///{folder}/jobs.sqlite3"}
        if postgres.why_not() is None:
            url = stack.enter_context(postgres.cluster(durable=True)).database()
            asyncio.run(upgrade(url))
            urls["postgresql"] = url
        yield urls


async def _measure(url: str, options: argparse.Namespace) -> dict[str, Any]:
    stores = await open_store(url)
    try:
        return {
            **await _jobs(stores, options.jobs, options.clients),
            "takeover": await _takeover(stores, options.orphans),
            "ledger": await _ledger(stores, options.ledger),
        }
    finally:
        await stores.close()


@contextlib.asynccontextmanager
async def _server(stores: Stores, owner: str, **worker: Any) -> AsyncIterator[JobService]:
    clock, hub, blobs = SystemClock(), Hub(), ObjectBlobs(MemoryStore())
    engine = FakeEngine(0.0, clock)
    loop = Worker(
        store=stores.jobs,
        blobs=blobs,
        engine=engine,
        hub=hub,
        clock=clock,
        pictures=PICTURES,
        owner=owner,
        **worker,
    )
    service = JobService(
        store=stores.jobs,
        accounts=stores.accounts,
        blobs=blobs,
        hub=hub,
        clock=clock,
        catalog=catalog(),
        limits=Limits(max_pixels=512 * 512),
        runner=loop,
        status=engine.status,
    )
    await engine.start()
    await loop.start()
    try:
        yield service
    finally:
        await loop.close()


async def _jobs(stores: Stores, jobs: int, clients: int) -> dict[str, Any]:
    accepted: list[float] = []

    async with _server(stores, "here") as service:

        async def one(number: int) -> None:
            began = time.perf_counter()
            submitted = await service.submit(CALLER, "native", wish(f"number {number}"), callback=CALLBACK)
            accepted.append(time.perf_counter() - began)
            ended = await service.wait(submitted.id)
            assert ended.status is JobStatus.SUCCEEDED

        await common.closed_loop(range(200), clients, one)
        accepted.clear()
        wall, latencies = await common.closed_loop(range(jobs), clients, one)
    posted = len(await stores.deliveries.deliveries())
    assert posted == jobs + 200, "a notification was lost"
    whole = [seconds for _, seconds in latencies]
    return {
        "jobs": jobs,
        "clients": clients,
        "jobs_per_second": round(jobs / wall, 1),
        "accepted_p50_ms": _ms(accepted, 50),
        "accepted_p99_ms": _ms(accepted, 99),
        "whole_p50_ms": _ms(whole, 50),
        "whole_p99_ms": _ms(whole, 99),
    }


async def _takeover(stores: Stores, orphans: int) -> dict[str, Any]:
    """A server dies with jobs in hand; another, which looks every so often, takes them up once the lease is over."""
    poll, lease = 0.25, 1.1
    now = time.time()
    ids = [int(now * 1000) << 22 | n for n in range(orphans)]
    await asyncio.gather(*(stores.jobs.add(job(job_id, created_at=now), now=now) for job_id in ids))
    async with _server(stores, "heir", poll_seconds=poll, concurrency=orphans) as service:
        # Claimed by somebody who never comes back, unless the heir was quicker: then they are no orphans.
        over = time.time() + lease
        claimed = await stores.jobs.claim("dead", orphans, time.time(), over)
        ended = await asyncio.gather(*(service.wait(one.id) for one in claimed))
    started = [one.started_at - over for one in ended if one.started_at]
    finished = [one.finished_at - over for one in ended if one.finished_at]
    return {
        "jobs": len(claimed),
        "poll_seconds": poll,
        "last_taken_up_seconds_after_lease": round(max(started), 3),
        "all_ended_seconds_after_lease": round(max(finished), 3),
    }


async def _ledger(stores: Stores, rows: int) -> dict[str, Any]:
    began = time.time() - 100 * DAY

    def fill(first: int) -> Any:
        def insert_page(connection: Connection) -> None:
            connection.execute(
                insert(ledger), [_entry(n, began, rows) for n in range(first, min(first + 10_000, rows))]
            )

        return insert_page

    for first in range(0, rows, 10_000):
        await stores.database.write(fill(first))
    month, day = began + 30 * DAY, began + 60 * DAY
    return {
        "rows": rows,
        "one_account_one_day": await _bill(stores, "account-7", day, day + DAY),
        "one_account_one_month": await _bill(stores, "account-7", month, month + 30 * DAY),
        "everybody_one_day": await _bill(stores, None, day, day + DAY),
    }


async def _bill(stores: Stores, account: str | None, since: float, until: float) -> dict[str, Any]:
    began = time.perf_counter()
    rows = len([entry async for entry in stores.accounts.usage(account, since, until)])
    return {"rows": rows, "ms": round(1000 * (time.perf_counter() - began), 1)}


def _entry(n: int, began: float, rows: int) -> dict[str, Any]:
    """One of 100 accounts' jobs, evenly over a hundred days."""
    at = began + 100 * DAY * n / rows
    return {
        "job_id": n + 1,
        "account": f"account-{n % 100}",
        "key_id": "key_1",
        "dialect": "native",
        "model": "tiny",
        "status": "succeeded",
        "created_at": at - 1,
        "finished_at": at,
        "images": 1,
        "steps": 20,
        "pixels": 16384,
        "device_seconds": 0.5,
        "plan_id": None,
        "charged": 0.0,
    }


def _ms(seconds: list[float], percent: float) -> float:
    return round(1000 * common.percentile(seconds, percent), 2)


if __name__ == "__main__":
    main()
