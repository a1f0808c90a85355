"""What was looked up a moment ago, so that a busy key does not ask the store for every request."""

from __future__ import annotations

from typing import Generic, TypeVar

from diffuserve.core.ports import Clock

V = TypeVar("V")


class Recent(Generic[V]):
    """Values by name, believed for `seconds`; at most `limit` of them."""

    def __init__(self, clock: Clock, seconds: float, limit: int = 4096) -> None:
        self._clock = clock
        self._seconds = seconds
        self._limit = limit
        self._values: dict[str, tuple[V, float]] = {}

    def get(self, name: str) -> V | None:
        known = self._values.get(name)
        # A clock that was set back makes nothing fresh for longer.
        if known is None or not 0 <= self._clock.now() - known[1] < self._seconds:
            return None
        return known[0]

    def keep(self, name: str, value: V, asked: float) -> None:
        """`asked`: when the question was asked, Unix seconds; the answer may have come much later."""
        self._values.pop(name, None)
        while len(self._values) >= self._limit:
            del self._values[next(iter(self._values))]
        self._values[name] = (value, asked)

    def drop(self, name: str) -> None:
        self._values.pop(name, None)
