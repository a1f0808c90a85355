"""A stranger's bytes to an `InputImage`: header first, size next, pixels last, and nothing of the original file kept.

Everything here runs in a thread. Next: `masks.read_mask`, which reads masks through the same guards, and `prepare`, which
makes of an input picture what an engine needs.
"""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image, ImageOps

from diffuserve.core.errors import UnreadablePicture
from diffuserve.core.request import InputImage
from diffuserve.media.raster import written

# Formats whose decoders are small, well fuzzed and bounded by the header's size. No TIFF, PSD, EPS: they run code paths
# (or Ghostscript) that nobody who draws pictures needs.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
# A progressive JPEG says in ten passes or so what it has to say; each more costs as much time as the whole picture.
_MAX_PASSES = 100
_PASS = b"\xff\xda"
_DEEP_GREY = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_WITH_ALPHA = frozenset({"LA", "PA", "La", "RGBA", "RGBa"})


def read_picture(data: bytes, param: str, max_pixels: int, max_side: int | None = None) -> InputImage:
    """The picture in `data` as an RGB PNG: upright (EXIF), over white, first frame, without metadata.

    `max_pixels` bounds width times height as the header declares them; `max_side` (pixels) scales larger ones down.
    Raises UnreadablePicture naming `param`.
    """
    return written(decoded(data, param, max_pixels, lambda picture: over(picture, "white"), max_side))


def decoded(
    data: bytes,
    param: str,
    max_pixels: int,
    convert: Callable[[Image.Image], Image.Image],
    max_side: int | None = None,
) -> Image.Image:
    """What `convert` (to RGB or L) makes of the upright first frame of `data`. Raises UnreadablePicture."""
    picture = _open(data, param, max_pixels)
    try:
        if max_side is not None and picture.format == "JPEG":
            # JPEG can be decoded at 1/2, 1/4 or 1/8 of its size; never below what is wanted.
            picture.draft(None, (max_side, max_side))
        picture.load()
        plain = convert(ImageOps.exif_transpose(picture))
        if max_side is not None and max(plain.size) > max_side:
            plain = plain.resize(_within(plain.size, max_side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    except UnreadablePicture:
        raise
    except Exception:  # noqa: BLE001 - decoders of hostile bytes raise anything: OSError, SyntaxError, struct.error...
        raise UnreadablePicture(param, "is a damaged or truncated picture") from None
    return plain


def over(picture: Image.Image, ground: str) -> Image.Image:
    """`picture` as RGB; what is transparent shows the colour `ground`."""
    if picture.mode in _DEEP_GREY:
        # Pillow clips 16-bit grey to 8 bits; it has to be scaled.
        return picture.convert("I").point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    if has_alpha(picture):
        rgba = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, ground), rgba).convert("RGB")
    return picture.convert("RGB")


def has_alpha(picture: Image.Image) -> bool:
    """Whether its format can say that parts are transparent, be any or not."""
    return picture.mode in _WITH_ALPHA or "transparency" in picture.info


def _open(data: bytes, param: str, max_pixels: int) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadablePicture(param, f"is too large: more than {max_pixels} pixels") from None
    except Exception:  # noqa: BLE001 - as above
        raise UnreadablePicture(param) from None
    if picture.format in ("JPEG", "MPO") and data.count(_PASS) > _MAX_PASSES:
        raise UnreadablePicture(param, f"is a JPEG of more than {_MAX_PASSES} passes")
    width, height = picture.size
    if width * height > max_pixels:
        raise UnreadablePicture(param, f"is too large: {width}x{height} is more than {max_pixels} pixels")
    if width < 1 or height < 1:
        raise UnreadablePicture(param)
    return picture


def _within(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    scale = max_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
