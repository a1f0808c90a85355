"""Requests per second and per day."""

from __future__ import annotations

import pytest

from diffuserve.auth.pace import DAY, Pace
from diffuserve.core.account import KeyLimits
from diffuserve.core.errors import RateLimited

pytestmark = pytest.mark.unit

NOON = 20_000 * DAY + DAY / 2


def passed(pace: Pace, limits: KeyLimits, now: float, tries: int, key: str = "k") -> int:
    count = 0
    for _ in range(tries):
        try:
            pace.step(key, limits, now)
            count += 1
        except RateLimited:
            pass
    return count


def test_a_key_without_limits_is_never_stopped() -> None:
    assert passed(Pace(), KeyLimits(), NOON, 1000) == 1000


def test_a_second_holds_so_many_requests_and_the_next_one_again() -> None:
    pace, limits = Pace(), KeyLimits(requests_per_second=5)
    assert passed(pace, limits, NOON, 20) == 5
    assert passed(pace, limits, NOON + 0.4, 20) == 2
    assert passed(pace, limits, NOON + 100, 20) == 5


def test_a_rate_below_one_is_one_request_in_so_many_seconds() -> None:
    pace, limits = Pace(), KeyLimits(requests_per_second=0.5)
    assert passed(pace, limits, NOON, 3) == 1
    assert passed(pace, limits, NOON + 1.9, 3) == 0
    assert passed(pace, limits, NOON + 2, 3) == 1


def test_a_refusal_says_when_the_next_request_is_allowed() -> None:
    pace, limits = Pace(), KeyLimits(requests_per_second=4)
    assert passed(pace, limits, NOON, 4) == 4
    with pytest.raises(RateLimited, match="this key may make 4 requests a second; try again later") as refused:
        pace.step("k", limits, NOON)
    assert refused.value.retry_after == pytest.approx(0.25)
    assert passed(pace, limits, NOON + 0.25, 3) == 1


def test_a_day_ends_at_midnight_utc() -> None:
    pace, limits = Pace(), KeyLimits(requests_per_day=10)
    assert passed(pace, limits, NOON, 20) == 10
    with pytest.raises(RateLimited, match="10 requests a day") as refused:
        pace.step("k", limits, NOON)
    assert refused.value.retry_after == DAY / 2
    assert passed(pace, limits, NOON + DAY / 2, 20) == 10


def test_what_the_day_refuses_is_not_taken_from_the_second() -> None:
    pace, limits = Pace(), KeyLimits(requests_per_second=3, requests_per_day=2)
    assert passed(pace, limits, NOON, 10) == 2
    assert passed(pace, limits, NOON + DAY, 10) == 2


def test_keys_are_counted_apart() -> None:
    pace, limits = Pace(), KeyLimits(requests_per_day=1)
    assert passed(pace, limits, NOON, 5, "one") == 1
    assert passed(pace, limits, NOON, 5, "other") == 1


def test_a_clock_that_is_set_back_gives_no_requests_away() -> None:
    pace, limits = Pace(), KeyLimits(requests_per_second=2)
    assert passed(pace, limits, NOON, 5) == 2
    assert passed(pace, limits, NOON - 3600, 5) == 0
