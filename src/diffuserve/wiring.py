"""The composition root: takes the settings apart and hands each room just what it uses. Nothing else knows all rooms.

`build` makes a server, `catalog`, `limits` and `make_engine` the parts that the command line needs without one.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial

from starlette.types import ASGIApp

from diffuserve import listing
from diffuserve.auth import Gate, Keyring, Sealer
from diffuserve.auth.access_tokens import AccessTokens
from diffuserve.blobs import Bucket, LocalBlobs, S3Blobs
from diffuserve.config import Settings
from diffuserve.core.errors import ConfigurationError
from diffuserve.core.ports import AccountStore, Clock, DeliveryStore, Engine
from diffuserve.datadir import DataDir, DataFolder
from diffuserve.dialects import dialects
from diffuserve.dialects.base import Notices, Rooms
from diffuserve.dialects.callbacks import renderer
from diffuserve.dialects.links import Links
from diffuserve.engine.fake import FakeEngine
from diffuserve.engine.local import LocalEngine
from diffuserve.engine.messages import EngineConfig
from diffuserve.engine.writer import Writer, WriterConfig
from diffuserve.http.app import create_app
from diffuserve.http.guards import Doors
from diffuserve.http.metrics import Metrics, read_levels
from diffuserve.jobs.catalog import Catalog
from diffuserve.jobs.hub import Hub
from diffuserve.jobs.output import Pictures
from diffuserve.jobs.resolve import Limits
from diffuserve.jobs.retention import Sweeper
from diffuserve.jobs.service import JobService
from diffuserve.jobs.worker import Worker
from diffuserve.logs import RequestIds
from diffuserve.loopback import is_loopback
from diffuserve.media.fetch import Fetcher
from diffuserve.media.finish import finish
from diffuserve.media.prepare import prepare
from diffuserve.media.vision import vision
from diffuserve.prompts import words
from diffuserve.prompts.chat import Chat
from diffuserve.prompts.help import PromptHelper
from diffuserve.store import Stores, open_store
from diffuserve.tracing import Traces, open_traces
from diffuserve.webhooks.client import Client
from diffuserve.webhooks.sender import Sender
from diffuserve.webhooks.sign import SigningSecrets

MIN_SECRET = 32
LAST_CALLS = 3.0
"""Seconds for notifications that are under way when the server stops."""


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
    stores: Stores
    data: DataDir
    sweeper: Sweeper
    traces: Traces | None
    sender: Sender
    gate: Gate
    """Whether the server is open, for whoever greets the operator."""
    prompts: PromptHelper
    _loading: asyncio.Task[None] | None = field(default=None, init=False)

    async def start(self) -> None:
        """Take up unfinished jobs and begin to load the model; returns while it loads."""
        self._loading = asyncio.create_task(self.engine.start(), name="load")
        await self.worker.start()
        await self.sender.start()
        self.sweeper.start()

    async def ready(self) -> None:
        """Returns when the engine can draw. Raises ConfigurationError if it never will."""
        if self._loading is not None:
            await asyncio.shield(self._loading)

    async def drain(self, seconds: float) -> None:
        """Claim no more jobs and let running ones finish for `seconds`; the rest goes back to the queue."""
        await self.worker.drain(seconds)
        await self.sender.drain(min(seconds, LAST_CALLS))

    async def close(self) -> None:
        """Stop everything at once; jobs that still run are taken up at the next start."""
        await self.sweeper.close()
        await self.worker.close()
        await self.sender.close()
        await self.engine.close()
        await self.prompts.close()
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait({self._loading})
            if not self._loading.cancelled():
                # Whoever waited for `ready` has seen it; asked here so that nobody complains that nobody asked.
                self._loading.exception()
        await self.stores.close()
        if self.traces is not None:
            await asyncio.to_thread(self.traces.close)
        self.data.close()

    async def stop(self, seconds: float = 0.0) -> None:
        await self.drain(seconds)
        await self.close()


async def build(settings: Settings, models: Catalog | None = None, clock: Clock | None = None) -> App:
    """A server made by `settings`; nothing runs yet. Raises ConfigurationError, and leaves nothing open then."""
    models = models or catalog(settings)
    clock = clock or SystemClock()
    prompts = prompt_help(settings, clock)
    with contextlib.ExitStack() as undo:
        data = DataDir(settings.data_dir)
        undo.callback(data.close)
        sealing = secret(settings, data)
        traces = open_traces(settings.otlp_endpoint) if settings.otlp_endpoint else None
        if traces is not None:
            undo.callback(traces.close)
        blobs = await open_blobs(settings, data)
        stores = await open_store(settings.database_url or data.database_url)
        app = _assemble(settings, models, clock, data, sealing, blobs, stores, traces, prompts)
        undo.pop_all()
        return app


@dataclass(frozen=True)
class Books:
    """Accounts, keys, plans and notifications, for commands that run beside a server."""

    accounts: AccountStore
    keys: Keyring
    deliveries: DeliveryStore
    signing: SigningSecrets
    clock: Clock
    dialects: tuple[str, ...]
    """Names, for scopes."""


@contextlib.asynccontextmanager
async def open_books(settings: Settings, clock: Clock | None = None) -> AsyncIterator[Books]:
    """The books of a server that may be running. Raises ConfigurationError."""
    clock = clock or SystemClock()
    data = DataFolder(settings.data_dir)
    root = secret(settings, data)
    sealer, signing = Sealer(root), signing_secrets(settings, root)
    stores = await open_store(settings.database_url or data.database_url)
    try:
        names = tuple(dialect.name for dialect in dialects(settings))
        keys = Keyring(stores.accounts, sealer, clock)
        yield Books(stores.accounts, keys, stores.deliveries, signing, clock, names)
    finally:
        await stores.close()


async def anybody_has_a_key(settings: Settings) -> bool:
    """Whether a server with these settings asks for keys from the start. Raises ConfigurationError."""
    if settings.database_url is None and not settings.data_dir.exists():
        return False
    async with open_books(settings) as books:
        return await books.accounts.has_keys()


def secret(settings: Settings, data: DataFolder) -> bytes:
    """What links are signed and key secrets are sealed with. Raises ConfigurationError for one that can be guessed."""
    if settings.secret_key is None:
        return data.secret
    chosen = settings.secret_key.get_secret_value().encode()
    if len(chosen) < MIN_SECRET:
        raise ConfigurationError(
            f"secret_key must have {MIN_SECRET} characters or more: `openssl rand -hex 32` makes one"
        )
    return chosen


def signing_secrets(settings: Settings, root: bytes) -> SigningSecrets:
    """What notifications are signed with. Raises ConfigurationError."""
    common = settings.webhook_secret.get_secret_value() if settings.webhook_secret else None
    try:
        return SigningSecrets(root, common)
    except ValueError as error:
        raise ConfigurationError(f"webhook_secret cannot be used: {error}") from None


async def open_blobs(settings: Settings, data: DataDir) -> LocalBlobs | S3Blobs:
    """Where pictures lie, tried out. Raises ConfigurationError."""
    if settings.storage == "local":
        return LocalBlobs(data.blobs)
    bucket = Bucket(
        settings.s3_bucket or "",
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        access_key=settings.s3_access_key or "",
        secret_key=settings.s3_secret_key.get_secret_value() if settings.s3_secret_key else "",
        prefix=settings.s3_prefix,
        path_style=settings.s3_path_style,
        public_base_url=settings.s3_public_base_url,
        link_seconds=settings.link_seconds,
    )
    blobs = S3Blobs(bucket)
    await blobs.probe()
    return blobs


def catalog(settings: Settings) -> Catalog:
    """Everything that requests may name (`listing.py`). Raises ConfigurationError."""
    return listing.catalog(settings)


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
        loras=models.loras,
        controlnets=models.controlnets,
        adapters=models.adapters,
        model_memory=settings.model_memory,
    )
    return LocalEngine(config, clock)


def pictures(settings: Settings) -> Pictures:
    """What is done to pictures before and after an engine has them."""
    eyes = vision(stand_ins=settings.engine == "fake")
    return Pictures(prepare=partial(prepare, vision=eyes), finish=finish)


def prompt_help(settings: Settings, clock: Clock | None = None) -> PromptHelper:
    """Whoever helps with prompts; nothing is started yet. Raises ConfigurationError for settings that are incomplete."""
    tasks = (settings.translation, settings.enhancement)
    whom = {
        "off": None,
        "local": _writer(settings, clock or SystemClock()) if "local" in tasks else None,
        "chat": _chat(settings) if "chat" in tasks else None,
    }
    return PromptHelper(whom[settings.translation], whom[settings.enhancement], seconds=settings.prompt_seconds)


def _writer(settings: Settings, clock: Clock) -> Writer:
    folders: dict[str, str | None] = {}
    for task in ("translation", "enhancement"):
        folder = getattr(settings, f"{task}_model") if getattr(settings, task) == "local" else None
        if folder is None and getattr(settings, task) == "local":
            raise ConfigurationError(f'{task} = "local" needs {task}_model, the folder of a model')
        folders[task] = folder and str(folder)
    config = WriterConfig(folders["translation"], folders["enhancement"], words.ENHANCE)
    config.check()
    return Writer(config, clock)


def _chat(settings: Settings) -> Chat:
    if not settings.chat_base_url or not settings.chat_model:
        missing = "chat_model" if settings.chat_base_url else "chat_base_url"
        raise ConfigurationError(f'translation or enhancement by "chat" needs {missing}')
    if not re.match(r"https?://[^/\s]", settings.chat_base_url):
        raise ConfigurationError("chat_base_url must begin with http:// or https:// and a host")
    key = settings.chat_api_key.get_secret_value() if settings.chat_api_key else None
    return Chat(settings.chat_base_url, settings.chat_model, key, timeout=settings.prompt_seconds)


def _assemble(
    settings: Settings,
    models: Catalog,
    clock: Clock,
    data: DataDir,
    sealing: bytes,
    blobs: LocalBlobs | S3Blobs,
    stores: Stores,
    traces: Traces | None,
    prompts: PromptHelper,
) -> App:
    engine = make_engine(settings, models, clock)
    metrics = Metrics(engine.status)
    hub = Hub()
    hub.observe_ends(metrics.job_ended)
    if traces is not None:
        hub.observe_ends(traces.ended)
    worker = Worker(
        store=stores.jobs,
        blobs=blobs,
        engine=engine,
        hub=hub,
        clock=clock,
        pictures=pictures(settings),
        owner=settings.server_name or data.owner,
        tracer=traces,
    )
    jobs = JobService(
        store=stores.jobs,
        accounts=stores.accounts,
        blobs=blobs,
        hub=hub,
        clock=clock,
        catalog=models,
        limits=limits(settings),
        runner=worker,
        status=engine.status,
        max_queue=settings.max_queue,
        max_queued_pixels=settings.max_queued_pixels,
        tracer=traces,
        prompts=prompts,
    )
    gate = Gate(
        stores.accounts,
        Sealer(sealing),
        clock,
        may_be_open=is_loopback(settings.host) or settings.allow_anonymous,
    )
    rooms = Rooms(
        jobs=jobs,
        gate=gate,
        links=Links(
            sealing,
            settings.link_seconds,
            clock,
            settings.public_url,
            storage=blobs if isinstance(blobs, S3Blobs) else None,
        ),
        fetcher=Fetcher(allow_private=settings.allow_private_urls),
        notices=Notices(signing_secrets(settings, sealing), allow_private=settings.allow_private_urls),
        access_tokens=AccessTokens(sealing, clock),
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
    spoken = dialects(settings)
    sender = Sender(
        deliveries=stores.deliveries,
        job=stores.jobs.get,
        render=renderer(spoken, rooms),
        client=Client(timeout=settings.webhook_timeout, allow_private=settings.allow_private_urls),
        clock=clock,
        give_up_seconds=settings.webhook_seconds,
    )
    hub.observe_ends(sender.job_ended)
    asgi = create_app(rooms, spoken, doors, metrics, partial(read_levels, stores.jobs, stores.deliveries, clock))
    sweeper = Sweeper(store=stores.retention, blobs=blobs, clock=clock, days=settings.retention_days)
    traced = traces.requests(asgi) if traces is not None else asgi
    return App(RequestIds(traced), models, jobs, engine, worker, stores, data, sweeper, traces, sender, gate, prompts)
