"""When to try again: ever longer pauses, spread at random so that a receiver which comes back is not stormed."""

from __future__ import annotations

from dataclasses import dataclass

_LEAST = 1.0
"""Seconds; chance alone would also draw pauses of nothing."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential with full jitter: a pause is drawn evenly below a ceiling that doubles with every attempt."""

    first: float = 5.0
    """Ceiling of the first pause, seconds."""
    most: float = 3600.0
    """Highest ceiling, seconds."""

    def pause(self, attempts: int, chance: float) -> float:
        """Seconds after the failed attempt with this number, from 0; `chance` is a random number in 0..1."""
        return max(_LEAST, chance * self.ceiling(attempts))

    def ceiling(self, attempts: int) -> float:
        return min(self.most, self.first * 2.0 ** min(attempts, 60))
