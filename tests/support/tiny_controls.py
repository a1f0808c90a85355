"""Small ControlNets, IP-Adapters and image encoders with random weights, saved as real ones are, for `tiny_models`.

Each is made for the UNet of a saved model, so it fits it. Weights are seeded; none is zero, so each changes the picture.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from diffuserve.core.model import AdapterInfo, ControlNetInfo, Family

ENCODER_SIDE = 32
"""Pixels that the tiny image encoder sees: 16 patches."""
HIDDEN = 32
PROJECTED = 24
QUERIES = 5
"""Tokens that the plus kind makes."""
_RESAMPLER = 48
_HEADS = 2

Tensors = dict[str, torch.Tensor]


def controlnet_info(folder: Path, family: Family, **changes: Any) -> ControlNetInfo:
    return ControlNetInfo(**{"name": "edges", "family": family, "path": str(folder), **changes})


def adapter_info(path: Path, encoder: Path, family: Family, **changes: Any) -> AdapterInfo:
    return AdapterInfo(
        **{"name": "likeness", "family": family, "path": str(path), "image_encoder": str(encoder), **changes}
    )


def save_controlnet(folder: Path, model: Path, *, seed: int = 21, **config: Any) -> Path:
    """A `ControlNetModel` folder for the model in `model`; `config` overrides what follows from that."""
    unet = UNet2DConditionModel.load_config(model / "unet")
    known = inspect.signature(ControlNetModel.__init__).parameters
    shared = {name: value for name, value in unet.items() if name in known}
    torch.manual_seed(seed)
    controlnet = ControlNetModel(**{**shared, "conditioning_embedding_out_channels": (16, 32), **config})
    for parameter in _silenced(controlnet):
        torch.nn.init.normal_(parameter, std=0.2)
    controlnet.save_pretrained(folder)
    return folder


def save_image_encoder(folder: Path, *, seed: int = 22, **config: Any) -> Path:
    """A `CLIPVisionModelWithProjection` folder. Saved in half precision, as the published ones often are."""
    torch.manual_seed(seed)
    settings = {
        "hidden_size": HIDDEN,
        "projection_dim": PROJECTED,
        "image_size": ENCODER_SIDE,
        "patch_size": 8,
        "intermediate_size": 37,
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
    }
    CLIPVisionModelWithProjection(CLIPVisionConfig(**{**settings, **config})).half().save_pretrained(folder)
    return folder


def save_adapter(
    path: Path, model: Path, kind: str = "base", *, seed: int = 23, **changes: torch.Tensor | None
) -> Path:
    """An IP-Adapter file for the model in `model`; `changes` replace tensors by name, or leave them out (None)."""
    unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(model / "unet"))
    random = _Random(seed)
    cross = unet.config.cross_attention_dim
    tensors = {f"image_proj.{name}": tensor for name, tensor in _PROJECTIONS[kind](random, cross).items()}
    for number, name in enumerate(name for name in unet.attn_processors if "attn2" in name):
        hidden = unet.get_submodule(name.removesuffix(".processor")).to_q.out_features
        for part in ("to_k_ip", "to_v_ip"):
            tensors[f"ip_adapter.{2 * number + 1}.{part}.weight"] = random(hidden, cross)
    mixed = {**tensors, **changes}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in mixed.items() if tensor is not None}, path)
    return path


class _Random:
    def __init__(self, seed: int) -> None:
        self._noise = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self._noise) * 0.3

    def norm(self, name: str, width: int) -> Tensors:
        return {f"{name}.weight": 1 + self(width), f"{name}.bias": self(width)}


def _base(random: _Random, cross: int) -> Tensors:
    wide = 4 * cross
    return {"proj.weight": random(wide, PROJECTED), "proj.bias": random(wide), **random.norm("norm", cross)}


def _full(random: _Random, cross: int) -> Tensors:
    return {
        "proj.0.weight": random(HIDDEN, HIDDEN),
        "proj.0.bias": random(HIDDEN),
        "proj.2.weight": random(cross, HIDDEN),
        "proj.2.bias": random(cross),
        **random.norm("proj.3", cross),
    }


def _plus(random: _Random, cross: int) -> Tensors:
    inner = 64 * _HEADS
    tensors = {
        "latents": random(1, QUERIES, _RESAMPLER),
        "proj_in.weight": random(_RESAMPLER, HIDDEN),
        "proj_in.bias": random(_RESAMPLER),
        "proj_out.weight": random(cross, _RESAMPLER),
        "proj_out.bias": random(cross),
        **random.norm("norm_out", cross),
    }
    for layer in range(4):
        attention, feed = f"layers.{layer}.0", f"layers.{layer}.1"
        tensors |= random.norm(f"{attention}.norm1", _RESAMPLER) | random.norm(f"{attention}.norm2", _RESAMPLER)
        tensors |= random.norm(f"{feed}.0", _RESAMPLER)
        tensors |= {
            f"{attention}.to_q.weight": random(inner, _RESAMPLER),
            f"{attention}.to_kv.weight": random(2 * inner, _RESAMPLER),
            f"{attention}.to_out.weight": random(_RESAMPLER, inner),
            f"{feed}.1.weight": random(4 * _RESAMPLER, _RESAMPLER),
            f"{feed}.3.weight": random(_RESAMPLER, 4 * _RESAMPLER),
        }
    return tensors


def _faceid(random: _Random, cross: int) -> Tensors:
    return {
        "proj.0.weight": random(64, 32),
        "proj.0.bias": random(64),
        "proj.2.weight": random(4 * cross, 64),
        "proj.2.bias": random(4 * cross),
        **random.norm("norm", cross),
    }


def _faceid_plus(random: _Random, cross: int) -> Tensors:
    resampler = {f"perceiver_resampler.{name}": tensor for name, tensor in _plus(random, cross).items()}
    return _faceid(random, cross) | resampler


_PROJECTIONS = {"base": _base, "plus": _plus, "full": _full, "faceid": _faceid, "faceid_plus": _faceid_plus}
KINDS = ("base", "plus", "full")
"""Those that are understood."""


def _silenced(controlnet: Any) -> Iterator[torch.nn.Parameter]:
    """What a new ControlNet has as zeros, so that it says nothing before it is trained."""
    outlets = (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block)
    for module in (*outlets, controlnet.controlnet_cond_embedding.conv_out):
        yield from module.parameters()
