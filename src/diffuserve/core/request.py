"""What is asked: `GenerationRequest` as a dialect understood it, `ResolvedRequest` as an engine draws it.

A dialect parses its vendor's words into a `GenerationRequest`, in which `None` means "whatever the model prefers".
`jobs.resolve` turns that into a `ResolvedRequest`: every default filled in, every range checked, seeds fixed, the
canvas measured. Only a `ResolvedRequest` can be queued. Field names are diffusers' own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeVar

MAX_SEED = 2**64 - 1
"""The largest seed that `torch.Generator.manual_seed` takes."""


@dataclass(frozen=True, slots=True)
class InputImage:
    """A picture that the caller sent, already decoded, checked and written again as an RGB PNG by `media`.

    `data` is empty while the request rests in the store; the worker fills it from the blob named by `digest`.
    """

    digest: str
    """SHA-256 of `data`, hexadecimal; the name of its blob."""
    width: int
    height: int
    data: bytes = field(default=b"", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Lora:
    """One low-rank adaptation and how much of it: 1 is as it was trained, 0 is nothing, negative is its opposite."""

    name: str
    """A LoRA's name or alias in the catalog; its name once resolved."""
    weight: float = 1.0
    """-10..10."""


class Preprocessor(StrEnum):
    """How a control's map is made of its picture."""

    NONE = "none"
    """The picture is the map already."""
    CANNY = "canny"
    """White edges on black (J. Canny, "A Computational Approach to Edge Detection", 1986)."""


@dataclass(frozen=True, slots=True)
class Control:
    """Structure that the drawing keeps to: one ControlNet (arXiv:2302.05543) and the map that it reads."""

    model: str
    """A ControlNet's name, alias or kind ("canny", "depth") in the catalog; its name once resolved."""
    image: InputImage | None = None
    """None is the request's `init_image`; never None once resolved. An engine gets the map itself, at canvas size."""
    preprocessor: Preprocessor = Preprocessor.NONE
    scale: float = 1.0
    """How much it counts, 0..2; 0 is as if it were not there."""
    start: float = 0.0
    """It acts from this share of the steps, 0..1,"""
    end: float = 1.0
    """to this one."""
    low_threshold: int = 100
    """Canny only: gradients below it are no edge, above `high_threshold` surely one; 0..255 each."""
    high_threshold: int = 200


@dataclass(frozen=True, slots=True)
class Reference:
    """A picture whose content or face the drawing takes on: an IP-Adapter (arXiv:2308.06721)."""

    image: InputImage
    scale: float = 0.5
    """0..1; 0 is as if it were not there."""
    adapter: str | None = None
    """An adapter's name in the catalog; None is the first that fits the model. Never None once resolved."""
    face: bool = False
    """Only the face counts. Where the picture shows none, the job goes on without a reference and says so."""


class Fill(StrEnum):
    """What stands under the mask when inpainting begins."""

    ORIGINAL = "original"
    FILL = "fill"
    """The colours around the mask, spread into it."""
    NOISE = "noise"
    """Latent noise."""
    NOTHING = "nothing"
    """Latent zeros."""


@dataclass(frozen=True, slots=True)
class Inpaint:
    """Repaint a part of `init_image`; the rest comes back as it was."""

    mask: InputImage
    """White is repainted, black is kept; of the shape of `init_image`, at any size."""
    blur: int = 4
    """Standard deviation, in pixels of the result, by which the mask's edge is softened where the parts are joined; 0..64."""
    fill: Fill = Fill.ORIGINAL
    padding: int | None = None
    """Draw only the mask's surroundings, this many pixels around it, at full size. None draws the whole picture."""


class Upscaler(StrEnum):
    """How a first pass becomes the beginning of the second."""

    LATENT = "latent"
    """Bilinear, in latent space."""
    LATENT_BICUBIC = "latent_bicubic"
    LATENT_NEAREST = "latent_nearest"
    LANCZOS = "lanczos"
    """In pixels: decoded, enlarged, encoded again."""
    NEAREST = "nearest"
    """In pixels, too."""


