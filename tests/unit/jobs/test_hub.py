"""News, and who hears it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from diffuserve.core.events import Finished, Preview, Progress, Started
from diffuserve.core.job import Job, JobStatus, Usage
from diffuserve.jobs.hub import Hub
from support.models import job

pytestmark = pytest.mark.unit

DONE = replace(job(1), status=JobStatus.SUCCEEDED)


def _preview(index: int, step: int) -> Preview:
    return Preview(index, step, 1, 1, b"rgb")


async def test_listeners_hear_everything_in_order_and_the_end_last() -> None:
    hub = Hub()
    heard = []
    with hub.subscribe(1) as news:
        for event in (Started(), Progress(1, 2), DONE):
            hub.publish(1, event)
        heard = [one async for one in news]
    assert heard == [Started(), Progress(1, 2), DONE]


async def test_a_listener_that_waits_is_woken() -> None:
    hub = Hub()
    with hub.subscribe(1) as news:
        waiting = asyncio.create_task(anext(news))
        await asyncio.sleep(0)
        hub.publish(1, DONE)
        assert await waiting == DONE


async def test_a_slow_listener_gets_the_latest_progress_and_previews_and_the_end() -> None:
    hub = Hub()
    with hub.subscribe(1) as news:
        hub.publish(1, Started())
        for step in range(1, 1001):
            hub.publish(1, Progress(step, 1000))
            hub.publish(1, _preview(step % 2, step))
        hub.publish(1, DONE)
        heard = [one async for one in news]
    assert heard == [Started(), _preview(1, 999), Progress(1000, 1000), _preview(0, 1000), DONE]


async def test_who_comes_late_begins_with_the_latest() -> None:
    hub = Hub()
    hub.publish(1, Started())
    hub.publish(1, Progress(1, 4))
    hub.publish(1, Progress(2, 4))
    with hub.subscribe(1) as news:
        hub.publish(1, DONE)
        assert [one async for one in news] == [Started(), Progress(2, 4), DONE]


async def test_who_listens_for_the_end_hears_only_the_end() -> None:
    hub = Hub()
    hub.publish(1, Started())
    with hub.subscribe(1, only_end=True) as news:
        hub.publish(1, Progress(1, 4))
        hub.publish(1, DONE)
        assert [one async for one in news] == [DONE]


async def test_other_jobs_are_other_peoples_news() -> None:
    hub = Hub()
    with hub.subscribe(2) as news:
        hub.publish(1, DONE)
        hub.publish(2, Started())
        assert await anext(news) == Started()


async def test_nothing_is_left_when_a_job_ends_or_nobody_listens() -> None:
    hub = Hub()
    with hub.subscribe(1), hub.subscribe(1), hub.subscribe(2):
        hub.publish(1, Started())
        hub.publish(1, Progress(1, 4))
        assert (hub.listeners, hub.progress(1)) == (3, Progress(1, 4))
        hub.publish(1, DONE)
        assert (hub.listeners, hub.progress(1)) == (1, None)
    assert hub.listeners == 0


async def test_what_an_engine_says_after_the_end_is_not_kept() -> None:
    hub = Hub()
    hub.publish(1, Started())
    hub.publish(1, DONE)
    hub.publish(1, Progress(3, 4))
    assert hub.progress(1) is None


async def test_the_engines_own_endings_are_not_news() -> None:
    hub = Hub()
    with hub.subscribe(1) as news:
        hub.publish(1, Finished(Usage()))
        hub.publish(1, DONE)
        assert await anext(news) == DONE


async def test_observers_see_every_end_also_without_listeners() -> None:
    hub = Hub()
    seen: list[Job] = []
    hub.observe_ends(seen.append)
    hub.publish(1, Started())
    hub.publish(1, DONE)
    assert seen == [DONE]
