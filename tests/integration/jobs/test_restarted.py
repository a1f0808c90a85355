"""PostgreSQL is restarted while servers work: calls fail meanwhile, jobs do not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from obstore.store import MemoryStore

from diffuserve.blobs import ObjectBlobs
from diffuserve.core.errors import StorageFailed
from diffuserve.core.job import JobStatus
from diffuserve.core.principal import ANONYMOUS
from diffuserve.engine.fake import FakeEngine
from diffuserve.jobs.hub import Hub
from diffuserve.jobs.resolve import Limits
from diffuserve.jobs.service import JobService
from diffuserve.jobs.worker import Worker
from diffuserve.store import open_store
from support.jobs import PICTURES
from support.models import catalog, job, wish
from support.postgres import Cluster

pytestmark = pytest.mark.integration


class RealClock:
    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def test_a_store_works_again_once_its_database_does(postgres: Cluster) -> None:
    stores = await open_store(postgres.database(template="current"))
    await asyncio.gather(*(stores.jobs.add(job(n), now=0.0) for n in range(10)))
    await asyncio.to_thread(postgres.stop)
    try:
        with pytest.raises(StorageFailed):
            await stores.jobs.get(1)
        with pytest.raises(StorageFailed):
            await stores.jobs.add(job(11), now=0.0)
    finally:
        await asyncio.to_thread(postgres.start)
    assert await stores.jobs.get(1) == job(1)
    await asyncio.gather(*(stores.jobs.add(job(n), now=0.0) for n in range(20, 30)))
    assert await stores.jobs.queued() == 20
    await stores.close()


async def test_connections_that_died_while_idle_are_not_noticed_by_anybody(postgres: Cluster) -> None:
    stores = await open_store(postgres.database(template="current"))
    await asyncio.gather(*(stores.jobs.add(job(n), now=0.0) for n in range(10)))
    await asyncio.to_thread(postgres.stop)
    await asyncio.to_thread(postgres.start)
    await asyncio.gather(*(stores.jobs.add(job(n), now=0.0) for n in range(20, 30)))
    assert await stores.jobs.get(25) == job(25)
    await stores.close()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_no_job_is_lost_when_the_database_is_restarted_under_load(postgres: Cluster, mode: str) -> None:
    stores, clock, hub = await open_store(postgres.database(template="current")), RealClock(), Hub()
    blobs, engine = ObjectBlobs(MemoryStore()), FakeEngine(0.01, clock)
    worker = Worker(
        store=stores.jobs,
        blobs=blobs,
        engine=engine,
        hub=hub,
        clock=clock,
        pictures=PICTURES,
        owner="here",
        lease_seconds=1.5,
        heartbeat_seconds=0.3,
        poll_seconds=0.1,
    )
    service = JobService(
        store=stores.jobs,
        accounts=stores.accounts,
        blobs=blobs,
        hub=hub,
        clock=clock,
        catalog=catalog(),
        limits=Limits(max_pixels=512 * 512),
        runner=worker,
        status=engine.status,
        max_queue=100_000,
    )
    await engine.start()
    await worker.start()
    acknowledged: list[int] = []

    async def submit_until(enough: Callable[[], bool]) -> None:
        while not enough():
            try:
                done = await service.submit(ANONYMOUS, "native", wish(num_inference_steps=2))
                acknowledged.append(done.id)
            except StorageFailed:
                await clock.sleep(0.01)

    await submit_until(lambda: len(acknowledged) >= 30)
    restarted = asyncio.create_task(_restart(postgres, mode))
    await submit_until(restarted.done)
    await restarted
    before = len(acknowledged)
    await submit_until(lambda: len(acknowledged) >= before + 30)
    ended = await asyncio.wait_for(asyncio.gather(*(service.wait(job_id) for job_id in acknowledged)), 60)
    assert {one.status for one in ended} == {JobStatus.SUCCEEDED}
    bills = [entry.job_id async for entry in stores.accounts.usage(None, 0, 4e9)]
    assert len(bills) == len(set(bills)) and set(acknowledged) <= set(bills)
    await worker.close()
    await stores.close()


async def _restart(postgres: Cluster, mode: str) -> None:
    await asyncio.to_thread(postgres.stop, mode)
    await asyncio.to_thread(postgres.start)
