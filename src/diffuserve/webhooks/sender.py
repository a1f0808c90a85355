"""Takes due notifications from the store, sends them and writes down what became of them.

A notification in hand is hidden from other senders until a time: a sender that dies leaves it to come up again by
itself, with the same id. So each arrives at least once, and a receiver can tell a repetition.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from diffuserve import logs
from diffuserve.core.delivery import Delivery
from diffuserve.core.errors import StorageFailed
from diffuserve.core.job import Job
from diffuserve.core.ports import Clock, DeliveryStore
from diffuserve.webhooks.backoff import Backoff
from diffuserve.webhooks.client import Client, NotReached
from diffuserve.webhooks.hosts import Hosts
from diffuserve.webhooks.rendered import Render

_log = logging.getLogger(__name__)

_HIDDEN_SECONDS = 45.0
"""How much longer than a call may take a notification is hidden: time to wait for its turn and to be written down."""
_RETRY_PAUSES = (0.2, 1.0, 3.0)
"""Seconds before each further try to write down what became of one."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """An attempt that did not succeed."""

    reason: str
    final: bool = False
    """Trying again makes no sense."""
    not_before: float = 0.0
    """Unix seconds."""


class Sender:
    """One per server process; several on one database share the work."""

    def __init__(
        self,
        *,
        deliveries: DeliveryStore,
        job: Callable[[int], Awaitable[Job | None]],
        render: Render,
        client: Client,
        clock: Clock,
        give_up_seconds: float = 86400.0,
        backoff: Backoff | None = None,
        chance: Callable[[], float] = random.random,
        concurrency: int = 256,
        poll_seconds: float = 2.0,
    ) -> None:
        """`give_up_seconds`: how long one is tried. `concurrency`: how many it has in hand at once. `poll_seconds`: how
        often it looks for due ones unasked."""
        self._deliveries = deliveries
        self._job = job
        self._render = render
        self._client = client
        self._clock = clock
        self._give_up_seconds = give_up_seconds
        self._backoff = backoff or Backoff()
        self._chance = chance
        self._concurrency = concurrency
        self._poll_seconds = poll_seconds
        self._hosts = Hosts()
        self._sending: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._more = True
        """There may be due ones: false after a claim that found fewer than it wanted."""
        self._draining = False
        self._closed = False
        self._claims: asyncio.Task[None] | None = None
        self._ticks: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._claims = asyncio.create_task(self._claim_loop(), name="webhook-claims")
        self._ticks = asyncio.create_task(self._tick(), name="webhook-tick")

    def nudge(self) -> None:
        """There may be a new notification."""
        self._more = True
        self._wake.set()

    def job_ended(self, job: Job) -> None:
        """For `Hub.observe_ends`: send at once what would else be found at the next look."""
        if job.callback is not None:
            self.nudge()

    async def drain(self, seconds: float) -> None:
        """Send what has been announced already, and let calls under way finish for up to `seconds`; the rest comes up
        again by itself."""
        self._draining = True
        self._wake.set()
        if self._claims is not None:
            await self._claims
            self._claims = None
        if self._sending and seconds > 0:
            await asyncio.wait(self._sending, timeout=seconds)
        rest = [*self._sending, *([self._ticks] if self._ticks else [])]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        self._ticks = None

    async def close(self) -> None:
        """Stop now."""
        self._closed = True
        await self.drain(0)

    # Taking

    async def _claim_loop(self) -> None:
        while True:
            self._wake.clear()
            room = self._concurrency - len(self._sending)
            if self._more and room > 0 and not self._closed:
                try:
                    await self._claim(room)
                except Exception:  # noqa: BLE001 - whatever it was, later ones must still be sent
                    _log.exception("no notifications could be taken; trying again")
                    await self._clock.sleep(1.0)
                    self.nudge()
            # Not before a last look: the job that ended last has only just been announced.
            if self._draining:
                return
            await self._wake.wait()

    async def _claim(self, room: int) -> None:
        self._more = False
        now = self._clock.now()
        hidden_until = now + self._client.timeout + _HIDDEN_SECONDS
        due = await self._deliveries.claim_deliveries(room, now, hidden_until)
        if len(due) == room:
            self._more = True
        for delivery in due:
            task = asyncio.create_task(self._send(delivery, hidden_until), name=f"webhook-{delivery.id}")
            self._sending.add(task)
            task.add_done_callback(self._let_go)

    def _let_go(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s is left until it comes up again", task.get_name(), exc_info=error)

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(self._poll_seconds)
            self.nudge()

    # Sending one

    async def _send(self, delivery: Delivery, hidden_until: float) -> None:
        host = urlsplit(delivery.callback.url).netloc.lower()
        with logs.bound(job_id=delivery.job_id, delivery_id=delivery.id):
            async with self._hosts.slot(host) as free:
                # After too long a wait another sender may have it by the time the call ends. It comes up again.
                if not free or self._clock.now() + self._client.timeout > hidden_until:
                    return
                failure = await self._attempt(delivery, host)
            await self._settle(delivery, host, failure)

    async def _attempt(self, delivery: Delivery, host: str) -> _Failure | None:
        if (rests_until := self._hosts.rests_until(host, self._clock.now())) is not None:
            return _Failure("the receiver is left alone: it could not be reached lately", not_before=rests_until)
        job = await self._job(delivery.job_id)
        if job is None:
            return _Failure("its job was deleted", final=True)
        try:
            rendered = await self._render(job, delivery)
        except Exception:  # noqa: BLE001 - a bug in one dialect's words; another version of the server may mend it
            _log.exception("a notification could not be put into words")
            return _Failure("the notification could not be put into words; the server's log says more")
        began = time.monotonic()
        try:
            headers = {"Content-Type": rendered.content_type, **rendered.headers}
            answer = await self._client.post(delivery.callback.url, headers, rendered.body)
        except NotReached as missed:
            self._hosts.missed(host, self._clock.now())
            return _Failure(f"the receiver {missed}")
        self._hosts.reached(host, time.monotonic() - began)
        if 200 <= answer.status < 300:
            return None
        return _Failure(
            f"the receiver answered {answer.status}",
            final=answer.status == 410,
            not_before=self._clock.now() + min(answer.retry_after or 0.0, self._backoff.most),
        )

    async def _settle(self, delivery: Delivery, host: str, failure: _Failure | None) -> None:
        now = self._clock.now()
        if failure is None:
            await self._written(lambda: self._deliveries.delivered(delivery.id, now))
            return
        until = delivery.created_at + self._give_up_seconds
        if failure.final or now >= until:
            _log.warning("gave up notifying %s: %s", host, failure.reason)
            await self._written(lambda: self._deliveries.buried(delivery.id, failure.reason))
            return
        pause = self._backoff.pause(delivery.attempts, self._chance())
        # The last attempt is made when time is up, not before: a receiver that came back just then still hears of it.
        next_at = min(max(now + pause, failure.not_before), until)
        _log.info("notifying %s failed, trying again in %.0f seconds: %s", host, next_at - now, failure.reason)
        await self._written(lambda: self._deliveries.postponed(delivery.id, failure.reason, next_at))

    async def _written(self, write: Callable[[], Awaitable[None]]) -> None:
        for pause in _RETRY_PAUSES:
            try:
                return await write()
            except StorageFailed:
                await self._clock.sleep(pause)
        await write()
