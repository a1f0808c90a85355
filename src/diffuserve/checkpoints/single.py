"""One `.safetensors` file with everything in it, as model sites hand them out: what it is, by the names of its
tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from diffuserve.checkpoints.found import Found
from diffuserve.checkpoints.header import TensorEntry, read_file
from diffuserve.core.errors import ConfigurationError
from diffuserve.core.model import Family

_UNET = "model.diffusion_model."
_FIRST = _UNET + "input_blocks.0.0.weight"
_DRAWS, _INPAINTS = (4,), (9,)
"""Channels that the UNet takes: latents; and with them a mask and the masked picture's latents."""
_CONTEXT = _UNET + "middle_block.1.transformer_blocks.0.attn2.to_k.weight"
_WIDTHS = {Family.SD15: 768, Family.SDXL: 2048}
_SD15_TEXT = "cond_stage_model.transformer."
_SD2_TEXT = "cond_stage_model.model."
_SDXL_TEXT = ("conditioner.embedders.0.transformer.", "conditioner.embedders.1.model.")
_VAE = "first_stage_model."
_ADAPTER_MARKS = ("lora_", ".lora", "lora.", "hada_", "lokr_")


def read_single(path: Path) -> Found:
    """What the file is. Raises ConfigurationError if it is absent, a pickle, cut off, incomplete or not drawn here."""
    tensors = read_file(path, "model")
    family = _family(path, tensors)
    if not any(name.startswith(_VAE) for name in tensors):
        raise ConfigurationError(f"{path} holds no VAE: use a checkpoint that has one baked in, or a diffusers folder")
    channels = tensors[_FIRST].shape[1:2]
    if channels not in (_DRAWS, _INPAINTS):
        raise ConfigurationError(f"{path} is an editing model: it cannot draw from a prompt alone")
    width = tensors[_CONTEXT].shape[1] if _CONTEXT in tensors else _WIDTHS[family]
    return Found(
        family,
        size=1024 if family is Family.SDXL else 512,
        multiple=8,
        sampler="euler",
        inpainting=channels == _INPAINTS,
        context_width=width,
    )


def _family(path: Path, tensors: Mapping[str, TensorEntry]) -> Family:
    names = tuple(tensors)

    def has(prefix: str) -> bool:
        return any(name.startswith(prefix) for name in names)

    if _FIRST in tensors:
        if all(map(has, _SDXL_TEXT)):
            return Family.SDXL
        if has(_SD15_TEXT):
            return Family.SD15
        if has(_SD2_TEXT):
            # Whether such a file predicts noise or velocity is written nowhere in it; a folder's config says it.
            raise ConfigurationError(f"{path} is a Stable Diffusion 2 file: convert it to a diffusers folder")
        if has(_SDXL_TEXT[0][: len("conditioner.")]):
            raise ConfigurationError(f"{path} is an SDXL refiner: it cannot draw from a prompt alone")
        raise ConfigurationError(f"{path} holds no text encoder: use a complete checkpoint, or a diffusers folder")
    if any(mark in name for name in names for mark in _ADAPTER_MARKS):
        raise ConfigurationError(f"{path} is a LoRA, not a model: it needs a checkpoint to be laid over")
    raise ConfigurationError(f"{path} is not a Stable Diffusion 1.x or SDXL checkpoint")
