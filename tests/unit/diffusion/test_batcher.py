from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffuserve.engine.diffusion.batcher import Batcher

pytestmark = pytest.mark.unit


@dataclass(eq=False)
class Toy:
    """A sample that only knows what the batcher asks."""

    job_id: int
    key: str = "a"
    lanes: int = 2
    steps_left: int = 1


def batcher(*samples: Toy, max_lanes: int = 4) -> Batcher[Toy, Toy]:
    made: Batcher[Toy, Toy] = Batcher(max_lanes, max_running=100)
    for sample in samples:
        made.admit(sample)
    return made


def ids(picked: list[Toy]) -> list[int]:
    return [sample.job_id for sample in picked]


def test_nothing_running_is_nothing_to_step():
    assert batcher().pick() == []


def test_a_group_too_large_for_one_forward_takes_turns():
    crowd = batcher(Toy(1), Toy(2), Toy(3))
    assert ids(crowd.pick()) == [1, 2]
    assert ids(crowd.pick()) == [3, 1]
    assert ids(crowd.pick()) == [2, 3]


def test_keys_are_served_in_turn():
    crowd = batcher(Toy(1, "a"), Toy(2, "b"), Toy(3, "c"))
    assert sorted(ids(crowd.pick()) + ids(crowd.pick()) + ids(crowd.pick())) == [1, 2, 3]


def test_a_newcomer_with_a_key_of_its_own_is_served_next():
    crowd = batcher(Toy(1, "a"), Toy(2, "b"))
    crowd.pick()
    crowd.pick()
    crowd.admit(Toy(3, "c"))
    assert ids(crowd.pick()) == [3]


def test_a_sample_without_guidance_fills_the_last_lane():
    assert ids(batcher(Toy(1), Toy(2, lanes=1), Toy(3), Toy(4, lanes=1)).pick()) == [1, 2, 4]


def test_a_sample_wider_than_the_limit_still_runs_alone():
    assert ids(batcher(Toy(1, lanes=2), Toy(2, lanes=2), max_lanes=1).pick()) == [1]


def test_dropping_a_job_forgets_its_tickets_and_hands_back_its_samples():
    crowd = batcher(Toy(1), Toy(2))
    crowd.add(Toy(1))
    crowd.add(Toy(3))
    assert ids(crowd.drop(1)) == [1]
    assert [ticket.job_id for ticket in crowd.waiting] == [3]
    assert ids(crowd.running) == [2]


def test_admission_stops_at_the_limit():
    crowd: Batcher[Toy, Toy] = Batcher(4, max_running=1)
    crowd.add(Toy(1))
    assert crowd.can_admit()
    crowd.admit(Toy(2))
    assert not crowd.can_admit()


arrivals = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 2), st.integers(1, 12), st.integers(0, 30)),
    min_size=1,
    max_size=25,
)


@given(arrivals)
def test_nobody_starves_whoever_else_arrives(plan):
    """A running sample steps at least once in (keys x samples) turns, here three keys."""
    crowd: Batcher[Toy, Toy] = Batcher(4, max_running=100)
    toys = [(Toy(n, key, lanes, steps), turn) for n, (key, lanes, steps, turn) in enumerate(plan)]
    waited: dict[int, int] = {}
    for turn in range(2000):
        for toy, arrives in toys:
            if arrives == turn:
                crowd.admit(toy)
        if not crowd.running and turn > 30:
            break
        for toy in crowd.running:
            waited[toy.job_id] = waited.get(toy.job_id, 0) + 1
        for toy in crowd.pick():
            assert waited[toy.job_id] <= 3 * len(toys)
            waited[toy.job_id] = 0
            toy.steps_left -= 1
            if not toy.steps_left:
                crowd.leave(toy)
    assert not crowd.running
