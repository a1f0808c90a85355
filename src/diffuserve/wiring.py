"""The composition root: takes the settings apart and hands each room just what it uses. Nothing else knows all rooms.

`build` makes a server, `catalog`, `limits` and `make_engine` the parts that the command line needs without one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from starlette.types import ASGIApp

from diffuserve.blobs import LocalBlobs
from diffuserve.checkpoints.card import Overrides
from diffuserve.checkpoints.collect import Entry, collect
from diffuserve.config import Settings
from diffuserve.core.ports import Clock, Engine
from diffuserve.datadir import DataDir
from diffuserve.dialects import dialects
from diffuserve.dialects.base import Rooms
from diffuserve.dialects.links import Links
from diffuserve.engine.fake import FakeEngine
from diffuserve.engine.local import LocalEngine
from diffuserve.engine.messages import EngineConfig
from diffuserve.http.app import create_app
from diffuserve.http.guards import Doors
from diffuserve.http.metrics import Metrics
from diffuserve.jobs.catalog import Catalog
from diffuserve.jobs.hub import Hub
from diffuserve.jobs.output import Pictures
from diffuserve.jobs.resolve import Limits
from diffuserve.jobs.service import JobService
from diffuserve.jobs.worker import Worker
from diffuserve.logs import RequestIds
from diffuserve.loopback import is_loopback
from diffuserve.media import finish
from diffuserve.media.fetch import Fetcher
from diffuserve.store import SqlJobStore, open_store


class SystemClock:
    """Real time."""

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass
class App:
    """A whole server but for its socket. `start`, then `ready` or not, then `drain`, then `close`."""

    asgi: ASGIApp
    catalog: Catalog
    jobs: JobService
    engine: Engine
    worker: Worker
    store: SqlJobStore
    data: DataDir
    _loading: asyncio.Task[None] | None = field(default=None, init=False)

    async def start(self) -> None:
        """Take up unfinished jobs and begin to load the model; returns while it loads."""
        self._loading = asyncio.create_task(self.engine.start(), name="load")
        await self.worker.start()

    async def ready(self) -> None:
        """Returns when the engine can draw. Raises ConfigurationError if it never will."""
        if self._loading is not None:
            await asyncio.shield(self._loading)

    async def drain(self, seconds: float) -> None:
        """Claim no more jobs and let running ones finish for `seconds`; the rest goes back to the queue."""
        await self.worker.drain(seconds)

    async def close(self) -> None:
        """Stop everything at once; jobs that still run are taken up at the next start."""
        await self.worker.close()
        await self.engine.close()
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait({self._loading})
            if not self._loading.cancelled():
                # Whoever waited for `ready` has seen it; asked here so that nobody complains that nobody asked.
                self._loading.exception()
        await self.store.close()
        self.data.close()

    async def stop(self, seconds: float = 0.0) -> None:
        await self.drain(seconds)
        await self.close()


async def build(settings: Settings, models: Catalog | None = None, clock: Clock | None = None) -> App:
    """A server made by `settings`; nothing runs yet. Raises ConfigurationError, and leaves nothing open then."""
    models = models or catalog(settings)
    clock = clock or SystemClock()
    with contextlib.ExitStack() as undo:
        data = DataDir(settings.data_dir)
        undo.callback(data.close)
        blobs = LocalBlobs(data.blobs)
        store = await open_store(settings.database_url or data.database_url)
        app = _assemble(settings, models, clock, data, blobs, store)
        undo.pop_all()
        return app


def catalog(settings: Settings) -> Catalog:
    """Every model that requests may name. Raises ConfigurationError for one that is missing, incomplete or a pickle."""
    return Catalog(*collect(entries(settings), settings.model))


def entries(settings: Settings) -> Sequence[Entry]:
    """The `[[models]]` tables."""
    return [
        Entry(
            entry.name,
            entry.path,
            Overrides(
                aliases=tuple(entry.aliases),
                description=entry.description,
                sampler=entry.sampler,
                num_inference_steps=entry.num_inference_steps,
                guidance_scale=entry.guidance_scale,
                native_min=entry.native_min,
                native_max=entry.native_max,
            ),
        )
        for entry in settings.models
    ]


def limits(settings: Settings) -> Limits:
    return Limits(max_pixels=settings.max_pixels)


def make_engine(settings: Settings, models: Catalog, clock: Clock | None = None) -> Engine:
    """The engine that the settings ask for, not yet started."""
    clock = clock or SystemClock()
    if settings.engine == "fake":
        return FakeEngine(settings.fake_step_seconds, clock)
    config = EngineConfig(
        models=models.models,
        default_model=models.default.name,
        device=settings.device,
        dtype=settings.dtype,
        threads=settings.threads,
        max_batch=settings.max_batch,
        reproducible=settings.reproducible,
        compile=settings.compile,
    )
    return LocalEngine(config, clock)


def _assemble(
    settings: Settings, models: Catalog, clock: Clock, data: DataDir, blobs: LocalBlobs, store: SqlJobStore
) -> App:
    engine = make_engine(settings, models, clock)
    metrics = Metrics(engine.status)
    hub = Hub()
    hub.observe_ends(metrics.job_ended)
    worker = Worker(
        store=store,
        blobs=blobs,
        engine=engine,
        hub=hub,
        clock=clock,
        pictures=Pictures(encode=finish.encode, fit=finish.fit),
        owner=data.owner,
    )
    jobs = JobService(
        store=store,
        blobs=blobs,
        hub=hub,
        clock=clock,
        catalog=models,
        limits=limits(settings),
        runner=worker,
        max_queue=settings.max_queue,
    )
    rooms = Rooms(
        jobs=jobs,
        links=Links(data.secret, settings.link_seconds, clock, settings.public_url),
        fetcher=Fetcher(allow_private=settings.allow_private_urls),
        clock=clock,
        status=engine.status,
        max_input_pixels=settings.max_input_pixels,
    )
    doors = Doors(
        max_body_bytes=settings.max_body_bytes,
        check_host=is_loopback(settings.host),
        trusted_hosts=tuple(settings.trusted_hosts),
        public_url=settings.public_url,
        cors_origins=tuple(settings.cors_origins),
    )
    asgi = create_app(rooms, dialects(settings), doors, metrics, store.queued)
    return App(RequestIds(asgi), models, jobs, engine, worker, store, data)
