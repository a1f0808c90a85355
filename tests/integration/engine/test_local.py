"""`LocalEngine` with real processes and no torch: a stand-in loop behind the real `process.main`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from diffuserve.core.errors import ConfigurationError, EngineCrashed
from diffuserve.core.events import ArtifactReady, EngineEvent, Failed, Finished, Progress, Started
from diffuserve.engine.local import MAX_FAILED_LOADS, LocalEngine
from support.engine import STAND_IN, HastyClock, config, picture, request

pytestmark = pytest.mark.integration


@asynccontextmanager
async def running(device: str = "auto") -> AsyncIterator[LocalEngine]:
    engine = LocalEngine(config(device), HastyClock(), STAND_IN)
    try:
        await engine.start()
        yield engine
    finally:
        await engine.close()


async def drained(events: AsyncIterator[EngineEvent]) -> list[EngineEvent]:
    return [event async for event in events]


async def until_started(events: AsyncIterator[EngineEvent]) -> None:
    assert await anext(events) == Started()


async def test_a_job_is_drawn_and_its_events_come_in_order() -> None:
    async with running() as engine:
        events = await drained(engine.generate(1, request()))
    assert [type(event) for event in events] == [Started, Progress, Progress, Progress, ArtifactReady, Finished]
    assert events[4] == ArtifactReady(0, 7, 8, 8, b"\x07" * 192)


async def test_the_engine_says_what_it_runs_on_and_what_it_has_done() -> None:
    async with running() as engine:
        assert (engine.status().ready, engine.status().device, engine.status().dtype) == (True, "cpu", "float32")
        await drained(engine.generate(1, request()))
        while engine.status().forwards < 3:
            await drained(engine.generate(2, request()))
        assert engine.status().step_seconds == 0.5


async def test_the_bytes_of_an_input_picture_reach_the_loop() -> None:
    async with running() as engine:
        events = await drained(engine.generate(1, request(init_image=picture(b"\x2apicture"))))
    assert [event.pixels[:1] for event in events if isinstance(event, ArtifactReady)] == [b"\x2a"]


async def test_many_jobs_run_side_by_side() -> None:
    async with running() as engine:
        runs = await asyncio.gather(*(drained(engine.generate(n, request(seeds=(n,)))) for n in range(20)))
    seeds = [event.seed for events in runs for event in events if isinstance(event, ArtifactReady)]
    assert seeds == list(range(20))


async def test_a_job_that_fails_fails_alone() -> None:
    async with running() as engine:
        bad, good = await asyncio.gather(
            drained(engine.generate(1, request("fail"))), drained(engine.generate(2, request()))
        )
    assert isinstance(bad[-1], Failed)
    assert isinstance(good[-1], Finished)


async def test_a_cancelled_job_ends_as_canceled() -> None:
    async with running() as engine:
        events = engine.generate(1, request("silent"))
        await until_started(events)
        await engine.cancel(1)
        (end,) = await drained(events)
    assert isinstance(end, Failed)
    assert end.error.code == "canceled"


async def test_cancelling_a_job_that_is_not_there_is_no_error() -> None:
    async with running() as engine:
        await engine.cancel(99)
        assert engine.status().ready


async def test_closing_the_iterator_early_cancels_the_job() -> None:
    async with running() as engine:
        events = engine.generate(1, request("silent"))
        await until_started(events)
        await events.aclose()  # type: ignore[attr-defined]
        while engine.status().running or not engine.status().forwards:
            await drained(engine.generate(2, request()))


async def test_a_job_that_comes_back_at_once_hears_nothing_of_its_first_run() -> None:
    async with running() as engine:
        first = engine.generate(1, request("silent"))
        await until_started(first)
        await first.aclose()  # type: ignore[attr-defined]
        second = await drained(engine.generate(1, request()))
    assert isinstance(second[-1], Finished)


async def test_a_job_that_waits_for_the_engine_to_load_is_drawn_once_it_has() -> None:
    engine = LocalEngine(config(), HastyClock(), STAND_IN)
    early = asyncio.create_task(drained(engine.generate(1, request())))
    try:
        await asyncio.sleep(0)
        await engine.start()
        assert isinstance((await early)[-1], Finished)
    finally:
        await engine.close()


async def test_a_job_that_waits_for_the_engine_to_load_can_be_cancelled() -> None:
    engine = LocalEngine(config(), HastyClock(), STAND_IN)
    early = asyncio.create_task(drained(engine.generate(1, request())))
    await asyncio.sleep(0)
    await engine.cancel(1)
    (end,) = await early
    assert isinstance(end, Failed)


async def test_a_crash_is_told_to_the_jobs_on_board_and_the_next_job_is_drawn_by_a_new_process() -> None:
    async with running() as engine:
        bystander = engine.generate(1, request("silent"))
        await until_started(bystander)
        with pytest.raises(EngineCrashed, match="SIGKILL"):
            await drained(engine.generate(2, request("crash")))
        with pytest.raises(EngineCrashed):
            await drained(bystander)
        events = await drained(engine.generate(3, request()))
        assert isinstance(events[-1], Finished)
        assert engine.status().restarts == 1


async def test_waits_between_restarts_grow() -> None:
    clock = HastyClock()
    engine = LocalEngine(config(), clock, STAND_IN)
    try:
        await engine.start()
        for n in range(3):
            with pytest.raises(EngineCrashed):
                await drained(engine.generate(n, request("crash")))
        await drained(engine.generate(9, request()))
    finally:
        await engine.close()
    assert clock.slept == [0.5, 1.0, 2.0]


async def test_totals_go_on_after_a_crash() -> None:
    async with running() as engine:
        while engine.status().forwards < 3:
            await drained(engine.generate(1, request()))
        before = engine.status().forwards
        with pytest.raises(EngineCrashed):
            await drained(engine.generate(2, request("crash")))
        assert engine.status().forwards >= before


@pytest.mark.parametrize(
    ("device", "sentence"),
    [("load:refuse", "made of cheese"), ("load:bug", "model tiny could not be loaded: off by one$")],
)
async def test_an_engine_that_says_that_it_cannot_load_is_not_tried_again(device: str, sentence: str) -> None:
    clock = HastyClock()
    engine = LocalEngine(config(device), clock, STAND_IN)
    with pytest.raises(ConfigurationError, match=sentence):
        await engine.start()
    assert clock.slept == []
    assert not engine.status().ready
    await engine.close()


async def test_an_engine_that_dies_at_every_load_is_given_up_with_a_reason() -> None:
    engine = LocalEngine(config("load:crash"), HastyClock(), STAND_IN)
    waiting = asyncio.create_task(drained(engine.generate(1, request())))
    with pytest.raises(ConfigurationError, match=f"SIGKILL while it loaded tiny, {MAX_FAILED_LOADS} times"):
        await engine.start()
    with pytest.raises(EngineCrashed):
        await waiting
    with pytest.raises(EngineCrashed):
        await drained(engine.generate(2, request()))
    await engine.close()


async def test_an_engine_that_was_ready_once_is_never_given_up(tmp_path: Path) -> None:
    """Its files may come back, its memory may be free again: until then jobs wait."""
    clock = HastyClock()
    script = tmp_path / "engine.py"
    script.write_text(Path(STAND_IN[1]).read_text())
    engine = LocalEngine(config(), clock, (STAND_IN[0], str(script)))
    try:
        await engine.start()
        whole = script.read_text()
        script.write_text("raise SystemExit(1)")
        with pytest.raises(EngineCrashed):
            await drained(engine.generate(1, request("crash")))
        waiting = asyncio.create_task(drained(engine.generate(2, request())))
        await clock.until_slept(MAX_FAILED_LOADS + 1)
        assert not engine.status().ready
        script.write_text(whole)
        assert isinstance((await waiting)[-1], Finished)
    finally:
        await engine.close()


async def test_a_command_that_is_not_there_is_told_at_start() -> None:
    engine = LocalEngine(config(), HastyClock(), ("/nowhere/python",))
    with pytest.raises(ConfigurationError, match="nowhere"):
        await engine.start()
    await engine.close()


async def test_closing_ends_the_process_and_the_jobs_on_board() -> None:
    engine = LocalEngine(config(), HastyClock(), STAND_IN)
    await engine.start()
    events = engine.generate(1, request("silent"))
    await until_started(events)
    child = engine._child
    assert child is not None
    await engine.close()
    assert child.process.returncode is not None
    with pytest.raises(EngineCrashed):
        await drained(events)


async def test_an_engine_that_was_never_started_can_be_closed() -> None:
    await LocalEngine(config(), HastyClock(), STAND_IN).close()


async def test_signals_meant_for_the_server_do_not_end_the_engine() -> None:
    async with running() as engine:
        assert engine._child is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(engine._child.process.pid, number)
        assert isinstance((await drained(engine.generate(1, request())))[-1], Finished)


def test_the_engine_dies_with_its_server() -> None:
    """A server that is killed leaves no engine behind: the pipe that the engine inherited reaches its end."""
    server = (
        "import asyncio, os, signal\n"
        "from support.engine import STAND_IN, HastyClock, config, request\n"
        "from diffuserve.engine.local import LocalEngine\n"
        "async def main():\n"
        "    engine = LocalEngine(config(), HastyClock(), STAND_IN)\n"
        "    await engine.start()\n"
        "    await anext(engine.generate(1, request('silent')))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", server], env=environment, capture_output=True, timeout=60, check=False)
    # `capture_output` reads until every holder of the pipe is gone, the engine process among them.
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
