"""Live news of a job, as a caller sees it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from diffuserve.core.errors import GenerationFailed, InternalError, JobCanceled, JobNotFound
from diffuserve.core.events import Preview, Progress, Started
from diffuserve.core.job import Job, JobStatus
from diffuserve.core.principal import ANONYMOUS, Principal
from diffuserve.jobs.service import ended_or_raise
from support.jobs import House

pytestmark = pytest.mark.integration

STRANGER = Principal("somebody-else")


async def _next(news: Any) -> Any:
    return await anext(news)


async def test_watching_tells_all_of_a_job_that_is_slower_than_the_watcher(slow: House) -> None:
    job = await slow.submit(num_inference_steps=3, preview_every=2)
    heard: list[Any] = []
    async with aclosing(slow.service.watch(ANONYMOUS, job.id)) as news:  # type: ignore[type-var]
        heard.append(await anext(news))
        for _ in range(3):
            await slow.clock.until_asleep(1.0)
            step = asyncio.create_task(_next(news))
            await slow.clock.advance(1)
            heard.append(await step)
        heard += [event async for event in news]
    assert [type(event) for event in heard] == [Started, Progress, Progress, Preview, Progress, Job]
    assert [event.done for event in heard if isinstance(event, Progress)] == [1, 2, 3]
    assert heard[-1] == await slow.stored(job.id)


async def test_watching_begins_with_the_latest_that_is_known(slow: House) -> None:
    job = await slow.submit(num_inference_steps=9)
    await slow.started(job.id)
    await slow.clock.until_asleep(1.0)
    await slow.clock.advance(4)
    assert slow.service.progress(job.id) == Progress(4, 9)
    async with aclosing(slow.service.watch(ANONYMOUS, job.id)) as news:  # type: ignore[type-var]
        assert [await anext(news), await anext(news)] == [Started(), Progress(4, 9)]


async def test_watching_a_job_that_ended_gives_just_the_job(quick: House) -> None:
    job = await quick.draw()
    assert [event async for event in quick.service.watch(ANONYMOUS, job.id)] == [job]
    assert quick.service.progress(job.id) is None


async def test_watching_ends_when_the_job_is_cancelled(idle: House) -> None:
    job = await idle.submit()
    news = idle.service.watch(ANONYMOUS, job.id)
    first = asyncio.create_task(_next(news))
    await idle.clock.until_asleep(2.0)
    await idle.service.cancel(ANONYMOUS, job.id)
    assert (await first).status is JobStatus.CANCELED
    with pytest.raises(StopAsyncIteration):
        await anext(news)


async def test_a_watcher_that_leaves_early_leaves_nothing(slow: House) -> None:
    job = await slow.submit()
    async with aclosing(slow.service.watch(ANONYMOUS, job.id)) as news:  # type: ignore[type-var]
        await anext(news)
        assert slow.hub.listeners == 1
    assert slow.hub.listeners == 0


async def test_another_accounts_job_does_not_exist(idle: House) -> None:
    job = await idle.submit()
    with pytest.raises(JobNotFound):
        await idle.service.get(STRANGER, job.id)
    with pytest.raises(JobNotFound):
        await idle.service.cancel(STRANGER, job.id)
    with pytest.raises(JobNotFound):
        await anext(idle.service.watch(STRANGER, job.id))
    assert await idle.service.get(ANONYMOUS, job.id) == job


async def test_callers_that_want_pictures_get_them_or_the_reason(quick: House) -> None:
    drawn = await quick.draw()
    assert ended_or_raise(drawn) is drawn
    with pytest.raises(GenerationFailed):
        ended_or_raise(await quick.draw("fail:error"))
    hanging = await quick.submit("fail:hang")
    with pytest.raises(JobCanceled):
        ended_or_raise(await quick.service.cancel(ANONYMOUS, hanging.id))


def test_a_failed_job_without_a_reason_is_our_fault() -> None:
    from support.models import job

    with pytest.raises(InternalError):
        ended_or_raise(job(1, status=JobStatus.FAILED))
