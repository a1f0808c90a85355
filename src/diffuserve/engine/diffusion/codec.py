"""The VAE: pictures to latents and back, and rough previews. Pixels leave as 8-bit RGB bytes.

Works with `AutoencoderKL` (a distribution to sample from, optional mean and deviation of its latents) and with
`AutoencoderTiny` (plain latents); nothing here counts their channels.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from diffuserve.engine.diffusion.models import Model

PREVIEW_LATENTS = 32
"""Latents are reduced to at most this many cells a side before a preview is decoded, so that it costs little."""


@dataclass(frozen=True, slots=True)
class Pixels:
    width: int
    height: int
    data: bytes
    """RGB, 8 bits, row after row."""


def encode(model: Model, picture: bytes, noise: torch.Generator) -> torch.Tensor:
    """A PNG at canvas size to scaled latents (1, C, h, w) float32; a KL autoencoder samples from `noise`, as diffusers does."""
    with Image.open(io.BytesIO(picture)) as image:
        rgb = image.convert("RGB")
        flat = torch.frombuffer(bytearray(rgb.tobytes()), dtype=torch.uint8)
    pixels = flat.view(rgb.height, rgb.width, 3).permute(2, 0, 1)[None].to(model.device.device)
    encoded = model.vae.encode((pixels.float() / 127.5 - 1).to(model.vae.dtype))
    latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.sample(noise)
    return _scaled(latents.float(), model.vae.config)


def decode(model: Model, latents: torch.Tensor) -> Pixels:
    """Finished latents (1, C, h, w) to pixels. Raises ArithmeticError where the model drew nothing but NaN or infinity."""
    decoded = model.vae.decode(
        _unscaled(latents, model.vae.config).to(model.vae.dtype).contiguous(memory_format=torch.channels_last),
        return_dict=False,
    )[0].float()
    if not torch.isfinite(decoded).all():
        raise ArithmeticError("the model produced values that are not numbers; try --dtype float32 or bfloat16")
    bytes_ = decoded.div(2).add(0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    rows = bytes_[0].permute(1, 2, 0).contiguous().cpu()
    return Pixels(rows.shape[1], rows.shape[0], rows.numpy().tobytes())


def preview(model: Model, latents: torch.Tensor) -> Pixels:
    """A look at unfinished latents: decoded like finished ones, at reduced size, whatever they hold."""
    longest = max(latents.shape[-2:])
    small = latents.float()
    if longest > PREVIEW_LATENTS:
        small = torch.nn.functional.interpolate(small, scale_factor=PREVIEW_LATENTS / longest, mode="area")
    return decode(model, small.nan_to_num(0.0, 0.0, 0.0))


def _scaled(latents: torch.Tensor, config: Any) -> torch.Tensor:
    mean, deviation = _statistics(latents, config)
    if mean is None or deviation is None:
        return latents * config.scaling_factor
    return (latents - mean) * config.scaling_factor / deviation


def _unscaled(latents: torch.Tensor, config: Any) -> torch.Tensor:
    mean, deviation = _statistics(latents, config)
    if mean is None or deviation is None:
        return latents / config.scaling_factor
    return latents * deviation / config.scaling_factor + mean


def _statistics(latents: torch.Tensor, config: Any) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """The mean and deviation of latents, by channel, that some SDXL autoencoders state."""

    def column(name: str) -> torch.Tensor | None:
        values = getattr(config, name, None)
        return None if values is None else torch.tensor(values).view(1, -1, 1, 1).to(latents)

    return column("latents_mean"), column("latents_std")
