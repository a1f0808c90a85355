"""Who steps next: shared forwards, shares of accounts and priorities, and the bound on everybody's wait."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffuserve.engine.diffusion.batcher import Batcher

pytestmark = pytest.mark.unit

LANES = 4
PIXELS = (1, 4)


@dataclass(eq=False)
class Toy:
    """A sample that only knows what the batcher asks."""

    job_id: int
    key: str = "a"
    lanes: int = 2
    account: str = "one"
    weight: float = 1.0
    pixels: int = 1
    steps_left: int = 1


def batcher(*samples: Toy, max_lanes: int = LANES) -> Batcher[Toy, Toy]:
    made: Batcher[Toy, Toy] = Batcher(max_lanes, max_running=100)
    for sample in samples:
        made.admit(sample)
    return made


def ids(picked: list[Toy]) -> list[int]:
    return [sample.job_id for sample in picked]


def steps(crowd: Batcher[Toy, Toy], forwards: int) -> dict[int, int]:
    """How often each job stepped in so many forwards."""
    counted: dict[int, int] = {}
    for _ in range(forwards):
        for sample in crowd.pick():
            counted[sample.job_id] = counted.get(sample.job_id, 0) + 1
    return counted


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


def test_a_newcomer_is_served_no_later_than_anybody_twice():
    crowd = batcher(Toy(1, "a"), Toy(2, "b"))
    crowd.pick()
    crowd.admit(Toy(3, "c"))
    assert ids(crowd.pick()) + ids(crowd.pick()) == [2, 3]


def test_a_sample_without_guidance_fills_the_last_lane():
    assert ids(batcher(Toy(1), Toy(2, lanes=1), Toy(3), Toy(4, lanes=1)).pick()) == [1, 2, 4]


def test_a_sample_wider_than_the_limit_still_runs_alone():
    assert ids(batcher(Toy(1, lanes=2), Toy(2, lanes=2), max_lanes=1).pick()) == [1]


def test_a_key_that_may_not_have_so_many_lanes_takes_more_turns_and_others_do_not():
    crowd = batcher(Toy(1), Toy(2), Toy(3, "b"), Toy(4, "b"))
    crowd.lower("a", 2)
    assert sorted(map(len, (crowd.pick(), crowd.pick(), crowd.pick()))) == [1, 1, 2]


def test_a_step_that_costs_four_times_as_much_comes_a_quarter_as_often():
    counted = steps(batcher(Toy(1, "small", pixels=1), Toy(2, "large", pixels=4)), 100)
    assert counted[1] == pytest.approx(4 * counted[2], abs=4)


def test_a_caller_with_many_keys_gets_no_more_turns_than_one_with_a_single_job():
    crowd = batcher(*(Toy(n, f"key {n}", account="flood") for n in range(1, 30)), Toy(99, "mine", account="other"))
    assert steps(crowd, 100)[99] == 50


def test_a_caller_with_many_jobs_of_one_key_leaves_room_in_every_forward_for_the_other_account():
    crowd = batcher(*(Toy(n, account="flood") for n in range(1, 30)), Toy(99, account="other"))
    assert steps(crowd, 20)[99] == 20


def test_lanes_that_nobody_else_wants_are_filled_and_that_is_not_held_against_who_fills_them_for_long():
    riders = [Toy(n, account="riders") for n in (1, 2, 3)]
    crowd = batcher(Toy(9, account="lead"), *riders, max_lanes=8)
    assert all(len(crowd.pick()) == 4 for _ in range(50))
    crowd.admit(Toy(4, "their own", account="riders"))
    assert steps(crowd, 100)[4] >= 18


def test_twice_the_weight_gets_twice_the_steps():
    crowd = batcher(Toy(1, "a", account="usual"), Toy(2, "b", account="favoured", weight=2.0))
    counted = steps(crowd, 90)
    assert counted[2] == pytest.approx(2 * counted[1], abs=2)


def test_weight_counts_inside_an_account_too():
    counted = steps(batcher(Toy(1, "a"), Toy(2, "b", weight=3.0)), 80)
    assert counted[2] == pytest.approx(3 * counted[1], abs=3)


def test_an_account_that_comes_back_begins_where_the_others_are():
    crowd = batcher(Toy(1, "a", account="stayed"))
    steps(crowd, 50)
    crowd.admit(Toy(2, "b", account="came"))
    assert steps(crowd, 10) == {1: 5, 2: 5}


def test_dropping_a_job_forgets_its_tickets_and_hands_back_its_samples():
    crowd = batcher(Toy(1), Toy(2))
    crowd.add(Toy(1))
    crowd.add(Toy(3))
    assert ids(crowd.drop(1)) == [1]
    assert ids(crowd.waiting) == [3]
    assert ids(crowd.running) == [2]


def test_an_account_has_so_many_samples_open_and_another_still_comes_in():
    crowd: Batcher[Toy, Toy] = Batcher(LANES, max_running=1)
    for toy in (Toy(1), Toy(2), Toy(3, account="other")):
        crowd.add(toy)
    first = crowd.next_ticket()
    assert first is not None
    crowd.admit(first)
    second = crowd.next_ticket()
    assert second is not None
    crowd.admit(second)
    assert {first.account, second.account} == {"one", "other"}
    assert crowd.next_ticket() is None
    crowd.leave(first)
    third = crowd.next_ticket()
    assert third is not None and third.account == first.account


def test_a_ticket_whose_model_is_not_loaded_yet_does_not_hold_up_those_behind_it():
    crowd = batcher()
    crowd.add(Toy(1, "loading"))
    crowd.add(Toy(2, "loaded"))
    chosen = crowd.next_ticket(ready=lambda toy: toy.key == "loaded")
    assert chosen is not None and chosen.job_id == 2
    assert ids(crowd.waiting) == [1]


def test_heavier_tickets_of_an_account_are_admitted_first():
    crowd = batcher()
    for toy in (Toy(1), Toy(2, weight=4.0), Toy(3, weight=4.0)):
        crowd.add(toy)
    taken = [crowd.next_ticket() for _ in range(3)]
    assert [toy.job_id for toy in taken if toy] == [2, 3, 1]


def test_accounts_that_are_gone_are_forgotten():
    crowd = batcher(Toy(0, account="stays"))
    for n in range(1, 1000):
        crowd.admit(Toy(n, account=f"visitor {n}"))
        crowd.pick()
        crowd.drop(n)
        crowd.pick()
    assert len(crowd._meters) < 100


@dataclass
class Arrival:
    """A job that comes at some turn, and perhaps leaves before its end."""

    at: int
    account: str
    key: str
    lanes: int
    pixels: int
    steps: int
    weight: float
    canceled_after: int | None = None


@dataclass
class Watch:
    """How long a running sample has waited, in work that the device did since its last step."""

    work: float = 0.0
    accounts: int = 0
    fellows: int = 0
    """The most samples of its account that ran meanwhile, itself among them."""
    lightest: float = 1.0
    seen: list[int] = field(default_factory=list)


arrivals = st.builds(
    Arrival,
    at=st.integers(0, 40),
    account=st.sampled_from("ABC"),
    key=st.sampled_from(["small 0", "small 1", "large 0", "large 1"]),
    lanes=st.integers(1, 2),
    pixels=st.just(0),
    steps=st.integers(1, 30),
    weight=st.sampled_from([0.5, 1.0, 2.0]),
    canceled_after=st.one_of(st.none(), st.integers(0, 30)),
)
HEAVIEST = 2.0


def longest_wait(watch: Watch) -> float:
    """The bound, in work of the device: `full` being a full forward of the largest pictures.

    Before an account leads again, each other one receives at most what its meter may lag behind (one full forward by the
    burst, one more by its last charge), times its weight over the lightest. Before a sample leads in its account, each fellow
    does so at most twice as often as weights say. Nothing in it depends on how many steps anybody's job has.
    """
    full = LANES * max(PIXELS)
    ratio = HEAVIEST / watch.lightest
    return 2 * watch.fellows * ratio * 2 * watch.accounts * full * ratio


@settings(max_examples=300, deadline=None)
@given(st.lists(arrivals, min_size=1, max_size=16))
def test_nobody_starves_whoever_else_arrives_and_nothing_is_left_behind(schedule):
    crowd: Batcher[Toy, Toy] = Batcher(LANES, max_running=6)
    coming = sorted(enumerate(schedule, start=1), key=lambda item: item[1].at)
    withdrawn = {n: a.at + a.canceled_after for n, a in coming if a.canceled_after is not None}
    watches: dict[int, Watch] = {}
    done: dict[int, int] = {}
    turn = 0
    while coming or crowd.running or crowd.waiting:
        while coming and coming[0][1].at <= turn:
            number, a = coming.pop(0)
            pixels = PIXELS[a.key.startswith("large")]
            crowd.add(Toy(number, a.key, a.lanes, a.account, a.weight, pixels, a.steps))
        for number in [n for n, at in withdrawn.items() if at <= turn]:
            del withdrawn[number]
            crowd.drop(number)
            watches.pop(number, None)
        while (ticket := crowd.next_ticket()) is not None:
            crowd.admit(ticket)
            watches[ticket.job_id] = Watch()
        running = crowd.running
        picked = crowd.pick()
        assert bool(picked) == bool(running)
        assert len({toy.key for toy in picked}) <= 1
        assert sum(toy.lanes for toy in picked) <= LANES
        work = sum(toy.lanes * toy.pixels for toy in picked)
        for toy in running:
            watch = watches[toy.job_id]
            watch.work += work
            watch.accounts = max(watch.accounts, len({other.account for other in running}))
            watch.fellows = max(watch.fellows, sum(other.account == toy.account for other in running))
            watch.lightest = min(watch.lightest, *(other.weight for other in running))
            assert watch.work <= longest_wait(watch)
        for toy in picked:
            watches[toy.job_id] = Watch()
            done[toy.job_id] = done.get(toy.job_id, 0) + 1
            toy.steps_left -= 1
            if not toy.steps_left:
                crowd.leave(toy)
        turn += 1
        assert turn < 5000
    for number, a in enumerate(schedule, start=1):
        assert done.get(number, 0) == a.steps or a.canceled_after is not None
    assert crowd.pick() == []
    assert (crowd.running, crowd.waiting, crowd._seats, crowd._waiting, crowd._meters) == ([], [], {}, {}, {})
