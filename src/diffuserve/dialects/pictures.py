"""Input pictures of any dialect: bytes, base64 or a link, to an `InputImage`, off the event loop."""

from __future__ import annotations

import asyncio

from diffuserve.core.request import InputImage
from diffuserve.dialects.base import Rooms
from diffuserve.media.decode import read_picture
from diffuserve.media.textual import is_link, picture_bytes


async def input_picture(rooms: Rooms, source: str | bytes, param: str, max_side: int | None = None) -> InputImage:
    """The picture that `source` is, holds or points to; sides over `max_side` are scaled down.

    Raises UnreadablePicture naming `param`.
    """
    if isinstance(source, str) and is_link(source):
        source = await rooms.fetcher.get(source, param)

    def decode() -> InputImage:
        data = picture_bytes(source, param) if isinstance(source, str) else source
        return read_picture(data, param, rooms.max_input_pixels, max_side)

    async with rooms.decoding:
        return await asyncio.to_thread(decode)
