"""Fairness among receivers: how many calls one host may hold up, and when it is left alone for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

SLOTS = 16
"""Calls to one host at a time."""
SLOW_SECONDS = 2.0
"""A host that takes longer to answer is slow."""
CROWD = 64
"""Notifications to one slow host that a sender has in hand; it lets go of more, lest they hold up everybody else's."""
_FAILURES = 3
REST_SECONDS = 30.0
_REMEMBERED = 1000


@dataclass(slots=True)
class _Host:
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SLOTS))
    users: int = 0
    """Notifications in hand: those that are sent now, and those that wait for a slot."""
    slow: bool = False
    failures: int = 0
    """In a row, of reaching it at all; what it answers does not matter."""
    rests_until: float = 0.0

    @property
    def crowded(self) -> bool:
        return self.slow and self.users > CROWD


class Hosts:
    """What is known of the receivers that are called now, or that failed lately. Times are Unix seconds."""

    def __init__(self) -> None:
        self._hosts: dict[str, _Host] = {}

    @asynccontextmanager
    async def slot(self, name: str) -> AsyncIterator[bool]:
        """Wait for one's turn with a host. False says to let go: it is slow and has too many waiting already."""
        host = self._hosts.setdefault(name, _Host())
        host.users += 1
        try:
            if host.crowded:
                yield False
                return
            async with host.slots:
                yield not host.crowded
        finally:
            host.users -= 1
            self._forget(name, host)

    def rests_until(self, name: str, now: float) -> float | None:
        """When it may be called again, while it is left alone because it could not be reached three times in a row."""
        host = self._hosts.get(name)
        return host.rests_until if host and host.rests_until > now else None

    def reached(self, name: str, seconds: float) -> None:
        """It answered, after so long."""
        self._hosts[name].failures = 0
        self._hosts[name].slow = seconds > SLOW_SECONDS

    def missed(self, name: str, now: float) -> None:
        host = self._hosts[name]
        host.slow = True
        host.failures += 1
        if host.failures >= _FAILURES:
            host.rests_until = now + REST_SECONDS

    def _forget(self, name: str, host: _Host) -> None:
        """Callers choose the names: what is remembered of them must not grow without bound."""
        idle = not host.users
        if idle and (not (host.failures or host.slow) or len(self._hosts) > _REMEMBERED):
            del self._hosts[name]

    def __len__(self) -> int:
        return len(self._hosts)
