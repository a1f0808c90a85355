"""Room to paint around a picture: outpainting is inpainting of a picture with wider margins."""

from __future__ import annotations

from PIL import Image

from diffuserve.core.errors import UnreadablePicture
from diffuserve.core.request import InputImage
from diffuserve.media.filling import spread
from diffuserve.media.raster import opened, written


def extended(
    image: InputImage, left: int, top: int, right: int, bottom: int, *, param: str, max_pixels: int
) -> tuple[InputImage, InputImage]:
    """`image` with margins of so many pixels (0 or more each), and the mask that is white on them (mode L).

    The margins bear the colours of the picture's edges, smoothly spread, as a beginning for the drawing; the picture
    itself is kept pixel by pixel. Raises UnreadablePicture naming `param` where the whole is over `max_pixels`.
    """
    size = (left + image.width + right, top + image.height + bottom)
    if size[0] * size[1] > max_pixels:
        raise UnreadablePicture(param, f"would be too large: {size[0]}x{size[1]} is more than {max_pixels} pixels")
    wide, mask = Image.new("RGB", size), Image.new("L", size, 255)
    wide.paste(opened(image), (left, top))
    mask.paste(0, (left, top, left + image.width, top + image.height))
    return written(spread(wide, mask)), written(mask)
