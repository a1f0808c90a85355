"""The original key layout (LDM for SD1.x, SGM for SDXL) to diffusers' modules, with every tensor accounted for.

diffusers' own converters rename the tensors. They skip in silence what they do not know and leave empty what is absent;
here either is an error, because such a model would draw something, only not what it was trained to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from diffuserve.core.errors import ConfigurationError

Tensors = Mapping[str, torch.Tensor]

UNET = "model.diffusion_model."
_FIRST = UNET + "input_blocks.0.0.weight"
VAE = tuple(f"first_stage_model.{part}." for part in ("encoder", "decoder", "quant_conv", "post_quant_conv"))
"""The VAE's own parts; its training left others in some files (a discriminator, averages)."""
SD15_TEXT = "cond_stage_model.transformer."
SDXL_TEXT = "conditioner.embedders.0.transformer."
SDXL_TEXT_2 = "conditioner.embedders.1.model."
PREFIXES = (UNET, *VAE, SD15_TEXT, SDXL_TEXT, SDXL_TEXT_2)

_NOT_WEIGHTS = ("position_ids", "logit_scale")
"""In a text encoder: 0, 1, 2 and so on, and a factor that only its training used."""


def unet(tensors: Tensors, folder: Path) -> Any:
    """A `UNet2DConditionModel` as the config in `folder` describes it. Raises ConfigurationError, as all here do."""
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    config = json.loads((folder / "config.json").read_text())
    first = tensors.get(_FIRST)
    if first is not None and first.ndim == 4:
        # Inpainting checkpoints take a mask and the masked picture's latents besides, and differ in nothing else.
        config["in_channels"] = int(first.shape[1])
    return _filled(
        "UNet",
        lambda: UNet2DConditionModel.from_config(config),
        _chosen(tensors, UNET),
        lambda given: convert_ldm_unet_checkpoint(given, config),
    )


def vae(tensors: Tensors, folder: Path) -> Any:
    """An `AutoencoderKL`."""
    from diffusers import AutoencoderKL
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    config = json.loads((folder / "config.json").read_text())
    return _filled(
        "VAE",
        lambda: AutoencoderKL.from_config(config),
        {_attention_name(name): tensor for name, tensor in _chosen(tensors, VAE).items()},
        lambda given: convert_ldm_vae_checkpoint(given, config),
    )


def _attention_name(name: str) -> str:
    """Some tools write the VAE's attention back under names that are half diffusers'."""
    return name.replace(".attn_1.to_out.0.", ".attn_1.proj_out.").replace(".attn_1.to_", ".attn_1.")


def clip(tensors: Tensors, prefix: str, folder: Path) -> Any:
    """A `CLIPTextModel`: the keys are those of transformers, behind `prefix`."""
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig.from_pretrained(folder, local_files_only=True)

    def converted(given: Tensors) -> dict[str, torch.Tensor]:
        # Newer transformers keep no `text_model` around the layers, and neither did the oldest files.
        return {name.removeprefix(prefix).removeprefix("text_model."): tensor for name, tensor in given.items()}

    # Some tools add the projection of the whole CLIP, which this encoder is used without.
    given = _chosen(tensors, prefix, (*_NOT_WEIGHTS, "text_projection.weight"))
    return _filled("text encoder", lambda: CLIPTextModel(config), given, converted)


def open_clip(tensors: Tensors, prefix: str, folder: Path) -> Any:
    """A `CLIPTextModelWithProjection` from keys as OpenCLIP names them."""
    from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    config = CLIPTextConfig.from_pretrained(folder, local_files_only=True)
    empty: Any = None  # the converter looks at the model only where the projection is missing, which is refused here

    def converted(given: Tensors) -> dict[str, torch.Tensor]:
        if f"{prefix}text_projection" not in given:
            raise KeyError("text_projection")
        return dict(convert_open_clip_checkpoint(empty, given, prefix=prefix))

    given = _chosen(tensors, prefix, _NOT_WEIGHTS)
    return _filled("second text encoder", lambda: CLIPTextModelWithProjection(config), given, converted)


def _chosen(
    tensors: Tensors, prefixes: str | tuple[str, ...], ignored: tuple[str, ...] = ()
) -> dict[str, torch.Tensor]:
    return {
        name: tensor for name, tensor in tensors.items() if name.startswith(prefixes) and not name.endswith(ignored)
    }


def _filled(
    part: str, make: Callable[[], Any], given: Tensors, convert: Callable[[Tensors], Mapping[str, torch.Tensor]]
) -> Any:
    """The module with exactly these tensors as its weights, all in one precision; most still lie in the mapped file."""
    from accelerate import init_empty_weights

    try:
        weights = dict(convert(given))
    except KeyError as error:  # how the converters stumble over what is absent
        raise ConfigurationError(f"its {part} is incomplete: {error.args[0]} is missing") from None
    with init_empty_weights():
        module = make()
    _check(part, {name: tensor.shape for name, tensor in module.state_dict().items()}, given, weights)
    module.load_state_dict(weights, assign=True)
    if len({tensor.dtype for tensor in weights.values()}) > 1:
        module.to(torch.float32)
    return module


def _check(part: str, wanted: Mapping[str, torch.Size], given: Tensors, weights: Tensors) -> None:
    missing = [name for name in wanted if name not in weights]
    if missing:
        raise ConfigurationError(f"its {part} is incomplete: {len(missing)} tensors are missing, {missing[0]} is one")
    for name, shape in wanted.items():
        if weights[name].shape != shape:
            raise ConfigurationError(
                f"its {part} has another shape than the models that are drawn here: "
                f"{name} is {_text(weights[name].shape)}, not {_text(shape)}"
            )
    # The converters leave out what they do not know, so names alone would not tell: the numbers must add up, too.
    surplus = sum(map(torch.numel, given.values())) - sum(shape.numel() for shape in wanted.values())
    if surplus or len(weights) != len(wanted):
        unknown = next((name for name in weights if name not in wanted), "")
        hint = f", {unknown} for one" if unknown else ""
        raise ConfigurationError(f"its {part} has weights that the models that are drawn here have no place for{hint}")


def _text(shape: torch.Size) -> str:
    return "x".join(map(str, shape)) or "a single number"
