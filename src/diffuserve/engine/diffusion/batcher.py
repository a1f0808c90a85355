"""Who steps next: tickets that wait, samples that run. Pure: it never looks inside a sample, and does no arithmetic on one.

Running samples are grouped by `BatchKey`. The group that was served longest ago is next; inside it the samples that
stepped longest ago, as many as there are lanes for. So nobody waits for another to finish, only for steps, and a group
too large for one forward takes turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar


class Owned(Protocol):
    """Something that belongs to a job."""

    @property
    def job_id(self) -> int: ...


class Steppable(Owned, Protocol):
    """What the batcher must know of a running sample."""

    @property
    def key(self) -> Hashable: ...

    @property
    def lanes(self) -> int:
        """Rows that it takes in a forward pass, 1 or 2."""
        ...


T = TypeVar("T", bound=Owned)
S = TypeVar("S", bound=Steppable)


class Batcher(Generic[T, S]):
    """`max_lanes` bounds one forward pass, `max_running` the samples that are kept open at once."""

    def __init__(self, max_lanes: int, max_running: int) -> None:
        self.max_lanes = max_lanes
        self.max_running = max_running
        self.waiting: deque[T] = deque()
        self.running: list[S] = []
        """In the order of their last turn: whoever stepped longest ago comes first."""
        self._served: dict[Hashable, int] = {}
        self._turn = 0

    def add(self, ticket: T) -> None:
        self.waiting.append(ticket)

    def can_admit(self) -> bool:
        return bool(self.waiting) and len(self.running) < self.max_running

    def admit(self, sample: S) -> None:
        """A newcomer stands behind its group: a stream of them can never hold up those that run."""
        self.running.append(sample)

    def pick(self) -> list[S]:
        """The samples of the next forward pass, which share a key; empty when none runs.

        They count as served: asking again gives the next ones.
        """
        if not self.running:
            self._served.clear()
            return []
        self._turn += 1
        keys = dict.fromkeys(sample.key for sample in self.running)
        key = min(keys, key=lambda k: self._served.get(k, -1))
        picked = self._fill([sample for sample in self.running if sample.key == key])
        self._served = {k: self._served[k] for k in keys if k in self._served}
        self._served[key] = self._turn
        chosen = {id(sample) for sample in picked}
        self.running = [sample for sample in self.running if id(sample) not in chosen] + picked
        return picked

    def _fill(self, group: list[S]) -> list[S]:
        """The first of the group, and what fits behind it (a sample of two lanes may be passed by one of one)."""
        picked: list[S] = []
        lanes = 0
        for sample in group:
            if not picked or lanes + sample.lanes <= self.max_lanes:
                picked.append(sample)
                lanes += sample.lanes
        return picked

    def leave(self, sample: S) -> None:
        """A sample is finished. Unknown ones are ignored."""
        self.running = [other for other in self.running if other is not sample]

    def drop(self, job_id: int) -> list[S]:
        """Forget all of a job; returns the samples that were running, for their owner to close."""
        dropped = [sample for sample in self.running if sample.job_id == job_id]
        self.running = [sample for sample in self.running if sample.job_id != job_id]
        self.waiting = deque(ticket for ticket in self.waiting if ticket.job_id != job_id)
        return dropped
