"""A drawing put somewhere on the white frame: the variety of places, sizes and angles that the model itself never saw."""

from __future__ import annotations

import random
from collections.abc import Sequence

from PIL import Image

FRAME = 128
"""Pixels: what the model draws."""
LONGEST = 112
"""Longest side of a drawing where nothing else is said, as in the model's own training."""

HUES = {"red": 0, "orange": 28, "yellow": 50, "green": 125, "blue": 215, "purple": 275, "pink": 330}
"""Degrees. The model knows these colours by name."""
_COLOURED = 50
"""Saturation (0..255) above which a pixel has a colour to change."""


def placed(
    image: Image.Image, rng: random.Random, *, scale: Sequence[float], stretch: float, rotation: float
) -> Image.Image:
    """`image` (RGBA, cropped) at random on white, whole, RGB. The ranges are those of `settings.toml`."""
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    turned = image.rotate(rng.uniform(-rotation, rotation), Image.Resampling.BICUBIC, expand=True)
    turned = turned.crop(turned.getchannel("A").point(lambda value: 255 if value > 8 else 0).getbbox())
    wider = stretch ** rng.uniform(-1, 1)
    width, height = turned.width * wider**0.5, turned.height / wider**0.5
    factor = rng.uniform(*scale) * LONGEST / max(width, height)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    free = (FRAME - size[0], FRAME - size[1])
    return _on_white(turned.resize(size, Image.Resampling.LANCZOS), (rng.randint(0, free[0]), rng.randint(0, free[1])))


def centred(image: Image.Image) -> Image.Image:
    """As the model draws by itself: in the middle, the longest side 112 pixels."""
    factor = LONGEST / max(image.size)
    small = image.resize(
        (max(1, round(image.width * factor)), max(1, round(image.height * factor))), Image.Resampling.LANCZOS
    )
    return _on_white(small, ((FRAME - small.width) // 2, (FRAME - small.height) // 2))


def recoloured(image: Image.Image, colour: str) -> Image.Image:
    """All that is coloured in `image` (RGBA) gets one hue of `HUES`."""
    hue, saturation, value = image.convert("RGB").convert("HSV").split()
    painted = Image.new("L", image.size, round(HUES[colour] / 360 * 255))
    hue = Image.composite(painted, hue, saturation.point(lambda level: 255 if level > _COLOURED else 0))
    if colour == "pink":
        saturation = saturation.point(lambda level: level * 0.6 if level > _COLOURED else level)
    changed = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    changed.putalpha(image.getchannel("A"))
    return changed


def _on_white(image: Image.Image, corner: tuple[int, int]) -> Image.Image:
    frame = Image.new("RGB", (FRAME, FRAME), "white")
    frame.paste(image, corner, image)
    return frame
