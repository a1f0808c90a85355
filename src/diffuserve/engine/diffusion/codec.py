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

from diffuserve.core.errors import GenerationFailed
from diffuserve.core.request import Upscaler
from diffuserve.engine.diffusion.models import Model

PREVIEW_LATENTS = 32
"""Latents are reduced to at most this many cells a side before a preview is decoded, so that it costs little."""


TILED_ABOVE = 128
"""Latents with a longer side are decoded in overlapping tiles, so that memory stays bounded at any size: 2048x2048 at once
would take 15 GB."""


@dataclass(frozen=True, slots=True)
class Pixels:
    width: int
    height: int
    data: bytes
    """RGB, 8 bits, row after row."""


def encode(model: Model, picture: bytes, noise: torch.Generator) -> torch.Tensor:
    """A PNG at canvas size to scaled latents (1, C, h, w) float32; a KL autoencoder samples from `noise`, as diffusers does."""
    return _encoded(model, _pixels(model, picture), noise)


def encode_masked(model: Model, picture: bytes, mask: torch.Tensor, noise: torch.Generator) -> torch.Tensor:
    """The same of what the mask, (1, 1, H, W) of 0 and 1, leaves to be seen; grey elsewhere."""
    return _encoded(model, _pixels(model, picture) * (mask < 0.5), noise)


def enlarged(
    model: Model, latents: torch.Tensor, width: int, height: int, upscaler: Upscaler, noise: torch.Generator
) -> torch.Tensor:
    """Finished latents as the latents of the same picture at `width` x `height`, enlarged in pixels."""
    pixels = decode(model, latents)
    picture = Image.frombytes("RGB", (pixels.width, pixels.height), pixels.data)
    filtering = Image.Resampling.NEAREST if upscaler is Upscaler.NEAREST else Image.Resampling.LANCZOS
    return _encoded(model, _tensor(model, picture.resize((width, height), filtering)), noise)


def mask(model: Model, picture: bytes, height: int, width: int) -> torch.Tensor:
    """A mask's PNG as (1, 1, height, width) of 0 and 1 (repaint) float32; half grey and lighter is 1."""
    with Image.open(io.BytesIO(picture)) as image:
        grey = image.convert("L")
    if grey.size != (width, height):
        grey = grey.resize((width, height), Image.Resampling.NEAREST)
    flat = torch.frombuffer(bytearray(grey.tobytes()), dtype=torch.uint8).view(1, 1, height, width)
    return (flat.to(model.device.device) >= 128).to(torch.float32)


def mask_cells(model: Model, mask: torch.Tensor) -> torch.Tensor:
    """The mask at the size of the latents, (1, 1, h, w)."""
    size = (mask.shape[2] // model.info.multiple, mask.shape[3] // model.info.multiple)
    return torch.nn.functional.interpolate(mask, size=size)


def decode(model: Model, latents: torch.Tensor) -> Pixels:
    """Finished latents (1, C, h, w) to pixels. Raises GenerationFailed where the model drew nothing but NaN or infinity."""
    decoded = _decoded(model, _unscaled(latents, model.vae.config)).to(torch.float32)
    if not torch.isfinite(decoded).all():
        raise not_numbers("picture")
    bytes_ = decoded.div(2).add(0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    rows = bytes_[0].permute(1, 2, 0).contiguous().cpu()
    return Pixels(rows.shape[1], rows.shape[0], rows.numpy().tobytes())


def not_numbers(what: str) -> GenerationFailed:
    return GenerationFailed(
        f"the model made a {what} of values that are not numbers: its numbers overflow in this precision; "
        "start the server with --dtype bfloat16 or float32"
    )


def _decoded(model: Model, latents: torch.Tensor) -> torch.Tensor:
    vae = model.vae
    vae.use_tiling = max(latents.shape[-2:]) > TILED_ABOVE and _tiles(model)
    return vae.decode(latents.to(vae.dtype).contiguous(memory_format=torch.channels_last), return_dict=False)[0]


def _tiles(model: Model, *, encoding: bool = False) -> bool:
    """Whether diffusers can cut this autoencoder's work into tiles: those of `AutoencoderTiny` are made for a factor of 8 and,
    on the way in, for 4 channels, whatever it has. It is small enough to take a picture whole."""
    from diffusers import AutoencoderTiny

    if not isinstance(model.vae, AutoencoderTiny):
        return True
    return model.info.multiple == 8 and not (encoding and model.latent_channels != 4)


def _encoded(model: Model, pixels: torch.Tensor, noise: torch.Generator) -> torch.Tensor:
    vae = model.vae
    vae.use_tiling = max(pixels.shape[-2:]) > TILED_ABOVE * model.info.multiple and _tiles(model, encoding=True)
    encoded = vae.encode(pixels.to(vae.dtype).contiguous(memory_format=torch.channels_last))
    latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.sample(noise)
    return _scaled(latents.to(torch.float32), vae.config)


def _pixels(model: Model, picture: bytes) -> torch.Tensor:
    with Image.open(io.BytesIO(picture)) as image:
        return _tensor(model, image.convert("RGB"))


def _tensor(model: Model, picture: Image.Image) -> torch.Tensor:
    """(1, 3, H, W) float32, -1..1."""
    flat = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    pixels = flat.view(picture.height, picture.width, 3).permute(2, 0, 1)[None].to(model.device.device)
    return pixels.to(torch.float32) / 127.5 - 1


def preview(model: Model, latents: torch.Tensor) -> Pixels:
    """A look at unfinished latents: decoded like finished ones, at reduced size, whatever they hold."""
    longest = max(latents.shape[-2:])
    small = latents.to(torch.float32)
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
