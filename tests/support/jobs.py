"""The jobs room with all its neighbours, small enough for a test: real SQLite, blobs in memory, the fake engine."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import obstore
from obstore.store import MemoryStore
from PIL import Image

from diffuserve.blobs import ObjectBlobs
from diffuserve.core.errors import StorageFailed
from diffuserve.core.job import Job
from diffuserve.core.ports import Engine
from diffuserve.core.principal import ANONYMOUS
from diffuserve.core.request import InputImage
from diffuserve.engine.fake import FakeEngine
from diffuserve.jobs.hub import Hub
from diffuserve.jobs.output import Pictures
from diffuserve.jobs.resolve import Limits
from diffuserve.jobs.service import JobService
from diffuserve.jobs.worker import Worker
from diffuserve.media.finish import finish
from diffuserve.media.prepare import prepare
from diffuserve.media.vision import STAND_INS
from diffuserve.store import Stores, open_store
from support.clock import FakeClock
from support.models import catalog, wish


def png(width: int = 64, height: int = 64, colour: str = "red") -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(written, "PNG")
    return written.getvalue()


def input_image(width: int = 64, height: int = 64, colour: str = "red") -> InputImage:
    data = png(width, height, colour)
    return InputImage(hashlib.sha256(data).hexdigest(), width, height, data)


PICTURES = Pictures(prepare=partial(prepare, vision=STAND_INS), finish=finish)


class Interposed:
    """A stand-in that passes every call on to `inner`, except that a test may hold calls back or make them fail.

    `calls` lists the names of methods in the order in which they came through.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.calls: list[str] = []
        self._failures: dict[str, int] = {}
        self._gates: dict[tuple[str, str], tuple[asyncio.Event, asyncio.Event]] = {}

    def fail(self, method: str, times: int) -> None:
        """The next `times` calls raise StorageFailed."""
        self._failures[method] = times

    def hold(self, method: str, *, when: str = "before") -> tuple[asyncio.Event, asyncio.Event]:
        """Stop the next call `before` or `after` it reached `inner`: (it has arrived, let it go on)."""
        gate = self._gates[method, when] = (asyncio.Event(), asyncio.Event())
        return gate

    def __getattr__(self, method: str) -> Any:
        inner = getattr(self._inner, method)

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(method)
            if self._failures.get(method, 0) > 0:
                self._failures[method] -= 1
                raise StorageFailed("the disk is on fire")
            await self._pass(method, "before")
            result = await inner(*args, **kwargs)
            await self._pass(method, "after")
            return result

        return call

    async def _pass(self, method: str, when: str) -> None:
        gate = self._gates.pop((method, when), None)
        if gate is not None:
            arrived, go_on = gate
            arrived.set()
            await go_on.wait()


@dataclass
class House:
    """One server process without HTTP."""

    store: Any
    blobs: Any
    engine: Engine
    clock: FakeClock
    hub: Hub
    worker: Worker
    service: JobService
    memory: MemoryStore = field(repr=False)
    stores: Stores = field(repr=False)

    async def submit(self, prompt: str = "a red apple", **changes: Any) -> Job:
        return await self.service.submit(ANONYMOUS, "native", wish(prompt, **changes))

    async def draw(self, prompt: str = "a red apple", **changes: Any) -> Job:
        """The ended job."""
        return await self.service.wait((await self.submit(prompt, **changes)).id)

    async def started(self, job_id: int) -> None:
        """Return once the engine draws the job."""
        with self.hub.subscribe(job_id) as news:
            await anext(news)

    async def at_rest(self) -> None:
        """Return once the worker has no job in hand."""
        while tasks := [task for task in asyncio.all_tasks() if task.get_name().startswith("job-")]:
            await asyncio.wait(tasks)

    async def stored(self, job_id: int) -> Job:
        job: Job | None = await self.store.get(job_id)
        assert job is not None
        return job

    def blob_keys(self) -> list[str]:
        return [entry["path"] for page in obstore.list(self.memory) for entry in page]


@asynccontextmanager
async def house(
    folder: Path,
    *,
    step_seconds: float = 0.0,
    started: bool = True,
    engine_ready: bool = True,
    engine: Engine | None = None,
    memory: MemoryStore | None = None,
    max_queue: int = 100,
    max_queued_pixels: int | None = None,
    **worker: Any,
) -> AsyncIterator[House]:
    """A house on `folder`; its worker claims from the beginning if `started`.

    Fails if it leaves a task or a listener behind.
    """
    before = asyncio.all_tasks()
    clock = FakeClock()
    stores = await open_store(f"sqlite:///{folder}/jobs.sqlite3")
    store = Interposed(stores.jobs)
    memory = memory or MemoryStore()
    blobs = Interposed(ObjectBlobs(memory))
    engine = engine or FakeEngine(step_seconds, clock)
    hub = Hub()
    loop = Worker(
        store=store, blobs=blobs, engine=engine, hub=hub, clock=clock, pictures=PICTURES, owner="here", **worker
    )
    service = JobService(
        store=store,
        accounts=stores.accounts,
        blobs=blobs,
        hub=hub,
        clock=clock,
        catalog=catalog(),
        limits=Limits(max_pixels=512 * 512),
        runner=loop,
        status=engine.status,
        max_queue=max_queue,
        max_queued_pixels=max_queued_pixels,
    )
    if engine_ready:
        await engine.start()
    if started:
        await loop.start()
    try:
        yield House(store, blobs, engine, clock, hub, loop, service, memory, stores)
    finally:
        await loop.close()
        await stores.close()
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, f"a task was left behind: {left}"
    assert hub.listeners == 0, "a listener was left behind"
    assert loop.running == 0
