"""Translating a prompt around its syntax: brackets, weights and `BREAK` stay where they are, and so do LoRA tags.

`(红苹果:1.3)，白色背景` is cut at the marks of AUTOMATIC1111's syntax, and only the runs of text between them that
somebody has to read are translated. A translator never sees a mark, so it cannot lose one.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from itertools import groupby

from diffuserve.core.errors import ServerFailure
from diffuserve.prompts import lora_tags

MAX_PIECES = 32
"""Runs that are translated of one prompt."""

_MARK = re.compile(r"(\\[\\()\[\]]|:\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*\)|[()\[\]]|\bBREAK\b|\n)")
_OPENING = ("(", "[", "\\(", "\\[")
_PART = re.compile(r"[,，;；]*[^,，;；]+[,，;；]*|[,，;；]+")
_BLANKS = " \t\r\u3000"
_COMMAS = ",，、。；;！!？?"
_SYNTAX = re.compile(r"[()\[\]<>\\\n]+")

Translate = Callable[[str], Awaitable[str]]


async def translated(prompt: str, foreign: Callable[[str], bool], translate: Translate) -> str:
    """`prompt` with each run of text that is `foreign` translated. Raises ServerFailure over `MAX_PIECES` of them."""
    text, tags = lora_tags.detach(prompt)
    runs = [part for run in _MARK.split(text) for part in _grouped(run, foreign)]
    if sum(map(foreign, runs)) > MAX_PIECES:
        raise ServerFailure(f"the prompt has more than {MAX_PIECES} parts to translate")
    drawn = ""
    for before, run, after in zip(["(", *runs], runs, [*runs[1:], ""], strict=False):
        if foreign(run):
            run = await _translated(run, translate, before=before not in (*_OPENING, "\n"))
            if after in _OPENING:
                run = run.rstrip(" ") + " "
        drawn += run.lstrip(" ") if drawn.endswith(" ") else run
    return f"{drawn.strip(', ')} {tags}".strip()


def _grouped(run: str, foreign: Callable[[str], bool]) -> list[str]:
    """`run` cut at those commas where foreign words end or begin: a sentence stays whole, and English words as they are."""
    return ["".join(parts) for _, parts in groupby(_PART.findall(run), key=foreign)]


async def _translated(run: str, translate: Translate, *, before: bool) -> str:
    """One run, with English commas and blanks where it had Chinese ones; `before`: something stands before it."""
    core = run.strip(_BLANKS + _COMMAS)
    start = run.index(core)
    left, right = run[:start], run[start + len(core) :]
    answer = _SYNTAX.sub(" ", await translate(core))
    answer = " ".join(answer.split()).strip(" :.,")
    if not answer:
        raise ServerFailure("a translation was empty")
    return _gap(left, " " if before else "") + answer + _gap(right, "")


def _gap(edge: str, nothing: str) -> str:
    if any(mark in _COMMAS for mark in edge):
        return ", "
    return " " if edge else nothing
