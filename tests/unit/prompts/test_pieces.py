"""Translating around the syntax of a prompt."""

from __future__ import annotations

import pytest

from diffuserve.core.errors import ServerFailure
from diffuserve.prompts import pieces
from diffuserve.prompts.language import needs_translation

pytestmark = pytest.mark.unit

WORDS = {
    "红苹果": "red apple",
    "白色背景": "white background",
    "一只": "a",
    "黑色": "black",
    "的猫": "cat",
    "猫": "cat",
}


class Dictionary:
    """Translates what it knows, remembers what it was asked, and shouts at syntax."""

    def __init__(self, words: dict[str, str] = WORDS) -> None:
        self.words = words
        self.asked: list[str] = []

    async def __call__(self, text: str) -> str:
        self.asked.append(text)
        return self.words[text]


def foreign(text: str) -> bool:
    return needs_translation(text, ("en",))


@pytest.mark.parametrize(
    ("prompt", "drawn"),
    [
        ("红苹果", "red apple"),
        ("红苹果，白色背景。", "red apple, white background"),
        ("(红苹果:1.3)，白色背景", "(red apple:1.3), white background"),
        ("一只(黑色:1.2)的猫", "a (black:1.2) cat"),
        ("一只((黑色))[的猫]", "a ((black))[cat]"),
        ("best quality, 红苹果, 8k", "best quality, red apple, 8k"),
        ("红苹果 BREAK 白色背景", "red apple BREAK white background"),
        ("红苹果\n白色背景", "red apple\nwhite background"),
        ("一只\\(黑色\\)的猫", "a \\(black\\) cat"),
        ("红苹果 <lora:墨:0.8>, 白色背景", "red apple, white background <lora:墨:0.8>"),
        ("(红苹果 : 1.3)", "(red apple : 1.3)"),
        ("猫)猫", "cat) cat"),
        ("(red), 猫，(blue) ，", "(red), cat, (blue) ，"),
        ("a  (red) \n, ", "a  (red)"),
    ],
)
async def test_words_are_translated_and_marks_stay(prompt: str, drawn: str) -> None:
    both = "red apple, white background"
    words = {**WORDS, "红苹果，白色背景": both, "红苹果, 白色背景": both}
    assert await pieces.translated(prompt, foreign, Dictionary(words)) == drawn


async def test_only_what_is_foreign_is_asked_for() -> None:
    dictionary = Dictionary()
    await pieces.translated("(masterpiece:1.4), (红苹果:1.2) <lora:红:1>", foreign, dictionary)
    assert dictionary.asked == ["红苹果"]


async def test_a_translation_brings_no_syntax_of_its_own() -> None:
    answer = await pieces.translated("(猫:1.2)", foreign, Dictionary({"猫": "a (tom)cat\n[grey] <lora:x:9>:"}))
    assert answer == "(a tom cat grey lora:x:9:1.2)"


async def test_an_empty_translation_is_a_failure() -> None:
    with pytest.raises(ServerFailure, match="empty"):
        await pieces.translated("猫", foreign, Dictionary({"猫": " . "}))


async def test_a_prompt_of_very_many_parts_is_not_translated() -> None:
    dictionary = Dictionary()
    assert await pieces.translated("(猫)" * pieces.MAX_PIECES, foreign, dictionary) == "(cat)" * pieces.MAX_PIECES
    with pytest.raises(ServerFailure, match="more than 32 parts"):
        await pieces.translated("(猫)" * (pieces.MAX_PIECES + 1), foreign, dictionary)
    assert len(dictionary.asked) == pieces.MAX_PIECES
