"""Help with prompts, and its absence, failure and slowness."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from diffuserve.core.errors import ServerFailure
from diffuserve.core.request import GenerationRequest
from diffuserve.prompts.help import MAX_LENGTH, PromptHelper
from support.app import model

pytestmark = pytest.mark.unit

ENGLISH = model("tiny")
BILINGUAL = model("both", languages=("en", "zh"))
WORDS = {"红苹果": "a red apple", "模糊": "blurry", "красное яблоко": "a red apple"}


class Helper:
    """Translates by a dictionary and enhances with a lamp. Remembers what it was asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[tuple[str, ...]] = []
        self.closed = 0

    async def translate(self, text: str, source: str = "zh", target: str = "en") -> str:
        self.asked.append(("translate", text, source, target))
        if self.error:
            raise self.error
        return WORDS[text]

    async def enhance(self, text: str) -> str:
        self.asked.append(("enhance", text))
        if self.error:
            raise self.error
        return f"{text.replace('(', '').replace(':1.2)', '')}, by lamplight"

    async def close(self) -> None:
        self.closed += 1


class Slow(Helper):
    async def translate(self, text: str, source: str = "zh", target: str = "en") -> str:
        await asyncio.Event().wait()
        return ""

    enhance = translate


def wish(prompt: str, **fields: Any) -> GenerationRequest:
    return GenerationRequest(prompt, **fields)


async def test_an_english_prompt_is_nobodys_business() -> None:
    helper, request = Helper(), wish("a cat", negative_prompt="blurry")
    assert await PromptHelper(helper, helper).prepare(request, ENGLISH) == (request, ())
    assert helper.asked == []


async def test_both_prompts_are_translated_and_what_was_asked_is_remembered() -> None:
    helper, request = Helper(), wish("(红苹果:1.2) <lora:墨:1>", negative_prompt="模糊", seeds=(7,))
    prepared, notes = await PromptHelper(helper).prepare(request, ENGLISH)
    assert (prepared.prompt, prepared.negative_prompt) == ("(a red apple:1.2) <lora:墨:1>", "blurry")
    assert (prepared.asked_prompt, prepared.seeds) == ("(红苹果:1.2) <lora:墨:1>", (7,))
    assert notes == ("the prompt was translated from Chinese", "the negative prompt was translated from Chinese")
    assert sorted(helper.asked) == [("translate", "模糊", "zh", "en"), ("translate", "红苹果", "zh", "en")]


async def test_a_chinese_name_of_a_lora_is_nothing_to_translate() -> None:
    helper, request = Helper(), wish("a cat <lora:墨:1>", enhance_prompt=True)
    prepared, notes = await PromptHelper(helper, helper).prepare(request, ENGLISH)
    assert (prepared.prompt, notes) == ("a cat, by lamplight <lora:墨:1>", ())
    assert helper.asked == [("enhance", "a cat")]


async def test_a_translated_negative_prompt_alone_leaves_the_asked_prompt_unsaid() -> None:
    prepared, _ = await PromptHelper(Helper()).prepare(wish("a cat", negative_prompt="模糊"), ENGLISH)
    assert (prepared.prompt, prepared.negative_prompt, prepared.asked_prompt) == ("a cat", "blurry", None)


async def test_other_languages_are_named_to_the_translator() -> None:
    helper = Helper()
    _, notes = await PromptHelper(helper).prepare(wish("красное яблоко"), ENGLISH)
    assert helper.asked == [("translate", "красное яблоко", "ru", "en")]
    assert notes == ("the prompt was translated from Russian",)


async def test_a_model_that_reads_chinese_gets_chinese() -> None:
    helper, request = Helper(), wish("红苹果")
    assert await PromptHelper(helper).prepare(request, BILINGUAL) == (request, ())
    assert helper.asked == []


async def test_without_a_translator_the_prompt_is_drawn_as_it_is_with_a_note() -> None:
    request = wish("红苹果")
    prepared, notes = await PromptHelper().prepare(request, ENGLISH)
    assert prepared is request
    assert notes == ("the prompt holds Chinese, which tiny does not read, and this server translates nothing",)


@pytest.mark.parametrize("error", [ServerFailure("no"), ValueError("a bug"), OSError()])
async def test_a_translator_that_fails_changes_nothing_but_the_notes(error: Exception) -> None:
    request = wish("红苹果")
    prepared, notes = await PromptHelper(Helper(error)).prepare(request, ENGLISH)
    assert prepared is request
    assert notes == ("the prompt holds Chinese, which tiny does not read, and could not be translated",)


async def test_a_slow_helper_is_not_waited_for() -> None:
    request = wish("红苹果", negative_prompt="模糊", enhance_prompt=True)
    prepared, notes = await PromptHelper(Slow(), Slow(), seconds=0.01).prepare(request, ENGLISH)
    assert prepared is request
    assert len(notes) == 3 and all("could not be" in note for note in notes)


