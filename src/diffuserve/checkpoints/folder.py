"""A folder in diffusers layout: `model_index.json`, a folder for each part, configs beside safetensors weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffuserve.checkpoints.card import read_card
from diffuserve.checkpoints.found import Found
from diffuserve.checkpoints.header import PICKLES, read_header
from diffuserve.core import samplers
from diffuserve.core.errors import ConfigurationError
from diffuserve.core.model import Family

_PIPELINES = {
    "StableDiffusionPipeline": Family.SD15,
    "StableDiffusionImg2ImgPipeline": Family.SD15,
    "StableDiffusionInpaintPipeline": Family.SD15,
    "LatentConsistencyModelPipeline": Family.SD15,
    "StableDiffusionXLPipeline": Family.SDXL,
    "StableDiffusionXLImg2ImgPipeline": Family.SDXL,
    "StableDiffusionXLInpaintPipeline": Family.SDXL,
}
_DIFFUSERS_WEIGHTS = "diffusion_pytorch_model"
_PARTS = {
    Family.SD15: {"unet": _DIFFUSERS_WEIGHTS, "vae": _DIFFUSERS_WEIGHTS, "text_encoder": "model"},
    Family.SDXL: {
        "unet": _DIFFUSERS_WEIGHTS,
        "vae": _DIFFUSERS_WEIGHTS,
        "text_encoder": "model",
        "text_encoder_2": "model",
    },
}
_TOKENIZERS = {Family.SD15: ("tokenizer",), Family.SDXL: ("tokenizer", "tokenizer_2")}
_SAMPLE_SIZES = {Family.SD15: 64, Family.SDXL: 128}


def read_folder(folder: Path) -> Found:
    """What the folder holds. Raises ConfigurationError for what is missing, cut off, pickled or not drawn here."""
    family = _family(folder)
    for part, stem in _PARTS[family].items():
        _check_weights(folder / part, stem)
    for part in _TOKENIZERS[family]:
        _check_tokenizer(folder / part)
    unet = read_config(folder / "unet" / "config.json")
    vae = read_config(folder / "vae" / "config.json")
    inpainting = _check_unet(folder, family, unet, vae)
    multiple = _vae_factor(vae)
    return Found(
        family,
        size=_sample_size(unet, family) * multiple,
        multiple=multiple,
        sampler=samplers.by_class_name(_class_name(read_config(folder / "scheduler" / "scheduler_config.json"))).id,
        card=read_card(folder),
        inpainting=inpainting,
        context_width=context_width(unet),
    )


def _family(folder: Path) -> Family:
    index = folder / "model_index.json"
    if not index.is_file():
        single = sorted(folder.glob("*.safetensors"))
        hint = f"; name the file itself: {single[0]}" if single else ""
        raise ConfigurationError(f"{folder} is not a model in diffusers layout: it has no model_index.json{hint}")
    name = _class_name(read_config(index))
    if name not in _PIPELINES:
        known = ", ".join(_PIPELINES)
        raise ConfigurationError(
            f"{folder} is a {name or 'nameless pipeline'}, which is not supported; supported: {known}"
        )
    return _PIPELINES[name]


def _check_weights(part: Path, stem: str) -> None:
    """All weights of one part are there, as safetensors, to the last byte."""
    for name in weight_files(part, stem):
        read_header(part / name)


def weight_files(part: Path, stem: str) -> Sequence[str]:
    """The names of one part's weight files: one file, its shards, or the half-precision variant where only that is
    there.

    Raises ConfigurationError where there are none, or only pickles.
    """
    for variant in ("", ".fp16"):
        if (part / f"{stem}{variant}.safetensors").is_file():
            return (f"{stem}{variant}.safetensors",)
        index = part / f"{stem}.safetensors.index{variant}.json"
        if index.is_file():
            return _shards(part, index)
    pickles = sorted(path for path in part.glob("*") if path.suffix in PICKLES)
    if pickles:
        raise ConfigurationError(
            f"{part} holds only pickled weights ({pickles[0].name}), which could run any code when they are opened: "
            "convert them to safetensors"
        )
    raise ConfigurationError(f"{part.parent} is incomplete: {part.name} has no {stem}.safetensors")


def _shards(part: Path, index: Path) -> Sequence[str]:
    shards = read_config(index).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise ConfigurationError(f"{index} lists no shards")
    names = sorted(set(shards.values()))
    for name in names:
        if Path(name).name != name:
            raise ConfigurationError(f"{index} names a file outside its folder: {name}")
        if not (part / name).is_file():
            raise ConfigurationError(f"{part.parent} is incomplete: {part.name} has no {name}")
    return names


def _check_tokenizer(part: Path) -> None:
    if (part / "tokenizer.json").is_file():
        return
    for name in ("vocab.json", "merges.txt"):
        if not (part / name).is_file():
            raise ConfigurationError(f"{part.parent} is incomplete: {part.name} has no {name}")


def context_width(config: Mapping[str, Any]) -> int:
    """What the cross-attention of a UNet, or of a ControlNet, reads; 0 where its config does not say."""
    width = config.get("cross_attention_dim")
    if isinstance(width, list):
        width = width[0] if width else None
    return width if isinstance(width, int) and width > 0 else 0


def _check_unet(folder: Path, family: Family, unet: Mapping[str, Any], vae: Mapping[str, Any]) -> bool:
    """Whether it is one for inpainting."""
    if (unet.get("addition_embed_type") == "text_time") != (family is Family.SDXL):
        raise ConfigurationError(f"{folder} contradicts itself: its unet does not fit its model_index.json")
    channels, latents = unet.get("in_channels", 4), vae.get("latent_channels", 4)
    # Latents; or latents, a mask, and the latents of the masked picture.
    if not isinstance(latents, int) or channels not in (latents, 2 * latents + 1):
        raise ConfigurationError(f"{folder} is an editing model: it cannot draw from a prompt alone")
    return bool(channels != latents)


def _vae_factor(vae: Mapping[str, Any]) -> int:
    channels = vae.get("block_out_channels") or vae.get("decoder_block_out_channels")
    return int(2 ** (len(channels) - 1)) if isinstance(channels, list) and len(channels) <= 8 else 8


def _sample_size(unet: Mapping[str, Any], family: Family) -> int:
    size = unet.get("sample_size")
    if isinstance(size, list):
        size = max(size, default=None)
    return size if isinstance(size, int) and 0 < size <= 2048 else _SAMPLE_SIZES[family]


def _class_name(config: Mapping[str, Any]) -> str:
    return str(config.get("_class_name", ""))


def read_config(path: Path) -> Mapping[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except FileNotFoundError:
        part = path.parent
        raise ConfigurationError(f"{part.parent} is incomplete: {part.name} has no {path.name}") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise ConfigurationError(f"{path} is not valid JSON") from None
    if not isinstance(config, dict):
        raise ConfigurationError(f"{path} must hold a JSON object")
    return config
