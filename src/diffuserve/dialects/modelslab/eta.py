"""How long a job will still take, from how fast this server's engine was lately and from what stands before the job. Pure,
but for `Speedometer`, which remembers where it looked last.

Old clients sleep exactly as long as they are told and then fetch once or twice: too many seconds are better than too few.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from diffuserve.core.ports import Backlog, EngineStatus

UNMEASURED = 0.5
"""Seconds for one step of one picture, before any was drawn."""
LOADING = 15.0
"""Seconds added while the engine is not ready."""
FINISHING = 0.5
"""Seconds for what is no step: encoding, decoding, storing."""
MARGIN = 1.2
"""More jobs come while one waits, and share the engine with it."""
_ENOUGH = 32
"""Steps that say how fast the engine is now; fewer are noise."""


@dataclass(slots=True)
class Speedometer:
    """Seconds of the device for one step of one picture, in the company that pictures had since the last look."""

    _rows: int = 0
    _seconds: float = 0.0
    _pace: float | None = None

    def read(self, status: EngineStatus) -> float:
        rows, seconds = status.rows - self._rows, status.step_seconds - self._seconds
        if rows < 0:  # another engine, which began at 0
            self._rows, self._seconds, self._pace = 0, 0.0, None
            rows, seconds = status.rows, status.step_seconds
        if rows >= _ENOUGH or (self._pace is None and rows):
            self._rows, self._seconds, self._pace = status.rows, status.step_seconds, seconds / rows
        return UNMEASURED if self._pace is None else self._pace


def remaining(steps: int, backlog: Backlog, pace: float, *, ready: bool, done: int | None = None) -> int:
    """Whole seconds, 1 or more, for a job of `steps` (summed over its pictures).

    `done` is how many of them are done; None for a job in the queue. `pace` is in seconds a step. Those in the engine share
    it evenly: a running job is held up by others as long as it runs itself, not until they have ended; and they are half
    done, as far as anybody knows.
    """
    own = steps if done is None else max(1, steps - done)
    others = backlog.running_steps / 2
    if done is not None and backlog.running:
        others = min(others, own * backlog.running)
    waiting = backlog.waiting_steps if done is None else 0
    seconds = (own + others + waiting) * pace * MARGIN + FINISHING + (0.0 if ready else LOADING)
    return max(1, math.ceil(seconds))


def queue_seconds(backlog: Backlog, pace: float) -> int:
    """How long the queue is, for the management calls; 0 where it is empty."""
    return math.ceil((backlog.waiting_steps + backlog.running_steps / 2) * pace) if backlog.waiting else 0
