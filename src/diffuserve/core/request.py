"""What is asked: `GenerationRequest` as a dialect understood it, `ResolvedRequest` as an engine draws it.

A dialect parses its vendor's words into a `GenerationRequest`, in which `None` means "whatever the model prefers".
`jobs.resolve` turns that into a `ResolvedRequest`: every default filled in, every range checked, seeds fixed, the
canvas measured. Only a `ResolvedRequest` can be queued. Field names are diffusers' own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

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

    @property
    def num_images(self) -> int:
        return len(self.seeds)
