"""Fields to what is to be done: a `Wish` for a picture, an `Assignment` for a worker. Values may be text or JSON's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from diffuserve.core.errors import InvalidParameter, MissingParameter, UnreadablePicture
from diffuserve.core.request import GenerationRequest, PictureFormat
from diffuserve.dialects.base import unknown_value
from diffuserve.dialects.bodies import Fields
from diffuserve.dialects.ipollo.manners import Manners
from diffuserve.dialects.ipollo.operations import LINKS, Kind, Task
from diffuserve.media.textual import is_link

SAMPLER, STEPS, CFG_SCALE = "Euler", 50, 7.0
"""The web UI's own, which this API's answers show."""
SIZES = ("256x256", "512x512", "1024x1024")

RandomBelow = Callable[[int], int]
"""A random number of 0..n-1."""

_SEEDS = 2**32
_RANDOM_SEEDS = 2**32 - 2
"""The web UI draws its random seeds below this."""
_MAX_SIDE, _MAX_BATCH, _MAX_STEPS = 2048, 8, 150
_MAX_LINK = 4096
_WHOLE = re.compile(r"[+-]?[0-9]{1,20}(\.0*)?")
_NUMBER = re.compile(r"[+-]?([0-9]{1,20}(\.[0-9]{0,40})?|\.[0-9]{1,40})")
_DATA = re.compile(r"data:|[A-Za-z0-9+/_-]{100}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wish:
    """A parsed call for a picture, and what of it the answer repeats."""

    request: GenerationRequest
    prompt: str
    """As it came."""
    seed: int
    """As it was asked for: -1 is random."""
    width: int
    height: int
    batch_size: int
    subseeds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Assignment:
    """A task for a worker: every field that its path requires is there."""

    kind: Kind
    sources: dict[str, str] = field(repr=False)
    """Links by the vendor's name (`image_url`, `video_url`, `audio_url`, `logo_url`); a picture may be base64 or a data URL."""
    words: dict[str, str] = field(default_factory=dict, repr=False)
    """`text`, `pronouncer`, `backGroundName`, as far as they were sent."""


def to_wish(fields: Fields, manners: Manners, random_below: RandomBelow) -> Wish:
    """Raises MissingParameter, InvalidParameter."""
    prompt = text(fields, "prompt")
    seed = whole(fields, "seed", -1, _SEEDS - 1, -1)
    count = whole(fields, "batch_size", 1, _MAX_BATCH, 1)
    return _wish(
        GenerationRequest(
            prompt=_needed("prompt", prompt),
            negative_prompt=text(fields, "negative_prompt"),
            width=whole(fields, "width", 64, _MAX_SIDE, manners.side),
            height=whole(fields, "height", 64, _MAX_SIDE, manners.side),
            num_images=count,
            num_inference_steps=whole(fields, "steps", 1, _MAX_STEPS, STEPS),
            guidance_scale=number(fields, "cfg_scale", 1, 30, CFG_SCALE),
        ),
        seed,
        manners,
        random_below,
    )


def to_chat_wish(fields: Fields, manners: Manners, random_below: RandomBelow) -> Wish:
    """Raises MissingParameter, InvalidParameter."""
    prompt = _needed("prompt", text(fields, "prompt"))
    size = text(fields, "size") or SIZES[-1]
    if size not in SIZES:
        raise unknown_value("size", list(SIZES), size)
    side = int(size.partition("x")[0])
    wanted = GenerationRequest(
        prompt=prompt, width=side, height=side, num_inference_steps=STEPS, guidance_scale=CFG_SCALE
    )
    return _wish(wanted, -1, manners, random_below)


def _wish(wanted: GenerationRequest, seed: int, manners: Manners, random_below: RandomBelow) -> Wish:
    # Picture i has seed + i, as in the web UI; its noise is not varied, but it tells a second seed all the same.
    first = random_below(_RANDOM_SEEDS) if seed == -1 else seed
    second = random_below(_RANDOM_SEEDS)
    count = wanted.num_images
    return Wish(
        request=replace(
            wanted,
            model=manners.model,
            sampler=SAMPLER,
            seeds=tuple(first + index for index in range(count)),
            format=PictureFormat.JPEG,
        ),
        prompt=wanted.prompt,
        seed=seed,
        width=wanted.width or manners.side,
        height=wanted.height or manners.side,
        batch_size=count,
        subseeds=tuple(second + index for index in range(count)),
    )


def to_assignment(task: Task, fields: Fields) -> Assignment:
    """Raises MissingParameter and InvalidParameter, and UnreadablePicture for whatever should be a link."""
    found = {name: text(fields, name) for name in (*task.needs, *task.takes)}
    for name, value in found.items():
        if name in LINKS:
            _check_source(name, value, needed=name in task.needs)
        elif name in task.needs:
            _needed(name, value)
    if task.max_words is not None and len(found["text"].split()) > task.max_words:
        raise InvalidParameter("text", f"at most {task.max_words} words long")
    given = {name: value.strip() for name, value in found.items() if value.strip()}
    return Assignment(
        task.kind,
        sources={name: value for name, value in given.items() if name in LINKS},
        words={name: value for name, value in given.items() if name not in LINKS},
    )


def text(fields: Fields, name: str) -> str:
    """As it came; empty where it is absent."""
    value: Any = fields.get(name, "")
    if not isinstance(value, str):
        raise InvalidParameter(name, "text", None if isinstance(value, bytes) else value)
    return value


def whole(fields: Fields, name: str, low: int, high: int, default: int) -> int:
    value = text(fields, name).strip()
    if not value:
        return default
    if not _WHOLE.fullmatch(value) or not low <= int(value.partition(".")[0]) <= high:
        raise InvalidParameter(name, f"a whole number between {low} and {high}", value)
    return int(value.partition(".")[0])


def number(fields: Fields, name: str, low: float, high: float, default: float) -> float:
    value = text(fields, name).strip()
    if not value:
        return default
    if not _NUMBER.fullmatch(value) or not low <= float(value) <= high:
        raise InvalidParameter(name, f"a number between {low:g} and {high:g}", value)
    return float(value)


def _needed(name: str, value: str) -> str:
    if not value.strip():
        raise MissingParameter(name)
    return value


def _check_source(name: str, value: str, *, needed: bool) -> None:
    value = value.strip()
    if not value:
        if needed:
            raise UnreadablePicture(name, "is required")
        return
    inline = name in ("image_url", "logo_url") and _DATA.match(value)
    if not inline and not (is_link(value) and len(value) <= _MAX_LINK):
        raise UnreadablePicture(name, "must be an http or https link")
