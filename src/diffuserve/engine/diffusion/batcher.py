"""Who steps next: tickets that wait, samples that run. Pure: it never looks inside a sample, and does no arithmetic on one.

Accounts share the device by *fair queueing*: each has a meter of the work it received (lanes times pixels, divided by its
priority's weight), and the account with the lowest meter leads. Its sample that received least goes first and decides the
`BatchKey`; the lanes that are left in that forward go to whoever else has that key, again the least served first, so that no
lane stays empty and everybody who rides pays. So nobody waits for another to finish, only for steps, and neither a flood of
one caller nor a job of 150 steps takes more than its share.

Meters of accounts that work never lie further apart than one full forward each (`BURST`): a debt beyond that is forgiven,
because it was run up on lanes that nobody else wanted. Start-time fair queueing is described by Goyal, Vin and Cheng (1996);
it is deficit round robin whose deficits are kept as work received, with a tighter bound.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

BURST = 1.0
"""Full forwards of its own that an account's meter may be ahead of the lowest one."""


_FORGETFUL = 64
"""Meters of accounts that are gone, kept before somebody looks whether they may be forgotten."""


class Owned(Protocol):
    """Something that belongs to a job."""

    @property
    def job_id(self) -> int: ...

    @property
    def account(self) -> str: ...

    @property
    def weight(self) -> float:
        """Its share against others: 2 gets twice the steps of 1."""
        ...


class Steppable(Owned, Protocol):
    """What the batcher must know of a running sample. Key and cost may change from step to step."""

    @property
    def key(self) -> Hashable: ...

    @property
    def lanes(self) -> int:
        """Rows that it takes in a forward pass, 1 or 2."""
        ...

    @property
    def pixels(self) -> int:
        """Work of one lane in one step."""
        ...


T = TypeVar("T", bound=Owned)
S = TypeVar("S", bound=Steppable)


@dataclass(slots=True, eq=False)
class _Seat(Generic[S]):
    """A running sample and the work that it received, counted from the least served of its account when it came."""

    sample: S
    served: float
    order: int

    @property
    def rank(self) -> tuple[float, int]:
        return self.served, self.order


