"""Form fields to a `GenerationRequest`: every value is text, every range is spelled out, any seed can be sent back."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import TypeVar

from diffuserve.config import Settings
from diffuserve.core import samplers
from diffuserve.core.errors import InvalidParameter, MissingParameter
from diffuserve.core.request import GenerationRequest, Inpaint
from diffuserve.dialects.base import Rooms, unknown_value
from diffuserve.dialects.bodies import Fields
from diffuserve.dialects.pictures import input_mask, input_picture

MAX_SOURCE_SIDE = 1024
"""Sides of a source picture over this many pixels are scaled down before it is drawn on."""

_WHOLE = re.compile(r"[+-]?[0-9]+(\.0*)?")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_RESPONSES = ("url", "base64")

Default = TypeVar("Default", float, None)


@dataclass(frozen=True)
class Manners:
    """What a server's owner can set about this dialect."""

    default_steps: int = 30
    base64: bool = False
    """Put `base64` beside `image_url` into every answer."""
    always_200: bool = False
    """Answer failures with HTTP 200."""

    @staticmethod
    def of(settings: Settings) -> Manners:
        return Manners(settings.plain_default_steps, settings.plain_base64, settings.plain_always_200)


@dataclass(frozen=True)
class Range:
    """An interval, and how to say it."""

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def __str__(self) -> str:
        if not self.open_low and not self.open_high:
            return f"between {self.low} and {self.high}"
        below = "less than" if self.open_high else "at most"
        return f"{'more than' if self.open_low else 'at least'} {self.low:g} and {below} {self.high:g}"


SEED = Range(-1, 2**63 - 1)
NUM_OUTPUTS = Range(1, 4)
SIDE = Range(1, 1024)
STEPS = Range(1, 150)
CLIP_SKIP = Range(0, 11)
ETA = Range(0, 1)
GUIDANCE = Range(0, 20, open_low=True)
STRENGTH = Range(0, 1, open_low=True, open_high=True)


@dataclass(frozen=True)
class Wish:
    """A parsed call: what to draw, and how to answer."""

    request: GenerationRequest
    base64: bool


def txt2img(fields: Fields, manners: Manners, model: str | None = None) -> Wish:
    """`init_image` and `strength` are ignored here, as callers of this API expect.

    Raises MissingParameter, InvalidParameter.
    """
    values = _Values(fields)
    wish = values.wish(manners, model)
    width, height = values.whole("width", SIDE, 512), values.whole("height", SIDE, 512)
    return replace(wish, request=replace(wish.request, width=width, height=height))


async def img2img(fields: Fields, rooms: Rooms, manners: Manners, also: str | None = None) -> Wish:
    """`width` and `height` are ignored here: the result is as large as its source. `also` names another picture that must
    be there.

    Raises MissingParameter, InvalidParameter, UnreadablePicture.
    """
    values = _Values(fields)
    wish = values.wish(manners)
    strength = values.number("strength", STRENGTH, 0.7)
    source = values.picture("init_image")
    if source is None:
        raise MissingParameter("init_image")
    if also is not None and values.picture(also) is None:
        raise MissingParameter(also)
    # Last of all: the picture is the only field that costs anything to look at.
    picture = await input_picture(rooms, source, "init_image", MAX_SOURCE_SIDE)
    return replace(wish, request=replace(wish.request, init_image=picture, strength=strength))


async def masking(fields: Fields, rooms: Rooms, manners: Manners) -> Wish:
    """As `img2img`, but only the white part of `mask_image` is repainted.

    Raises MissingParameter, InvalidParameter, UnreadablePicture.
    """
    source = _Values(fields).picture("mask_image")
    wish = await img2img(fields, rooms, manners, also="mask_image")
    mask = await input_mask(rooms, source or "", "mask_image")
    return replace(wish, request=replace(wish.request, inpaint=Inpaint(mask)))


def seeds(seed: int, count: int) -> tuple[int, ...]:
    """The seeds of `count` pictures: n itself, then 53 bits of SHA-256 of "n:i"; none (random) for 0 and -1."""
    if seed <= 0:
        return ()
    return (seed, *(_derived(seed, index) for index in range(1, count)))


def _derived(seed: int, index: int) -> int:
    # 53 bits: every JavaScript client reads them exactly.
    return int.from_bytes(hashlib.sha256(f"{seed}:{index}".encode()).digest()[:7], "big") >> 3


class _Values:
    """The fields of one call, read by name and checked one by one."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def wish(self, manners: Manners, model: str | None = None) -> Wish:
        prompt = self.text("prompt")
        if not prompt:
            raise MissingParameter("prompt")
        count = self.whole("num_outputs", NUM_OUTPUTS, 1)
        request = GenerationRequest(
            prompt=prompt,
            negative_prompt=self.text("negative_prompt"),
            model=model or self.text("model") or None,
            num_images=count,
            seeds=seeds(self.whole("seed", SEED, 0), count),
            num_inference_steps=self.whole("num_inference_steps", STEPS, manners.default_steps),
            # Absent is the model's own: 7.5 for most, which is the contract's default; less for small ones.
            guidance_scale=self.number("guidance_scale", GUIDANCE, None),
            sampler=self._sampler(),
            clip_skip=self.whole("clip_skip", CLIP_SKIP, 0),
            eta=self.number("eta", ETA, 0.0),
        )
        return Wish(request, base64=self._base64(manners))

    def text(self, name: str) -> str:
        value = self._fields.get(name, "")
        if not isinstance(value, str):
            raise InvalidParameter(name, "text", None if isinstance(value, bytes) else value)
        return value.strip()

    def picture(self, name: str) -> str | bytes | None:
        """A file part's bytes or a text; None where there is neither."""
        value = self._fields.get(name, "")
        if isinstance(value, bytes):
            return value or None
        return self.text(name) or None

    def whole(self, name: str, accepted: Range, default: int) -> int:
        text = self.text(name)
        if not text:
            return default
        if not _WHOLE.fullmatch(text):
            raise InvalidParameter(name, f"a whole number {accepted}", text)
        digits = text.partition(".")[0]
        # Longer numbers are out of every range, and slow to read.
        value = int(digits) if len(digits) <= 40 else None
        if value is None or value not in accepted:
            raise InvalidParameter(name, str(accepted), text)
        return value

    def number(self, name: str, accepted: Range, default: Default) -> float | Default:
        text = self.text(name)
        if not text:
            return default
        if not _NUMBER.fullmatch(text):
            raise InvalidParameter(name, f"a number {accepted}", text)
        value = float(text)
        if value not in accepted:
            raise InvalidParameter(name, str(accepted), text)
        return value

    def _sampler(self) -> str | None:
        name = self.text("scheduler")
        if name:
            samplers.resolve(name)
        return name or None

    def _base64(self, manners: Manners) -> bool:
        wanted = self.text("response")
        if wanted and wanted not in _RESPONSES:
            raise unknown_value("response", list(_RESPONSES), wanted)
        return wanted == "base64" or manners.base64
