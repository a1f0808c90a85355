"""LoRAs named within a prompt, as AUTOMATIC1111's web UI writes them: `a cat <lora:watercolor:0.8>`.

Tags are taken out, so that no text encoder reads them. `<lyco:...>` means the same as `<lora:...>`; hypernetworks
(`<hypernet:...>`) are not supported and reported. Anything else between angle brackets is the caller's text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import reduce

from diffuserve.core.request import Lora

_TAG = re.compile(r"<\s*(lora|lyco|hypernet)\s*:([^<>]*)>", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})", re.ASCII)
_OPENING, _CLOSING = ("(", "[", "{"), (")", "]", "}", ",", ":")
_MOST_NAMES = 5


def split(prompt: str) -> tuple[str, tuple[Lora, ...], tuple[str, ...]]:
    """The prompt without its tags, the LoRAs that they name in their order, and notes on what could not be followed.

    `<lora:NAME>` weighs 1, `<lora:NAME:0.8>` 0.8. Where a tag has several numbers (text encoder and UNet), the first is
    taken for both. A LoRA that is named twice is listed twice; whether a name is known, and a weight in range, is not
    looked at here. A prompt without tags comes back as it is.
    """
    first, *rest = _TAG.split(prompt)
    loras, hypernets, weightless, nameless = list[Lora](), list[str](), list[str](), False
    for kind, inner in zip(rest[0::3], rest[1::3], strict=True):
        name, *values = (part.strip() for part in inner.split(":"))
        weight = _weight(values)
        if not name:
            nameless = True
        elif kind.lower() == "hypernet":
            hypernets.append(name)
        elif weight is None:
            weightless.append(name)
        else:
            loras.append(Lora(name, weight))
    notes = []
    if hypernets:
        notes.append(f"hypernetworks are not supported and were left out: {_listed(hypernets)}")
    if weightless:
        notes.append(f"LoRA tags whose weight is no number were left out: {_listed(weightless)}")
    if nameless:
        notes.append("LoRA tags without a name were left out")
    return _closed(first, rest[2::3]), tuple(loras), tuple(notes)


def detach(prompt: str) -> tuple[str, str]:
    """The prompt without its tags, and the tags as they were written, with blanks between them."""
    first, *rest = _TAG.split(prompt)
    return _closed(first, rest[2::3]), " ".join(tag[0] for tag in _TAG.finditer(prompt))


def _closed(first: str, others: Sequence[str]) -> str:
    """The runs of text between tags as one; a text without tags as it is."""
    return reduce(_joined, others, first).strip() if others else first


def _weight(values: list[str]) -> float | None:
    """The first number of `0.8`, `1:0.5`, `te=0.5:unet=0.8`; 1 where there is nothing; None where nothing is a number."""
    given = [value for value in values if value]
    numbers = [value.rpartition("=")[2].strip() for value in given]
    first = next((number for number in numbers if _NUMBER.fullmatch(number)), None)
    if first is not None:
        return float(first)
    return None if given else 1.0


def _joined(left: str, right: str) -> str:
    """What stood on both sides of a tag, without the gap, and without the comma, that the tag leaves."""
    apart = left != left.rstrip() or right != right.lstrip()
    left, right = left.rstrip(), right.lstrip()
    if (not left or left.endswith((",", *_OPENING))) and right.startswith(","):
        right = right[1:].lstrip()
    if not right:
        return left.removesuffix(",")
    if not left or not apart or left.endswith(_OPENING) or right.startswith(_CLOSING):
        return left + right
    return f"{left} {right}"


def _listed(names: Iterable[str]) -> str:
    """Each name once, in order, and not more than a few."""
    once = list(dict.fromkeys(name if len(name) <= 40 else f"{name[:39]}…" for name in names))
    more = f" and {len(once) - _MOST_NAMES} more" if len(once) > _MOST_NAMES else ""
    return ", ".join(once[:_MOST_NAMES]) + more