class Batcher(Generic[T, S]):
    """`max_lanes` bounds one forward pass, `max_running` the samples of one account that are kept open at once."""

    def __init__(self, max_lanes: int, max_running: int) -> None:
        self.max_lanes = max_lanes
        self.max_running = max_running
        self._limits: dict[Hashable, int] = {}
        self._waiting: dict[str, deque[T]] = {}
        self._seats: dict[str, list[_Seat[S]]] = {}
        self._meters: dict[str, float] = {}
        self._floor = 0.0
        """The lowest meter among accounts that ran at the last pick: where newcomers begin."""
        self._orders = itertools.count()

    @property
    def running(self) -> list[S]:
        return [seat.sample for seats in self._seats.values() for seat in seats]

    @property
    def waiting(self) -> list[T]:
        return [ticket for tickets in self._waiting.values() for ticket in tickets]

    def add(self, ticket: T) -> None:
        self._enter(ticket.account)
        self._waiting.setdefault(ticket.account, deque()).append(ticket)

    def next_ticket(self, ready: Callable[[T], bool] = lambda ticket: True) -> T | None:
        """The ticket to admit next, no longer waiting then; None where none is `ready`, or all its accounts are full.

        Accounts take turns by how much they have running; within one, higher weight goes first, then who came first.
        """
        for account in sorted(self._waiting, key=lambda name: (len(self._seats.get(name, ())), self._meters[name])):
            if len(self._seats.get(account, ())) >= self.max_running:
                continue
            tickets = self._waiting[account]
            chosen = max(
                (ticket for ticket in tickets if ready(ticket)), key=lambda ticket: ticket.weight, default=None
            )
            if chosen is not None:
                tickets.remove(chosen)
                if not tickets:
                    del self._waiting[account]
                return chosen
        return None

    def admit(self, sample: S) -> None:
        """A newcomer begins with as little as the least served of its account has: it neither waits nor pushes ahead."""
        self._enter(sample.account)
        seats = self._seats.setdefault(sample.account, [])
        served = min((seat.served for seat in seats), default=0.0)
        seats.append(_Seat(sample, served, next(self._orders)))

    def pick(self) -> list[S]:
        """The samples of the next forward pass, which share a key; empty when none runs. They count as served."""
        if not self._seats:
            self._meters = {account: self._meters[account] for account in self._waiting}
            return []
        self._floor = min(self._meters[account] for account in self._seats)
        lead = min(self._seats, key=lambda account: self._meters[account])
        first = min(self._seats[lead], key=lambda seat: seat.rank)
        key = first.sample.key
        picked = list(self._fill(key, first))
        self._forgive(self._limits.get(key, self.max_lanes) * first.sample.pixels)
        return [seat.sample for seat in picked]

    def _fill(self, key: Hashable, first: _Seat[S]) -> Iterator[_Seat[S]]:
        """`first`, and who fits beside it: a sample of two lanes may be passed by one of one."""
        lanes = self._limits.get(key, self.max_lanes)
        groups = {account: self._riders(seats, key, first, lanes) for account, seats in self._seats.items()}
        room = lanes - first.sample.lanes
        self._charge(first)
        yield first
        queue = [(self._meters[account], account) for account, group in groups.items() if group]
        heapq.heapify(queue)
        while queue and room > 0:
            _, account = heapq.heappop(queue)
            group = groups[account]
            seat = group.popleft()
            if seat.sample.lanes <= room:
                room -= seat.sample.lanes
                self._charge(seat)
                yield seat
            if group:
                heapq.heappush(queue, (self._meters[account], account))

    def _riders(self, seats: list[_Seat[S]], key: Hashable, first: _Seat[S], lanes: int) -> deque[_Seat[S]]:
        """Who of an account may ride in a forward of this key. Nobody who is a full forward ahead of a fellow with another
        key: the account has had its work then, and that fellow's turn comes when the others have caught up."""
        least = min(seat.served for seat in seats)
        riders = (seat for seat in seats if seat is not first and seat.sample.key == key)
        return deque(
            sorted(
                (seat for seat in riders if seat.served <= least + lanes * seat.sample.pixels),
                key=lambda seat: seat.rank,
            )
        )

    def _charge(self, seat: _Seat[S]) -> None:
        seat.order = next(self._orders)
        work = seat.sample.lanes * seat.sample.pixels / seat.sample.weight
        seat.served += work
        self._meters[seat.sample.account] += work

    def _forgive(self, full: float) -> None:
        """`full`: the work of a forward without an empty lane."""
        lowest = min(self._meters[account] for account in self._seats)
        for account, seats in self._seats.items():
            lightest = min(1.0, *(seat.sample.weight for seat in seats))
            self._meters[account] = min(self._meters[account], lowest + BURST * full / lightest)
        # Accounts that are gone and owe nothing are forgotten.
        if len(self._meters) > 2 * (len(self._seats) + len(self._waiting)) + _FORGETFUL:
            self._meters = {
                account: meter
                for account, meter in self._meters.items()
                if account in self._seats or account in self._waiting or meter > self._floor
            }

    def lower(self, key: Hashable, lanes: int) -> None:
        """More than so many lanes of this key do not fit the device."""
        self._limits[key] = max(1, min(lanes, self._limits.get(key, self.max_lanes)))

    def leave(self, sample: S) -> None:
        """A sample is finished. Unknown ones are ignored."""
        self._keep(sample.account, [seat for seat in self._seats.get(sample.account, ()) if seat.sample is not sample])

    def drop(self, job_id: int) -> list[S]:
        """Forget all of a job; returns the samples that were running, for their owner to close."""
        dropped = [sample for sample in self.running if sample.job_id == job_id]
        for sample in dropped:
            self.leave(sample)
        for account, tickets in list(self._waiting.items()):
            kept = deque(ticket for ticket in tickets if ticket.job_id != job_id)
            if kept:
                self._waiting[account] = kept
            else:
                del self._waiting[account]
        return dropped

    def _enter(self, account: str) -> None:
        """An account that was away begins where the others stand; what it still owes it keeps."""
        if account not in self._seats and account not in self._waiting:
            self._meters[account] = max(self._meters.get(account, 0.0), self._floor)

    def _keep(self, account: str, seats: Sequence[_Seat[S]]) -> None:
        if seats:
            self._seats[account] = list(seats)
        else:
            self._seats.pop(account, None)
