"""ControlNets (arXiv:2302.05543): maps that the drawing keeps to. Each row of a batch has its own map and its own scale.

A ControlNet is a copy of the UNet's first half that reads a map beside the latents. What it says is added to the
UNet's activations (`Residuals`); so a row that it says nothing about is drawn as if it were not there.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from diffuserve.core.errors import ConfigurationError, GenerationFailed
from diffuserve.core.model import ControlNetInfo, ModelInfo
from diffuserve.core.request import Control
from diffuserve.engine.diffusion import packing, weights
from diffuserve.engine.diffusion.device import Device


@dataclass(frozen=True, slots=True)
class Residuals:
    """What is added to the UNet's activations: `down` to each that it keeps for its second half, `mid` in its middle.

    Each is (B, channels, h, w), or (B, channels, 1, 1) of a ControlNet that gives the map's content and not its places.
    """

    down: tuple[torch.Tensor, ...]
    mid: torch.Tensor

    @property
    def arguments(self) -> dict[str, Any]:
        """As the UNet's forward takes them."""
        return {"down_block_additional_residuals": self.down, "mid_block_additional_residual": self.mid}


class ControlNet:
    """One ControlNet on a device. Any number of models that it fits may use it."""

    def __init__(self, info: ControlNetInfo, module: Any, device: Device) -> None:
        self.info, self.module, self._device = info, module, device
        self.nbytes = weights.nbytes(module)
        if packing.helps(device):
            packing.pack(module)

    @property
    def positive_only(self) -> bool:
        """Under guidance it acts on the positive rows alone: the caller gives the negative ones scale 0.

        So diffusers draws with ControlNets that pool (`global_pool_conditions`, "shuffle").
        """
        return bool(self.module.config.global_pool_conditions)

    def prepare(self, png: bytes, height: int, width: int) -> torch.Tensor:
        """A map to (1, 3, height, width) in 0..1, in the model's dtype; of another size, it is resized (Lanczos)."""
        with Image.open(io.BytesIO(png)) as image:
            fitted = image if image.size == (width, height) else image.resize((width, height), Image.Resampling.LANCZOS)
            flat = torch.frombuffer(bytearray(fitted.convert("RGB").tobytes()), dtype=torch.uint8)
        pixels = flat.view(height, width, 3).permute(2, 0, 1)[None].float() / 255
        return pixels.to(self._device.device, self._device.dtype)

    def residuals(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        context: torch.Tensor,
        maps: torch.Tensor,
        scales: torch.Tensor,
        added: Mapping[str, torch.Tensor] | None,
    ) -> Residuals:
        """What it says of each row; the rows of all arguments belong together.

        `latents` (B, C, h, w) as the UNet takes them (of an inpainting UNet's channels, the latents stand first),
        `timesteps` (B,), `context` (B, tokens, channels) text embeddings, `maps` (B, 3, height, width) of `prepare`,
        `scales` (B,): 1 is as it was trained, 0 is nothing. `added` is SDXL's `added_cond_kwargs`.
        """
        down, mid = self.module(
            self._placed(latents[:, : self.module.config.in_channels]),
            timesteps,
            encoder_hidden_states=context,
            controlnet_cond=self._placed(maps),
            added_cond_kwargs=None if added is None else dict(added),
            return_dict=False,
        )
        column = scales.to(mid.device, torch.float32).view(-1, 1, 1, 1)
        return Residuals(tuple(_scaled(residual, column) for residual in down), _scaled(mid, column))

    def require_fit(self, model: ModelInfo, unet: Any) -> None:
        """Raises GenerationFailed, in one sentence, where `unet` cannot use what this ControlNet says."""
        ours, theirs = self.module.config, unet.config
        questions = (
            ("channels of latents", ours.in_channels, min(ours.in_channels, theirs.in_channels)),
            ("channels of text context", ours.cross_attention_dim, theirs.cross_attention_dim),
            ("channels of its blocks", *(tuple(config.block_out_channels) for config in (ours, theirs))),
            ("layers of its blocks", *(_layers(config) for config in (ours, theirs))),
            ("further conditions", ours.addition_embed_type, theirs.addition_embed_type),
            (
                "channels of further conditions",
                *(config.projection_class_embeddings_input_dim for config in (ours, theirs)),
            ),
            ("pixels of a latent", 2 ** (len(ours.conditioning_embedding_out_channels) - 1), model.multiple),
        )
        for what, wanted, given in questions:
            if wanted != given:
                raise GenerationFailed(
                    f"ControlNet {self.info.name} does not fit the model {model.name}: "
                    f"{what} are {_words(wanted)} in the one and {_words(given)} in the other"
                )

    def _placed(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self._device.device, self._device.dtype).contiguous(memory_format=torch.channels_last)


def load(info: ControlNetInfo, device: Device) -> ControlNet:
    """Read the folder at `info.path` onto `device`, beside whoever draws. Raises ConfigurationError in one sentence."""
    from diffusers import ControlNetModel

    folder = Path(info.path)
    try:
        kind = json.loads((folder / "config.json").read_text()).get("_class_name", ControlNetModel.__name__)
        if kind != ControlNetModel.__name__:
            raise ConfigurationError(f"it is a {kind}, and only a {ControlNetModel.__name__} is understood")
        module = weights.diffusers_module(ControlNetModel, folder, device.device, device.dtype)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigurationError(f"ControlNet {info.name} at {folder} could not be loaded: {reason}") from error
    return ControlNet(info, module.to(memory_format=torch.channels_last), device)


def total(parts: Sequence[Residuals]) -> Residuals:
    """Several ControlNets at once (one at least): what they say is added up, as diffusers' `MultiControlNetModel` does."""
    first, *others = parts
    down, mid = list(first.down), first.mid
    for part in others:
        down = [ours + more for ours, more in zip(down, part.down, strict=True)]
        mid = mid + part.mid
    return Residuals(tuple(down), mid)


def active(control: Control, step: int, steps: int) -> bool:
    """Whether `control` acts at `step` (from 0) of the `steps` that are run, by the rule of diffusers' `controlnet_keep`."""
    return not (step / steps < control.start or (step + 1) / steps > control.end)


def _scaled(residual: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    """Multiplied in float32 and rounded once, as by a plain number, whatever the residual's dtype."""
    return (residual * column).to(residual.dtype)


def _layers(config: Any) -> tuple[int, ...]:
    """ResNets in each block; a config may say one number for all."""
    layers = config.layers_per_block
    return (layers,) * len(config.block_out_channels) if isinstance(layers, int) else tuple(layers)


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
