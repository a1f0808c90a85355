"""How many jobs a worker takes next, and whose."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffuserve.jobs.claiming import Claim, next_claim

pytestmark = pytest.mark.unit


def test_with_room_left_anybodys_jobs_are_taken():
    assert next_claim({"flood": 30}, 32) == Claim(2)


def test_a_full_worker_takes_jobs_of_accounts_that_hold_less_than_their_share():
    assert next_claim({"flood": 32}, 32) == Claim(16, frozenset({"flood"}))


def test_an_account_below_its_share_is_not_full():
    assert next_claim({"flood": 30, "guest": 2}, 32).full == {"flood"}


accounts = st.lists(st.integers(1, 60), min_size=1, max_size=40)


@given(accounts, st.integers(1, 32))
def test_whoever_holds_nothing_is_always_let_in_and_what_is_held_stays_bounded(queues, concurrency):
    queued = Counter({f"account {n}": jobs for n, jobs in enumerate(queues)})
    held: Counter[str] = Counter()
    while True:
        claim = next_claim(held, concurrency)
        takable = [account for account in queued.elements() if account not in claim.full][: claim.limit]
        if not takable:
            break
        queued -= Counter(takable)
        held += Counter(takable)
        assert held.total() <= 2 * concurrency * (1 + math.log(len(queues))) + len(queues)
    assert not queued or all(held[account] for account in queued)
