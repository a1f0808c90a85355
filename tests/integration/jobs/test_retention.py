"""The sweeper: what is old goes, and nothing else. It has a clock of its own here, which may be days ahead."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from diffuserve.blobs import LocalBlobs
from diffuserve.core.errors import StorageFailed
from diffuserve.core.job import JobStatus
from diffuserve.core.request import InputImage
from diffuserve.jobs.ids import input_key
from diffuserve.jobs.retention import DAY, INPUT_GRACE, Sweeper, Swept
from support.clock import FakeClock
from support.jobs import House, input_image

pytestmark = pytest.mark.integration

PICTURE: InputImage = input_image()
INPUT = input_key(PICTURE.digest)


def sweeper(at: House, days: float | None = 30.0, *, later: float = 0.0) -> Sweeper:
    """One whose clock is so many seconds ahead of the house's."""
    clock = FakeClock(at.clock.now() + later)
    return Sweeper(store=at.stores.retention, blobs=at.blobs, clock=clock, days=days)


def after_the_grace(at: House, seconds: float = 60.0) -> float:
    """How far ahead a clock must be to be so much past the grace of a new blob: those are stamped with real time."""
    return time.time() - at.clock.now() + INPUT_GRACE + seconds


async def test_an_old_job_goes_with_its_pictures(quick: House) -> None:
    ended = await quick.draw(num_images=2)
    assert await sweeper(quick, later=30 * DAY + 1).sweep() == Swept(jobs=1)
    assert quick.blob_keys() == []
    assert await quick.store.get(ended.id) is None


async def test_a_job_that_is_not_old_enough_stays(quick: House) -> None:
    ended = await quick.draw()
    assert await sweeper(quick, later=30 * DAY - 1).sweep() == Swept()
    assert await quick.service.read(ended.artifacts[0])


async def test_without_a_number_of_days_jobs_are_kept_for_ever(quick: House) -> None:
    await quick.draw()
    assert await sweeper(quick, days=None, later=10_000 * DAY).sweep() == Swept()


async def test_an_old_job_that_has_not_ended_stays(idle: House) -> None:
    waiting = await idle.submit()
    assert await sweeper(idle, later=400 * DAY).sweep() == Swept()
    assert (await idle.stored(waiting.id)).status is JobStatus.QUEUED


async def test_more_old_jobs_than_a_batch_go_in_one_sweep(quick: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffuserve.jobs.retention._BATCH", 2)
    await asyncio.gather(*(quick.draw(f"apple {number}") for number in range(5)))
    assert await sweeper(quick, later=31 * DAY).sweep() == Swept(jobs=5)


async def test_a_job_whose_picture_cannot_be_deleted_stays_for_the_next_sweep(quick: House) -> None:
    ended = await quick.draw(num_images=2)
    quick.blobs.fail("delete", 1)
    with pytest.raises(StorageFailed):
        await sweeper(quick, later=31 * DAY).sweep()
    assert await quick.store.get(ended.id) is not None
    assert await sweeper(quick, later=31 * DAY).sweep() == Swept(jobs=1)
    assert quick.blob_keys() == []


async def test_an_input_picture_goes_some_time_after_its_last_job_ended(quick: House) -> None:
    await quick.draw(init_image=PICTURE)
    assert await sweeper(quick, days=None, later=after_the_grace(quick, -60.0)).sweep() == Swept()
    assert await sweeper(quick, days=None, later=after_the_grace(quick)).sweep() == Swept(inputs=1)
    assert INPUT not in quick.blob_keys()


async def test_an_input_picture_that_a_waiting_job_needs_stays(idle: House) -> None:
    await idle.submit(init_image=PICTURE)
    assert await sweeper(idle, later=after_the_grace(idle)).sweep() == Swept()
    assert idle.blob_keys() == [INPUT]


async def test_an_input_picture_that_never_got_a_job_goes(quick: House) -> None:
    await quick.blobs.put(INPUT, b"the server died before the row was written")
    assert await sweeper(quick, later=after_the_grace(quick)).sweep() == Swept(inputs=1)


async def test_an_input_picture_that_is_sent_again_during_the_sweep_stays(idle: House, tmp_path: Path) -> None:
    blobs, file = LocalBlobs(tmp_path / "blobs"), tmp_path / "blobs" / INPUT
    await blobs.put(INPUT, PICTURE.data)
    os.utime(file, (0, 0))
    idle.blobs._inner = blobs
    arrived, go_on = idle.blobs.hold("older", when="after")
    clock = FakeClock(time.time())
    sweeping = asyncio.create_task(
        Sweeper(store=idle.stores.retention, blobs=idle.blobs, clock=clock, days=None).sweep()
    )
    await arrived.wait()
    await blobs.put(INPUT, PICTURE.data)
    go_on.set()
    assert await sweeping == Swept()
    assert await blobs.get(INPUT) == PICTURE.data


async def test_the_sweeper_sweeps_at_the_start_and_every_hour_whatever_goes_wrong(quick: House) -> None:
    clock = FakeClock()
    sweeping = Sweeper(store=quick.stores.retention, blobs=quick.blobs, clock=clock, days=30.0)
    quick.blobs.fail("older", 1)
    sweeping.start()
    await clock.until_asleep(3600.0)
    await clock.advance(3600.0)
    await clock.until_asleep(3600.0)
    await sweeping.close()
    assert quick.blobs.calls.count("older") == 2


@pytest.mark.parametrize(("days", "pause"), [(None, 3600.0), (30.0, 3600.0), (1 / 24, 900.0)])
def test_jobs_that_are_kept_for_hours_are_swept_more_often(quick: House, days: float | None, pause: float) -> None:
    assert sweeper(quick, days).pause == pause
