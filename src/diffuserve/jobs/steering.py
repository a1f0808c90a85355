"""What steers a drawing besides its words: controls, a reference, a mask, a second pass, a variation; and its watermark.

Each function checks one part of a request and fills in what was left open. They raise InvalidParameter and
MissingParameter with dotted names (`controls.scale`).
"""

from __future__ import annotations

from dataclasses import replace

from diffuserve.core import samplers
from diffuserve.core.errors import InvalidParameter, MissingParameter
from diffuserve.core.model import ModelInfo
from diffuserve.core.request import Canvas, Control, GenerationRequest, HiresFix, Inpaint, Reference, Watermark
from diffuserve.jobs import canvas
from diffuserve.jobs.catalog import Catalog
from diffuserve.jobs.checks import Limits, integer, number, steps

MAX_CONTROLS = 4
_MAX_BLUR = 64
_MAX_PADDING = 1024
_MAX_WATERMARK = 100


def controls(request: GenerationRequest, model: ModelInfo, catalog: Catalog) -> tuple[Control, ...]:
    """Those that count for anything, each with a ControlNet that fits and a picture."""
    if len(request.controls) > MAX_CONTROLS:
        raise InvalidParameter("controls", f"at most {MAX_CONTROLS}", len(request.controls))
    checked = (_control(control, request, model, catalog) for control in request.controls)
    return tuple(control for control in checked if control is not None)


def _control(control: Control, request: GenerationRequest, model: ModelInfo, catalog: Catalog) -> Control | None:
    scale = number("controls.scale", control.scale, 0.0, 2.0)
    start, end = number("controls.start", control.start, 0.0, 1.0), number("controls.end", control.end, 0.0, 1.0)
    if start >= end:
        raise InvalidParameter("controls.start", f"less than its end, {end:g}", start)
    low = integer("controls.low_threshold", control.low_threshold, 0, 255)
    high = integer("controls.high_threshold", control.high_threshold, 0, 255)
    if low > high:
        raise InvalidParameter("controls.low_threshold", f"at most the high threshold, {high}", low)
    if scale == 0:
        return None
    found = catalog.find_controlnet(control.model, model)
    image = control.image or request.init_image
    if image is None:
        raise MissingParameter("controls.image")
    return replace(control, model=found.name, image=image, scale=scale, start=start, end=end)


def reference(request: GenerationRequest, model: ModelInfo, catalog: Catalog) -> Reference | None:
    asked = request.reference
    if asked is None:
        return None
    scale = number("reference.scale", asked.scale, 0.0, 1.0)
    if scale == 0:
        return None
    return replace(asked, scale=scale, adapter=catalog.find_adapter(asked.adapter, model).name)


def inpaint(request: GenerationRequest, model: ModelInfo) -> Inpaint | None:
    asked = request.inpaint
    if asked is None:
        if model.inpainting:
            # It could be drawn with everything masked, but such a checkpoint was not trained to compose pictures.
            raise InvalidParameter(
                "inpaint", f"given with the model {model.name}, which repaints the masked part of a picture only"
            )
        return None
    if request.init_image is None:
        raise MissingParameter("init_image")
    integer("inpaint.blur", asked.blur, 0, _MAX_BLUR)
    if asked.padding is not None:
        integer("inpaint.padding", asked.padding, 0, _MAX_PADDING)
    return asked


def passes(
    request: GenerationRequest, width: int, height: int, model: ModelInfo, limits: Limits
) -> tuple[canvas.Enlargement | None, tuple[str, ...]]:
    """Both passes of a picture that is drawn in two; None for one. And notes about it.

    Two are drawn where the request says so, and without being told where the picture is larger than the model's native
    range, the model says that it may, and no input picture lends its composition.
    """
    asked = request.hires
    if asked is not None and request.init_image is not None:
        raise InvalidParameter("hires", "absent with init_image: an image-to-image is drawn in one pass")
    if asked is None:
        beyond = max(width, height) > model.native.max_side
        if not (beyond and model.hires) or request.init_image is not None:
            return None, ()
        first = canvas.plan(width, height, model)
    else:
        first = _asked_first(asked, width, height, model, limits)
    two = canvas.enlarged(
        first, width, height, model, max_pixels=limits.max_pixels, max_enlargement=limits.max_enlargement
    )
    if two is not None:
        return two, (canvas.enlarging_note(two, width, height),)
    if asked is None:
        return None, ()
    chosen = asked.width is not None or asked.height is not None
    if chosen and (first.width > width or first.height > height):
        accepted = f"such that the first pass is no larger than {width}x{height}"
        raise InvalidParameter("hires.width", accepted, f"{first.width}x{first.height}")
    return None, (f"drawn in one pass: {width}x{height} is not larger than the first of two would be",)


def _asked_first(asked: HiresFix, width: int, height: int, model: ModelInfo, limits: Limits) -> Canvas:
    """The first pass that the request describes; a side that it leaves open follows from the picture's shape."""
    if asked.width is None and asked.height is None:
        return canvas.first_pass(width, height, model)
    longest = int(model.native.max_side * limits.max_enlargement)

    def side(param: str, given: int | None, other: int | None, share: float) -> int:
        pixels = (other or 0) * share if given is None else integer(param, given, model.multiple, longest)
        return max(1, round(min(pixels, longest) / model.multiple)) * model.multiple

    sides = (
        side("hires.width", asked.width, asked.height, width / height),
        side("hires.height", asked.height, asked.width, height / width),
    )
    return Canvas(*sides, *sides)


def second_pass(
    request: GenerationRequest,
    two: canvas.Enlargement | None,
    num_inference_steps: int,
    sampler: samplers.Sampler,
    limits: Limits,
) -> HiresFix | None:
    """How the second pass runs, every default filled in; None where there is none. A bad wish is refused in any case."""
    asked = request.hires or HiresFix()
    strength = number("hires.strength", asked.strength, 0.0, 1.0, above=True)
    own = num_inference_steps if asked.num_inference_steps is None else asked.num_inference_steps
    own = steps("hires.num_inference_steps", own, sampler, limits)
    if two is None:
        return None
    return replace(asked, width=two.width, height=two.height, strength=strength, num_inference_steps=own)


def watermark(request: GenerationRequest) -> Watermark | None:
    asked = request.watermark
    if asked is None:
        return None
    text = asked.text.strip()
    if not text:
        raise MissingParameter("watermark.text")
    if len(text) > _MAX_WATERMARK or not text.isprintable():
        raise InvalidParameter("watermark.text", f"one line of at most {_MAX_WATERMARK} characters", text)
    opacity = number("watermark.opacity", asked.opacity, 0.0, 1.0)
    size = number("watermark.size", asked.size, 0.01, 0.2)
    return replace(asked, text=text, opacity=opacity, size=size)
