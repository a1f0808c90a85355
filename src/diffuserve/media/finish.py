"""From the engine's pixels to the file that is served: taken from the canvas, pasted back, marked, encoded. In threads."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from diffuserve.core.request import PictureFormat, ResolvedRequest
from diffuserve.media.placing import take
from diffuserve.media.prepared import Underlay
from diffuserve.media.raster import pixels as read
from diffuserve.media.watermark import laid

# zlib level 3 writes PNGs about 3% larger than Pillow's default of 6 in less than half of the time.
_PNG_LEVEL = 3
_PREVIEW_QUALITY = 70


def finish(pixels: bytes, request: ResolvedRequest, underlay: Underlay | None = None) -> bytes:
    """The file of `request`'s size and format from a drawing of its canvas's size (RGB).

    With an underlay the drawing shows only where the mask is over 0; everywhere else the result has the pixels of the
    underlay itself, but for a watermark and for what JPEG and WebP lose.
    """
    drawing = Image.frombytes("RGB", (request.canvas.width, request.canvas.height), pixels)
    picture = _taken(drawing, request) if underlay is None else _pasted(drawing, request, underlay)
    if request.watermark is not None:
        picture = laid(picture, request.watermark)
    return _encoded(picture, request.format, request.quality)


def preview(pixels: bytes, width: int, height: int) -> bytes:
    """A small JPEG of RGB `pixels`, for looking at while the picture is being drawn."""
    out = io.BytesIO()
    Image.frombytes("RGB", (width, height), pixels).save(out, "JPEG", quality=_PREVIEW_QUALITY)
    return out.getvalue()


def _taken(drawing: Image.Image, request: ResolvedRequest) -> Image.Image:
    return take(drawing, request.canvas, (request.width, request.height))


def _pasted(drawing: Image.Image, request: ResolvedRequest, underlay: Underlay) -> Image.Image:
    picture, mask = read(underlay.picture), read(underlay.mask, "L")
    left, top, right, bottom = underlay.box or (0, 0, *picture.size)
    drawing = take(drawing, request.canvas, (right - left, bottom - top))
    picture.paste(drawing, (left, top), mask.crop((left, top, right, bottom)))
    return picture


def _encoded(picture: Image.Image, form: PictureFormat, quality: int) -> bytes:
    # 4:4:4: drawings have hard edges of pure colour, which halved chroma visibly frays.
    options: dict[PictureFormat, dict[str, Any]] = {
        PictureFormat.PNG: {"compress_level": _PNG_LEVEL},
        PictureFormat.JPEG: {"quality": quality, "subsampling": "4:4:4"},
        PictureFormat.WEBP: {"quality": quality},
    }
    out = io.BytesIO()
    picture.save(out, form.value, **options[form])
    return out.getvalue()
