"""A sender with a real store and real receivers, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text

from diffuserve.core.delivery import Callback, Delivery
from diffuserve.core.job import Job
from diffuserve.store import open_store
from diffuserve.webhooks import sign
from diffuserve.webhooks.client import Client
from diffuserve.webhooks.rendered import Rendered
from diffuserve.webhooks.sender import Sender
from support.clock import FakeClock
from support.models import job as any_job

SECRET = bytes(range(32))


class Watched:
    """A delivery store that tells what was written to it: `written` has (method, delivery id) in order."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.written: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.claimed: asyncio.Queue[int] = asyncio.Queue()
        """How many each claim found."""
        self.broken: dict[str, list[Exception]] = {}
        """What the next calls of a method raise."""

    def __getattr__(self, method: str) -> Any:
        inner = getattr(self._inner, method)

        async def call(*args: Any, **kwargs: Any) -> Any:
            if self.broken.get(method):
                raise self.broken[method].pop(0)
            result = await inner(*args, **kwargs)
            if method == "claim_deliveries":
                self.claimed.put_nowait(len(result))
            if method in ("delivered", "postponed", "buried"):
                self.written.put_nowait((method, args[0]))
            return result

        return call


@dataclass
class Outbox:
    """Jobs end when the test says so; the sender looks when it is nudged, and pauses are the whole of their ceilings."""

    stores: Any
    watched: Watched
    clock: FakeClock
    senders: list[Sender] = field(default_factory=list)
    rendered: Callable[[Job, Delivery], Rendered] | None = None
    _ids: int = 0

    def sender(self, *, timeout: float = 15.0, allow_private: bool = True, **options: Any) -> Sender:
        options = {"poll_seconds": 10**6, "chance": lambda: 1.0, **options}
        made = Sender(
            deliveries=self.watched,
            job=self.stores.jobs.get,
            render=self._render,
            client=Client(timeout=timeout, allow_private=allow_private),
            clock=self.clock,
            **options,
        )
        self.senders.append(made)
        return made

    async def started(self, **options: Any) -> Sender:
        """A running sender that has looked once."""
        made = self.sender(**options)
        await made.start()
        await self.watched.claimed.get()
        return made

    async def end_job(self, url: str) -> Delivery:
        """A job that asked for a notification and has ended: cancelled, which needs no engine."""
        self._ids += 1
        now = self.clock.now()
        callback = Callback(url, "native", base_url="http://localhost:8000")
        await self.stores.jobs.add(any_job(self._ids, created_at=now, callback=callback), now=now)
        await self.stores.jobs.cancel(self._ids, now)
        return await self.of(self._ids)

    async def another_of(self, delivery: Delivery, new_id: str) -> str:
        """A second notification of the same job, a moment later; no part of the server makes one yet."""
        names = "job_id, callback, status, next_at, attempts, delivered_at, last_error"
        copy = text(
            f"INSERT INTO deliveries (id, created_at, {names}) "
            f"SELECT :new, created_at + 0.001, {names} FROM deliveries WHERE id = :old"
        )
        await self.stores.database.write(
            lambda connection: connection.execute(copy, {"new": new_id, "old": delivery.id}).rowcount
        )
        return new_id

    async def of(self, job_id: int) -> Delivery:
        """A job's only delivery as it is now."""
        (found,) = await self.stores.deliveries.deliveries(job_id=job_id)
        delivery: Delivery = found
        return delivery

    async def look(self, sender: Sender) -> int:
        """Have it look for due ones; how many it found."""
        while not self.watched.claimed.empty():
            self.watched.claimed.get_nowait()
        sender.nudge()
        return await self.watched.claimed.get()

    async def _render(self, job: Job, delivery: Delivery) -> Rendered:
        if self.rendered is not None:
            return self.rendered(job, delivery)
        body = f'{{"job": {job.id}, "status": "{job.status}"}}'.encode()
        return Rendered(body, headers=sign.headers(SECRET, delivery.id, int(self.clock.now()), body))


@asynccontextmanager
async def outbox(url: str, now: float = 1_800_000_000.0) -> AsyncIterator[Outbox]:
    stores = await open_store(url)
    box = Outbox(stores, Watched(stores.deliveries), FakeClock(now))
    try:
        yield box
    finally:
        for sender in box.senders:
            await sender.close()
        await stores.close()
