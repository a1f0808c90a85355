"""Withdrawing a job at every moment of its life."""

from __future__ import annotations

import asyncio

import pytest

from diffuserve.core.job import Job, JobStatus
from diffuserve.core.principal import ANONYMOUS
from support.jobs import House

pytestmark = pytest.mark.integration


async def test_a_queued_job_that_was_cancelled_never_runs(idle: House) -> None:
    job = await idle.submit()
    other = await idle.submit()
    canceled = await idle.service.cancel(ANONYMOUS, job.id)
    assert canceled.status is JobStatus.CANCELED
    await idle.worker.start()
    await idle.service.wait(other.id)
    after = await idle.stored(job.id)
    assert (after.status, after.attempts, after.artifacts) == (JobStatus.CANCELED, 0, ())


async def test_a_running_job_that_was_cancelled_stops_and_leaves_nothing(slow: House) -> None:
    job = await slow.submit(num_inference_steps=50)
    await slow.started(job.id)
    canceled = await slow.service.cancel(ANONYMOUS, job.id)
    assert canceled.status is JobStatus.CANCELED
    await slow.at_rest()
    assert slow.engine.status().running == 0
    assert slow.blob_keys() == []


async def test_a_job_that_hangs_can_be_cancelled(quick: House) -> None:
    job = await quick.submit("fail:hang")
    waiting = asyncio.create_task(quick.service.wait(job.id))
    await quick.started(job.id)
    await quick.service.cancel(ANONYMOUS, job.id)
    assert (await waiting).status is JobStatus.CANCELED
    await quick.at_rest()


async def test_cancelling_twice_is_cancelling_once(idle: House) -> None:
    job = await idle.submit()
    first = await idle.service.cancel(ANONYMOUS, job.id)
    await idle.clock.advance(5)
    assert await idle.service.cancel(ANONYMOUS, job.id) == first


async def test_a_job_that_succeeded_is_returned_as_it_is(quick: House) -> None:
    job = await quick.draw()
    assert await quick.service.cancel(ANONYMOUS, job.id) == job
    assert len(quick.blob_keys()) == 1


async def test_a_job_cancelled_while_a_claim_takes_it_is_not_drawn(idle: House) -> None:
    arrived, go_on = idle.store.hold("claim", when="after")
    job = await idle.submit()
    await idle.worker.start()
    await arrived.wait()
    assert (await idle.stored(job.id)).status is JobStatus.RUNNING
    await idle.service.cancel(ANONYMOUS, job.id)
    go_on.set()
    other = await idle.draw()
    assert other.status is JobStatus.SUCCEEDED
    assert len(idle.blob_keys()) == 1, "only the other job's picture"


async def test_when_cancelling_comes_before_the_finish_the_pictures_are_deleted(quick: House) -> None:
    arrived, go_on = quick.store.hold("finish", when="before")
    ends: list[Job] = []
    quick.hub.observe_ends(ends.append)
    job = await quick.submit()
    await arrived.wait()
    assert len(quick.blob_keys()) == 1
    canceled = await quick.service.cancel(ANONYMOUS, job.id)
    go_on.set()
    await quick.at_rest()
    assert canceled.status is JobStatus.CANCELED
    assert await quick.stored(job.id) == canceled
    assert quick.blob_keys() == []
    assert ends == [canceled], "the end is told once"


async def test_when_cancelling_comes_after_the_finish_the_job_has_succeeded(quick: House) -> None:
    arrived, go_on = quick.store.hold("finish", when="after")
    ends: list[Job] = []
    quick.hub.observe_ends(ends.append)
    job = await quick.submit()
    await arrived.wait()
    after = await quick.service.cancel(ANONYMOUS, job.id)
    go_on.set()
    assert after.status is JobStatus.SUCCEEDED
    await quick.at_rest()
    assert len(quick.blob_keys()) == 1
    assert ends == [after]


async def test_a_job_cancelled_while_its_picture_is_stored_leaves_no_blob(quick: House) -> None:
    arrived, go_on = quick.blobs.hold("put", when="after")
    job = await quick.submit()
    await arrived.wait()
    await quick.service.cancel(ANONYMOUS, job.id)
    go_on.set()
    await quick.at_rest()
    assert quick.blob_keys() == []
