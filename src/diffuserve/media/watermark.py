"""A line of text over a finished picture, in the font that comes with us: Latin-1 and the Chinese of GB 2312."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from diffuserve.core.request import Corner, Watermark
from diffuserve.media.prepared import Box

FONT = Path(__file__).parent / "fonts" / "DiffuserveSansSC-Medium.otf"

_SMALLEST = 8
"""Pixels; nobody reads smaller letters."""
_MARGIN = 0.6
"""Between the letters and the picture's border, in heights of the letters."""
_OUTLINE = 1 / 18
"""Its width in heights of the letters; one pixel at least."""
_INK, _RIM = (255, 255, 255), (0, 0, 0)
_NO_CHARACTER = "\uffff"  # Unicode promises that it never will be one: every font draws its sign for "missing"


@dataclass(frozen=True, slots=True)
class Line:
    """Text, set."""

    text: str
    font: ImageFont.FreeTypeFont
    outline: int
    """Pixels."""
    origin: tuple[int, int]
    """Of the first letter's baseline, in the picture."""
    box: Box
    """All pixels that letters or outline touch, within the picture."""


def missing(text: str) -> str:
    """The characters of `text` that the font lacks, each once, in order; they are left out of the watermark."""
    return "".join(dict.fromkeys(letter for letter in _one_line(text) if not _has(letter)))


def laid(picture: Image.Image, mark: Watermark) -> Image.Image:
    """`picture` (RGB) with `mark` over it: white letters with a thin dark outline, which can be read on any ground.

    Pixels outside the `box` of `line` are the picture's own.
    """
    line = set_line(picture.size, mark)
    if line is None:
        return picture
    size = (line.box[2] - line.box[0], line.box[3] - line.box[1])
    origin = (line.origin[0] - line.box[0], line.origin[1] - line.box[1])
    letters, rim = Image.new("L", size), Image.new("L", size)
    ImageDraw.Draw(letters).text(origin, line.text, 255, line.font, anchor="ls")
    ImageDraw.Draw(rim).text(origin, line.text, 255, line.font, anchor="ls", stroke_width=line.outline)
    ink = Image.composite(Image.new("RGB", size, _INK), Image.new("RGB", size, _RIM), letters)
    marked = picture.copy()
    marked.paste(ink, line.box[:2], rim.point(lambda value: round(value * mark.opacity)))
    return marked


def set_line(size: tuple[int, int], mark: Watermark) -> Line | None:
    """Where the letters of `mark` stand on a picture of `size`; None where there is nothing to draw.

    They are made smaller where they would not fit in one line, and text that is too long even so ends in "…".
    """
    text = _one_line("".join(letter for letter in _one_line(mark.text) if _has(letter)))
    if not text:
        return None
    height = max(_SMALLEST, round(mark.size * min(size)))
    room = size[0] - 2 * _margin(height)
    wide = _font(height).getlength(text)
    if wide > room:
        height = max(_SMALLEST, int(height * room / wide))
    font, margin = _font(height), _margin(height)
    text = _shortened(text, font, size[0] - 2 * margin)
    if not text:
        return None
    outline = max(1, round(height * _OUTLINE))
    left, top, right, bottom = font.getbbox(text, anchor="ls", stroke_width=outline)
    # The lower edge is that of the font and not of these letters: a mark with a "g" stands no higher than one without.
    descent = font.getmetrics()[1] // 2
    at_right = mark.position in (Corner.BOTTOM_RIGHT, Corner.TOP_RIGHT)
    at_top = mark.position in (Corner.TOP_LEFT, Corner.TOP_RIGHT)
    x = size[0] - margin - round(right) if at_right else margin - round(left)
    y = margin - round(top) if at_top else size[1] - margin - descent
    box = (x + int(left) - 1, y + int(top) - 1, x + int(right) + 1, y + int(bottom) + 1)
    within = (max(0, box[0]), max(0, box[1]), min(size[0], box[2]), min(size[1], box[3]))
    if within[0] >= within[2] or within[1] >= within[3]:
        return None
    return Line(text, font, outline, (x, y), within)


def _one_line(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _shortened(text: str, font: ImageFont.FreeTypeFont, room: int) -> str:
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text.rstrip() + "…" if text else ""


def _margin(height: int) -> int:
    return max(2, round(height * _MARGIN))


@lru_cache(maxsize=4096)
def _has(letter: str) -> bool:
    font = _font(16)
    return letter == " " or bytes(font.getmask(letter)) != bytes(font.getmask(_NO_CHARACTER))


def _font(height: int) -> ImageFont.FreeTypeFont:
    # Opened anew each time (it takes less than a millisecond), because FreeType's faces are not for two threads. The
    # plain layout engine, so that the picture does not depend on whether libraqm is there.
    return ImageFont.truetype(FONT, height, layout_engine=ImageFont.Layout.BASIC)