@dataclass(frozen=True, slots=True)
class HiresFix:
    """Draw small, where the model composes well, then enlarge and refine to the size that was asked for."""

    width: int | None = None
    """Of the first pass, pixels; None: the model's own size in the picture's shape. Once resolved, multiples of the VAE's
    factor."""
    height: int | None = None
    strength: float = 0.5
    """The share of the noise schedule that the second pass runs, over 0 and up to 1."""
    num_inference_steps: int | None = None
    """Of the second pass's schedule; None: as many as the first one's. Never None once resolved."""
    upscaler: Upscaler = Upscaler.LATENT


class Corner(StrEnum):
    BOTTOM_RIGHT = "bottom_right"
    BOTTOM_LEFT = "bottom_left"
    TOP_LEFT = "top_left"
    TOP_RIGHT = "top_right"


@dataclass(frozen=True, slots=True)
class Watermark:
    """A line of text laid over the finished picture; the picture below it is the same with and without."""

    text: str
    """Latin and Chinese, 1..100 characters."""
    position: Corner = Corner.BOTTOM_RIGHT
    opacity: float = 0.3
    """0..1; 1 hides what is below."""
    size: float = 0.04
    """Height of the letters as a share of the picture's shorter side, 0.01..0.2."""


class PictureFormat(StrEnum):
    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"

    @property
    def media_type(self) -> str:
        return f"image/{self.value}"


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One canonical wish. `None` (or an empty tuple) means: the model's default, or chosen at random for seeds."""

    prompt: str
    negative_prompt: str = ""
    model: str | None = None
    """A catalog name or alias."""
    width: int | None = None
    height: int | None = None
    """Pixels of the picture delivered, exactly. `None` with an `init_image` means: as large as that."""
    num_images: int = 1
    seeds: tuple[int, ...] = ()
    """One per picture, each 0..MAX_SEED; shorter than `num_images` means: the rest are drawn at random."""
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    """Classifier-free guidance weight; 1 or less means none (one model evaluation a step instead of two)."""
    sampler: str | None = None
    """A name of `core.samplers` in any spelling that table knows."""
    schedule: str | None = None
    """A schedule name of `core.samplers`; `None` is automatic."""
    clip_skip: int = 0
    """How many of the text encoder's last layers to leave out, as diffusers counts (A1111's "Clip skip" less one)."""
    eta: float = 0.0
    """DDIM's noise share, 0..1; other samplers ignore it."""
    init_image: InputImage | None = None
    """Makes the request image-to-image."""
    strength: float | None = None
    """Image-to-image: the share of the noise schedule that is run, over 0 and up to 1."""
    preview_every: int = 0
    """Emit a preview after every so many steps; 0 is never."""
    loras: tuple[Lora, ...] = ()
    """Added to those that the prompt names (`<lora:name:0.8>`)."""
    controls: tuple[Control, ...] = ()
    reference: Reference | None = None
    inpaint: Inpaint | None = None
    hires: HiresFix | None = None
    variation_seeds: tuple[int, ...] = ()
    """A second seed for each picture, as `seeds`; shorter means that the rest are drawn at random."""
    variation_strength: float = 0.0
    """0..1: how far the noise goes from the seed's towards the variation seed's, on the sphere that both lie on."""
    keep_texture: bool = True
    """Image-to-image: False smooths the input picture before it is encoded, so that its grain does not come through."""
    style: str | None = None
    """A name of `prompts.styles`."""
    enhance_prompt: bool = False
    """Let the server's prompt writer make more of the prompt; a note says so where it has none."""
    asked_prompt: str | None = None
    """What the caller wrote, where prompt help changed it."""
    watermark: Watermark | None = None
    format: PictureFormat = PictureFormat.PNG
    quality: int = 90
    """1..100, of JPEG and WebP."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """The size that the model draws, and how the drawing becomes the size that was asked for.

    The drawing of `width` x `height` is cropped centrally to `crop_width` x `crop_height`, or laid on a plain
    ground of that size where it is smaller, and the outcome is resized (Lanczos) to the request's own size where the
    two differ. All are pixels; `width` and `height` are multiples of the VAE's factor.
    """

    width: int
    height: int
    crop_width: int
    crop_height: int


@dataclass(frozen=True, slots=True)
class ResolvedRequest:
    """A wish with nothing left open: what is stored, queued and drawn. Running it twice draws the same pictures."""

    prompt: str
    negative_prompt: str
    model: str
    """A catalog name (aliases resolved)."""
    width: int
    height: int
    canvas: Canvas
    seeds: tuple[int, ...]
    """One per picture; its length is the number of pictures."""
    num_inference_steps: int
    guidance_scale: float
    sampler: str
    """A sampler id of `core.samplers`."""
    schedule: str
    """A schedule id of `core.samplers`."""
    clip_skip: int = 0
    eta: float = 0.0
    init_image: InputImage | None = None
    strength: float = 1.0
    preview_every: int = 0
    loras: tuple[Lora, ...] = ()
    """Catalog names, each once, none with weight 0."""
    controls: tuple[Control, ...] = ()
    reference: Reference | None = None
    inpaint: Inpaint | None = None
    hires: HiresFix | None = None
    variation_seeds: tuple[int, ...] = ()
    """One per picture, or none."""
    variation_strength: float = 0.0
    keep_texture: bool = True
    watermark: Watermark | None = None
    format: PictureFormat = PictureFormat.PNG
    quality: int = 90
    asked_prompt: str | None = None
    """What the caller wrote, where `prompt` is not that (translated, enhanced, styled, LoRA tags taken out)."""

    @property
    def steps(self) -> int:
        """Model evaluations that it will take at most, over all pictures and passes; some samplers need more for a step."""
        second = 0 if self.hires is None else _share(self.hires.num_inference_steps or 0, self.hires.strength)
        first = _share(self.num_inference_steps, self.strength)
        return (first + second) * self.num_images

    @property
    def num_images(self) -> int:
        return len(self.seeds)

    @property
    def drawn_pixels(self) -> int:
        """Canvas width times height, summed over the pictures."""
        return self.canvas.width * self.canvas.height * self.num_images

    @property
    def drawn_steps(self) -> int:
        """Steps of the sampler, summed over the pictures: those that `strength` leaves out are not taken."""
        share = 1.0 if self.init_image is None else self.strength
        steps = max(1, int(self.num_inference_steps * share))
        if self.hires is not None:
            steps += max(1, int((self.hires.num_inference_steps or self.num_inference_steps) * self.hires.strength))
        return steps * self.num_images


def _share(steps: int, strength: float) -> int:
    """The steps that a pass runs of its schedule, at least one."""
    return max(1, min(steps, int(steps * strength)))


R = TypeVar("R", GenerationRequest, ResolvedRequest)


def map_pictures(request: R, change: Callable[[InputImage], InputImage]) -> R:
    """`request` with every input picture replaced by what `change` makes of it, always in the same order."""
    return replace(
        request,
        init_image=None if request.init_image is None else change(request.init_image),
        inpaint=None if request.inpaint is None else replace(request.inpaint, mask=change(request.inpaint.mask)),
        controls=tuple(
            control if control.image is None else replace(control, image=change(control.image))
            for control in request.controls
        ),
        reference=None
        if request.reference is None
        else replace(request.reference, image=change(request.reference.image)),
    )


def pictures(request: R) -> tuple[InputImage, ...]:
    """Every input picture, in the order of `map_pictures`; one that serves twice stands twice."""
    found: list[InputImage] = []

    def keep(image: InputImage) -> InputImage:
        found.append(image)
        return image

    map_pictures(request, keep)
    return tuple(found)
