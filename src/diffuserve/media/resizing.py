"""Input pictures and masks to a size of other proportions, in the three ways that clients ask for."""

from __future__ import annotations

from enum import StrEnum

from PIL import Image

from diffuserve.core.request import InputImage
from diffuserve.media.placing import central, resampling, with_edges
from diffuserve.media.raster import opened, written


class ResizeMode(StrEnum):
    STRETCH = "stretch"
    """All of the picture, distorted."""
    CROP = "crop"
    """The middle of the picture, undistorted."""
    FILL = "fill"
    """All of the picture, undistorted, in the middle; its edges are repeated to the sides."""


def resized(image: InputImage, width: int, height: int, mode: ResizeMode, *, mask: bool = False) -> InputImage:
    """`image` at `width` x `height` pixels. With `mask` it is grey (mode L) and comes out so, by the same geometry."""
    picture = opened(image, "L" if mask else "RGB")
    size = (width, height)
    if picture.size == size:
        return image
    if mode is ResizeMode.FILL:
        return written(_filled(picture, size))
    region = central(picture.size, size) if mode is ResizeMode.CROP else None
    return written(picture.resize(size, resampling(picture), box=region))


def _filled(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    scale = min(size[0] / picture.width, size[1] / picture.height)
    inner = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    picture = picture.resize(inner, resampling(picture))
    return with_edges(picture, size, ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
