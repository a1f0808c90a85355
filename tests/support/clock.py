"""Time that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq


class FakeClock:
    """`ports.Clock` driven by `advance`. A sleep of 0 or less only lets others run."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0
        self._arrived = asyncio.Event()

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._now + seconds, self._count, sleeper))
        self._arrived.set()
        await sleeper

    async def advance(self, seconds: float) -> None:
        """Move on, waking sleepers in the order of their time; each may sleep again within the same `advance`."""
        until = self._now + seconds
        while self._sleepers and self._sleepers[0][0] <= until:
            self._now, _, sleeper = heapq.heappop(self._sleepers)
            if not sleeper.done():
                sleeper.set_result(None)
                await _settle()
        self._now = until
        await _settle()

    async def until_asleep(self, seconds: float) -> None:
        """Return once somebody sleeps for exactly `seconds` from now."""
        while not any(at == self._now + seconds and not sleeper.done() for at, _, sleeper in self._sleepers):
            self._arrived.clear()
            await self._arrived.wait()


async def _settle() -> None:
    """Let everything that became ready run, and what that made ready."""
    for _ in range(10):
        await asyncio.sleep(0)
