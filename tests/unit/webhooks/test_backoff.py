"""The pauses between attempts."""

from __future__ import annotations

import pytest

from diffuserve.webhooks.backoff import Backoff

pytestmark = pytest.mark.unit


def test_ceilings_double_up_to_the_highest() -> None:
    assert [Backoff(5, 60).ceiling(attempts) for attempts in range(6)] == [5, 10, 20, 40, 60, 60]


def test_a_pause_is_the_drawn_share_of_its_ceiling() -> None:
    assert Backoff(5, 3600).pause(3, 0.25) == 10


def test_a_pause_is_never_nothing() -> None:
    assert Backoff(5, 3600).pause(0, 0.0) == 1


def test_the_number_of_attempts_has_no_limit() -> None:
    assert Backoff().pause(100_000, 1.0) == 3600


def test_a_day_holds_some_dozens_of_attempts() -> None:
    backoff, at, attempts = Backoff(), 0.0, 0
    while at < 86400:
        at += backoff.pause(attempts, 0.5)
        attempts += 1
    assert 30 < attempts < 100
