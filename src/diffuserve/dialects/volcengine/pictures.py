"""The input picture: which one, from where, and whether the vendor would take it."""

from __future__ import annotations

from diffuserve.core.errors import UnreadablePicture
from diffuserve.core.request import InputImage
from diffuserve.dialects.base import Rooms
from diffuserve.dialects.pictures import input_picture
from diffuserve.dialects.volcengine.errors import BUSINESS, Refusal
from diffuserve.dialects.volcengine.wire import PictureBody
from diffuserve.media.textual import is_link, picture_bytes

MAX_BYTES = 5 * 2**20
MIN_SHORT, MIN_LONG, MAX_SIDE = 600, 800, 4096
"""Pixels, of the shorter side and the longer one, whichever they are."""

_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


async def read_input(rooms: Rooms, body: PictureBody) -> InputImage:
    """The one picture that the body holds or points to. Raises Refusal."""
    param, source = _chosen(body)
    try:
        data = await rooms.fetcher.get(source, param) if param == "image_urls" else _decoded(source, param)
        _check_file(data, param)
        picture = await input_picture(rooms, data, param)
    except UnreadablePicture as error:
        too_large = error.reason.startswith("is too large")
        raise Refusal(BUSINESS[50205 if too_large else 50207], error.message) from None
    short, long = sorted((picture.width, picture.height))
    if short < MIN_SHORT or long < MIN_LONG or long > MAX_SIDE:
        limits = f"at least {MIN_SHORT}x{MIN_LONG} and at most {MAX_SIDE}x{MAX_SIDE}"
        raise Refusal(BUSINESS[50205], f"{param} must be {limits} pixels, got {picture.width}x{picture.height}")
    return picture


def _chosen(body: PictureBody) -> tuple[str, str]:
    """The field's name and what stands in it; base64 goes before links."""
    for param, given in (("binary_data_base64", body.binary_data_base64), ("image_urls", body.image_urls)):
        if given:
            if len(given) > 1:
                raise Refusal(BUSINESS[50200], f"{param} must hold one picture, got {len(given)}")
            return param, given[0]
    raise Refusal(BUSINESS[50206], "binary_data_base64 or image_urls is required")


def _decoded(text: str, param: str) -> bytes:
    if text.lstrip()[:5].lower() == "data:":
        raise UnreadablePicture(param, "must be base64 without a prefix")
    if is_link(text):
        raise UnreadablePicture(param, "is a link; put it into image_urls")
    # Four characters are three bytes: what is far too long is not decoded at all.
    if len(text) > MAX_BYTES * 2:
        raise UnreadablePicture(param, f"is too large: more than {MAX_BYTES} bytes")
    return picture_bytes(text, param)


def _check_file(data: bytes, param: str) -> None:
    if len(data) > MAX_BYTES:
        raise UnreadablePicture(param, f"is too large: {len(data)} is more than {MAX_BYTES} bytes")
    if not data.startswith(_MAGIC):
        raise UnreadablePicture(param, "is neither a JPEG nor a PNG picture")
