"""Colours spread into a hole from what surrounds it: the ground on which inpainting and outpainting begin."""

from __future__ import annotations

from PIL import Image, ImageChops

_HALF = 128


def spread(picture: Image.Image, hole: Image.Image) -> Image.Image:
    """`picture` (RGB) with every pixel where `hole` (L, the same size) is 128 or more made of the colours around it.

    A pyramid (S. J. Gortler et al., "The Lumigraph", 1996: pull and push): halved until no hole is left, then enlarged
    again, each level filling the holes of the next finer one. So the fill is smooth, and nothing of what was there
    shines through. A picture that is all hole becomes grey.
    """
    level = picture.convert("RGBA")
    level.putalpha(ImageChops.invert(hole.point(lambda value: 255 if value >= _HALF else 0)))
    levels = [level]
    while max(level.size) > 1:
        level = _halved(level)
        levels.append(level)
    filled = Image.new("RGBA", level.size, "grey")
    for level in reversed(levels):
        whole = (0, 0, level.width / 2, level.height / 2)  # of odd sides the last coarse pixel is half outside
        coarse = filled.resize(level.size, Image.Resampling.BILINEAR, box=whole if filled.size != level.size else None)
        filled = Image.alpha_composite(coarse, level)
    return filled.convert("RGB")


def _halved(level: Image.Image) -> Image.Image:
    # Premultiplied, halving averages the known pixels only; one of four is enough for the coarse one to be known.
    small = level.convert("RGBa").reduce(2).convert("RGBA")
    small.putalpha(small.getchannel("A").point(lambda value: min(255, value * 4)))
    return small
