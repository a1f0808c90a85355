"""Answers that are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from diffuserve.prompts.kept import Kept

pytestmark = pytest.mark.unit


def saying(answer: str, asked: list[str]) -> Callable[[], Awaitable[str]]:
    async def ask() -> str:
        asked.append(answer)
        return answer

    return ask


async def test_an_answer_is_asked_for_once() -> None:
    kept, asked = Kept(), list[str]()
    assert [await kept.get(("k",), saying(answer, asked)) for answer in ("one", "two")] == ["one", "one"]
    assert asked == ["one"]


async def test_two_who_ask_at_once_get_the_same_answer() -> None:
    kept, answers = Kept(), asyncio.Queue[str]()
    both = asyncio.gather(kept.get(("k",), answers.get), kept.get(("k",), answers.get))
    answers.put_nowait("first")
    answers.put_nowait("second")
    assert await both == ["first", "first"]


async def test_a_failure_is_not_kept() -> None:
    kept = Kept()

    async def failing() -> str:
        raise ValueError

    with pytest.raises(ValueError):
        await kept.get(("k",), failing)
    assert await kept.get(("k",), saying("better", [])) == "better"


async def test_what_was_used_longest_ago_is_forgotten() -> None:
    kept, asked = Kept(limit=2), list[str]()
    for key in "abac":
        await kept.get((key,), saying(key, asked))
    assert asked == ["a", "b", "c"]
    await kept.get(("a",), saying("a", asked))
    await kept.get(("b",), saying("b", asked))
    assert asked == ["a", "b", "c", "b"]
