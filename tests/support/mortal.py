"""Servers that are killed: `python -m support.mortal DATABASE_URL FOLDER SEED KILLS SERVERS HOOK`.

The process imports everything once and forks a server for every life, which makes a life cheap. A server submits jobs,
draws them with the fake engine, notifies HOOK of their ends and writes the id of each acknowledged job into
`FOLDER/acknowledged`. At random moments
one of the servers gets SIGKILL, and a new one of its name takes its place, but for the last: what that one left is for the
others, or for its successor, who submits no more and ends when no job is open.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import sqlalchemy.dialects.postgresql.psycopg  # noqa: F401 - lives are short
from sqlalchemy import Connection, func, select

from diffuserve.blobs import LocalBlobs
from diffuserve.core.account import KeyLimits
from diffuserve.core.delivery import Callback, Delivery, DeliveryStatus
from diffuserve.core.errors import QueueFull
from diffuserve.core.job import Job
from diffuserve.core.principal import Principal
from diffuserve.engine.fake import FakeEngine
from diffuserve.jobs.hub import Hub
from diffuserve.jobs.resolve import Limits
from diffuserve.jobs.service import JobService
from diffuserve.jobs.worker import Worker
from diffuserve.store import Stores, open_store
from diffuserve.store.tables import deliveries, jobs
from diffuserve.webhooks import sender as sender_module
from diffuserve.webhooks.client import Client
from diffuserve.webhooks.rendered import Rendered
from diffuserve.webhooks.sender import Sender
from support.jobs import PICTURES
from support.models import catalog, wish

STEP_SECONDS, LEASE_SECONDS, HEARTBEAT_SECONDS = 0.004, 1.5, 0.4
SHORTEST_LIFE, LONGEST_LIFE = 0.05, 0.5
HIDDEN_SECONDS = 0.5
"""How long a notification lies that a killed server had in hand, beyond the call's own second."""
CALLER = Principal("acme", "key_1", limits=KeyLimits(concurrent_jobs=10_000))


class RealClock:
    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _count_open(connection: Connection) -> int:
    """Jobs that have not ended, and notifications that have not arrived."""
    unended = select(func.count()).select_from(jobs).where(jobs.c.finished_at.is_(None))
    unsent = select(func.count()).select_from(deliveries).where(deliveries.c.status == DeliveryStatus.PENDING.value)
    return connection.execute(unended).scalar_one() + connection.execute(unsent).scalar_one()


async def render(job: Job, delivery: Delivery) -> Rendered:
    return Rendered(b"%d" % job.id, headers={"webhook-id": delivery.id})


async def live(url: str, folder: Path, owner: str, hook: str, *, submitting: bool) -> None:
    """A server, until it is killed, or told by SIGUSR1 to submit no more and nothing is left to do."""
    enough = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, enough.set)
    if not submitting:
        enough.set()
    stores, clock, hub = await open_store(url), RealClock(), Hub()
    blobs, engine = LocalBlobs(folder / "blobs"), FakeEngine(STEP_SECONDS, clock)
    worker = Worker(
        store=stores.jobs,
        blobs=blobs,
        engine=engine,
        hub=hub,
        clock=clock,
        pictures=PICTURES,
        owner=owner,
        lease_seconds=LEASE_SECONDS,
        heartbeat_seconds=HEARTBEAT_SECONDS,
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
        max_queue=20,
    )
    sender = Sender(
        deliveries=stores.deliveries,
        job=stores.jobs.get,
        render=render,
        client=Client(allow_private=True, timeout=1.0),
        clock=clock,
        poll_seconds=0.1,
    )
    hub.observe_ends(sender.job_ended)
    await engine.start()
    await worker.start()
    await sender.start()
    acknowledged = os.open(folder / "acknowledged", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while not enough.is_set():
        await _submit(service, Callback(hook, "native"), acknowledged)
    while await stores.database.read(_count_open):
        await clock.sleep(0.05)
    await _leave(worker, sender, stores)


async def _submit(service: JobService, callback: Callback, acknowledged: int) -> None:
    chance = random.random()
    try:
        request = wish(num_images=1 + (chance < 0.3), num_inference_steps=3)
        job = await service.submit(CALLER, "native", request, callback=callback)
    except QueueFull:
        await asyncio.sleep(0.01)
        return
    os.write(acknowledged, b"%d\n" % job.id)
    if chance > 0.9:
        await service.cancel(CALLER, job.id)


async def _leave(worker: Worker, sender: Sender, stores: Stores) -> None:
    await worker.close()
    await sender.close()
    await stores.close()


def _fork(life: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            life()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return child


def main(url: str, folder: Path, seed: int, kills: int, servers: int, hook: str) -> None:
    sender_module._HIDDEN_SECONDS = HIDDEN_SECONDS
    chance = random.Random(seed)

    def born(name: str, *, submitting: bool = True) -> int:
        random.seed(chance.random())
        return _fork(lambda: asyncio.run(live(url, folder, name, hook, submitting=submitting)))

    alive: dict[str, int] = {}
    names = [f"server-{n}" for n in range(servers)]
    for _ in range(kills):
        for name in names:
            if name not in alive:
                alive[name] = born(name)
        time.sleep(chance.uniform(SHORTEST_LIFE, LONGEST_LIFE))
        victim = chance.choice(names)
        os.kill(alive[victim], signal.SIGKILL)
        _, status = os.waitpid(alive.pop(victim), 0)
        assert os.WIFSIGNALED(status), f"{victim} had ended by itself"
    for survivor in alive.values():
        os.kill(survivor, signal.SIGUSR1)
    if not alive:
        alive["server-0"] = born("server-0", submitting=False)
    for survivor in alive.values():
        assert os.waitpid(survivor, 0)[1] == 0, "a server ended in an error"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:6]), sys.argv[6])
