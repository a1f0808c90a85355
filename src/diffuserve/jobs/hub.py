"""News of running jobs, from the worker to whoever listens, inside one server process.

Nothing here is durable: the store holds the truth, and whoever needs it subscribes first and reads the store second, so
that an end cannot slip between the two.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from diffuserve.core.events import EngineEvent, Preview, Progress, Started
from diffuserve.core.job import Job

News = Started | Progress | Preview | Job


class Subscription:
    """An iterator over one job's news, the ended `Job` its last. Use it as a context manager: leaving unsubscribes.

    A slow reader misses outdated progress and previews, never the end: of each kind only the latest waits for it.
    """

    def __init__(self, hub: Hub, job_id: int, only_end: bool) -> None:
        self._hub = hub
        self.job_id = job_id
        self.only_end = only_end
        self._waiting: deque[News] = deque()
        self._arrived = asyncio.Event()
        self._over = False

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hub.unsubscribe(self)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> News:
        while not self._waiting:
            if self._over:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        news = self._waiting.popleft()
        if isinstance(news, Job):
            self._over = True
            self._waiting.clear()
        return news

    def offer(self, news: News) -> None:
        for waiting in self._waiting:
            if _outdates(news, waiting):
                self._waiting.remove(waiting)
                break
        self._waiting.append(news)
        self._arrived.set()


@dataclass(slots=True)
class _Latest:
    """What is known of a job that runs in this process."""

    progress: Progress | None = None
    preview: Preview | None = None

    def news(self) -> list[News]:
        known: list[News | None] = [Started(), self.progress, self.preview]
        return [news for news in known if news is not None]


class Hub:
    """Keeps the latest progress of each running job, and the subscriptions of those who listen; nothing else."""

    def __init__(self) -> None:
        self._subscriptions: dict[int, list[Subscription]] = {}
        self._latest: dict[int, _Latest] = {}
        self._observers: list[Callable[[Job], None]] = []

    def observe_ends(self, observer: Callable[[Job], None]) -> None:
        """Call `observer` with every job that ends in this process, for as long as the hub lives (metrics)."""
        self._observers.append(observer)

    def publish(self, job_id: int, event: EngineEvent | Job) -> None:
        """Tell everybody who listens. A `Job` must have ended, and is the last that anybody hears of it."""
        if isinstance(event, Job):
            self._latest.pop(job_id, None)
            for subscription in self._subscriptions.pop(job_id, ()):
                subscription.offer(event)
            for observer in self._observers:
                observer(event)
            return
        if not isinstance(event, Started | Progress | Preview):
            return  # pictures and the engine's own endings are the worker's business
        if isinstance(event, Started):
            self._latest[job_id] = _Latest()
        # Without an entry the job was cancelled, and this is what the engine said before it heard of that.
        elif (latest := self._latest.get(job_id)) is not None:
            if isinstance(event, Progress):
                latest.progress = event
            else:
                latest.preview = event
        for subscription in self._subscriptions.get(job_id, ()):
            if not subscription.only_end:
                subscription.offer(event)

    def subscribe(self, job_id: int, *, only_end: bool = False) -> Subscription:
        """Listen, beginning with the latest that is known. `only_end` hears nothing but the ended job."""
        subscription = Subscription(self, job_id, only_end)
        if not only_end and (latest := self._latest.get(job_id)) is not None:
            for news in latest.news():
                subscription.offer(news)
        self._subscriptions.setdefault(job_id, []).append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        listening = self._subscriptions.get(subscription.job_id, [])
        if subscription in listening:
            listening.remove(subscription)
            if not listening:
                del self._subscriptions[subscription.job_id]

    def forget(self, job_id: int) -> None:
        """Drop the progress of a job that goes back to the queue; those who listen go on listening."""
        self._latest.pop(job_id, None)

    def progress(self, job_id: int) -> Progress | None:
        """The latest, while the job runs in this process."""
        latest = self._latest.get(job_id)
        return latest.progress if latest else None

    def preview(self, job_id: int) -> Preview | None:
        latest = self._latest.get(job_id)
        return latest.preview if latest else None

    def listened_to(self, job_id: int) -> bool:
        return job_id in self._subscriptions

    @property
    def listeners(self) -> int:
        """How many subscriptions are open, for metrics and tests."""
        return sum(len(listening) for listening in self._subscriptions.values())


def _outdates(news: News, waiting: News) -> bool:
    if isinstance(news, Preview) and isinstance(waiting, Preview):
        return news.index == waiting.index
    return type(news) is type(waiting) and not isinstance(news, Preview)
