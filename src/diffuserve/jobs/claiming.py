"""How many jobs a worker takes next, and whose: nobody's job waits for the end of another account's.

A worker holds so many jobs at once. While it has room, anybody's are taken, in the queue's order. When it is full, it still
takes jobs of accounts that hold less than their share of it, so that a flood of one caller fills the queue but never the
engine. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """Take up to `limit` jobs of any account that is not among `full`."""

    limit: int
    full: frozenset[str] = frozenset()


def next_claim(held: Mapping[str, int], concurrency: int) -> Claim:
    """`held`: how many jobs of each account are in hand (1 or more); `concurrency`: how many one account may fill alone.

    What is held together grows with the logarithm of the number of accounts: each one that comes takes a smaller share.
    """
    room = concurrency - sum(held.values())
    if room > 0:
        return Claim(room)
    share = max(1, concurrency // (len(held) + 1))
    return Claim(share, frozenset(account for account, jobs in held.items() if jobs >= share))
