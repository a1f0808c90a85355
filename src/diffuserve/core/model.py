"""What can draw: one entry of the catalog, known without loading a weight."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Family(StrEnum):
    """How a checkpoint is conditioned, which is what the step loop must know of it."""

    SD15 = "sd15"
    """One CLIP text encoder and a UNet: Stable Diffusion 1.x, 2.x and everything in `StableDiffusionPipeline` layout."""
    SDXL = "sdxl"
    """Two text encoders, pooled embedding and size conditioning: `StableDiffusionXLPipeline` layout."""


@dataclass(frozen=True, slots=True)
class NativeRange:
    """Sides in pixels between which a model draws what it was trained to draw."""

    min_side: int
    max_side: int


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model that requests may name."""

    name: str
    family: Family
    path: str
    """A folder in diffusers layout, or one `.safetensors` file."""
    size: int
    """The side of its default square, pixels."""
    native: NativeRange
    multiple: int
    """The VAE's factor: a canvas's sides are multiples of it."""
    sampler: str
    """Sampler id used where the request names none: the checkpoint's own."""
    num_inference_steps: int
    guidance_scale: float
    aliases: tuple[str, ...] = ()
    description: str = ""
    languages: tuple[str, ...] = ("en",)
    """Languages of the prompts that it follows."""
