"""Masks: a stranger's bytes to white-is-repainted, how an edge is softened, and which part of a picture is drawn."""

from __future__ import annotations

import math
from enum import StrEnum

from PIL import Image, ImageChops, ImageFilter

from diffuserve.core.errors import UnreadablePicture
from diffuserve.core.request import InputImage
from diffuserve.media.decode import decoded, has_alpha, over
from diffuserve.media.placing import resampling
from diffuserve.media.prepared import Box
from diffuserve.media.raster import opened, written

# What JPEG of quality 75 makes of black and white: else a mask that was sent so would have crumbs far from its edge.
_BLACK, _WHITE = 32, 224


class Reading(StrEnum):
    """What of the file says where to repaint."""

    LIGHT = "light"
    """White is repainted; what is transparent counts as black."""
    OPAQUE = "opaque"
    """What is not transparent is repainted (strokes on a transparent sheet); without any transparency, as `LIGHT`."""
    TRANSPARENT = "transparent"
    """What is transparent is repainted; a picture that cannot be transparent is refused."""


def read_mask(
    data: bytes, param: str, max_pixels: int, *, reading: Reading = Reading.LIGHT, invert: bool = False
) -> InputImage:
    """The mask in `data` as a grey PNG (mode L): 255 is repainted, 0 is kept, greys between are partly repainted.

    `invert` repaints what would be kept. Raises UnreadablePicture naming `param`, as `decode.read_picture` does.
    """
    mask = decoded(data, param, max_pixels, lambda picture: _read(picture, reading, param))
    mask = mask.point(lambda value: 0 if value < _BLACK else 255 if value >= _WHITE else value)
    return written(ImageChops.invert(mask) if invert else mask)


def bounding_box(mask: InputImage) -> Box | None:
    """The smallest box around all that is repainted at all; None for an empty mask."""
    return opened(mask, "L").getbbox()


def softened(mask: Image.Image, size: tuple[int, int], blur: int) -> Image.Image:
    """`mask` (L) at `size`, its edge softened by a Gaussian of `blur` pixels standard deviation; 0 leaves it hard.

    Pillow's Gaussian ends after about three deviations, so pixels farther away stay exactly 0.
    """
    if mask.size != size:
        mask = mask.resize(size, resampling(mask))
    return mask.filter(ImageFilter.GaussianBlur(blur)) if blur > 0 else mask


def crop_box(mask: Box, padding: int, shape: tuple[int, int], picture: tuple[int, int]) -> Box:
    """The part of a picture that is drawn so that only `mask` is repainted, at full size.

    `mask` is grown by `padding` pixels to each side, then to the proportions of `shape` (width, height) around its
    middle. The box lies within a picture of size `picture`: moved where it would stand out, and of other proportions
    where the picture is too small for them.
    """
    left, top = max(0, mask[0] - padding), max(0, mask[1] - padding)
    right, bottom = min(picture[0], mask[2] + padding), min(picture[1], mask[3] + padding)
    width = max(right - left, math.ceil((bottom - top) * shape[0] / shape[1]))
    height = max(bottom - top, math.ceil((right - left) * shape[1] / shape[0]))
    left, right = _grown(left, right, width, picture[0])
    top, bottom = _grown(top, bottom, height, picture[1])
    return left, top, right, bottom


def _grown(begin: int, end: int, length: int, limit: int) -> tuple[int, int]:
    """An interval of `length` around [begin, end), within [0, limit)."""
    length = min(length, limit)
    begin -= (length - (end - begin)) // 2
    begin = min(max(0, begin), limit - length)
    return begin, begin + length


def _read(picture: Image.Image, reading: Reading, param: str) -> Image.Image:
    transparent = has_alpha(picture)
    if reading is Reading.TRANSPARENT:
        if not transparent:
            raise UnreadablePicture(param, "has no transparent part that says where to repaint")
        return ImageChops.invert(_alpha(picture))
    if reading is Reading.OPAQUE and transparent:
        alpha = _alpha(picture)
        if alpha.getextrema() != (255, 255):
            return alpha
    return over(picture, "black").convert("L")


def _alpha(picture: Image.Image) -> Image.Image:
    return picture.convert("RGBA").getchannel("A")
