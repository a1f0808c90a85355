"""Random LoRAs for small models, written in each of the layouts that files have.

The names are written anew from the layouts themselves, so that they cannot share a mistake with what reads the files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from support.single_files import _unet_name

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Change:
    """What one module's weight is increased by: `alpha / rank * up @ down`."""

    down: torch.Tensor
    up: torch.Tensor
    alpha: float

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    @property
    def delta(self) -> torch.Tensor:
        product = self.up.flatten(1) @ self.down.flatten(1)
        return (self.alpha / self.rank * product).reshape(self.up.shape[0], *self.down.shape[1:])


Changes = dict[tuple[str, str], Change]
"""By the part of the model and the module's name in it."""


def attention(part: str, name: str) -> bool:
    return name.endswith((".to_q", ".to_k", ".to_v", ".to_out.0", "q_proj", "k_proj", "v_proj", "out_proj"))


def linear_layers(part: str, name: str) -> bool:
    """What most trainers change: the transformers' blocks."""
    return attention(part, name) or ".ff.net." in name or ".mlp.fc" in name


def everything(part: str, name: str) -> bool:
    return True


def random_lora(
    model: Mapping[str, Any],
    seed: int,
    *,
    rank: int = 4,
    alpha: Callable[[int], float] = lambda number: 2.0,
    which: Callable[[str, str], bool] = linear_layers,
) -> Changes:
    """A LoRA of the parts in `model` strong enough to be seen; `alpha` is asked for each changed module by its number."""
    noise = torch.Generator().manual_seed(seed)
    changes: Changes = {}
    for part, module in model.items():
        for name, layer in module.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d) and which(part, name):
                width = layer.weight.shape[1:].numel()
                down = torch.randn((rank, *layer.weight.shape[1:]), generator=noise) * width**-0.5
                up = torch.randn((layer.weight.shape[0], rank), generator=noise) * 0.3
                up = up[:, :, None, None] if isinstance(layer, nn.Conv2d) else up
                changes[part, name] = Change(down, up, alpha(len(changes)))
    return changes


def merge(model: Mapping[str, Any], changes: Changes, weight: float) -> None:
    """Add a LoRA to the model's own weights."""
    with torch.no_grad():
        for (part, name), change in changes.items():
            model[part].get_submodule(name).weight += weight * change.delta


def peft(changes: Changes) -> Tensors:
    """diffusers' layout of today: no alpha, so a scale of 1 unless the header has PEFT's config."""
    tensors = {}
    for (part, name), change in changes.items():
        place = f"{part}.{_wrapped(part, name)}"
        tensors |= {f"{place}.lora_A.weight": change.down, f"{place}.lora_B.weight": _scaled(change)}
    return tensors


def diffusers(changes: Changes) -> Tensors:
    """diffusers' layout before that."""
    tensors = {}
    for (part, name), change in changes.items():
        middle = "lora" if part == "unet" else "lora_linear_layer"
        place = f"{part}.{_wrapped(part, name)}.{middle}"
        tensors |= {f"{place}.down.weight": change.down, f"{place}.up.weight": _scaled(change)}
    return tensors


def attention_processors(changes: Changes) -> Tensors:
    """diffusers' first layout; only attention has a place in it."""
    tensors = {}
    for (part, name), change in changes.items():
        block, layer = _wrapped(part, name).replace(".to_out.0", ".to_out").rsplit(".", 1)
        if part == "unet":
            place = f"unet.{block}.processor.{layer}_lora"
        else:
            place = f"{part}.{block}.to_{layer.removesuffix('_proj')}_lora"
        tensors |= {f"{place}.down.weight": change.down, f"{place}.up.weight": _scaled(change)}
    return tensors


def kohya(changes: Changes) -> Tensors:
    """sd-scripts' layout for SD1.x, and of many tools for SDXL: diffusers' names with underscores."""
    return _kohya(changes, lambda name: name)


def kohya_sgm(changes: Changes, layers: int = 1) -> Tensors:
    """sd-scripts' layout for SDXL: the UNet's blocks are the original ones. `layers` is its `layers_per_block`."""
    names = [name for part, name in changes if part == "unet"]
    attentive = {int(name.split(".")[1]) for name in names if name.startswith("up_blocks") and ".attentions." in name}
    return _kohya(changes, lambda name: _unet_name(f"{name}.weight", layers, attentive).removesuffix(".weight"))


def write(path: Path, tensors: Tensors, dtype: torch.dtype | None = None, **metadata: str) -> Path:
    chosen = {name: tensor.to(dtype).contiguous() for name, tensor in tensors.items()}
    save_file(chosen, path, {"format": "pt", **metadata})
    return path


def _kohya(changes: Changes, unet_name: Callable[[str], str]) -> Tensors:
    first = "lora_te1" if any(part == "text_encoder_2" for part, _ in changes) else "lora_te"
    prefixes = {"unet": "lora_unet", "text_encoder": first, "text_encoder_2": "lora_te2"}
    tensors = {}
    for (part, name), change in changes.items():
        named = unet_name(name) if part == "unet" else _wrapped(part, name)
        place = f"{prefixes[part]}_{named.replace('.', '_')}"
        tensors |= {
            f"{place}.lora_down.weight": change.down,
            f"{place}.lora_up.weight": change.up,
            f"{place}.alpha": torch.tensor(change.alpha),
        }
    return tensors


def _wrapped(part: str, name: str) -> str:
    """Files have the names of older transformers, in which the layers of text encoders lay one deeper."""
    if part == "unet" or name.startswith(("text_model.", "text_projection")):
        return name
    return f"text_model.{name}"


def _scaled(change: Change) -> torch.Tensor:
    """For layouts without alpha."""
    return change.up * (change.alpha / change.rank)
