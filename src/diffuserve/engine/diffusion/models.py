"""Checkpoints in memory: load a diffusers folder or a single `.safetensors` file. Weights are never unpickled.

A `Model` is what the step loop needs of a checkpoint and nothing more: UNet, VAE, tokenizers with their encoders, and the
maker of its solvers. `single_file.py` reads the one-file form.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from diffuserve.core.errors import ConfigurationError
from diffuserve.core.model import Family, ModelInfo
from diffuserve.engine.diffusion import packing
from diffuserve.engine.diffusion.conditioning import Conditioner, TextTower
from diffuserve.engine.diffusion.device import Device
from diffuserve.engine.diffusion.loras import Loras
from diffuserve.engine.diffusion.samplers import Solvers, mended
from diffuserve.engine.diffusion.weights import diffusers_module, nbytes, transformers_module


@dataclass(frozen=True, slots=True)
class Model:
    """A checkpoint on a device, ready to draw."""

    info: ModelInfo
    device: Device
    unet: Any
    vae: Any
    conditioner: Conditioner
    loras: Loras
    solvers: Solvers
    compiled: Any = None
    """The UNet once more, compiled; it knows neither LoRAs nor controls."""
    nbytes: int = 0
    """Of the checkpoint itself, without LoRAs."""

    @property
    def latent_channels(self) -> int:
        return int(self.vae.config.latent_channels)

    @property
    def inpaints(self) -> bool:
        """Whether its UNet takes mask and masked picture as further channels."""
        return int(self.unet.config.in_channels) == 2 * self.latent_channels + 1


def load(info: ModelInfo, device: Device, *, compiled: bool = False, exact: bool = False) -> Model:
    """Read the checkpoint at `info.path` onto `device`; others may draw meanwhile.

    `exact`: rows that share a LoRA are computed one by one, so that their bits do not depend on who else has it.
    Raises ConfigurationError in one sentence where it cannot be read.
    """
    path = Path(info.path)
    _hush()
    try:
        parts = _from_file(path, info) if path.is_file() else _from_folder(path, device)
    except Exception as error:
        if isinstance(error, ConfigurationError) and path.is_file():
            raise  # it names the file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigurationError(f"model {info.name} at {path} could not be loaded: {reason}") from error
    return _assemble(info, device, parts, compiled, exact)


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


def _assemble(info: ModelInfo, device: Device, parts: Parts, compiled: bool, exact: bool) -> Model:
    # A float16 VAE of SDXL overflows; its config says so, and it then stays in float32. diffusers' default says so of SD1.5's,
    # too, where it is not true.
    wanted = info.family is Family.SDXL and bool(getattr(parts.vae.config, "force_upcast", False))
    upcast = wanted and device.dtype == torch.float16
    for module, dtype in ((parts.unet, device.dtype), (parts.vae, torch.float32 if upcast else device.dtype)):
        module.to(device=device.device, memory_format=torch.channels_last).eval().requires_grad_(False)
        if module.dtype != dtype:
            module.to(dtype=dtype)
    for tower in parts.towers:
        tower.encoder.to(device=device.device, dtype=device.dtype).eval().requires_grad_(False)
    config = mended(parts.scheduler_config) if info.family is Family.SD15 else parts.scheduler_config
    encoders = [tower.encoder for tower in parts.towers]
    weight_bytes = nbytes(parts.unet, parts.vae, *encoders)
    if packing.helps(device) and not compiled:
        packing.pack(parts.unet)
    loras = Loras(parts.unet, encoders, info.family, device, exact=exact)
    return Model(
        info,
        device,
        parts.unet,
        parts.vae,
        Conditioner(parts.towers, info.family, loras, zero_empty_negative=parts.zero_empty_negative),
        loras,
        Solvers(config),
        # Each new shape costs it about a minute once.
        torch.compile(parts.unet, dynamic=False) if compiled else None,
        weight_bytes,
    )


def _from_folder(folder: Path, device: Device) -> Parts:
    import diffusers
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    index = json.loads((folder / "model_index.json").read_text())

    def component(part: str, dtype: torch.dtype) -> Any:
        return diffusers_module(getattr(diffusers, index[part][1]), folder / part, device.device, dtype)

    def tower(suffix: str, encoder: Any) -> TextTower:
        return TextTower(
            CLIPTokenizer.from_pretrained(folder / f"tokenizer{suffix}", local_files_only=True),
            transformers_module(encoder, folder / f"text_encoder{suffix}", device.device, device.dtype),
        )

    towers = [tower("", CLIPTextModel)]
    if "text_encoder_2" in index:
        towers.append(tower("_2", CLIPTextModelWithProjection))
    scheduler = getattr(diffusers, index["scheduler"][1]).from_pretrained(folder, subfolder="scheduler")
    return Parts(
        component("unet", device.dtype),
        # In full, until it is known whether it may be float16.
        component("vae", torch.float32 if device.dtype == torch.float16 else device.dtype),
        tuple(towers),
        dict(scheduler.config),
        zero_empty_negative=len(towers) > 1 and bool(index.get("force_zeros_for_empty_prompt", True)),
    )


def _from_file(path: Path, info: ModelInfo) -> Parts:
    from diffuserve.engine.diffusion.single_file import read

    return read(path, info.family)
