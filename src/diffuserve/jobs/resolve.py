"""From a wish to a `ResolvedRequest`: ranges checked, defaults filled in, seeds fixed, the canvas measured.

`wording.py` reads the prompt, `steering.py` what steers besides it, `canvas.py` measures, `checks.py` says what a single
value may be.
"""

from __future__ import annotations

from collections.abc import Callable

from diffuserve.core import samplers
from diffuserve.core.errors import InvalidParameter
from diffuserve.core.model import ModelInfo
from diffuserve.core.request import MAX_SEED, Canvas, GenerationRequest, PictureFormat, ResolvedRequest
from diffuserve.jobs import canvas, steering
from diffuserve.jobs.catalog import Catalog
from diffuserve.jobs.checks import Limits, integer, number, steps
from diffuserve.jobs.wording import worded

__all__ = ["DEFAULT_STRENGTH", "Limits", "resolve"]

DEFAULT_STRENGTH = 0.75
_MAX_CLIP_SKIP = 11  # CLIP's smallest text encoder has 12 layers, and one must be left
_MAX_GUIDANCE = 100.0
# What the formats themselves can hold, pixels a side.
_LONGEST = {PictureFormat.WEBP: 16_383, PictureFormat.JPEG: 65_535}


def resolve(
    request: GenerationRequest,
    catalog: Catalog,
    limits: Limits,
    random_seed: Callable[[], int],
) -> tuple[ResolvedRequest, tuple[str, ...]]:
    """The request as it will be drawn, and notes for the caller about what differs from what was asked.

    `random_seed` gives numbers of 0..MAX_SEED. Raises UnknownModel, MissingParameter, InvalidParameter.
    """
    model = catalog.find(request.model)
    words = worded(request, model, catalog, limits)
    choice = samplers.resolve(model.sampler if request.sampler is None else request.sampler, request.schedule)
    inpaint = steering.inpaint(request, model)
    controls = steering.controls(request, model, catalog)
    width, height = _size(request, model, limits)
    two, passing = steering.passes(request, width, height, model, limits)
    drawn, resizing = (two.canvas, ()) if two else _one_pass(request, width, height, model)
    asked_steps = model.num_inference_steps if request.num_inference_steps is None else request.num_inference_steps
    num_inference_steps = steps("num_inference_steps", asked_steps, choice.sampler, limits)
    guidance = model.guidance_scale if request.guidance_scale is None else request.guidance_scale
    asked = request.prompt if request.asked_prompt is None else request.asked_prompt
    count = integer("num_images", request.num_images, 1, limits.max_images)
    variation = number("variation_strength", request.variation_strength, 0.0, 1.0)
    resolved = ResolvedRequest(
        prompt=words.prompt,
        negative_prompt=words.negative_prompt,
        model=model.name,
        width=width,
        height=height,
        canvas=drawn,
        seeds=_seeds("seeds", request.seeds, count, random_seed),
        num_inference_steps=num_inference_steps,
        guidance_scale=number("guidance_scale", guidance, 0.0, _MAX_GUIDANCE),
        sampler=choice.sampler.id,
        schedule=choice.schedule.id,
        clip_skip=integer("clip_skip", request.clip_skip, 0, _MAX_CLIP_SKIP),
        eta=number("eta", request.eta, 0.0, 1.0),
        init_image=request.init_image,
        strength=_strength(request),
        preview_every=integer("preview_every", request.preview_every, 0, limits.max_steps),
        loras=words.loras,
        controls=controls,
        reference=steering.reference(request, model, catalog),
        inpaint=inpaint,
        hires=steering.second_pass(request, two, num_inference_steps, choice.sampler, limits),
        variation_seeds=_seeds("variation_seeds", request.variation_seeds, count, random_seed) if variation else (),
        variation_strength=variation,
        keep_texture=request.keep_texture,
        watermark=steering.watermark(request),
        format=_format(request, width, height),
        quality=integer("quality", request.quality, 1, 100),
        asked_prompt=asked if asked != words.prompt else None,
    )
    return resolved, (*choice.notes, *words.notes, *passing, *resizing)


def _one_pass(request: GenerationRequest, width: int, height: int, model: ModelInfo) -> tuple[Canvas, tuple[str, ...]]:
    if request.inpaint is not None and request.inpaint.padding is not None:
        # Only the mask's surroundings are drawn, and go back to where they were: the picture keeps its size.
        return canvas.plan_detail(width, height, model), ()
    composed = request.init_image is not None or bool(request.controls)
    drawn = canvas.plan(width, height, model, from_image=composed)
    note = canvas.resizing_note(drawn, width, height)
    return drawn, () if note is None else (note,)


def _size(request: GenerationRequest, model: ModelInfo, limits: Limits) -> tuple[int, int]:
    image = request.init_image
    natural = (model.size, model.size) if image is None else (image.width, image.height)
    width = integer("width", natural[0] if request.width is None else request.width, 1, limits.max_pixels)
    height = integer("height", natural[1] if request.height is None else request.height, 1, limits.max_pixels)
    if width * height > limits.max_pixels:
        accepted = f"such that width times height is at most {limits.max_pixels} pixels"
        raise InvalidParameter("width", accepted, f"{width}x{height}")
    return width, height


def _format(request: GenerationRequest, width: int, height: int) -> PictureFormat:
    longest = _LONGEST.get(request.format)
    if longest is not None and max(width, height) > longest:
        raise InvalidParameter("format", f"png for sides over {longest} pixels", request.format.value)
    return request.format


def _seeds(param: str, given: tuple[int, ...], count: int, random_seed: Callable[[], int]) -> tuple[int, ...]:
    if len(given) > count:
        raise InvalidParameter(param, f"at most one for each of the {count} pictures", len(given))
    checked = tuple(integer(param, seed, 0, MAX_SEED) for seed in given)
    return checked + tuple(random_seed() for _ in range(count - len(checked)))


def _strength(request: GenerationRequest) -> float:
    if request.init_image is None:
        if request.strength is not None:
            raise InvalidParameter("strength", "absent without init_image", request.strength)
        return 1.0
    strength = DEFAULT_STRENGTH if request.strength is None else request.strength
    return number("strength", strength, 0.0, 1.0, above=True)
