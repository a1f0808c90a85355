"""From a wish to a drawn picture, and what keeps a wish from being queued."""

from __future__ import annotations

import asyncio
import hashlib
import io
from pathlib import Path

import pytest
from PIL import Image

from diffuserve.core.errors import (
    ArtifactNotFound,
    DeadlineExceeded,
    InvalidParameter,
    JobNotFound,
    QueueFull,
    StorageFailed,
)
from diffuserve.core.job import JobStatus
from diffuserve.core.request import Inpaint
from support.jobs import House, house, input_image

pytestmark = pytest.mark.integration


async def test_a_submitted_job_is_drawn_and_its_pictures_can_be_read(quick: House) -> None:
    job = await quick.draw(width=100, height=80, seeds=(3,), num_images=2)
    assert job.status is JobStatus.SUCCEEDED
    assert [one.index for one in job.artifacts] == [0, 1]
    assert [one.seed for one in job.artifacts] == list(job.request.seeds)
    assert job.usage.images == 2 and job.finished_at is not None
    for made in job.artifacts:
        data = await quick.service.read(await quick.service.artifact(made.id))
        assert (len(data), hashlib.sha256(data).hexdigest()) == (made.size, made.digest)
        assert Image.open(io.BytesIO(data)).size == (made.width, made.height) == (100, 80)


