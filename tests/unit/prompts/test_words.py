"""What is made of a language model's answer."""

from __future__ import annotations

import pytest

from diffuserve.core.errors import ServerFailure
from diffuserve.prompts.words import cleaned, with_emphasis_of

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "answer",
    [
        "a red apple",
        "  a red\n apple \n",
        '"a red apple"',
        "“a red apple”",
        "```\na red apple\n```",
        "Prompt: a red apple",
        "Enhanced prompt: a red apple",
        "Translation：a red apple",
        "<think>They want\na fruit.</think>\n\na red apple",
        "a red apple <lora:evil:10>",
        "a red\x00apple\ud800",
    ],
)
def test_an_answer_is_one_line_of_prompt(answer: str) -> None:
    assert cleaned(answer, 100) == "a red apple"


@pytest.mark.parametrize("answer", ["", " \n", "<think>I never stopped", "<lora:x:1>"])
def test_an_answer_that_says_nothing_is_a_failure(answer: str) -> None:
    with pytest.raises(ServerFailure, match="empty"):
        cleaned(answer, 100)


def test_an_answer_that_is_too_long_is_a_failure() -> None:
    assert cleaned("x" * 100, 100) == "x" * 100
    with pytest.raises(ServerFailure, match="longer than 100"):
        cleaned("x" * 101, 100)


def test_quotes_within_an_answer_stay() -> None:
    assert cleaned('a sign that says "open"', 100) == 'a sign that says "open"'


def test_emphasis_that_an_answer_lost_is_put_before_it() -> None:
    assert with_emphasis_of("a (red:1.2) (apple:1.3)", "a shiny (apple:1.3)") == "(red:1.2), a shiny (apple:1.3)"
    assert with_emphasis_of("a (red) apple", "an apple") == "an apple"