async def test_what_was_translated_stays_although_the_enhancer_is_slow() -> None:
    request = wish("红苹果", enhance_prompt=True)
    prepared, notes = await PromptHelper(Helper(), Slow(), seconds=0.01).prepare(request, ENGLISH)
    assert prepared.prompt == "a red apple"
    assert notes == ("the prompt was translated from Chinese", "the prompt could not be enhanced")


async def test_whoever_gives_up_is_let_go() -> None:
    asking = asyncio.create_task(PromptHelper(Slow()).prepare(wish("红苹果"), ENGLISH))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_translation_that_is_still_chinese_is_none() -> None:
    class Echo(Helper):
        async def translate(self, text: str, source: str = "zh", target: str = "en") -> str:
            return text

    request = wish("红苹果")
    prepared, notes = await PromptHelper(Echo()).prepare(request, ENGLISH)
    assert prepared is request
    assert "could not be translated" in notes[0]


async def test_a_prompt_that_is_very_long_is_not_helped_with() -> None:
    helper = Helper()
    request = wish("红" * (MAX_LENGTH + 1), enhance_prompt=True)
    prepared, _ = await PromptHelper(helper, helper).prepare(request, ENGLISH)
    assert prepared is request
    assert helper.asked == []


async def test_the_same_prompt_gives_the_same_words_and_is_asked_for_once() -> None:
    helper = Helper()
    prompts = PromptHelper(helper, helper)
    request = wish("红苹果", enhance_prompt=True)
    assert await prompts.prepare(request, ENGLISH) == await prompts.prepare(request, ENGLISH)
    assert [asked[0] for asked in helper.asked] == ["translate", "enhance"]


async def test_a_helper_that_failed_is_asked_again() -> None:
    helper = Helper(ServerFailure("no"))
    prompts = PromptHelper(helper)
    await prompts.prepare(wish("红苹果"), ENGLISH)
    helper.error = None
    assert (await prompts.prepare(wish("红苹果"), ENGLISH))[0].prompt == "a red apple"


async def test_a_prompt_is_enhanced_where_the_request_asks_for_it() -> None:
    helper = Helper()
    request = wish("a (red:1.2) cat <lora:ink:0.5>", enhance_prompt=True)
    prepared, notes = await PromptHelper(None, helper).prepare(request, ENGLISH)
    assert prepared.prompt == "(red:1.2), a red cat, by lamplight <lora:ink:0.5>"
    assert prepared.asked_prompt == request.prompt
    assert (helper.asked, notes) == ([("enhance", "a (red:1.2) cat")], ())


async def test_without_an_enhancer_a_note_says_so() -> None:
    request = wish("a cat", enhance_prompt=True)
    assert await PromptHelper().prepare(request, ENGLISH) == (
        request,
        ("the prompt was not enhanced: this server has no prompt writer",),
    )


async def test_an_enhancer_that_fails_changes_nothing_but_the_notes() -> None:
    request = wish("a cat", enhance_prompt=True)
    assert await PromptHelper(None, Helper(ServerFailure("no"))).prepare(request, ENGLISH) == (
        request,
        ("the prompt could not be enhanced",),
    )


async def test_what_the_model_cannot_read_is_not_enhanced() -> None:
    helper = Helper()
    _, notes = await PromptHelper(None, helper).prepare(wish("红苹果", enhance_prompt=True), ENGLISH)
    assert helper.asked == []
    assert notes[1] == "the prompt could not be enhanced"


async def test_an_enhanced_prompt_that_the_model_cannot_read_is_none() -> None:
    class Chinese(Helper):
        async def enhance(self, text: str) -> str:
            return "一只猫"

    request = wish("a cat", enhance_prompt=True)
    prompts = PromptHelper(None, Chinese())
    assert await prompts.prepare(request, ENGLISH) == (request, ("the prompt could not be enhanced",))
    assert (await prompts.prepare(request, BILINGUAL))[0].prompt == "一只猫"


async def test_a_prompt_of_tags_alone_is_not_enhanced() -> None:
    helper, request = Helper(), wish("<lora:ink:1>", enhance_prompt=True)
    assert (await PromptHelper(None, helper).prepare(request, ENGLISH))[0] is request
    assert helper.asked == []


async def test_a_prompt_is_translated_before_it_is_enhanced() -> None:
    helper = Helper()
    prepared, _ = await PromptHelper(helper, helper).prepare(wish("红苹果", enhance_prompt=True), ENGLISH)
    assert (prepared.prompt, prepared.asked_prompt) == ("a red apple, by lamplight", "红苹果")


async def test_an_empty_prompt_is_left_to_be_refused() -> None:
    request = wish(" ", enhance_prompt=True)
    assert await PromptHelper(Helper(), Helper()).prepare(request, ENGLISH) == (request, ())


async def test_closing_closes_whoever_helps() -> None:
    translator, enhancer = Helper(), Helper()
    await PromptHelper(translator, enhancer).close()
    await PromptHelper().close()
    assert (translator.closed, enhancer.closed) == (1, 1)
