"""A signature serves once, but for twins of one moment."""

from __future__ import annotations

import pytest

from diffuserve.auth.replays import Replays

pytestmark = pytest.mark.unit


def test_a_signature_that_comes_again_later_is_refused_until_it_expires() -> None:
    replays = Replays(grace=5)
    assert replays.use("a", now=100, until=1000)
    for later in (105.1, 106, 999):
        assert not replays.use("a", now=later, until=1000)


def test_equal_requests_of_one_moment_are_let_in() -> None:
    replays = Replays(grace=5)
    assert all(replays.use("a", now=now, until=1000) for now in (100, 100, 101, 105))


def test_repeating_does_not_lengthen_the_grace() -> None:
    replays = Replays(grace=5)
    assert [replays.use("a", now=now, until=1000) for now in (100, 104, 108)] == [True, True, False]


def test_without_grace_no_signature_serves_twice() -> None:
    replays = Replays(grace=0)
    assert [replays.use("a", now=100, until=1000) for _ in range(2)] == [True, False]


def test_others_are_not_concerned() -> None:
    replays = Replays(grace=0)
    assert all(replays.use(name, now=100, until=1000) for name in "abc")


def test_a_clock_that_was_set_back_opens_nothing() -> None:
    replays = Replays(grace=5)
    assert replays.use("a", now=100, until=1000)
    assert not replays.use("a", now=50, until=1000)


def test_what_has_expired_is_forgotten() -> None:
    replays = Replays(grace=5)
    for number in range(100):
        replays.use(str(number), now=number, until=number + 10)
    assert len(replays) <= 12


def test_no_more_than_so_many_are_remembered_and_the_oldest_goes_first() -> None:
    replays = Replays(grace=0, most=3)
    for name in "abcd":
        assert replays.use(name, now=100, until=1000)
    assert len(replays) == 3
    assert [replays.use(name, now=101, until=1000) for name in "bcd"] == [False] * 3
    assert replays.use("a", now=101, until=1000)
