"""Pictures to send: small ones of every kind, and hostile ones."""

from __future__ import annotations

import base64
import io
import struct
import zlib

from PIL import Image


def picture(
    width: int = 8,
    height: int = 6,
    colour: object = (200, 30, 40),
    mode: str = "RGB",
    kind: str = "PNG",
    **options: object,
) -> bytes:
    """One colour, encoded."""
    return encoded(Image.new(mode, (width, height), colour), kind, **options)  # type: ignore[arg-type]


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def quarters(width: int = 32, height: int = 16) -> Image.Image:
    """Red at the top left, green at the top right, blue and white below: shows any turn or flip."""
    image = Image.new("RGB", (width, height), "white")
    image.paste((255, 0, 0), (0, 0, width // 2, height // 2))
    image.paste((0, 255, 0), (width // 2, 0, width, height // 2))
    image.paste((0, 0, 255), (0, height // 2, width // 2, height))
    return image


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that declares any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'
HTML = b"<!doctype html><title>not a picture</title>"
