"""What the peers share: the embedded model in diffusers' own pipeline, in bfloat16 and channels-last, and one request."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from pydantic import BaseModel

from diffuserve.engine.diffusion import device

FOLDER = Path(__file__).resolve().parents[2] / "src/diffuserve/embedded/emoji-mini"


class Request(BaseModel):
    prompt: str
    steps: int
    seed: int


def load() -> StableDiffusionPipeline:
    chosen = device.choose()
    pipeline = StableDiffusionPipeline.from_pretrained(FOLDER, dtype=chosen.dtype).to(chosen.device)
    pipeline.unet.to(memory_format=torch.channels_last)
    pipeline.vae.to(memory_format=torch.channels_last)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(pipeline: StableDiffusionPipeline, request: Request) -> Image.Image:
    # Noise in float32 whatever the model's dtype, so that a seed means the same picture as in diffuserve.
    size = pipeline.unet.config.sample_size
    noise = torch.randn(
        (1, pipeline.unet.config.in_channels, size, size), generator=torch.Generator("cpu").manual_seed(request.seed)
    )
    return pipeline(
        request.prompt,
        num_inference_steps=request.steps,
        guidance_scale=3.0,
        latents=noise.to(pipeline.unet.dtype),
    ).images[0]
