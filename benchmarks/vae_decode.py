"""Finished latents to 8-bit pixels on the processor: our `codec.decode` against diffusers' VAE and image processor, as they are
loaded and channels-last; the embedded model's VAE, and one of SD1.5's shape with random weights."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils.logging import disable_progress_bar

import common
import racing
import shapes
from diffuserve.checkpoints import inspect
from diffuserve.engine.diffusion import codec, device, models

EMBEDDED = common.ROOT / "src/diffuserve/embedded/emoji-mini"
SMALL = {"block_out_channels": (32, 32, 32, 32), "attention_head_dim": 8, "cross_attention_dim": 32}
BRIEF = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 4, "num_hidden_layers": 1}
"""The UNet and the text encoder are not used here."""


class Contest:
    def __init__(self, folder: Path, size: int) -> None:
        chosen = device.choose("cpu")
        self.model = models.load(inspect.describe(folder, "it"), chosen)
        side, noise = size // self.model.info.multiple, torch.Generator().manual_seed(1)
        self.latents = torch.randn(1, self.model.latent_channels, side, side, generator=noise)
        stock = StableDiffusionPipeline.from_pretrained(folder, dtype=chosen.dtype)
        self._pictures = stock.image_processor
        self._vaes = {
            "eager": stock.vae,
            "channels_last": copy.deepcopy(stock.vae).to(memory_format=torch.channels_last),
        }

    def ours(self) -> np.ndarray:
        pixels = codec.decode(self.model, self.latents)
        return np.frombuffer(pixels.data, np.uint8).reshape(pixels.height, pixels.width, 3)

    def theirs(self, name: str) -> np.ndarray:
        vae = self._vaes[name]
        latents = (self.latents / vae.config.scaling_factor).to(vae.dtype)
        if name == "channels_last":
            latents = latents.contiguous(memory_format=torch.channels_last)
        decoded = vae.decode(latents, return_dict=False)[0]
        return np.asarray(self._pictures.postprocess(decoded, output_type="pil")[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=20, help="for each VAE, about")
    parser.add_argument("--size", type=int, default=512, help="of the SD1.5 shape's picture; 0 leaves it out")
    options = parser.parse_args()
    common.preload_allocator()
    disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        contests = {"embedded model": Contest(EMBEDDED, 128)}
        if options.size:
            shape = dataclasses.replace(shapes.SD15, unet={**shapes.SD15.unet, **SMALL}, encoders=(BRIEF,))
            saved = shapes.save(shape, Path(folder), device.choose("cpu").dtype)
            contests[f"SD1.5's shape, {options.size}x{options.size}"] = Contest(saved, options.size)
        figures = {name: _race(contest, options) for name, contest in contests.items()}
    common.save("vae_decode", {"dtype": device.choose("cpu").dtype_label, **figures})


def _race(contest: Contest, options: argparse.Namespace) -> dict[str, Any]:
    runners: dict[str, racing.Runner] = {
        "ours": contest.ours,
        "eager": lambda: contest.theirs("eager"),
        "channels_last": lambda: contest.theirs("channels_last"),
    }
    times = racing.race(runners, options.rounds, options.seconds)
    difference = np.abs(contest.ours().astype(float) - contest.theirs("eager").astype(float))
    return {
        **{f"{name}_seconds": racing.median(times, name) for name in runners},
        "ours_to_eager": racing.ratio(times, "ours", "eager"),
        "ours_to_channels_last": racing.ratio(times, "ours", "channels_last"),
        "mean_difference_of_255": round(float(difference.mean()), 2),
        "turns": len(times["ours"]),
    }


if __name__ == "__main__":
    main()
