"""Input pictures of any dialect: bytes, base64 or a link, to an `InputImage`, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from diffuserve.core.request import InputImage
from diffuserve.dialects.base import Rooms
from diffuserve.media.decode import read_picture
from diffuserve.media.masks import Reading, read_mask
from diffuserve.media.textual import is_link, picture_bytes


async def input_picture(rooms: Rooms, source: str | bytes, param: str, max_side: int | None = None) -> InputImage:
    """The picture that `source` is, holds or points to; sides over `max_side` are scaled down.

    Raises UnreadablePicture naming `param`.
    """
    return await _read(rooms, source, param, lambda data: read_picture(data, param, rooms.max_input_pixels, max_side))


async def input_mask(
    rooms: Rooms, source: str | bytes, param: str, reading: Reading = Reading.LIGHT, *, invert: bool = False
) -> InputImage:
    """The mask that `source` is, holds or points to, white where it is repainted. Raises UnreadablePicture."""
    return await _read(
        rooms,
        source,
        param,
        lambda data: read_mask(data, param, rooms.max_input_pixels, reading=reading, invert=invert),
    )


async def _read(rooms: Rooms, source: str | bytes, param: str, decode: Callable[[bytes], InputImage]) -> InputImage:
    if isinstance(source, str) and is_link(source):
        source = await rooms.fetcher.get(source, param)
    async with rooms.decoding:
        return await asyncio.to_thread(
            lambda: decode(picture_bytes(source, param) if isinstance(source, str) else source)
        )
