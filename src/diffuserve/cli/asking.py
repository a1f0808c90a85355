"""The flags of `diffuserve generate` as a `GenerationRequest`: files read, `name=path:scale` taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from diffuserve.core import errors
from diffuserve.core.request import (
    MAX_SEED,
    Control,
    GenerationRequest,
    HiresFix,
    Inpaint,
    InputImage,
    Lora,
    PictureFormat,
    Preprocessor,
    Reference,
)
from diffuserve.jobs.catalog import Catalog
from diffuserve.media.decode import read_picture
from diffuserve.media.masks import read_mask

_QUALITY = 92
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)")
_FLAGS = {
    "num_inference_steps": "--steps",
    "seeds": "--seed",
    "loras": "--lora",
    "loras.weight": "the weight of --lora",
    "controls": "--control",
    "controls.scale": "the scale of --control",
    "reference.scale": "--reference-scale",
    "inpaint": "--mask",
    "hires.width": "--hires",
    "variation_seeds": "--variation-seed",
}
"""What a flag is called, where it is not the core's name for the same."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The flags of the command; `None` is the model's default."""

    prompt: str
    negative_prompt: str
    width: int | None
    height: int | None
    num_inference_steps: int | None
    guidance_scale: float | None
    sampler: str | None
    schedule: str | None
    seed: int | None
    num_images: int
    init_image: Path | None
    strength: float | None
    mask: Path | None = None
    style: str | None = None
    hires: bool = False
    loras: tuple[str, ...] = ()
    """`name` or `name:weight`."""
    controls: tuple[str, ...] = ()
    """`name=path` or `name=path:scale`; a picture, of which a map is made where we can."""
    control_maps: tuple[str, ...] = ()
    """The same; the picture is the map."""
    reference: Path | None = None
    reference_scale: float | None = None
    reference_face: bool = False
    variation_seed: int | None = None
    variation_strength: float | None = None
    quality: int | None = None


def to_request(wish: Wish, models: Catalog, form: PictureFormat, max_pixels: int) -> GenerationRequest:
    """Raises InvalidRequest's children, and ConfigurationError for flags that do not go together."""
    if wish.mask is not None and wish.init_image is None:
        raise errors.ConfigurationError("--mask needs --init-image, the picture that it covers")
    if wish.reference is None and (wish.reference_scale is not None or wish.reference_face):
        raise errors.ConfigurationError("--reference-scale and --reference-face need --reference, a picture")
    if wish.variation_seed is not None and wish.variation_strength is None:
        raise errors.ConfigurationError("--variation-seed needs --variation-strength, over 0 and up to 1")

    def picture(path: Path | None, param: str) -> InputImage | None:
        return None if path is None else read_picture(_bytes(path), param, max_pixels)

    return GenerationRequest(
        prompt=wish.prompt,
        negative_prompt=wish.negative_prompt,
        width=wish.width,
        height=wish.height,
        num_images=wish.num_images,
        seeds=_seeds(wish.seed, wish.num_images),
        num_inference_steps=wish.num_inference_steps,
        guidance_scale=wish.guidance_scale,
        sampler=wish.sampler,
        schedule=wish.schedule,
        style=wish.style,
        loras=tuple(_lora(text) for text in wish.loras),
        controls=(
            *(_control("--control", text, models, max_pixels, made=True) for text in wish.controls),
            *(_control("--control-map", text, models, max_pixels, made=False) for text in wish.control_maps),
        ),
        reference=_reference(wish, picture(wish.reference, "reference")),
        init_image=picture(wish.init_image, "init_image"),
        strength=wish.strength,
        inpaint=Inpaint(read_mask(_bytes(wish.mask), "mask", max_pixels)) if wish.mask else None,
        hires=HiresFix() if wish.hires else None,
        variation_seeds=_seeds(wish.variation_seed, wish.num_images),
        variation_strength=wish.variation_strength or 0.0,
        format=form,
        quality=_QUALITY if wish.quality is None else wish.quality,
    )


def with_flags(error: errors.InvalidRequest) -> str:
    """The sentence with the flag in place of the core's parameter name."""
    if error.param is None or error.param == "prompt" or not error.message.startswith(error.param):
        return error.message
    flag = _FLAGS.get(error.param, "--" + error.param.replace("_", "-").replace(".", "-"))
    return flag + error.message[len(error.param) :]


def _seeds(first: int | None, count: int) -> tuple[int, ...]:
    """`first`, then one more for each further picture; a bad first seed is passed on to be refused."""
    if first is None or count < 1:
        return ()
    if not 0 <= first <= MAX_SEED:
        return (first,)
    return tuple((first + index) % (MAX_SEED + 1) for index in range(count))


def _reference(wish: Wish, image: InputImage | None) -> Reference | None:
    if image is None:
        return None
    said = Reference(image, face=wish.reference_face)
    return said if wish.reference_scale is None else replace(said, scale=wish.reference_scale)


def _lora(text: str) -> Lora:
    name, weight = _scaled(text)
    return Lora(name) if weight is None else Lora(name, weight)


def _control(flag: str, text: str, models: Catalog, max_pixels: int, *, made: bool) -> Control:
    """`made`: the map is made of the picture, where it is one that we can make."""
    name, equals, rest = text.partition("=")
    path, scale = _scaled(rest)
    if not equals or not name or not path:
        raise errors.ConfigurationError(f"{flag} must be name=picture or name=picture:scale, got {text}")
    kind = models.find_controlnet(name, models.default).kind
    maker = Preprocessor.CANNY if made and kind == Preprocessor.CANNY.value else Preprocessor.NONE
    image = read_picture(_bytes(Path(path)), "controls", max_pixels)
    return Control(name, image, maker) if scale is None else Control(name, image, maker, scale)


def _scaled(text: str) -> tuple[str, float | None]:
    """`name:0.8` in two; a colon that no number follows is part of the name."""
    name, _, number = text.rpartition(":")
    return (name, float(number)) if name and _NUMBER.fullmatch(number) else (text, None)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise errors.ConfigurationError(f"{path} cannot be read: {error.strerror or error}") from None
