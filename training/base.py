"""The embedded model, frozen: what every training here starts from and never changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextModel, CLIPTokenizer


class Base:
    def __init__(self, folder: Path, dtype: torch.dtype = torch.bfloat16) -> None:
        self.unet: Any = _still(UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=dtype))
        self.unet.to(memory_format=torch.channels_last)
        self._text = _still(CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32))
        self._tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        self._folder = folder
        self._read: dict[str, torch.Tensor] = {}
        self._kept = DDIMScheduler.from_pretrained(folder / "scheduler").alphas_cumprod

    def context(self, captions: Sequence[str]) -> torch.Tensor:
        """(B, 32, 256): what the text encoder makes of them. It remembers: captions come again and again."""
        new = sorted(set(captions) - self._read.keys())
        if new:
            ids = self._tokenizer(new, padding="max_length", truncation=True, return_tensors="pt").input_ids
            with torch.no_grad():
                self._read.update(zip(new, self._text(ids).last_hidden_state.bfloat16(), strict=True))
        return torch.stack([self._read[caption] for caption in captions])

    def latents(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 128, 128, 3) bytes to (N, 8, 16, 16), scaled as the UNet takes them."""
        vae = _still(AutoencoderTiny.from_pretrained(self._folder / "vae", torch_dtype=torch.bfloat16))
        found = []
        with torch.no_grad():
            for part in pictures.split(32):
                pixels = part.permute(0, 3, 1, 2).to(torch.bfloat16).div(127.5).sub(1)
                found.append(vae.encoder(pixels.contiguous(memory_format=torch.channels_last)).float())
        return torch.cat(found) * vae.config.scaling_factor

    def pictures(self, latents: torch.Tensor) -> list[Image.Image]:
        """The reverse of `latents`, to look at what the autoencoder makes of a look."""
        vae = _still(AutoencoderTiny.from_pretrained(self._folder / "vae"))
        with torch.no_grad():
            pixels = vae.decode(latents / vae.config.scaling_factor).sample
        rows = pixels.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        return [Image.fromarray(row) for row in rows]

    def noised(self, clean: torch.Tensor, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Timesteps spread evenly over the batch, the latents at those levels of noise, and the *v* to predict."""
        rows = len(clean)
        spread = (torch.rand(1, generator=rng) + torch.arange(rows) / rows) % 1
        times = (spread * len(self._kept)).long()[torch.randperm(rows, generator=rng)]
        kept = self._kept[times].view(-1, 1, 1, 1)
        noise = torch.randn(clean.shape, generator=rng)
        return times, kept.sqrt() * clean + (1 - kept).sqrt() * noise, kept.sqrt() * noise - (1 - kept).sqrt() * clean


def cosine(step: int, steps: int, warm_up: int = 40) -> float:
    """The factor on a learning rate: up in `warm_up` steps, then down along a cosine to 3 %."""
    return min(1.0, (step + 1) / warm_up) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _still(module: Any) -> Any:
    return module.eval().requires_grad_(False)
