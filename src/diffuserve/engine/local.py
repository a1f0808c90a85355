"""The engine as a process of its own: commands go out, events come in, and what dies is started again.

A job sees one of two things: its events, or EngineCrashed if the process died under it. Jobs that come while the
process loads simply wait. `process.py` is the other end, `spawn.py` starts it, `wire.py` is how they talk.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

import structlog

from diffuserve.core.errors import ConfigurationError, EngineCrashed, InternalError, JobCanceled
from diffuserve.core.events import EngineEvent, Failed, Finished
from diffuserve.core.job import JobError
from diffuserve.core.ports import Clock, EngineStatus
from diffuserve.core.request import ResolvedRequest
from diffuserve.engine.messages import (
    Cancel,
    Configure,
    Counters,
    EngineConfig,
    Generate,
    JobEvent,
    LoadFailed,
    Ready,
    Shutdown,
)
from diffuserve.engine.spawn import COMMAND, Child, exit_words, spawn
from diffuserve.engine.wire import WireError, receive

MAX_FAILED_LOADS = 3
"""Deaths in a row before the engine was ready; then it will never be."""
LONG_LIFE = 60.0
"""Seconds after which a death no longer counts as part of a series."""
MAX_BACK_OFF = 30.0
PATIENCE = 2.0
"""Seconds in which a process that was told to stop may do so."""

_NOTHING = Counters(running=0, waiting=0, forwards=0, rows=0, step_seconds=0.0)

log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class _Stream:
    """One job on board, or waiting for the engine to be ready."""

    job_id: int
    request: ResolvedRequest
    account: str = ""
    priority: int = 0
    inbox: asyncio.Queue[EngineEvent | EngineCrashed] = field(default_factory=asyncio.Queue)
    sent: bool = False


@dataclass(frozen=True, slots=True)
class _End:
    """How one life of the process ended."""

    words: str
    """For "the engine process ..."."""
    was_ready: bool = False
    refusal: str | None = None
    """Why it says that it cannot load; trying again at once would end the same way."""


class LocalEngine:
    """Implements `ports.Engine` with one engine process."""

    def __init__(self, config: EngineConfig, clock: Clock, command: Sequence[str] = COMMAND) -> None:
        self._config = config
        self._clock = clock
        self._command = command
        self._child: Child | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        """Set once it is known whether the engine will ever be ready."""
        self._refusal: str | None = None
        """Why it will never be ready (again)."""
        # Streams go by a ticket of our own, not by job id: the same job may come back while the process still
        # says its last words about the previous attempt.
        self._tickets = itertools.count(1)
        self._streams: dict[int, _Stream] = {}
        self._status = EngineStatus(ready=False, detail="not started")
        self._before = _NOTHING
        """Totals of the processes that have died."""
        self._counters = _NOTHING

    async def start(self) -> None:
        if self._supervisor is None:
            self._supervisor = asyncio.create_task(self._supervise(), name="engine")
        await self._settled.wait()
        if self._refusal is not None:
            raise ConfigurationError(self._refusal)

    async def generate(
        self, job_id: int, request: ResolvedRequest, *, account: str = "", priority: int = 0
    ) -> AsyncIterator[EngineEvent]:
        if self._refusal is not None:
            raise EngineCrashed(self._refusal)
        ticket, stream = next(self._tickets), _Stream(job_id, request, account, priority)
        self._streams[ticket] = stream
        try:
            if self._status.ready:
                self._send(ticket, stream)
            while True:
                event = await stream.inbox.get()
                if isinstance(event, EngineCrashed):
                    stream.sent = False
                    raise event
                if isinstance(event, Finished | Failed):
                    stream.sent = False
                    yield event
                    return
                yield event
        finally:
            del self._streams[ticket]
            if stream.sent and self._child is not None:
                self._child.send(Cancel(ticket))

    async def cancel(self, job_id: int) -> None:
        for ticket, stream in self._streams.items():
            if stream.job_id != job_id:
                continue
            if stream.sent and self._child is not None:
                self._child.send(Cancel(ticket))
            else:
                canceled = JobCanceled()
                stream.inbox.put_nowait(Failed(JobError(canceled.code, canceled.message)))

    def status(self) -> EngineStatus:
        before, now = self._before, self._counters
        return replace(
            self._status,
            running=now.running,
            waiting=now.waiting,
            forwards=before.forwards + now.forwards,
            rows=before.rows + now.rows,
            step_seconds=before.step_seconds + now.step_seconds,
            encodings=before.encodings + now.encodings,
            encoding_hits=before.encoding_hits + now.encoding_hits,
            memory_bytes=now.memory_bytes,
            models=now.models,
            loading=now.loading,
        )

    async def close(self) -> None:
        if self._child is not None:
            self._child.send(Shutdown())
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait({self._supervisor})
        self._refuse("the engine was stopped")

    async def _supervise(self) -> None:
        """Start the process again and again. Only what has never been ready is given up: what loaded once will again."""
        deaths = 0
        while True:
            born = self._clock.now()
            self._status = replace(self._status, detail=f"loading {self._config.default_model}")
            end = await self._live()
            deaths = 1 if end.was_ready and self._clock.now() - born >= LONG_LIFE else deaths + 1
            log.warning("the engine process ended", how=end.words, deaths=deaths)
            if not self._settled.is_set() and (end.refusal or deaths >= MAX_FAILED_LOADS):
                self._refuse(end.refusal or self._hopeless(end.words, deaths))
                return
            self._status = replace(
                self._status, detail=f"restarting: {end.refusal or f'the engine process {end.words}'}"
            )
            await self._clock.sleep(min(MAX_BACK_OFF, 0.5 * 2 ** (deaths - 1)))
            self._status = replace(self._status, restarts=self._status.restarts + 1)

    def _hopeless(self, died: str, deaths: int) -> str:
        return (
            f"the engine process {died} while it loaded {self._config.default_model}, {deaths} times in a row: "
            "its log above says more, and `diffuserve doctor` looks at memory and libraries"
        )

    async def _live(self) -> _End:
        """One life of the process."""
        try:
            child = await spawn(self._command, self._config)
        except OSError as error:
            return _End("could not be started", refusal=f"the engine process could not be started: {error}")
        end = _End("was stopped")
        try:
            child.send(Configure(self._config))
            self._child = child
            end = await self._listen(child)
        finally:
            self._child = None
            words = exit_words(await child.end(PATIENCE))
            self._bury(words)
        return replace(end, words=words)

    async def _listen(self, child: Child) -> _End:
        """Pass on what the process says until it falls silent."""
        end = _End("")
        # A grandchild may hold the socket open, so the end of the process counts too, not only the end of the stream.
        dead = asyncio.create_task(child.process.wait())
        dead.add_done_callback(lambda _: asyncio.get_running_loop().call_later(PATIENCE, child.reader.feed_eof))
        try:
            while (message := await receive(child.reader)) is not None:
                if isinstance(message, JobEvent):
                    if stream := self._streams.get(message.job_id):
                        stream.inbox.put_nowait(message.event)
                elif isinstance(message, Ready):
                    end = replace(end, was_ready=True)
                    self._welcome(message)
                elif isinstance(message, Counters):
                    self._counters = message
                elif isinstance(message, LoadFailed):
                    end = replace(end, refusal=message.message)
        except WireError as error:
            log.error("the engine process sent what is no message", error=str(error))
        finally:
            dead.cancel()
        return end

    def _welcome(self, ready: Ready) -> None:
        self._status = replace(self._status, ready=True, detail="ready", device=ready.device, dtype=ready.dtype)
        self._settled.set()
        for ticket, stream in self._streams.items():
            if not stream.sent:
                self._send(ticket, stream)

    def _send(self, ticket: int, stream: _Stream) -> None:
        assert self._child is not None  # ready means that there is one
        try:
            self._child.send(Generate(ticket, stream.request, stream.account, stream.priority))
            stream.sent = True
        except WireError as error:
            log.error("a request could not be sent to the engine", job_id=stream.job_id, error=str(error))
            stream.inbox.put_nowait(Failed(JobError(InternalError.code, InternalError().message)))

    def _bury(self, died: str) -> None:
        self._status = replace(self._status, ready=False)
        self._before = self._totals()
        self._counters = _NOTHING
        for stream in self._streams.values():
            if stream.sent:
                stream.sent = False
                stream.inbox.put_nowait(EngineCrashed(f"the engine process {died} while it drew this"))

    def _totals(self) -> Counters:
        now = self.status()
        return Counters(0, 0, now.forwards, now.rows, now.step_seconds, now.encodings, now.encoding_hits)

    def _refuse(self, reason: str) -> None:
        """From here on there is no engine: nobody waits for it any longer."""
        self._refusal = self._refusal or reason
        self._status = replace(self._status, ready=False, detail=reason)
        self._settled.set()
        for stream in self._streams.values():
            stream.inbox.put_nowait(EngineCrashed(reason))
