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
MARGIN = 1.5
"""More jobs come while one waits, and share the engine with it; and its passes are not all that the engine does."""
_ENOUGH = 32
"""Steps that say how fast the engine is now; fewer are noise."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast an engine is, in the company that pictures had lately."""

    step: float
    """Seconds of the device for one step of one picture: what a step adds to everybody's waiting."""
    forward: float
    """Seconds of one forward pass: no picture takes a step in less, however empty the engine is."""


UNKNOWN = Pace(UNMEASURED, UNMEASURED)


@dataclass(slots=True)
class Speedometer:
    """The pace since the last look that saw enough."""

    _rows: int = 0
    _forwards: int = 0
    _seconds: float = 0.0
    _pace: Pace | None = None

    def read(self, status: EngineStatus) -> Pace:
        if status.rows < self._rows:  # another engine, which began at 0
            self._rows, self._forwards, self._seconds, self._pace = 0, 0, 0.0, None
        rows, forwards = status.rows - self._rows, status.forwards - self._forwards
        if rows >= _ENOUGH or (self._pace is None and rows):
            seconds = status.step_seconds - self._seconds
            self._pace = Pace(seconds / rows, seconds / max(1, forwards))
            self._rows, self._forwards, self._seconds = status.rows, status.forwards, status.step_seconds
        return self._pace or UNKNOWN


def remaining(steps: int, pictures: int, backlog: Backlog, pace: Pace, *, ready: bool, done: int | None = None) -> int:
    """Whole seconds, 1 or more, for a job of `steps`, summed over its `pictures`.

    `done` is how many of the steps are done; None for a job in the queue. Those in the engine share it evenly: a running job
    is held up by others as long as it runs itself, not until they have ended; and they are half done, as far as anybody
    knows. For one in the queue everything counts whole.
    """
    own = steps if done is None else max(1, steps - done)
    others = backlog.running_steps / 2
    if done is not None:
        others = min(others, own * backlog.running)
    waiting = backlog.waiting_steps if done is None else 0
    shared = (own + others + waiting) * pace.step
    alone = own / pictures * pace.forward
    seconds = max(shared, alone) * MARGIN + FINISHING + (0.0 if ready else LOADING)
    return max(1, math.ceil(seconds))


def queue_seconds(backlog: Backlog, pace: Pace) -> int:
    """How long the queue is, for the management calls; 0 where it is empty."""
    return math.ceil((backlog.waiting_steps + backlog.running_steps / 2) * pace.step) if backlog.waiting else 0
