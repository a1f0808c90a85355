"""The pictures of a native body, read in order; nothing is read of a body that says too much or too little."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from diffuserve.core.errors import InvalidParameter, MissingParameter
from diffuserve.core.request import InputImage
from diffuserve.dialects.base import Rooms
from diffuserve.dialects.native.body import JobBody, OutpaintPart
from diffuserve.dialects.pictures import input_mask, input_picture
from diffuserve.jobs.steering import MAX_CONTROLS
from diffuserve.media.outpaint import extended

MAX_MARGIN = 4096
_SIDES = ("left", "top", "right", "bottom")


@dataclass(frozen=True, slots=True)
class Pictures:
    init_image: InputImage | None
    mask: InputImage | None
    controls: tuple[InputImage | None, ...]
    """One for each control."""
    reference: InputImage | None


async def read_pictures(body: JobBody, rooms: Rooms) -> Pictures:
    """Raises MissingParameter, InvalidParameter, UnreadablePicture."""
    margins = _checked(body)
    init_image = mask = None
    if body.init_image is not None:
        init_image = await input_picture(rooms, body.init_image, "init_image")
    if init_image is not None and margins is not None:
        init_image, mask = await asyncio.to_thread(
            extended, init_image, *margins, param="outpaint", max_pixels=rooms.max_input_pixels
        )
    if body.mask is not None:
        mask = await input_mask(rooms, body.mask, "mask")
    controls = []
    for place, control in enumerate(body.controls or ()):
        where = f"controls[{place}].image"
        controls.append(None if control.image is None else await input_picture(rooms, control.image, where))
    reference = None
    if body.reference is not None:
        reference = await input_picture(rooms, body.reference.image, "reference.image")
    return Pictures(init_image, mask, tuple(controls), reference)


def _checked(body: JobBody) -> tuple[int, int, int, int] | None:
    """The margins of an outpainting, if it is one."""
    if len(body.controls or ()) > MAX_CONTROLS:
        raise InvalidParameter("controls", f"at most {MAX_CONTROLS}", len(body.controls or ()))
    needs_picture = (body.strength, body.keep_texture, body.mask, body.outpaint)
    if body.init_image is None and any(value is not None for value in needs_picture):
        raise MissingParameter("init_image")
    if body.inpaint is not None and body.mask is None and body.outpaint is None:
        raise MissingParameter("mask")
    if body.outpaint is None:
        return None
    if body.mask is not None:
        raise InvalidParameter("outpaint", "absent where mask is given")
    return _margins(body.outpaint)


def _margins(part: OutpaintPart) -> tuple[int, int, int, int]:
    left, top, right, bottom = (getattr(part, side) or 0 for side in _SIDES)
    for side, pixels in zip(_SIDES, (left, top, right, bottom), strict=True):
        if not 0 <= pixels <= MAX_MARGIN:
            raise InvalidParameter(f"outpaint.{side}", f"a whole number between 0 and {MAX_MARGIN}", pixels)
    if left + top + right + bottom == 0:
        raise InvalidParameter("outpaint", f"over 0 at one side at least: {', '.join(_SIDES)}")
    return left, top, right, bottom
