"""The size that a model draws for a size that was asked: within its native range, of nearly the same shape."""

from __future__ import annotations

from diffuserve.core.model import ModelInfo, NativeRange
from diffuserve.core.request import Canvas


def plan(width: int, height: int, model: ModelInfo, *, from_image: bool = False) -> Canvas:
    """The canvas for a picture of `width` x `height` pixels (each 1 or more).

    Beyond the model's native range the picture is drawn at the nearest native size of the same shape. The sides are
    then rounded up to the VAE's factor, and to the shortest native side where the shape is too slim for the range; only
    the centre of that is kept.

    A model that knows one size only (its native range is a single side) draws its square, which is then extended to the
    shape. An input picture lends its composition, so `from_image` lets even such a model draw other shapes.
    """
    native = model.native
    if native.min_side == native.max_side:
        if not from_image:
            return _square(width, height, model)
        native = NativeRange(native.min_side // 2, native.max_side * 3 // 2)
    scale = _scale(width, height, native)
    crop_width, crop_height = max(1, round(width * scale)), max(1, round(height * scale))
    return Canvas(
        width=_side(crop_width, native, model.multiple),
        height=_side(crop_height, native, model.multiple),
        crop_width=crop_width,
        crop_height=crop_height,
    )


def resizing_note(canvas: Canvas, width: int, height: int) -> str | None:
    """What to tell a caller whose picture is not drawn at its own size; None where it is."""
    drawn = (min(canvas.width, canvas.crop_width), min(canvas.height, canvas.crop_height))
    steps = []
    if drawn != (canvas.crop_width, canvas.crop_height):
        steps.append("extended at its sides")
    if (canvas.crop_width, canvas.crop_height) != (width, height):
        verb = "enlarged" if canvas.crop_width * canvas.crop_height < width * height else "reduced"
        steps.append(f"{verb} to {width}x{height}")
    if not steps:
        return None
    return f"drawn at {drawn[0]}x{drawn[1]}, the model's native size, and {' and '.join(steps)}"


def _square(width: int, height: int, model: ModelInfo) -> Canvas:
    side = model.native.min_side
    shorter = min(width, height)
    return Canvas(side, side, round(side * width / shorter), round(side * height / shorter))


def _scale(width: int, height: int, native: NativeRange) -> float:
    shorter, longer = min(width, height), max(width, height)
    if longer > native.max_side:
        return native.max_side / longer
    if shorter < native.min_side:
        return min(native.min_side / shorter, native.max_side / longer)
    return 1.0


def _side(crop: int, native: NativeRange, multiple: int) -> int:
    return -(-max(crop, native.min_side) // multiple) * multiple
