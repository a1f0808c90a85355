"""How long it will take: high, whole, never 0."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffuserve.core.ports import Backlog, EngineStatus
from diffuserve.dialects.modelslab.eta import LOADING, UNMEASURED, Speedometer, queue_seconds, remaining

pytestmark = pytest.mark.unit

NOTHING = Backlog(0, 0, 0, 0)


def status(rows: int, seconds: float) -> EngineStatus:
    return EngineStatus(ready=True, rows=rows, step_seconds=seconds)


def test_a_job_alone_takes_its_steps_a_fifth_more_and_the_finishing() -> None:
    assert remaining(100, NOTHING, 0.1, ready=True) == 13  # 100 * 0.1 * 1.2 + 0.5, rounded up


def test_what_waits_before_it_counts_whole_and_what_runs_by_half() -> None:
    assert remaining(100, Backlog(1, 100, 0, 0), 0.1, ready=True) == 25
    assert remaining(100, Backlog(0, 0, 1, 100), 0.1, ready=True) == 19


def test_a_running_job_has_its_own_rest_and_is_held_up_as_long_as_that() -> None:
    assert remaining(100, NOTHING, 0.1, ready=True, done=90) == 2
    assert remaining(100, Backlog(5, 10_000, 0, 0), 0.1, ready=True, done=90) == 2
    assert remaining(100, Backlog(0, 0, 1, 1000), 0.1, ready=True, done=90) == 3


def test_an_engine_that_is_not_ready_takes_longer() -> None:
    ready = remaining(100, NOTHING, 0.1, ready=True)
    assert remaining(100, NOTHING, 0.1, ready=False) == ready + LOADING


@given(
    st.integers(1, 10**6),
    st.builds(Backlog, *[st.integers(0, 10**6)] * 4),
    st.floats(0, 100),
    st.booleans(),
    st.none() | st.integers(0, 10**7),
)
def test_it_is_a_whole_number_of_seconds_and_never_0(
    steps: int, backlog: Backlog, pace: float, ready: bool, done: int | None
) -> None:
    eta = remaining(steps, backlog, pace, ready=ready, done=done)
    assert isinstance(eta, int) and eta >= 1


@given(st.integers(1, 1000), st.integers(0, 1000), st.integers(0, 1000), st.floats(0.001, 10))
def test_more_to_do_never_takes_less(steps: int, waiting: int, more: int, pace: float) -> None:
    before = remaining(steps, Backlog(1, waiting, 0, 0), pace, ready=True)
    assert remaining(steps + more, Backlog(1, waiting, 0, 0), pace, ready=True) >= before
    assert remaining(steps, Backlog(1, waiting + more, 0, 0), pace, ready=True) >= before


def test_before_anything_was_drawn_a_slow_engine_is_supposed() -> None:
    assert Speedometer().read(status(0, 0.0)) == UNMEASURED


def test_the_speed_is_what_it_was_since_the_last_look_that_saw_enough() -> None:
    speed = Speedometer()
    assert speed.read(status(100, 10.0)) == pytest.approx(0.1)
    assert speed.read(status(110, 20.0)) == pytest.approx(0.1)  # 10 steps say nothing
    assert speed.read(status(200, 60.0)) == pytest.approx(0.5)


def test_an_engine_that_was_started_again_is_measured_anew() -> None:
    speed = Speedometer()
    speed.read(status(1000, 100.0))
    assert speed.read(status(0, 0.0)) == UNMEASURED
    assert speed.read(status(50, 50.0)) == pytest.approx(1.0)


def test_a_queue_takes_no_time_where_nobody_waits() -> None:
    assert queue_seconds(Backlog(0, 0, 3, 300), 1.0) == 0
    assert queue_seconds(Backlog(1, 10, 2, 20), 0.5) == 10
