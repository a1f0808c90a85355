"""The whole server in this process: the real application, job rooms and SQLite, with the fake engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
from fastapi import FastAPI

from diffuserve.auth import Gate, Keyring, Sealer
from diffuserve.auth.access_tokens import AccessTokens
from diffuserve.blobs import MemoryBlobs
from diffuserve.config import Settings
from diffuserve.core.job import Job
from diffuserve.core.model import Family, ModelInfo, NativeRange
from diffuserve.core.ports import AccountStore
from diffuserve.core.principal import Principal
from diffuserve.core.request import GenerationRequest
from diffuserve.dialects import dialects
from diffuserve.dialects.base import Dialect, Notices, Rooms
from diffuserve.dialects.links import Links
from diffuserve.engine.fake import FakeEngine
from diffuserve.http.app import create_app
from diffuserve.http.guards import Doors
from diffuserve.http.metrics import Metrics, read_levels
from diffuserve.jobs.catalog import Catalog
from diffuserve.jobs.hub import Hub
from diffuserve.jobs.output import Pictures
from diffuserve.jobs.resolve import Limits
from diffuserve.jobs.service import JobService
from diffuserve.jobs.worker import Worker
from diffuserve.media.fetch import Fetcher
from diffuserve.media.finish import finish
from diffuserve.media.prepare import prepare
from diffuserve.media.vision import STAND_INS
from diffuserve.prompts.help import PromptHelper
from diffuserve.store import open_store
from diffuserve.webhooks.sign import SigningSecrets

BASE = "http://localhost:8000"


def model(name: str, **changes: Any) -> ModelInfo:
    values: dict[str, Any] = {
        "name": name,
        "family": Family.SD15,
        "path": f"/models/secret/{name}",
        "size": 64,
        "native": NativeRange(8, 1024),
        "multiple": 8,
        "sampler": "euler",
        "num_inference_steps": 5,
        "guidance_scale": 3.0,
    }
    return ModelInfo(**{**values, **changes})


MODELS = (
    model("tiny", aliases=("t",), description="A small one."),
    model("other", native=NativeRange(64, 64), hires=False),
)


class LiveClock:
    """Real time."""

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class HeldClock:
    """Time that stands still until it is moved."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._changed = asyncio.Condition()
        self._asleep = 0

    def now(self) -> float:
        return self._now

    def set(self, now: float) -> None:
        """Move to a time, where nobody sleeps."""
        self._now = now

    async def sleep(self, seconds: float) -> None:
        until = self._now + seconds
        async with self._changed:
            self._asleep += 1
            self._changed.notify_all()
            try:
                await self._changed.wait_for(lambda: self._now >= until)
            finally:
                self._asleep -= 1

    async def advance(self, seconds: float, sleepers: int = 1) -> None:
        """Move on, once so many sleepers wait for it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._asleep >= sleepers)
            self._now += seconds
            self._changed.notify_all()


@dataclass
class Server:
    """A running server and a client to call it with."""

    app: FastAPI
    client: httpx2.AsyncClient
    rooms: Rooms
    engine: FakeEngine
    metrics: Metrics
    blobs: MemoryBlobs
    dialects: tuple[Dialect, ...]
    keys: Keyring
    accounts: AccountStore
    clock: Any = field(default=None)

    @property
    def jobs(self) -> JobService:
        return self.rooms.jobs

    def submissions(self) -> asyncio.Queue[Job]:
        """Every job that is submitted from now on."""
        submitted: asyncio.Queue[Job] = asyncio.Queue()
        submit = self.jobs.submit

        async def seen(principal: Principal, dialect: str, request: GenerationRequest, **more: Any) -> Job:
            job = await submit(principal, dialect, request, **more)
            submitted.put_nowait(job)
            return job

        self.jobs.submit = seen  # type: ignore[method-assign]
        return submitted


@asynccontextmanager
async def serving(
    tmp_path: Path,
    *,
    doors: Doors | None = None,
    clock: Any = None,
    max_queue: int = 1000,
    models: tuple[ModelInfo, ...] = MODELS,
    catalog: Catalog | None = None,
    start: bool = True,
    fetcher: Fetcher | None = None,
    may_be_open: bool = True,
    prompts: PromptHelper | None = None,
    **settings: Any,
) -> AsyncIterator[Server]:
    """A server on the default settings, but for `settings`; with `start` false nothing is ever drawn.

    `catalog` is in place of one of `models` alone.
    """
    clock = clock or LiveClock()
    stores = await open_store(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")
    blobs, hub, engine = MemoryBlobs(), Hub(), FakeEngine(0.0, clock)
    pictures = Pictures(prepare=partial(prepare, vision=STAND_INS), finish=finish)
    worker = Worker(
        store=stores.jobs, blobs=blobs, engine=engine, hub=hub, clock=clock, pictures=pictures, owner="test"
    )
    jobs = JobService(
        store=stores.jobs,
        accounts=stores.accounts,
        blobs=blobs,
        hub=hub,
        clock=clock,
        catalog=catalog or Catalog(models, models[0].name),
        limits=Limits(max_pixels=4096 * 4096),
        runner=worker,
        status=engine.status,
        max_queue=max_queue,
        prompts=prompts or PromptHelper(),
    )
    sealer = Sealer(b"s" * 32)
    rooms = Rooms(
        jobs=jobs,
        gate=Gate(stores.accounts, sealer, clock, may_be_open=may_be_open),
        links=Links(b"secret", 3600, clock),
        fetcher=fetcher or Fetcher(),
        notices=Notices(SigningSecrets(b"s" * 32)),
        access_tokens=AccessTokens(b"s" * 32, clock),
        clock=clock,
        status=engine.status,
        max_input_pixels=1_000_000,
    )
    all_dialects = dialects(Settings(**settings))
    metrics = Metrics(engine.status)
    levels = partial(read_levels, stores.jobs, stores.deliveries, clock)
    app = create_app(rooms, all_dialects, doors or Doors(max_body_bytes=2**20), metrics, levels)
    if start:
        await engine.start()
        await worker.start()
    # Bugs are answered, as they are by a real server, and not raised into the test.
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    try:
        async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
            yield Server(
                app,
                client,
                rooms,
                engine,
                metrics,
                blobs,
                all_dialects,
                Keyring(stores.accounts, sealer, clock),
                stores.accounts,
                clock,
            )
    finally:
        await worker.close()
        await stores.close()


class Caller:
    """One HTTP call by hand: sees the answer grow, and can hang up."""

    def __init__(self, app: FastAPI, method: str, path: str, body: bytes = b"", **headers: str) -> None:
        self._app = app
        named = {"host": "localhost:8000", "content-length": str(len(body)), **headers}
        path, _, query = path.partition("?")
        self._scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()],
            "server": ("localhost", 8000),
            "client": ("127.0.0.1", 1),
        }
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._incoming.put_nowait({"type": "http.request", "body": body})
        self._outgoing: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.task: asyncio.Task[None] | None = None

    def call(self) -> Caller:
        self.task = asyncio.create_task(self._app(self._scope, self._incoming.get, self._outgoing.put))
        return self

    def hang_up(self) -> None:
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def start(self) -> tuple[int, dict[str, str]]:
        """Status and headers."""
        message = await self._outgoing.get()
        return message["status"], {name.decode(): value.decode() for name, value in message["headers"]}

    async def chunk(self) -> bytes:
        """The next piece of the body; empty at its end."""
        message = await self._outgoing.get()
        body: bytes = message["body"]
        return body

    async def finished(self) -> None:
        assert self.task is not None
        await self.task
