"""The prompt writer's process: started when it is needed, replaced when it dies, gone when it is closed. No torch."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from diffuserve.core.errors import ConfigurationError, ServerFailure
from diffuserve.engine.writer import REST, Writer, WriterConfig
from support import standin_writer
from support.clock import FakeClock

pytestmark = pytest.mark.integration

STAND_IN = (sys.executable, standin_writer.__file__)


@asynccontextmanager
async def writing(
    clock: FakeClock | None = None, translation: str | None = None, patience: float = 60.0
) -> AsyncIterator[Writer]:
    config = WriterConfig(translation=translation, instructions="kindly")
    writer = Writer(config, clock or FakeClock(), STAND_IN, patience=patience)
    try:
        yield writer
    finally:
        await writer.close()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def pid_in(answer: str) -> int:
    return int(answer.partition(" kindly ")[2].split()[0])


async def test_the_process_is_started_by_the_first_question_and_answers_the_others_too() -> None:
    async with writing() as writer:
        assert writer.pid is None
        first, second = await writer.translate("红苹果"), await writer.enhance("a cat")
        assert first == f"translate 红苹果 kindly {writer.pid} "
        assert second.startswith("enhance a cat kindly ")
        assert pid_in(first) == pid_in(second)


async def test_closing_stops_the_process_and_no_question_starts_another() -> None:
    async with writing() as writer:
        pid = pid_in(await writer.enhance("a cat"))
        await writer.close()
        assert not alive(pid)
        with pytest.raises(ServerFailure, match="stopped"):
            await writer.enhance("a cat")
        await writer.close()


async def test_a_writer_that_was_never_asked_has_nothing_to_stop() -> None:
    async with writing() as writer:
        pass
    assert writer.pid is None


async def test_closing_tells_whoever_waits() -> None:
    async with writing() as writer:
        pid = pid_in(await writer.enhance("a cat"))
        waiting = [asyncio.create_task(writer.enhance(text)) for text in ("silent", "a cat")]
        await asyncio.sleep(0)
        await writer.close()
        for task in waiting:
            with pytest.raises(ServerFailure, match="stopped"):
                await task
        assert not alive(pid)


async def test_questions_are_answered_in_their_order_one_at_a_time() -> None:
    async with writing() as writer:
        answers = await asyncio.gather(*(writer.enhance(str(n)) for n in range(20)))
        assert [answer.split()[1] for answer in answers] == [str(n) for n in range(20)]


async def test_a_process_that_died_while_nobody_asked_is_replaced() -> None:
    async with writing() as writer:
        pid = pid_in(await writer.enhance("a cat"))
        os.kill(pid, signal.SIGKILL)
        assert pid_in(await writer.enhance("a cat")) != pid


async def test_a_question_that_kills_twice_is_failed_and_the_next_process_takes_a_rest_first() -> None:
    clock = FakeClock()
    async with writing(clock) as writer:
        first = pid_in(await writer.enhance("a cat"))
        with pytest.raises(ServerFailure, match="was killed by SIGKILL"):
            await writer.enhance("crash")
        with pytest.raises(ServerFailure, match="died a moment ago"):
            await writer.enhance("a cat")
        await clock.advance(REST)
        assert pid_in(await writer.enhance("a cat")) != first


async def test_a_process_that_dies_at_once_is_not_started_for_every_question() -> None:
    clock = FakeClock()
    async with writing(clock, translation="crash") as writer:
        reasons = []
        for _ in range(3):
            with pytest.raises(ServerFailure) as failed:
                await writer.enhance("a cat")
            reasons.append(failed.value.message)
        assert [reason.partition(" ")[2] for reason in reasons] == [
            "prompt writer was killed by SIGKILL",
            "prompt writer died a moment ago",
            "prompt writer died a moment ago",
        ]


async def test_a_process_that_is_stuck_is_replaced() -> None:
    async with writing(patience=0.3) as writer:
        with pytest.raises(ServerFailure, match=r"did not answer within 0\.3 seconds"):
            await writer.enhance("silent")
        assert writer.pid is None


async def test_a_command_that_is_not_there_is_a_failure() -> None:
    writer = Writer(WriterConfig(), FakeClock(), ("/nowhere/python",))
    with pytest.raises(ServerFailure, match="could not be started"):
        await writer.enhance("a cat")
    await writer.close()


async def test_what_a_model_refuses_is_told_and_a_bug_is_not_told_in_full() -> None:
    async with writing() as writer:
        with pytest.raises(ServerFailure, match="made of cheese"):
            await writer.enhance("fail")
        with pytest.raises(ServerFailure, match=r"the prompt writer failed: ValueError$"):
            await writer.enhance("bug")
        assert await writer.enhance("a cat")


async def test_a_long_answer_is_cut() -> None:
    async with writing() as writer:
        assert len(await writer.enhance("long")) == 8000


async def test_who_gives_up_is_not_asked_for() -> None:
    async with writing() as writer:
        pid = pid_in(await writer.enhance("a cat"))
        first, impatient = asyncio.create_task(writer.enhance("1")), asyncio.create_task(writer.enhance("crash"))
        await asyncio.sleep(0)
        impatient.cancel()
        await first
        assert pid_in(await writer.enhance("a cat")) == pid


async def test_the_answer_of_someone_who_gave_up_is_nobody_elses() -> None:
    async with writing() as writer:
        await writer.enhance("0")
        first = asyncio.create_task(writer.enhance("1"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        assert (await writer.enhance("2")).startswith("enhance 2 ")


async def test_only_chinese_is_translated_and_only_to_english() -> None:
    async with writing() as writer:
        for source, target in (("ru", "en"), ("zh", "fr")):
            with pytest.raises(ServerFailure, match=f"from {source} to {target}"):
                await writer.translate("x", source, target)
        assert writer.pid is None


def test_a_folder_that_cannot_be_right_is_refused_at_start(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").touch()
    for config in (WriterConfig(translation=str(tmp_path)), WriterConfig(translation=str(tmp_path / "nowhere"))):
        with pytest.raises(ConfigurationError, match=r"translation_model must be a folder with .*\.safetensors"):
            config.check()
    (tmp_path / "model.safetensors").touch()
    WriterConfig(translation=str(tmp_path), enhancement=str(tmp_path)).check()
    with pytest.raises(ConfigurationError, match="enhancement_model must"):
        WriterConfig(enhancement="/nowhere").check()
