"""From a wish to a `ResolvedRequest`: ranges checked, defaults filled in, seeds fixed, the canvas measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from diffuserve.core import samplers
from diffuserve.core.errors import InvalidParameter, MissingParameter
from diffuserve.core.model import ModelInfo
from diffuserve.core.request import MAX_SEED, GenerationRequest, ResolvedRequest
from diffuserve.jobs import canvas
from diffuserve.jobs.catalog import Catalog

DEFAULT_STRENGTH = 0.75
_MAX_CLIP_SKIP = 11  # CLIP's smallest text encoder has 12 layers, and one must be left
_MAX_GUIDANCE = 100.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What this server draws at most."""

    max_pixels: int
    """Width times height of one picture."""
    max_images: int = 16
    max_steps: int = samplers.MAX_STEPS
    max_prompt: int = 20_000
    """Characters, of the prompt and of the negative prompt each."""


def resolve(
    request: GenerationRequest, catalog: Catalog, limits: Limits, random_seed: Callable[[], int]
) -> tuple[ResolvedRequest, tuple[str, ...]]:
    """The request as it will be drawn, and notes for the caller about what differs from what was asked.

    `random_seed` gives numbers of 0..MAX_SEED. Raises UnknownModel, MissingParameter, InvalidParameter.
    """
    model = catalog.find(request.model)
    prompt = _text("prompt", request.prompt, limits)
    if not prompt.strip():
        raise MissingParameter("prompt")
    choice = samplers.resolve(model.sampler if request.sampler is None else request.sampler, request.schedule)
    width, height = _size(request, model, limits)
    drawn = canvas.plan(width, height, model, from_image=request.init_image is not None)
    resized = canvas.resizing_note(drawn, width, height)
    steps = model.num_inference_steps if request.num_inference_steps is None else request.num_inference_steps
    guidance = model.guidance_scale if request.guidance_scale is None else request.guidance_scale
    resolved = ResolvedRequest(
        prompt=prompt,
        negative_prompt=_text("negative_prompt", request.negative_prompt, limits),
        model=model.name,
        width=width,
        height=height,
        canvas=drawn,
        seeds=_seeds(request, limits, random_seed),
        num_inference_steps=_steps(steps, choice.sampler, limits),
        guidance_scale=_number("guidance_scale", guidance, 0.0, _MAX_GUIDANCE),
        sampler=choice.sampler.id,
        schedule=choice.schedule.id,
        clip_skip=_integer("clip_skip", request.clip_skip, 0, _MAX_CLIP_SKIP),
        eta=_number("eta", request.eta, 0.0, 1.0),
        init_image=request.init_image,
        strength=_strength(request),
        preview_every=_integer("preview_every", request.preview_every, 0, limits.max_steps),
    )
    return resolved, choice.notes if resized is None else (*choice.notes, resized)


def _steps(steps: object, sampler: samplers.Sampler, limits: Limits) -> int:
    most = min(limits.max_steps, sampler.max_steps)
    if sampler.max_steps < limits.max_steps and isinstance(steps, int) and steps > most:
        raise InvalidParameter("num_inference_steps", f"at most {most} with sampler {sampler.label}", steps)
    return _integer("num_inference_steps", steps, 1, most)


def _size(request: GenerationRequest, model: ModelInfo, limits: Limits) -> tuple[int, int]:
    image = request.init_image
    natural = (model.size, model.size) if image is None else (image.width, image.height)
    width = _integer("width", natural[0] if request.width is None else request.width, 1, limits.max_pixels)
    height = _integer("height", natural[1] if request.height is None else request.height, 1, limits.max_pixels)
    if width * height > limits.max_pixels:
        accepted = f"such that width times height is at most {limits.max_pixels} pixels"
        raise InvalidParameter("width", accepted, f"{width}x{height}")
    return width, height


def _seeds(request: GenerationRequest, limits: Limits, random_seed: Callable[[], int]) -> tuple[int, ...]:
    count = _integer("num_images", request.num_images, 1, limits.max_images)
    if len(request.seeds) > count:
        raise InvalidParameter("seeds", f"at most one for each of the {count} pictures", len(request.seeds))
    given = tuple(_integer("seeds", seed, 0, MAX_SEED) for seed in request.seeds)
    return given + tuple(random_seed() for _ in range(count - len(given)))


def _strength(request: GenerationRequest) -> float:
    if request.init_image is None:
        if request.strength is not None:
            raise InvalidParameter("strength", "absent without init_image", request.strength)
        return 1.0
    strength = DEFAULT_STRENGTH if request.strength is None else request.strength
    return _number("strength", strength, 0.0, 1.0, above=True)


def _text(param: str, value: str, limits: Limits) -> str:
    if len(value) > limits.max_prompt:
        raise InvalidParameter(param, f"at most {limits.max_prompt} characters long, got {len(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, as JSON can smuggle it in
        raise InvalidParameter(param, "valid Unicode text", value) from None
    return value


def _integer(param: str, value: object, low: int, high: int) -> int:
    # bool is an int to Python and never a number to a caller.
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    raise InvalidParameter(param, f"a whole number between {low} and {high}", value)


def _number(param: str, value: object, low: float, high: float, *, above: bool = False) -> float:
    """`above`: `low` itself is refused too."""
    # NaN fails every comparison, and so is refused with the rest.
    if isinstance(value, int | float) and not isinstance(value, bool):  # noqa: SIM102 - two thoughts
        if low <= value <= high and not (above and value == low):
            return float(value)
    between = f"over {low:g} and at most {high:g}" if above else f"between {low:g} and {high:g}"
    raise InvalidParameter(param, f"a number {between}", value)
