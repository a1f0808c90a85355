"""Checkpoints in the shapes of SD1.5 and SDXL with random weights, saved as diffusers folders: what speed is measured on where
no trained ones are at hand. They draw noise, in the time that trained ones take.

Weights are drawn such that numbers keep their size from layer to layer. The tokenizer is that of the tests: a token a byte.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.utils.logging import disable_progress_bar
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

import common

sys.path.insert(0, str(common.ROOT / "tests"))

from diffuserve.engine.diffusion.weights import filled
from support.tiny_models import tokenizer

Config = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    title: str
    size: int
    """Side of its pictures, pixels."""
    unet: Config
    vae: Config
    encoders: tuple[Config, ...]

    @property
    def pipeline(self) -> Any:
        return StableDiffusionXLPipeline if len(self.encoders) > 1 else StableDiffusionPipeline


_CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12}
_CLIP_G = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_attention_heads": 20,
    "num_hidden_layers": 32,
    "projection_dim": 1280,
    "hidden_act": "gelu",
}
_VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
SD15 = Shape(
    "SD1.5",
    512,
    {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
    {**_VAE, "sample_size": 512, "scaling_factor": 0.18215},
    (_CLIP_L,),
)
SDXL = Shape(
    "SDXL",
    1024,
    {
        "sample_size": 128,
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 2048,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
    # As the checkpoint says: its autoencoder is not to be used in float16.
    {**_VAE, "sample_size": 1024, "scaling_factor": 0.13025, "force_upcast": True},
    (_CLIP_L, _CLIP_G),
)


def save(shape: Shape, folder: Path, dtype: torch.dtype, device: str = "cpu") -> Path:
    """A pipeline of that shape in `folder`; the weights are drawn on `device`."""
    disable_progress_bar()
    torch.manual_seed(1)
    parts: dict[str, Any] = {
        "unet": _module(lambda: UNet2DConditionModel(**shape.unet), dtype, device),
        "vae": vae(shape, dtype, device),
        "scheduler": EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
    }
    for suffix, config in zip(("", "_2"), shape.encoders, strict=False):
        kind = CLIPTextModelWithProjection if suffix else CLIPTextModel
        words = CLIPTextConfig(**config, bos_token_id=512, eos_token_id=513, pad_token_id=513)
        parts[f"text_encoder{suffix}"] = _module(lambda kind=kind, words=words: kind(words), dtype, device)
        parts[f"tokenizer{suffix}"] = tokenizer(pad="!" if suffix else None)
    if shape.pipeline is StableDiffusionPipeline:
        parts |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    shape.pipeline(**parts).save_pretrained(folder)
    return folder


def vae(shape: Shape, dtype: torch.dtype, device: str = "cpu") -> Any:
    return _module(lambda: AutoencoderKL(**shape.vae), dtype, device)


def _module(make: Callable[[], Any], dtype: torch.dtype, device: str) -> Any:
    with torch.device("meta"):
        empty = make().state_dict()
        module = make()
    return filled(module, {name: _drawn(name, like.shape, dtype, device) for name, like in empty.items()}, "random")


def _drawn(name: str, shape: torch.Size, dtype: torch.dtype, device: str) -> torch.Tensor:
    weight = torch.empty(shape, dtype=dtype, device=device)
    if weight.ndim > 1:
        bound = (3 / weight[0].numel()) ** 0.5
        return weight.uniform_(-bound, bound)
    return weight.fill_(float("norm" in name and name.endswith("weight")))
