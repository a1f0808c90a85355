"""The size that a model draws for a size that was asked: within its native range, of nearly the same shape.

`plan` is one pass; `enlarged` is what a second pass makes of a first one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from diffuserve.core.model import ModelInfo, NativeRange
from diffuserve.core.request import Canvas


@dataclass(frozen=True, slots=True)
class Enlargement:
    """Two passes: the first one draws `width` x `height`, the second one `canvas`, of the same shape and larger."""

    canvas: Canvas
    width: int
    height: int
    """Multiples of the VAE's factor."""


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
            return _square(width, height, native.min_side)
        native = NativeRange(native.min_side // 2, native.max_side * 3 // 2)
    scale = _scale(width, height, native)
    crop_width, crop_height = max(1, round(width * scale)), max(1, round(height * scale))
    return Canvas(
        width=_up(max(crop_width, native.min_side), model.multiple),
        height=_up(max(crop_height, native.min_side), model.multiple),
        crop_width=crop_width,
        crop_height=crop_height,
    )


def plan_detail(width: int, height: int, model: ModelInfo) -> Canvas:
    """The canvas for a part of a picture that is drawn enlarged: of the shape, and at least of the model's own size."""
    scale = max(1.0, model.size / max(width, height))
    return plan(round(width * scale), round(height * scale), model, from_image=True)


def first_pass(width: int, height: int, model: ModelInfo) -> Canvas:
    """What the first of two passes draws: the native size of the picture's shape; for a picture that is within the native
    range, the model's own size."""
    if max(width, height) <= model.native.max_side and model.native.min_side < model.native.max_side:
        longest = min(max(model.size, model.native.min_side), model.native.max_side)
        scale = min(1.0, longest / max(width, height))
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
    return plan(width, height, model)


def enlarged(
    first: Canvas, width: int, height: int, model: ModelInfo, *, max_pixels: int, max_enlargement: float
) -> Enlargement | None:
    """The second pass over `first` (only its width and height count) for a picture of `width` x `height`.

    It draws the whole of `first`, larger, such that the asked size can be cut from it, and no more than `max_pixels`, nor
    sides over `max_enlargement` times the longest native one (but for the rounding up to the VAE's factor); what is
    missing then is made by resizing. None where it would be no larger than `first`.
    """
    single = model.native.min_side == model.native.max_side == first.width == first.height
    # A square that is extended to the shape is enlarged until it fills the shape's shorter side.
    needed = (min if single else max)(width / first.width, height / first.height)
    bound = min(
        max_enlargement * model.native.max_side / max(first.width, first.height),
        math.sqrt(max_pixels / (first.width * first.height)),
    )
    factor = min(needed, bound)
    drawn_width = _up(round(first.width * factor), model.multiple)
    drawn_height = _up(round(first.height * factor), model.multiple)
    if factor <= 1 or (drawn_width, drawn_height) == (first.width, first.height):
        return None
    if single:
        return Enlargement(_square(width, height, drawn_width), first.width, first.height)
    shrunk = factor / needed
    crop_width = min(drawn_width, max(1, round(width * shrunk)))
    crop_height = min(drawn_height, max(1, round(height * shrunk)))
    return Enlargement(Canvas(drawn_width, drawn_height, crop_width, crop_height), first.width, first.height)


def resizing_note(canvas: Canvas, width: int, height: int) -> str | None:
    """What to tell a caller whose picture is not drawn at its own size; None where it is."""
    drawn = _kept(canvas)
    rest = _rest(canvas, drawn, width, height)
    if not rest:
        return None
    return f"drawn at {drawn[0]}x{drawn[1]}, the model's native size, and {' and '.join(rest)}"


def enlarging_note(passes: Enlargement, width: int, height: int) -> str:
    """What to tell a caller whose picture is drawn in two passes."""
    drawn = _kept(passes.canvas)
    rest = _rest(passes.canvas, drawn, width, height)
    more = f", and {' and '.join(rest)}" if rest else ""
    return f"drawn at {passes.width}x{passes.height}, then enlarged and refined at {drawn[0]}x{drawn[1]}{more}"


def _kept(canvas: Canvas) -> tuple[int, int]:
    return min(canvas.width, canvas.crop_width), min(canvas.height, canvas.crop_height)


def _rest(canvas: Canvas, drawn: tuple[int, int], width: int, height: int) -> list[str]:
    steps = []
    if drawn != (canvas.crop_width, canvas.crop_height):
        steps.append("extended at its sides")
    if (canvas.crop_width, canvas.crop_height) != (width, height):
        verb = "enlarged" if canvas.crop_width * canvas.crop_height < width * height else "reduced"
        steps.append(f"{verb} to {width}x{height}")
    return steps


def _square(width: int, height: int, side: int) -> Canvas:
    shorter = min(width, height)
    return Canvas(side, side, round(side * width / shorter), round(side * height / shorter))


def _scale(width: int, height: int, native: NativeRange) -> float:
    shorter, longer = min(width, height), max(width, height)
    if longer > native.max_side:
        return native.max_side / longer
    if shorter < native.min_side:
        return min(native.min_side / shorter, native.max_side / longer)
    return 1.0


def _up(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple
