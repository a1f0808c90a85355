"""The engine that draws patterns."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from diffuserve.core.errors import EngineCrashed, EngineNotReady
from diffuserve.core.events import ArtifactReady, EngineEvent, Failed, Finished, Preview, Progress, Started
from diffuserve.core.request import Canvas, ResolvedRequest
from diffuserve.engine.fake import FakeEngine
from support.clock import FakeClock
from support.jobs import input_image
from support.models import resolved

pytestmark = pytest.mark.unit


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    engine = FakeEngine(0.0, FakeClock())
    await engine.start()
    yield engine
    assert engine.status().running == 0
    await engine.close()


async def _events(engine: FakeEngine, request: ResolvedRequest, job_id: int = 1) -> list[EngineEvent]:
    return [event async for event in engine.generate(job_id, request)]


async def _last(events: AsyncIterator[EngineEvent]) -> EngineEvent:
    return [event async for event in events][-1]


async def _pixels(engine: FakeEngine, request: ResolvedRequest) -> list[bytes]:
    return [event.pixels for event in await _events(engine, request) if isinstance(event, ArtifactReady)]


async def test_a_job_says_started_its_steps_its_pictures_and_finished(engine: FakeEngine) -> None:
    events = await _events(engine, resolved(num_inference_steps=3, seeds=(1, 2)))
    assert [type(event) for event in events] == [Started, *[Progress] * 3, *[ArtifactReady] * 2, Finished]
    assert [event for event in events if isinstance(event, Progress)] == [Progress(n, 6) for n in (2, 4, 6)]
    last = events[-1]
    assert isinstance(last, Finished) and (last.usage.images, last.usage.steps, last.usage.pixels) == (2, 6, 8192)


async def test_a_picture_is_as_large_as_the_canvas(engine: FakeEngine) -> None:
    request = resolved(canvas=Canvas(72, 24, 70, 20))
    assert [len(pixels) for pixels in await _pixels(engine, request)] == [72 * 24 * 3]


async def test_a_large_picture_is_drawn_too(engine: FakeEngine) -> None:
    request = resolved(canvas=Canvas(512, 264, 512, 264))
    assert [len(pixels) for pixels in await _pixels(engine, request)] == [512 * 264 * 3]


async def test_a_picture_depends_on_prompt_and_seed_alone(engine: FakeEngine) -> None:
    apple = await _pixels(engine, resolved())
    again = await _pixels(engine, resolved(num_inference_steps=2, guidance_scale=1.0))
    pear = await _pixels(engine, resolved(prompt="pear"))
    other = await _pixels(engine, resolved(seeds=(8,)))
    assert apple == again
    assert len({hashlib.sha256(pixels[0]).digest() for pixels in (apple, pear, other)}) == 3


async def test_strength_says_how_much_of_the_input_picture_remains(engine: FakeEngine) -> None:
    image = input_image(64, 64, "white")
    faint = resolved(init_image=image, strength=0.1, num_inference_steps=20)
    strong = replace(faint, strength=0.9)
    assert sum((await _pixels(engine, faint))[0]) > sum((await _pixels(engine, strong))[0])
    assert sum(isinstance(event, Progress) for event in await _events(engine, faint)) == 2


async def test_previews_come_as_often_as_asked(engine: FakeEngine) -> None:
    request = resolved(canvas=Canvas(256, 128, 256, 128), num_inference_steps=6, preview_every=2)
    previews = [event for event in await _events(engine, request) if isinstance(event, Preview)]
    assert [(p.step, p.width, p.height, len(p.pixels)) for p in previews] == [(n, 64, 32, 64 * 32 * 3) for n in (2, 4)]


@pytest.mark.parametrize(("word", "code"), [("fail:error", "generation_failed"), ("fail:oom", "out_of_memory")])
async def test_a_prompt_can_ask_for_a_failure(engine: FakeEngine, word: str, code: str) -> None:
    events = await _events(engine, resolved(prompt=f"an apple {word}"))
    last = events[-1]
    assert isinstance(last, Failed) and last.error.code == code
    assert not any(isinstance(event, ArtifactReady) for event in events)


async def test_a_crash_takes_every_job_on_board(engine: FakeEngine) -> None:
    bystander = engine.generate(1, resolved(num_inference_steps=500))
    await anext(bystander)
    with pytest.raises(EngineCrashed):
        await _events(engine, resolved(prompt="fail:crash"), job_id=2)
    with pytest.raises(EngineCrashed):
        async for _ in bystander:
            pass
    assert (engine.status().ready, engine.status().restarts) == (True, 1)


async def test_a_job_that_hangs_ends_when_it_is_cancelled(engine: FakeEngine) -> None:
    events = engine.generate(1, resolved(prompt="fail:hang"))
    await anext(events)
    hanging = asyncio.create_task(_last(events))
    await asyncio.sleep(0)
    assert not hanging.done()
    await engine.cancel(1)
    last = await hanging
    assert isinstance(last, Failed) and last.error.code == "canceled"


async def test_steps_take_their_time_and_cancelling_takes_effect_within_one() -> None:
    clock = FakeClock()
    engine = FakeEngine(1.0, clock)
    await engine.start()
    drawing = asyncio.create_task(_events(engine, resolved(num_inference_steps=50)))
    await clock.until_asleep(1.0)
    await clock.advance(3.5)
    await engine.cancel(1)
    assert not drawing.done()
    await clock.advance(1.0)
    events = await drawing
    assert sum(isinstance(event, Progress) for event in events) == 4
    assert isinstance(events[-1], Failed)


async def test_an_iterator_that_is_closed_early_leaves_nothing(engine: FakeEngine) -> None:
    events = engine.generate(1, resolved())
    await anext(events)
    assert engine.status().running == 1
    await events.aclose()  # type: ignore[attr-defined]


async def test_jobs_step_side_by_side_and_their_time_counts_once() -> None:
    clock = FakeClock()
    engine = FakeEngine(1.0, clock)
    await engine.start()
    jobs = [asyncio.create_task(_last(engine.generate(n, resolved(num_inference_steps=2)))) for n in (1, 2)]
    await clock.until_asleep(1.0)
    await clock.advance(2.0)
    await asyncio.gather(*jobs)
    status = engine.status()
    assert (status.forwards, status.rows, status.step_seconds) == (2, 4, 2.0)


async def test_cancelling_an_unknown_job_is_ignored(engine: FakeEngine) -> None:
    await engine.cancel(404)


async def test_an_engine_that_was_not_started_is_not_ready() -> None:
    engine = FakeEngine(0.0, FakeClock())
    assert not engine.status().ready
    with pytest.raises(EngineNotReady):
        await anext(engine.generate(1, resolved()))
