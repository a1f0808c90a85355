"""Ordinary jobs share, suspects draw alone."""

from __future__ import annotations

import asyncio

import pytest

from diffuserve.jobs.turns import Turns

pytestmark = pytest.mark.unit


class Drawing:
    """A job that holds its turn until it is told to stop."""

    def __init__(self, turns: Turns, *, alone: bool) -> None:
        self.inside = asyncio.Event()
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(self._draw(turns, alone))

    async def _draw(self, turns: Turns, alone: bool) -> None:
        async with turns.turn(alone=alone):
            self.inside.set()
            await self.stop.wait()

    async def finish(self) -> None:
        self.stop.set()
        await self.task


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_ordinary_jobs_draw_together() -> None:
    turns = Turns()
    both = [Drawing(turns, alone=False) for _ in range(2)]
    for drawing in both:
        await drawing.inside.wait()
    for drawing in both:
        await drawing.finish()


async def test_a_suspect_waits_for_the_others_and_keeps_new_ones_out() -> None:
    turns = Turns()
    first = Drawing(turns, alone=False)
    await first.inside.wait()
    suspect = Drawing(turns, alone=True)
    await _settle()
    late = Drawing(turns, alone=False)
    await _settle()
    assert (suspect.inside.is_set(), late.inside.is_set(), turns.suspects) == (False, False, 1)
    await first.finish()
    await suspect.inside.wait()
    assert not late.inside.is_set()
    await suspect.finish()
    await late.inside.wait()
    await late.finish()


async def test_suspects_draw_one_after_the_other() -> None:
    turns = Turns()
    one, two = Drawing(turns, alone=True), Drawing(turns, alone=True)
    await one.inside.wait()
    await _settle()
    assert not two.inside.is_set()
    await one.finish()
    await two.inside.wait()
    await two.finish()


async def test_a_suspect_that_gives_up_lets_the_others_in() -> None:
    turns = Turns()
    first = Drawing(turns, alone=False)
    await first.inside.wait()
    suspect = Drawing(turns, alone=True)
    await _settle()
    late = Drawing(turns, alone=False)
    await _settle()
    suspect.task.cancel()
    await late.inside.wait()
    assert turns.suspects == 0
    await first.finish()
    await late.finish()
