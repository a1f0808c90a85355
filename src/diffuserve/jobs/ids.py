"""Numbers and names that nobody can guess or repeat: job ids, artifact ids, random seeds, blob keys."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

_EPOCH = 1_704_067_200  # 2024-01-01 00:00 UTC; 41 bits of milliseconds last until 2093
_RANDOM_BITS = 12

LAST = 2**53 - 1
"""No id is larger."""

INPUTS = "inputs"
"""The folder of input pictures among the blobs."""


class JobIds:
    """Ids below 2**53, which every JSON reader keeps exactly, that ascend in time: milliseconds above, random bits below.

    Two servers may find the same one within a millisecond: the store refuses the second (`ports.IdTaken`).

    Within one process each is larger than the last, even where the clock steps back: the queue goes in their order.
    """

    def __init__(self, random_bits: Callable[[int], int] = secrets.randbits) -> None:
        self._random_bits = random_bits
        self._last = 0

    def next(self, now: float) -> int:
        """`now` is Unix seconds."""
        milliseconds = max(0, int((now - _EPOCH) * 1000))
        fresh = milliseconds << _RANDOM_BITS | self._random_bits(_RANDOM_BITS)
        self._last = max(fresh, self._last + 1)
        return self._last


def first_id(at: float) -> int:
    """Larger than every id that was given out more than a moment before `at`, Unix seconds."""
    return max(0, int((at - _EPOCH) * 1000)) << _RANDOM_BITS


def random_seed() -> int:
    """Below 2**53: JavaScript reads it without loss."""
    return secrets.randbelow(2**53)


def artifact_id() -> str:
    return secrets.token_hex(16)


def artifact_key(now: float, job_id: int, artifact: str, extension: str) -> str:
    """Where an artifact's bytes lie; by day (UTC), so that old ones can be found and swept.

    The extension (without a dot) says what they are: a bucket tells browsers by it.
    """
    return f"artifacts/{time.strftime('%Y/%m/%d', time.gmtime(now))}/{job_id}/{artifact}.{extension}"


def input_key(digest: str) -> str:
    """Where an input picture lies: equal pictures share a blob."""
    return f"{INPUTS}/{digest[:2]}/{digest}.png"
