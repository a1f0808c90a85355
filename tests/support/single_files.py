"""Models written as one file in the original key layout (LDM for SD1.x, SGM for SDXL): diffusers' converters backwards.

The mapping is written anew from the layouts themselves, so that it cannot share a mistake with what reads the files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from diffuserve.core.model import Family

Tensors = dict[str, torch.Tensor]

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE_NAMES = (
    ("mid_block.resnets.0", "mid.block_1"),
    ("mid_block.resnets.1", "mid.block_2"),
    ("mid_block.attentions.0", "mid.attn_1"),
    ("group_norm", "norm"),
    ("to_out.0", "proj_out"),
    ("to_", ""),
    ("conv_norm_out", "norm_out"),
    ("conv_shortcut", "nin_shortcut"),
    (".resnets.", ".block."),
    ("downsamplers.0", "downsample"),
    ("upsamplers.0", "upsample"),
)
_OPEN_CLIP_NAMES = (
    ("text_model.embeddings.token_embedding", "token_embedding"),
    ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
    ("text_model.final_layer_norm", "ln_final"),
    ("text_model.encoder.layers", "transformer.resblocks"),
    ("layer_norm", "ln_"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
    ("self_attn", "attn"),
)


def save(folder: Path, path: Path, family: Family, dtype: torch.dtype | None = None) -> Path:
    """The model in `folder` (diffusers layout) as one file, in `dtype` if that is given."""
    return write(path, tensors_of(folder, family), dtype)


def write(path: Path, tensors: Mapping[str, torch.Tensor], dtype: torch.dtype | None = None, **metadata: str) -> Path:
    chosen = {
        name: tensor.to(dtype) if dtype and tensor.is_floating_point() else tensor for name, tensor in tensors.items()
    }
    save_file({name: tensor.contiguous() for name, tensor in chosen.items()}, path, {"format": "pt", **metadata})
    return path


def tensors_of(folder: Path, family: Family) -> Tensors:
    """The tensors of the model in `folder` under their original names."""
    parts = {part.name: load_file(next(part.glob("*.safetensors"))) for part in folder.iterdir() if _has_weights(part)}
    return original(parts, json.loads((folder / "unet" / "config.json").read_text()), family)


def original(
    parts: Mapping[str, Mapping[str, torch.Tensor]], unet_config: Mapping[str, Any], family: Family
) -> Tensors:
    """`parts` are the state dicts of a model's modules by their folder's names."""
    text = "cond_stage_model" if family is Family.SD15 else "conditioner.embedders.0"
    tensors = {
        **_unet(parts["unet"], unet_config["layers_per_block"]),
        **_vae(parts["vae"]),
        **_clip(parts["text_encoder"], f"{text}.transformer.text_model."),
    }
    if family is Family.SDXL:
        tensors |= _open_clip(parts["text_encoder_2"], "conditioner.embedders.1.model.")
    return tensors


def _has_weights(part: Path) -> bool:
    return any(part.glob("*.safetensors"))


def _unet(weights: Mapping[str, torch.Tensor], layers: int) -> Tensors:
    attentive = {int(name.split(".")[1]) for name in weights if re.match(r"up_blocks\.\d+\.attentions", name)}
    return {f"model.diffusion_model.{_unet_name(name, layers, attentive)}": tensor for name, tensor in weights.items()}


def _unet_name(name: str, layers: int, attentive: set[int]) -> str:
    stem, kind = name.rsplit(".", 1)
    if stem in _UNET_ENDS:
        return f"{_UNET_ENDS[stem]}.{kind}"
    if stem.startswith("mid_block"):
        _, part, index, rest = name.split(".", 3)
        place = "middle_block.1" if part == "attentions" else f"middle_block.{2 * int(index)}"
        return f"{place}.{_resnet(rest) if part == 'resnets' else rest}"
    side, number, part, index, rest = name.split(".", 4)
    block, layer = int(number), int(index)
    if side == "down_blocks":
        place = 1 + block * (layers + 1)
        if part == "downsamplers":
            return f"input_blocks.{place + layers}.0.{rest.replace('conv', 'op')}"
        return f"input_blocks.{place + layer}.{_inner(part, rest)}"
    place = block * (layers + 1)
    if part == "upsamplers":
        return f"output_blocks.{place + layers}.{2 if block in attentive else 1}.{rest}"
    return f"output_blocks.{place + layer}.{_inner(part, rest)}"


def _inner(part: str, rest: str) -> str:
    return f"0.{_resnet(rest)}" if part == "resnets" else f"1.{rest}"


def _resnet(rest: str) -> str:
    layer, kind = rest.split(".")
    return f"{_RESNET[layer]}.{kind}"


def _vae(weights: Mapping[str, torch.Tensor]) -> Tensors:
    ups = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("decoder.up_blocks"))
    tensors = {}
    for name, tensor in weights.items():
        for ours, theirs in _VAE_NAMES:
            name = name.replace(ours, theirs)
        name = name.replace("down_blocks.", "down.")
        name = re.sub(r"up_blocks\.(\d+)", lambda match: f"up.{ups - 1 - int(match[1])}", name)
        if ".attn_1." in name and tensor.ndim == 2:
            tensor = tensor[:, :, None, None]  # the original attention is made of 1x1 convolutions
        tensors[f"first_stage_model.{name}"] = tensor
    return tensors


def _clip(weights: Mapping[str, torch.Tensor], prefix: str) -> Tensors:
    named = {prefix + name.removeprefix("text_model."): tensor for name, tensor in weights.items()}
    return {**named, f"{prefix}embeddings.position_ids": torch.arange(77)[None]}


def _open_clip(weights: Mapping[str, torch.Tensor], prefix: str) -> Tensors:
    tensors = {"logit_scale": torch.tensor(4.6), "text_projection": weights["text_projection.weight"].T}
    for name, tensor in weights.items():
        if name == "text_projection.weight":
            continue
        for ours, theirs in _OPEN_CLIP_NAMES:
            name = name.replace(ours, theirs)
        if ".attn." not in name or ".out_proj." in name:
            tensors[name] = tensor
        elif ".q_proj." in name:
            # query, key and value lie in one tensor, named in_proj_weight with an underscore
            three = [weights[_sibling(name, letter)] for letter in "qkv"]
            tensors[name.replace("q_proj.", "in_proj_")] = torch.cat(three)
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _sibling(name: str, letter: str) -> str:
    layer = name.replace("transformer.resblocks", "text_model.encoder.layers").replace("attn", "self_attn")
    return layer.replace("q_proj", f"{letter}_proj")
