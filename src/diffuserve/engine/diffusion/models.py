"""Checkpoints in memory: load a diffusers folder or a single `.safetensors` file. Weights are never unpickled.

A `Model` is what the step loop needs of a checkpoint and nothing more: UNet, VAE, tokenizers with their encoders, and the
maker of its solvers. `single_file.py` reads the one-file form.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from diffuserve.core.errors import ConfigurationError
from diffuserve.core.model import Family, ModelInfo
from diffuserve.engine.diffusion.device import Device
from diffuserve.engine.diffusion.samplers import Solvers, mended


@dataclass(frozen=True, slots=True)
class TextTower:
    """One tokenizer and the encoder that reads its tokens."""

    tokenizer: Any
    encoder: Any

    @property
    def window(self) -> int:
        """Tokens that one pass of the encoder sees, begin and end tokens included (77 for CLIP)."""
        return min(self.tokenizer.model_max_length, self.encoder.config.max_position_embeddings)


@dataclass(frozen=True, slots=True)
class Model:
    """A checkpoint on a device, ready to draw."""

    info: ModelInfo
    device: Device
    unet: Any
    vae: Any
    towers: tuple[TextTower, ...]
    solvers: Solvers
    zero_empty_negative: bool = False
    """An empty negative prompt is zeros instead of the encoding of "" (`force_zeros_for_empty_prompt`, SDXL base)."""

    @property
    def latent_channels(self) -> int:
        return int(self.unet.config.in_channels)


def load(info: ModelInfo, device: Device) -> Model:
    """Read the checkpoint at `info.path` onto `device`. Raises ConfigurationError in one sentence where it cannot be read."""
    path = Path(info.path)
    _hush()
    try:
        parts = _from_file(path, info) if path.is_file() else _from_folder(path, device)
    except ConfigurationError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigurationError(f"model {info.name} at {path} could not be loaded: {reason}") from error
    return _assemble(info, device, parts)


def _hush() -> None:
    """Loading bars and advice for model authors are noise in a server's log."""
    import diffusers
    import transformers

    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


@dataclass(slots=True)
class Parts:
    """What either form of a checkpoint gives."""

    unet: Any
    vae: Any
    towers: tuple[TextTower, ...]
    scheduler_config: dict[str, Any]
    """The config of the checkpoint's own diffusers scheduler object, defaults included."""
    zero_empty_negative: bool


def _assemble(info: ModelInfo, device: Device, parts: Parts) -> Model:
    # A float16 VAE of SDXL overflows; its config says so, and it then stays in float32.
    upcast = device.dtype == torch.float16 and bool(getattr(parts.vae.config, "force_upcast", False))
    for module, dtype in ((parts.unet, device.dtype), (parts.vae, torch.float32 if upcast else device.dtype)):
        module.to(device=device.device, memory_format=torch.channels_last).eval().requires_grad_(False)
        if module.dtype != dtype:
            module.to(dtype=dtype)
    for tower in parts.towers:
        tower.encoder.to(device=device.device, dtype=device.dtype).eval().requires_grad_(False)
    config = mended(parts.scheduler_config) if info.family is Family.SD15 else parts.scheduler_config
    return Model(
        info,
        device,
        parts.unet,
        parts.vae,
        parts.towers,
        Solvers(config),
        zero_empty_negative=parts.zero_empty_negative,
    )


def _from_folder(folder: Path, device: Device) -> Parts:
    import diffusers
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    index = json.loads((folder / "model_index.json").read_text())

    def weights(part: str) -> dict[str, Any]:
        directory = folder / part
        half_only = any(directory.glob("*.fp16.safetensors")) and not any(
            f for f in directory.glob("*.safetensors") if ".fp16." not in f.name
        )
        return {
            "dtype": device.dtype,
            "variant": "fp16" if half_only else None,
            "use_safetensors": True,
            "local_files_only": True,
        }

    def component(part: str) -> Any:
        cls = getattr(diffusers, index[part][1])
        return cls.from_pretrained(folder, subfolder=part, **weights(part))

    def tower(suffix: str, encoder: Any) -> TextTower:
        return TextTower(
            CLIPTokenizer.from_pretrained(folder / f"tokenizer{suffix}", local_files_only=True),
            encoder.from_pretrained(folder / f"text_encoder{suffix}", **weights(f"text_encoder{suffix}")),
        )

    towers = [tower("", CLIPTextModel)]
    if "text_encoder_2" in index:
        towers.append(tower("_2", CLIPTextModelWithProjection))
    scheduler = getattr(diffusers, index["scheduler"][1]).from_pretrained(folder, subfolder="scheduler")
    return Parts(
        component("unet"),
        component("vae"),
        tuple(towers),
        dict(scheduler.config),
        zero_empty_negative=len(towers) > 1 and bool(index.get("force_zeros_for_empty_prompt", True)),
    )


def _from_file(path: Path, info: ModelInfo) -> Parts:
    from diffuserve.engine.diffusion.single_file import read

    return read(path, info.family)


def compiled(model: Model) -> Model:
    """The same model with its UNet compiled; each new shape costs about a minute once."""
    return replace(model, unet=torch.compile(model.unet, dynamic=False))