async def test_an_id_that_another_server_took_in_the_same_millisecond_is_replaced(
    quick: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await quick.draw()
    given_out = iter((first.id, first.id + 1))
    monkeypatch.setattr(quick.service._ids, "next", lambda now: next(given_out))
    second = await quick.draw()
    assert (second.id, second.status) == (first.id + 1, JobStatus.SUCCEEDED)
    assert await quick.stored(first.id) == first


async def test_what_waiters_get_is_what_the_store_has(quick: House) -> None:
    job = await quick.draw(width=512, height=512, sampler="DPM++ 2S a")
    assert len(job.notes) == 2
    assert job == await quick.stored(job.id)


async def test_an_accepted_job_is_in_the_store_with_its_seeds(idle: House) -> None:
    job = await idle.submit(num_images=3)
    assert await idle.stored(job.id) == job
    assert len(set(job.request.seeds)) == 3


async def test_the_same_seed_draws_the_same_picture(quick: House) -> None:
    one, two = await quick.draw(seeds=(5,)), await quick.draw(seeds=(5,))
    assert one.artifacts[0].digest == two.artifacts[0].digest
    assert one.artifacts[0].id != two.artifacts[0].id


async def test_an_input_picture_rests_in_the_blobs_and_is_fitted_for_the_engine(quick: House) -> None:
    image = input_image(40, 30)
    job = await quick.draw(init_image=image, strength=0.5)
    assert job.status is JobStatus.SUCCEEDED, job.error
    assert f"inputs/{image.digest[:2]}/{image.digest}.png" in quick.blob_keys()
    assert (job.request.width, job.request.height) == (40, 30)


async def test_every_input_picture_rests_in_the_blobs_once(idle: House) -> None:
    image, mask = input_image(40, 30), input_image(40, 30, "white")
    await idle.submit(init_image=image, inpaint=Inpaint(mask))
    assert idle.blob_keys() == sorted(f"inputs/{one.digest[:2]}/{one.digest}.png" for one in (image, mask))
    await idle.submit(init_image=mask, inpaint=Inpaint(mask))
    assert idle.blobs.calls.count("put") == 3


async def test_what_waits_is_bounded_by_its_pixels(tmp_path: Path) -> None:
    async with house(tmp_path, started=False, max_queued_pixels=3 * 64 * 64) as full:
        two = await full.submit(num_images=2)
        with pytest.raises(QueueFull) as error:
            await full.submit(num_images=2)
        assert error.value.retry_after
        one = await full.submit()
        await full.worker.start()
        await asyncio.gather(*(full.service.wait(job.id) for job in (one, two)))
        assert (await full.draw(num_images=4)).status is JobStatus.SUCCEEDED, "nothing waits, so the largest may"


async def test_a_wish_that_is_refused_leaves_nothing(quick: House) -> None:
    with pytest.raises(InvalidParameter):
        await quick.submit(num_inference_steps=0, init_image=input_image())
    assert await quick.store.queued() == 0
    assert quick.blob_keys() == []


async def test_a_full_queue_refuses_and_takes_jobs_again_when_there_is_room(tmp_path: Path) -> None:
    async with house(tmp_path, started=False, max_queue=3) as full:
        jobs = [await full.submit() for _ in range(3)]
        with pytest.raises(QueueFull) as error:
            await full.submit(init_image=input_image())
        assert error.value.retry_after
        assert full.blob_keys() == []
        await full.worker.start()
        await asyncio.gather(*(full.service.wait(job.id) for job in jobs))
        assert (await full.draw()).status is JobStatus.SUCCEEDED


async def test_a_store_that_fails_refuses_the_job_and_keeps_its_place_free(tmp_path: Path) -> None:
    async with house(tmp_path, started=False, max_queue=1) as broken:
        broken.store.fail("add", 1)
        with pytest.raises(StorageFailed):
            await broken.submit()
        await broken.submit()


async def test_waiting_reads_the_store_once_and_is_woken_by_the_end(slow: House) -> None:
    job = await slow.submit(num_inference_steps=1)
    waiting = asyncio.create_task(slow.service.wait(job.id))
    await slow.started(job.id)
    await slow.clock.until_asleep(1.0)
    await slow.clock.advance(1)
    assert (await waiting).status is JobStatus.SUCCEEDED
    assert slow.store.calls.count("get") == 1


async def test_waiting_for_a_job_that_ended_returns_at_once(quick: House) -> None:
    job = await quick.draw()
    assert await quick.service.wait(job.id, 0) == job


async def test_waiting_ends_at_the_deadline_and_the_job_goes_on(slow: House) -> None:
    job = await slow.submit(num_inference_steps=9)
    waiting = asyncio.create_task(slow.service.wait(job.id, 1.5))
    await slow.clock.until_asleep(1.5)
    await slow.started(job.id)
    await slow.clock.advance(1.5)
    with pytest.raises(DeadlineExceeded):
        await waiting
    assert (await slow.stored(job.id)).status is JobStatus.RUNNING


async def test_a_waiter_that_gives_up_leaves_the_job_alone(slow: House) -> None:
    job = await slow.submit()
    waiting = asyncio.create_task(slow.service.wait(job.id))
    await slow.started(job.id)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert slow.hub.listeners == 0
    assert (await slow.stored(job.id)).status is JobStatus.RUNNING


async def test_an_end_that_another_process_wrote_is_noticed(idle: House) -> None:
    job = await idle.submit()
    waiting = asyncio.create_task(idle.service.wait(job.id))
    await idle.clock.until_asleep(2.0)
    await idle.store.cancel(job.id, 0.0)
    await idle.clock.advance(2)
    assert (await waiting).status is JobStatus.CANCELED


async def test_what_does_not_exist_is_not_found(quick: House) -> None:
    with pytest.raises(JobNotFound):
        await quick.service.wait(404)
    with pytest.raises(ArtifactNotFound):
        await quick.service.artifact("0" * 32)


async def test_a_job_waits_while_the_engine_loads(tmp_path: Path) -> None:
    async with house(tmp_path, engine_ready=False) as loading:
        job = await loading.submit()
        await loading.clock.until_asleep(0.25)
        await loading.clock.advance(1)
        assert (await loading.stored(job.id)).status is JobStatus.QUEUED
        await loading.engine.start()
        await loading.clock.advance(1)
        assert (await loading.service.wait(job.id)).status is JobStatus.SUCCEEDED


async def test_more_jobs_than_the_worker_holds_are_all_drawn(tmp_path: Path) -> None:
    async with house(tmp_path, concurrency=3) as narrow:
        jobs = [await narrow.submit(f"apple {n}") for n in range(20)]
        ended = await asyncio.gather(*(narrow.service.wait(job.id) for job in jobs))
        assert {job.status for job in ended} == {JobStatus.SUCCEEDED}
        assert {job.attempts for job in ended} == {1}
