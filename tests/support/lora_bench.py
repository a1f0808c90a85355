"""Random models with random LoRAs beside them, and what they draw and read: alone, in a batch, and by diffusers with PEFT."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

from diffuserve.core.model import Family, LoraInfo
from diffuserve.core.request import Lora
from diffuserve.engine.diffusion.device import Device
from diffuserve.engine.diffusion.loras import Loras
from support import lora_files
from support.lora_files import Changes

CLOSE = 1e-5
"""Largest difference of float32 arithmetic in another order; outputs are of the size of 1."""

PIPELINES = {Family.SD15: StableDiffusionPipeline, Family.SDXL: StableDiffusionXLPipeline}
PARTS = {Family.SD15: ("unet", "text_encoder"), Family.SDXL: ("unet", "text_encoder", "text_encoder_2")}


@dataclass(frozen=True)
class Bench:
    """A random model, and the three LoRAs a, b and c that were read for it."""

    family: Family
    model: Mapping[str, Any]
    changes: Mapping[str, Changes]
    infos: Sequence[LoraInfo]
    loras: Loras
    folder: Path


def make(family: Family, folder: Path, root: Path) -> Bench:
    """The model in `folder`; its LoRAs are written to `root`. a changes transformers, b everything, c attention."""
    model = parts(pipeline(family, folder), family)
    which = (lora_files.linear_layers, lora_files.everything, lora_files.attention)
    changes = {
        name: lora_files.random_lora(model, seed, rank=rank, which=places)
        for name, seed, rank, places in zip("abc", (1, 2, 3), (4, 2, 3), which, strict=True)
    }
    infos = [
        info(family, lora_files.write(root / f"{name}.safetensors", lora_files.kohya(changed)), name)
        for name, changed in changes.items()
    ]
    return Bench(family, model, changes, infos, filled(empty(family, model), infos), folder)


def pipeline(family: Family, folder: Path) -> Any:
    loaded = PIPELINES[family].from_pretrained(folder)
    for part in PARTS[family]:
        getattr(loaded, part).eval().requires_grad_(False)
    return loaded


def parts(loaded: Any, family: Family) -> dict[str, Any]:
    return {part: getattr(loaded, part) for part in PARTS[family]}


def encoders(model: Mapping[str, Any]) -> list[Any]:
    return [module for part, module in model.items() if part != "unet"]


def empty(
    family: Family, model: Mapping[str, Any], dtype: torch.dtype = torch.float32, *, exact: bool = False
) -> Loras:
    return Loras(model["unet"], encoders(model), family, Device(torch.device("cpu"), dtype), exact=exact)


def filled(loras: Loras, infos: Sequence[LoraInfo]) -> Loras:
    for described in infos:
        loras.read(described)
    return loras


def info(family: Family, path: Path, name: str = "lora") -> LoraInfo:
    return LoraInfo(name, family, str(path))


def draw(
    bench: Bench,
    mixes: Sequence[tuple[Lora, ...]],
    rows: Sequence[int] | None = None,
    *,
    loras: Loras | None = None,
    unet: Any = None,
) -> torch.Tensor:
    """The UNet's prediction for these rows of one fixed batch, one mix for each."""
    with (loras or bench.loras).unet_rows(mixes):
        return forward(bench.model["unet"] if unet is None else unet, bench.family, rows or range(len(mixes)))


def forward(unet: Any, family: Family, rows: Sequence[int]) -> torch.Tensor:
    noise = torch.Generator().manual_seed(1)
    chosen = list(rows)
    dtype = next(unet.parameters()).dtype

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(8, *shape, generator=noise)[chosen].to(dtype)

    latents = random(4, 32, 32).contiguous(memory_format=torch.channels_last)
    extras = {}
    context = random(77, 32 if family is Family.SD15 else 64)
    if family is Family.SDXL:
        extras["added_cond_kwargs"] = {"text_embeds": random(32), "time_ids": torch.full((len(chosen), 6), 64.0)}
    timesteps = torch.tensor([900.0, 700.0, 500.0, 300.0, 100.0, 50.0, 20.0, 1.0])[chosen]
    with torch.inference_mode():
        return unet(latents, timesteps, encoder_hidden_states=context, return_dict=False, **extras)[0].clone()


def encode(model: Mapping[str, Any]) -> list[torch.Tensor]:
    """All that is used of the encoders' answers to one prompt."""
    found = []
    with torch.inference_mode():
        for encoder in encoders(model):
            output = encoder(tokens()[None], output_hidden_states=True)
            found += [output.hidden_states[-2], output.last_hidden_state]
            found += [output.text_embeds] if hasattr(output, "text_embeds") else []
    return [tensor.clone() for tensor in found]


def tokens() -> torch.Tensor:
    return torch.tensor([512, *(ord(letter) for letter in "a red cat"), *[513] * 67])


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.float() - b.float()).abs().max())


def assert_merged(bench: Bench, loras: Loras, changes: Changes, name: str) -> None:
    """`name` draws and reads what the model does whose weights have these changes added."""
    merged = copy.deepcopy(dict(bench.model))
    lora_files.merge(merged, changes, 0.5)
    mix = (Lora(name, 0.5),)
    expected = forward(merged["unet"], bench.family, [0])
    assert difference(draw(bench, [mix], loras=loras), expected) < CLOSE
    assert difference(expected, forward(bench.model["unet"], bench.family, [0])) > 0.001
    with loras.text(mix):
        encoded = encode(bench.model)
    assert all(difference(*pair) < CLOSE for pair in zip(encoded, encode(merged), strict=True))
