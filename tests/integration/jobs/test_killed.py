"""SIGKILL at random moments, under load: what was acknowledged ends exactly once, whole, is billed once and announced."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from diffuserve.blobs import LocalBlobs
from diffuserve.core.account import Plan, PlanUnit
from diffuserve.core.delivery import DeliveryStatus
from diffuserve.core.job import JobStatus
from diffuserve.core.ports import JobStore
from diffuserve.store import Stores, open_store
from support.postgres import Cluster
from support.receiver import Received, receiving

pytestmark = pytest.mark.integration

FAR = 4e9


async def test_fifty_kills_lose_and_double_nothing(database_url: str, tmp_path: Path) -> None:
    await _survive(database_url, tmp_path, seed=4, kills=50, servers=1)


async def test_what_one_of_two_servers_leaves_the_other_takes_up(postgres: Cluster, tmp_path: Path) -> None:
    await _survive(postgres.database(template="current"), tmp_path, seed=5, kills=8, servers=2)


async def _survive(url: str, folder: Path, *, seed: int, kills: int, servers: int) -> None:
    stores = await open_store(url)
    plan = await stores.accounts.add_plan(Plan(0, "acme", PlanUnit.IMAGES, 1e6, 0, 0, 0, FAR))
    async with receiving() as receiver:
        arguments = [url, str(folder), str(seed), str(kills), str(servers), receiver.url]
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "support.mortal", *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        calls = [receiver.calls.get_nowait() for _ in range(receiver.calls.qsize())]
    assert done.returncode == 0, done.stderr[-4000:]
    acknowledged = [int(line) for line in (folder / "acknowledged").read_text().splitlines()]
    assert len(acknowledged) == len(set(acknowledged)) > 2 * kills
    await _check_jobs(stores.jobs, LocalBlobs(folder / "blobs"), acknowledged)
    await _check_bills(stores, plan.id, acknowledged)
    await _check_notifications(stores, calls)
    await stores.close()


async def _check_jobs(store: JobStore, blobs: LocalBlobs, acknowledged: list[int]) -> None:
    ends: Counter[JobStatus] = Counter()
    for job_id in acknowledged:
        job = await store.get(job_id)
        assert job is not None, "an acknowledged job is gone"
        ends[job.status] += 1
        if job.status is JobStatus.SUCCEEDED:
            assert [artifact.seed for artifact in job.artifacts] == list(job.request.seeds)
        for artifact in job.artifacts:
            assert hashlib.sha256(await blobs.get(artifact.blob_key)).hexdigest() == artifact.digest
    assert ends.keys() == {JobStatus.SUCCEEDED, JobStatus.CANCELED}, f"some job did not end as it should: {ends}"
    assert await store.queued() == 0


async def _check_bills(stores: Stores, plan_id: int, acknowledged: list[int]) -> None:
    """Of unacknowledged jobs too, which may be there: their server died before it could say so."""
    bills = [entry async for entry in stores.accounts.usage("acme", 0, FAR)]
    assert set(acknowledged) <= {entry.job_id for entry in bills}
    for entry in bills:
        assert entry.charged == (entry.images if entry.status == JobStatus.SUCCEEDED.value else 0)
    (plan,) = await stores.accounts.plans("acme")
    assert (plan.id, plan.used, plan.reserved) == (plan_id, sum(entry.charged for entry in bills), 0)
    posted = Counter(delivery.job_id for delivery in await stores.deliveries.deliveries())
    assert posted == Counter({entry.job_id: 1 for entry in bills})


async def _check_notifications(stores: Stores, calls: list[Received]) -> None:
    """Every one arrived, some of them twice, under the id by which a receiver can tell."""
    posted = await stores.deliveries.deliveries()
    assert {delivery.status for delivery in posted} == {DeliveryStatus.DELIVERED}
    assert {(call.id, call.body) for call in calls} == {(d.id, b"%d" % d.job_id) for d in posted}
