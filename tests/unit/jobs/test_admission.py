"""Room in the queue."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from diffuserve.core.errors import QueueFull
from diffuserve.core.ports import JobStore
from diffuserve.jobs.admission import Admission
from support.clock import FakeClock

pytestmark = pytest.mark.unit


class CountingStore:
    """The methods of the store that matter here."""

    def __init__(self) -> None:
        self.waiting = 0
        self.pixels = 0
        self.counts = 0

    async def queued(self) -> int:
        self.counts += 1
        await asyncio.sleep(0)
        return self.waiting

    async def queued_pixels(self) -> int:
        await asyncio.sleep(0)
        return self.pixels


def _admission(store: CountingStore, clock: FakeClock, max_queue: int, max_pixels: int | None = None) -> Admission:
    return Admission(cast(JobStore, store), clock, max_queue, max_pixels)


async def _enter(admission: Admission, store: CountingStore, pixels: int = 0) -> None:
    await admission.enter(pixels)
    store.waiting += 1
    store.pixels += pixels
    admission.entered(pixels, queued=True)


async def test_the_queue_is_counted_once_for_many_jobs() -> None:
    store = CountingStore()
    admission = _admission(store, FakeClock(), 50)
    await asyncio.gather(*(_enter(admission, store) for _ in range(50)))
    assert store.counts == 1


async def test_never_more_than_the_limit_enter_however_many_ask_at_once() -> None:
    store = CountingStore()
    admission = _admission(store, FakeClock(), 10)
    results = await asyncio.gather(*(_enter(admission, store) for _ in range(30)), return_exceptions=True)
    assert sum(result is None for result in results) == 10
    assert sum(isinstance(result, QueueFull) for result in results) == 20


async def test_a_place_that_was_left_is_found_again() -> None:
    store = CountingStore()
    admission = _admission(store, FakeClock(), 1)
    await _enter(admission, store)
    with pytest.raises(QueueFull):
        await admission.enter()
    store.waiting = 0
    await _enter(admission, store)


async def test_a_job_that_did_not_get_into_the_store_gives_its_place_back() -> None:
    store = CountingStore()
    admission = _admission(store, FakeClock(), 1)
    await admission.enter()
    admission.entered(queued=False)
    await _enter(admission, store)


async def test_a_job_on_its_way_into_the_store_holds_its_place() -> None:
    store = CountingStore()
    admission = _admission(store, FakeClock(), 1)
    await admission.enter()
    with pytest.raises(QueueFull):
        await admission.enter()


async def _refusal(admission: Admission) -> float:
    with pytest.raises(QueueFull) as error:
        await admission.enter()
    assert error.value.retry_after is not None
    return error.value.retry_after


async def test_the_pause_follows_the_pace_of_the_queue() -> None:
    store, clock = CountingStore(), FakeClock()
    admission = _admission(store, clock, 100)
    for _ in range(100):
        await _enter(admission, store)
    assert await _refusal(admission) == 5.0, "nothing is known yet"
    await clock.advance(10)
    store.waiting -= 50
    for _ in range(50):
        await _enter(admission, store)
    assert await _refusal(admission) == 2.0, "50 left in 10 seconds: so long takes a tenth of the queue"


async def test_what_waits_is_bounded_by_its_pixels() -> None:
    store = CountingStore()
    admission = _admission(store, FakeClock(), 100, max_pixels=1000)
    results = await asyncio.gather(*(_enter(admission, store, 300) for _ in range(5)), return_exceptions=True)
    assert [type(result) for result in results] == [type(None)] * 3 + [QueueFull] * 2
    await _enter(admission, store, 100)
    assert store.pixels == 1000


async def test_pixels_that_were_drawn_make_room() -> None:
    store = CountingStore()
    admission = _admission(store, FakeClock(), 100, max_pixels=1000)
    await _enter(admission, store, 1000)
    with pytest.raises(QueueFull) as error:
        await admission.enter(1)
    assert error.value.retry_after
    store.pixels = 400
    await _enter(admission, store, 600)


async def test_a_job_that_is_larger_than_the_bound_waits_alone() -> None:
    store = CountingStore()
    admission = _admission(store, FakeClock(), 100, max_pixels=1000)
    await _enter(admission, store, 5000)
    with pytest.raises(QueueFull):
        await admission.enter(1)


async def test_pixels_of_a_job_that_did_not_get_into_the_store_are_free_again() -> None:
    store = CountingStore()
    admission = _admission(store, FakeClock(), 100, max_pixels=1000)
    await admission.enter(1000)
    with pytest.raises(QueueFull):
        await admission.enter(1)
    admission.entered(1000, queued=False)
    await _enter(admission, store, 1000)


async def test_without_a_bound_pixels_are_not_counted() -> None:
    store = CountingStore()
    store.pixels = 10**12
    admission = _admission(store, FakeClock(), 100)
    await _enter(admission, store, 10**9)
