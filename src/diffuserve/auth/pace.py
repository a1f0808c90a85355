"""How fast a key may call: an allowance that refills by the second, and a count for each day. In memory: every server
counts for itself, and begins anew when it starts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from diffuserve.core.account import KeyLimits
from diffuserve.core.errors import RateLimited

DAY = 86_400


@dataclass(slots=True)
class _Count:
    """One key's."""

    allowance: float
    seen: float
    """When the allowance was reckoned last."""
    day: int
    """Days since 1970, UTC."""
    today: int = 0


class Pace:
    """Counts requests by key. A refused request does not count."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}

    def step(self, key_id: str, limits: KeyLimits, now: float) -> None:
        """Count a request. Raises RateLimited, with the seconds until one is allowed again."""
        rate, a_day = limits.requests_per_second, limits.requests_per_day
        if rate is None and a_day is None:
            return
        burst = math.inf if rate is None else max(1.0, rate)
        day = int(now // DAY)
        count = self._counts.setdefault(key_id, _Count(burst, now, day))
        if rate is not None:
            # A clock that was set back gives nothing, and takes nothing.
            count.allowance = min(burst, count.allowance + max(0.0, now - count.seen) * rate)
            count.seen = now
        if count.day != day:
            count.day, count.today = day, 0
        if a_day is not None and count.today >= a_day:
            raise RateLimited(f"make {_times(a_day)} a day (UTC)", retry_after=(day + 1) * DAY - now)
        if rate is not None:
            if count.allowance < 1:
                raise RateLimited(_speed(rate), retry_after=(1 - count.allowance) / rate)
            count.allowance -= 1
        count.today += 1


def _speed(rate: float) -> str:
    return f"make {_times(rate)} a second" if rate >= 1 else f"make one request every {1 / rate:g} seconds"


def _times(number: float) -> str:
    return "one request" if number == 1 else f"{number:g} requests" if number < 1e6 else f"{number:.0f} requests"
