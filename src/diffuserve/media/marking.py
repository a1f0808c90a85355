"""A watermark over a picture of ours that lies in the store already, for callers who choose it when they look at it."""

from __future__ import annotations

import io

from PIL import Image

from diffuserve.core.request import Watermark
from diffuserve.media import watermark

_OPTIONS: dict[str, dict[str, object]] = {
    "PNG": {"compress_level": 3},
    "JPEG": {"quality": 90, "subsampling": "4:4:4"},
    "WEBP": {"quality": 90},
}


def apply(data: bytes, mark: Watermark) -> bytes:
    """`data`, a file of ours, with `mark` over it, in the same format. Slow enough to run in a thread."""
    with Image.open(io.BytesIO(data), formats=tuple(_OPTIONS)) as stored:
        form = stored.format or "PNG"
        marked = watermark.laid(stored.convert("RGB"), mark)
    out = io.BytesIO()
    marked.save(out, form, **_OPTIONS[form])
    return out.getvalue()
