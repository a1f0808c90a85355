"""What can draw, and what can steer it: entries of the catalog, known without loading a weight."""

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
    hires: bool = True
    """Pictures larger than its native range are drawn in two passes, unless the request says otherwise; else enlarged."""
    inpainting: bool = False
    """Its UNet takes a mask and the masked picture as further channels (9 in all), so it inpaints natively."""
    context_width: int = 0
    """Width of the text embeddings that its cross-attention reads: 768 in SD 1.x, 1024 in SD 2.x, 2048 in SDXL, anything
    in others; 0 where it is not known. What steers one model steers no other of another width."""


@dataclass(frozen=True, slots=True)
class LoraInfo:
    """One LoRA that requests may mix in."""

    name: str
    family: Family
    path: str
    """One `.safetensors` file, in diffusers', PEFT's or kohya's layout."""
    models: tuple[str, ...] = ()
    """The models that it fits; empty is every one of its family and width."""
    aliases: tuple[str, ...] = ()
    description: str = ""
    context_width: int = 0
    """As the model's; 0 is unknown, and then every width of its family fits."""

    def fits(self, model: ModelInfo) -> bool:
        return _fits(self, model)


@dataclass(frozen=True, slots=True)
class ControlNetInfo:
    """One ControlNet."""

    name: str
    family: Family
    path: str
    """A folder in diffusers layout (`config.json` beside one `.safetensors` file)."""
    kind: str = "canny"
    """What its maps show: `canny`, `depth`, `openpose`, `tile`, ... Requests may name the kind instead of the name."""
    models: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    description: str = ""
    context_width: int = 0

    def fits(self, model: ModelInfo) -> bool:
        return _fits(self, model)


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """One IP-Adapter and the encoder of the pictures that it reads."""

    name: str
    family: Family
    path: str
    """One `.safetensors` file."""
    image_encoder: str
    """A folder with a CLIP vision model (`config.json` beside one `.safetensors` file)."""
    models: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    description: str = ""
    context_width: int = 0

    def fits(self, model: ModelInfo) -> bool:
        return _fits(self, model)


Steering = LoraInfo | ControlNetInfo | AdapterInfo


def _fits(steering: Steering, model: ModelInfo) -> bool:
    if steering.models:
        return model.name in steering.models
    widths = {steering.context_width, model.context_width} - {0}
    return steering.family is model.family and len(widths) <= 1
