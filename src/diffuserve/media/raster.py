"""Between `InputImage` and Pillow: PNGs of our own making, read and written."""

from __future__ import annotations

import hashlib
import io

from PIL import Image

from diffuserve.core.request import InputImage


def opened(image: InputImage, mode: str = "RGB") -> Image.Image:
    """The pixels of `image`, whose data must be there, in `mode` (RGB, or L for masks)."""
    return pixels(image.data, mode)


def pixels(png: bytes, mode: str = "RGB") -> Image.Image:
    with Image.open(io.BytesIO(png), formats=("PNG",)) as stored:
        return stored.convert(mode)


def written(picture: Image.Image) -> InputImage:
    """`picture` as a PNG of its own mode, without metadata; the digest is of these bytes."""
    data = png(picture)
    return InputImage(digest=hashlib.sha256(data).hexdigest(), width=picture.width, height=picture.height, data=data)


def png(picture: Image.Image, compress_level: int = 1) -> bytes:
    """Level 1 is for what is read again soon: it takes a fifth of the time of Pillow's default."""
    picture.info = {}  # colour profiles, text and EXIF would be written along
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=compress_level)
    return out.getvalue()
