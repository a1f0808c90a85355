"""How long it will take: high, whole, never 0."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffuserve.core.ports import Backlog, EngineStatus
from diffuserve.dialects.modelslab.eta import LOADING, UNKNOWN, Pace, Speedometer, queue_seconds, remaining

pytestmark = pytest.mark.unit

NOTHING = Backlog(0, 0, 0, 0)


TENTH = Pace(0.1, 0.1)


def status(rows: int, seconds: float, forwards: int = 10) -> EngineStatus:
    return EngineStatus(ready=True, rows=rows, forwards=forwards, step_seconds=seconds)


def test_a_job_alone_takes_its_steps_half_as_much_again_and_the_finishing() -> None:
    assert remaining(100, 1, NOTHING, TENTH, ready=True) == 16  # 100 * 0.1 * 1.5 + 0.5, rounded up


def test_what_waits_before_it_counts_whole_and_what_runs_by_half() -> None:
    assert remaining(100, 1, Backlog(1, 100, 0, 0), TENTH, ready=True) == 31
    assert remaining(100, 1, Backlog(0, 0, 1, 100), TENTH, ready=True) == 23


def test_a_running_job_has_its_own_rest_and_is_held_up_as_long_as_that() -> None:
    assert remaining(100, 1, NOTHING, TENTH, ready=True, done=90) == 2
    assert remaining(100, 1, Backlog(5, 10_000, 0, 0), TENTH, ready=True, done=90) == 2
    assert remaining(100, 1, Backlog(0, 0, 1, 1000), TENTH, ready=True, done=90) == 4


def test_a_picture_takes_no_step_in_less_than_a_forward_pass() -> None:
    busy = Pace(0.01, 0.1)  # ten pictures share a pass
    assert remaining(100, 1, NOTHING, busy, ready=True) == 16
    assert remaining(100, 10, NOTHING, busy, ready=True) == 2
    assert remaining(100, 1, Backlog(20, 2000, 0, 0), busy, ready=True) == 32


def test_an_engine_that_is_not_ready_takes_longer() -> None:
    ready = remaining(100, 1, NOTHING, TENTH, ready=True)
    assert remaining(100, 1, NOTHING, TENTH, ready=False) == ready + LOADING


@given(
    st.integers(1, 10**6),
    st.integers(1, 16),
    st.builds(Backlog, *[st.integers(0, 10**6)] * 4),
    st.builds(Pace, st.floats(0, 100), st.floats(0, 100)),
    st.booleans(),
    st.none() | st.integers(0, 10**7),
)
def test_it_is_a_whole_number_of_seconds_and_never_0(
    steps: int, pictures: int, backlog: Backlog, pace: Pace, ready: bool, done: int | None
) -> None:
    eta = remaining(steps, pictures, backlog, pace, ready=ready, done=done)
    assert isinstance(eta, int) and eta >= 1


@given(st.integers(1, 1000), st.integers(0, 1000), st.integers(0, 1000), st.floats(0.001, 10))
def test_more_to_do_never_takes_less(steps: int, waiting: int, more: int, seconds: float) -> None:
    pace = Pace(seconds, seconds)
    before = remaining(steps, 1, Backlog(1, waiting, 0, 0), pace, ready=True)
    assert remaining(steps + more, 1, Backlog(1, waiting, 0, 0), pace, ready=True) >= before
    assert remaining(steps, 1, Backlog(1, waiting + more, 0, 0), pace, ready=True) >= before


def test_before_anything_was_drawn_a_slow_engine_is_supposed() -> None:
    assert Speedometer().read(status(0, 0.0, 0)) == UNKNOWN


def test_the_pace_is_what_it_was_since_the_last_look_that_saw_enough() -> None:
    speed = Speedometer()
    assert speed.read(status(100, 10.0, 20)) == Pace(pytest.approx(0.1), pytest.approx(0.5))
    assert speed.read(status(110, 20.0, 30)) == Pace(pytest.approx(0.1), pytest.approx(0.5))  # 10 steps say nothing
    assert speed.read(status(200, 60.0, 120)) == Pace(pytest.approx(0.5), pytest.approx(0.5))


def test_an_engine_that_was_started_again_is_measured_anew() -> None:
    speed = Speedometer()
    speed.read(status(1000, 100.0))
    assert speed.read(status(0, 0.0, 0)) == UNKNOWN
    assert speed.read(status(50, 50.0, 50)) == Pace(1.0, 1.0)


def test_a_queue_takes_no_time_where_nobody_waits() -> None:
    assert queue_seconds(Backlog(0, 0, 3, 300), Pace(1.0, 1.0)) == 0
    assert queue_seconds(Backlog(1, 10, 2, 20), Pace(0.5, 1.0)) == 10
