"""Who may draw beside whom: ordinary jobs share the engine, a job that was on board of a crash draws alone.

An engine that dies takes everybody's job with it, and nobody knows whose fault it was. Drawn alone, the culprit kills
the engine again and is failed for it; those that were only in bad company finish.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    def __init__(self) -> None:
        self._drawing = 0
        self._changed = asyncio.Event()
        self.suspects = 0
        """Jobs that draw alone or wait to; while there are any, it is no use to claim more."""

    @asynccontextmanager
    async def turn(self, *, alone: bool) -> AsyncIterator[None]:
        """Hold a turn; `alone` waits until nobody draws, and keeps others from beginning."""
        self.suspects += alone
        try:
            while self._drawing if alone else self.suspects:
                self._changed.clear()
                await self._changed.wait()
            self._drawing += 1
            try:
                yield
            finally:
                self._drawing -= 1
        finally:
            self.suspects -= alone
            self._changed.set()
