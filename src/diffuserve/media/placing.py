"""Where a picture lies on an engine's canvas, and where the drawing is found on it again.

Both directions use the same central crop (`_corner`), so an image-to-image result lines up with its source.
"""

from __future__ import annotations

from PIL import Image, ImageStat

from diffuserve.core.request import Canvas

Region = tuple[float, float, float, float]
"""A part of a picture in its own pixels: left, top, right, bottom; may lie between pixels."""


def place(picture: Image.Image, canvas: Canvas, region: Region | None = None) -> Image.Image:
    """`picture` (RGB or L), or the part `region` of it, at canvas size: stretched to the crop, its edges repeated around.

    Masks (mode L) are interpolated bilinearly: Lanczos would ring, and a ring around a mask is a mask.
    """
    crop = (canvas.crop_width, canvas.crop_height)
    if region is not None or picture.size != crop:
        picture = picture.resize(crop, resampling(picture), box=region)
    return with_edges(picture, (canvas.width, canvas.height), _corner(canvas))


def take(drawing: Image.Image, canvas: Canvas, size: tuple[int, int]) -> Image.Image:
    """The middle of a drawing of canvas size, which `place` filled, at `size` (Lanczos); extended where it is too small."""
    crop = (canvas.crop_width, canvas.crop_height)
    if crop[0] > drawing.width or crop[1] > drawing.height:
        return _on_ground(drawing, crop, size)
    if crop != drawing.size:
        left, top = _corner(canvas)
        drawing = drawing.crop((left, top, left + crop[0], top + crop[1]))
    return drawing if drawing.size == size else drawing.resize(size, Image.Resampling.LANCZOS)


def central(size: tuple[int, int], shape: tuple[int, int]) -> Region:
    """The largest part in the middle of a picture of `size` that has the proportions of `shape`."""
    width = min(size[0], size[1] * shape[0] / shape[1])
    height = min(size[1], size[0] * shape[1] / shape[0])
    left, top = (size[0] - width) / 2, (size[1] - height) / 2
    return left, top, min(left + width, size[0]), min(top + height, size[1])


def with_edges(picture: Image.Image, size: tuple[int, int], corner: tuple[int, int]) -> Image.Image:
    """A picture of `size` with `picture` at `corner` and its outermost pixels repeated to all sides."""
    if picture.size == size:
        return picture
    left, top = corner
    right, bottom = left + picture.width, top + picture.height
    wide = Image.new(picture.mode, size)
    wide.paste(picture, (left, top))
    # Columns first, then whole rows, so that the corners are filled too.
    _stretch(wide, (left, top, left + 1, bottom), (0, top, left, bottom))
    _stretch(wide, (right - 1, top, right, bottom), (right, top, size[0], bottom))
    _stretch(wide, (0, top, size[0], top + 1), (0, 0, size[0], top))
    _stretch(wide, (0, bottom - 1, size[0], bottom), (0, bottom, size[0], size[1]))
    return wide


def resampling(picture: Image.Image) -> Image.Resampling:
    return Image.Resampling.BILINEAR if picture.mode == "L" else Image.Resampling.LANCZOS


def _on_ground(drawing: Image.Image, crop: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    """A picture of `size` that shows `drawing` as if it lay in the middle of `crop`, on a ground of its border's colour.

    Repeating the edges instead would smear whatever touches them. Resized before it is laid down: `crop` may be huge.
    """
    width, height = drawing.size
    edges = [(0, 0, width, 1), (0, height - 1, width, height), (0, 0, 1, height), (width - 1, 0, width, height)]
    border = b"".join(drawing.crop(edge).tobytes() for edge in edges)
    median = ImageStat.Stat(Image.frombytes("RGB", (len(border) // 3, 1), border)).median
    inner = (max(1, round(width * size[0] / crop[0])), max(1, round(height * size[1] / crop[1])))
    ground = Image.new("RGB", size, tuple(int(channel) for channel in median))
    if inner != drawing.size:
        drawing = drawing.resize(inner, Image.Resampling.LANCZOS)
    ground.paste(drawing, ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
    return ground


def _stretch(image: Image.Image, edge: tuple[int, int, int, int], over: tuple[int, int, int, int]) -> None:
    size = (over[2] - over[0], over[3] - over[1])
    if all(size):
        image.paste(image.crop(edge).resize(size, Image.Resampling.NEAREST), over[:2])


def _corner(canvas: Canvas) -> tuple[int, int]:
    return (canvas.width - canvas.crop_width) // 2, (canvas.height - canvas.crop_height) // 2
