"""Prompt help: a request's words in a language that its model reads, and more of them where it asks for that.

Help never stands in the way. Whoever helps may fail or be slow; the picture is then drawn from the caller's own words, and
a note says so.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import structlog

from diffuserve.core.errors import DiffuserveError, ServerFailure
from diffuserve.core.model import ModelInfo
from diffuserve.core.ports import Enhancer, Translator
from diffuserve.core.request import GenerationRequest
from diffuserve.prompts import language, lora_tags, pieces, words
from diffuserve.prompts.kept import Kept

MAX_LENGTH = 4000
"""Characters of a prompt that is helped with; and of an answer."""

_NOBODY_TRANSLATES = "the {what} holds {tongue}, which {model} does not read, and this server translates nothing"
_NOT_TRANSLATED = "the {what} holds {tongue}, which {model} does not read, and could not be translated"
_TRANSLATED = "the {what} was translated from {tongue}"
_NOBODY_ENHANCES = "the prompt was not enhanced: this server has no prompt writer"
_NOT_ENHANCED = "the prompt could not be enhanced"

log = structlog.get_logger(__name__)


class PromptHelper:
    """Implements `ports.PromptHelp`. Without a translator or an enhancer it only says what it would have done."""

    def __init__(
        self, translator: Translator | None = None, enhancer: Enhancer | None = None, *, seconds: float = 20.0
    ) -> None:
        """`seconds` is what one request may wait for all of its help."""
        self._translator = translator
        self._enhancer = enhancer
        self._seconds = seconds
        self._kept = Kept()

    async def prepare(self, request: GenerationRequest, model: ModelInfo) -> tuple[GenerationRequest, tuple[str, ...]]:
        """The request in words that `model` reads, and notes; `asked_prompt` holds what the caller wrote, if that changed.

        `request` itself is returned where nothing changed.
        """
        until = asyncio.get_running_loop().time() + self._seconds
        (prompt, said), (negative, also_said) = await asyncio.gather(
            self._readable("prompt", request.prompt, model, until),
            self._readable("negative prompt", request.negative_prompt, model, until),
        )
        notes = [*said, *also_said]
        if request.enhance_prompt and prompt.strip():
            prompt, said = await self._enhanced(prompt, model, until)
            notes += said
        asked = request.prompt if prompt != request.prompt else request.asked_prompt
        if (prompt, negative) == (request.prompt, request.negative_prompt):
            return request, tuple(notes)
        return replace(request, prompt=prompt, negative_prompt=negative, asked_prompt=asked), tuple(notes)

    async def close(self) -> None:
        """Close whoever helps."""
        for helper in (self._translator, self._enhancer):
            if helper is not None:
                await helper.close()

    async def _readable(self, what: str, text: str, model: ModelInfo, until: float) -> tuple[str, list[str]]:
        # The names of LoRAs are not read by the model.
        source = language.unread(lora_tags.detach(text)[0], model.languages)
        if source is None:
            return text, []
        facts = {"what": what, "tongue": language.NAMES[source], "model": model.name}
        if self._translator is None:
            return text, [_NOBODY_TRANSLATES.format(**facts)]
        try:
            async with asyncio.timeout_at(until):
                return await self._translated(_short(text), source, model), [_TRANSLATED.format(**facts)]
        except Exception as error:  # noqa: BLE001 - whatever it is, the picture is drawn
            _complain("a prompt was not translated", error)
            return text, [_NOT_TRANSLATED.format(**facts)]

    async def _translated(self, text: str, source: str, model: ModelInfo) -> str:
        async def ask(run: str) -> str:
            assert self._translator is not None
            answer = words.cleaned(await self._translator.translate(run, source, "en"), MAX_LENGTH)
            if language.needs_translation(answer, ("en",)):
                raise ServerFailure("the translation is not in English")
            return answer

        foreign = partial(language.needs_translation, languages=model.languages)
        return await pieces.translated(
            text, foreign, lambda run: self._kept.get(("translate", source, run), partial(ask, run))
        )

    async def _enhanced(self, prompt: str, model: ModelInfo, until: float) -> tuple[str, list[str]]:
        if self._enhancer is None:
            return prompt, [_NOBODY_ENHANCES]
        enhancer = self._enhancer
        text, tags = lora_tags.detach(prompt)
        if not text.strip() or language.needs_translation(text, model.languages):
            return prompt, [_NOT_ENHANCED]  # more words that nobody reads

        async def ask() -> str:
            answer = words.cleaned(await enhancer.enhance(text), MAX_LENGTH)
            return words.with_emphasis_of(text, answer)

        try:
            async with asyncio.timeout_at(until):
                answer = await self._kept.get(("enhance", _short(text)), ask)
            if language.needs_translation(answer, model.languages):
                raise ServerFailure("the enhanced prompt is in a language that the model does not read")
        except Exception as error:  # noqa: BLE001 - whatever it is, the picture is drawn
            _complain("a prompt was not enhanced", error)
            return prompt, [_NOT_ENHANCED]
        return f"{answer} {tags}".strip(), []


def _short(text: str) -> str:
    if len(text) > MAX_LENGTH:
        raise ServerFailure(f"the prompt is longer than {MAX_LENGTH} characters")
    return text


def _complain(event: str, error: Exception) -> None:
    """Into the log, without the prompt; an error that nobody foresaw with its traceback."""
    if isinstance(error, TimeoutError):
        log.warning(event, reason="it took too long")
    elif isinstance(error, DiffuserveError):
        log.warning(event, reason=error.message)
    else:
        log.error(event, exc_info=error)
