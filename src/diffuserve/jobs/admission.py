"""Whether the queue has room, without counting it for each job."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from diffuserve.core.errors import QueueFull
from diffuserve.core.ports import Clock, JobStore

_LEAST_PAUSE, _UNKNOWN_PAUSE, _MOST_PAUSE = 1.0, 5.0, 60.0
# A caller is sent away until about this share of the queue has been drawn.
_SHARE = 0.1
# Counts that are closer together, seconds, say nothing about the pace of the queue.
_PACE_INTERVAL = 1.0


@dataclass(slots=True)
class _Pace:
    """How fast jobs leave the queue, from two counts of it and what entered between them."""

    per_second: float = 0.0
    """0 where unknown."""
    entered: int = 0
    since: float | None = None
    before: int = 0

    def counted(self, now: float, queued: int) -> None:
        if self.since is not None:
            seconds = now - self.since
            if seconds < _PACE_INTERVAL:
                return
            self.per_second = max(0.0, (self.before + self.entered - queued) / seconds)
        self.since, self.before, self.entered = now, queued, 0


class Admission:
    """Counts the store's queue once, then counts down; counts again when that room is used up."""

    def __init__(self, store: JobStore, clock: Clock, max_queue: int, max_pixels: int | None = None) -> None:
        """`max_pixels`: how many the waiting jobs may have to draw together; a job that is larger waits alone."""
        self._store = store
        self._clock = clock
        self._max_queue = max_queue
        self._max_pixels = max_pixels
        self._room = 0
        self._entering = 0
        self._pixels = 0
        """What waits, or waited since it was counted last."""
        self._entering_pixels = 0
        self._counting = asyncio.Lock()
        self._pace = _Pace()

    async def enter(self, pixels: int = 0) -> None:
        """Take a place for one job of so many pixels; `entered` must follow.

        Raises QueueFull with an estimate of when to come back.
        """
        if not self._has_room(pixels):
            async with self._counting:
                # Whoever waited for the lock finds the room that the one before it counted.
                if not self._has_room(pixels):
                    await self._count()
        if not self._has_room(pixels):
            raise QueueFull(retry_after=self._pause())
        self._room -= 1
        self._entering += 1
        self._pixels += pixels
        self._entering_pixels += pixels

    def entered(self, pixels: int = 0, *, queued: bool) -> None:
        """The job stands in the store now, or (`queued` false) did not get there."""
        self._entering -= 1
        self._entering_pixels -= pixels
        if queued:
            self._pace.entered += 1
        else:
            self._room += 1
            self._pixels -= pixels

    def _has_room(self, pixels: int) -> bool:
        if self._room <= 0:
            return False
        return self._max_pixels is None or self._pixels == 0 or self._pixels + pixels <= self._max_pixels

    async def _count(self) -> None:
        queued = await self._store.queued()
        waiting = 0 if self._max_pixels is None else await self._store.queued_pixels()
        self._pace.counted(self._clock.now(), queued)
        self._room = self._max_queue - queued - self._entering
        self._pixels = waiting + self._entering_pixels

    def _pause(self) -> float:
        if self._pace.per_second <= 0:
            return _UNKNOWN_PAUSE
        return min(_MOST_PAUSE, max(_LEAST_PAUSE, self._max_queue * _SHARE / self._pace.per_second))
