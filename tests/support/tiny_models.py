"""Small models with random weights in the layout of real ones, saved as diffusers folders: what the engine is tested on.

The tokenizer knows single bytes only, so any text in any language has tokens. Weights are seeded: every run is the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from diffuserve.core.model import Family, ModelInfo, NativeRange

SIZE = 64
FACTOR = 2
"""The tiny VAE halves each side, so 64 pixels are 32 latents."""

_BLOCKS = {
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "sample_size": SIZE // FACTOR,
    "norm_num_groups": 16,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
}


def save_sd15(folder: Path, *, latent_channels: int = 4, **unet: Any) -> Path:
    """A `StableDiffusionPipeline` folder; `unet` overrides the UNet's config."""
    torch.manual_seed(1)
    StableDiffusionPipeline(
        vae=_vae(latent_channels),
        text_encoder=CLIPTextModel(_text_config()),
        tokenizer=tokenizer(),
        unet=UNet2DConditionModel(
            **{
                **_BLOCKS,
                "in_channels": latent_channels,
                "out_channels": latent_channels,
                "cross_attention_dim": 32,
                "attention_head_dim": 8,
                **unet,
            }
        ),
        scheduler=_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def save_sdxl(folder: Path) -> Path:
    """A `StableDiffusionXLPipeline` folder."""
    torch.manual_seed(2)
    StableDiffusionXLPipeline(
        vae=_vae(4),
        text_encoder=CLIPTextModel(_text_config(hidden_act="gelu")),
        text_encoder_2=CLIPTextModelWithProjection(_text_config(hidden_act="gelu")),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(pad="!"),
        unet=UNet2DConditionModel(
            **_BLOCKS,
            cross_attention_dim=64,
            attention_head_dim=(2, 4),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            transformer_layers_per_block=(1, 2),
            projection_class_embeddings_input_dim=80,
        ),
        scheduler=_scheduler(),
    ).save_pretrained(folder)
    return folder


def save_tiny_vae(folder: Path) -> Path:
    """An SD1.5-like folder whose autoencoder is an `AutoencoderTiny` with 8 latent channels, as the embedded model's."""
    save_sd15(folder, latent_channels=8)
    torch.manual_seed(3)
    shape = {"encoder_block_out_channels": (16, 16), "decoder_block_out_channels": (16, 16)}
    AutoencoderTiny(
        **shape, num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1), latent_channels=8, scaling_factor=1.3
    ).save_pretrained(folder / "vae")
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace("AutoencoderKL", "AutoencoderTiny"))
    return folder


def info(folder: Path, family: Family, name: str = "tiny") -> ModelInfo:
    return ModelInfo(name, family, str(folder), SIZE, NativeRange(32, 96), FACTOR, "euler", 5, 5.0)


def tokenizer(pad: str | None = None) -> CLIPTokenizer:
    """Bytes only: 256 of them, each bare and as a word's end, then begin, end and perhaps a padding token."""
    characters = _byte_characters()
    tokens = [*characters, *(c + "</w>" for c in characters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=[], pad_token=pad or "<|endoftext|>", model_max_length=77)


def _byte_characters() -> list[str]:
    """The printable stand-ins of the 256 bytes in byte-level BPE: printable bytes stand for themselves."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(others)) for b in range(256)]


def _text_config(**overrides: Any) -> CLIPTextConfig:
    return CLIPTextConfig(
        **{
            "bos_token_id": 512,
            "eos_token_id": 513,
            "pad_token_id": 513,
            "hidden_size": 32,
            "intermediate_size": 37,
            "num_attention_heads": 4,
            "num_hidden_layers": 5,
            "vocab_size": 514,
            "max_position_embeddings": 77,
            "projection_dim": 32,
            **overrides,
        }
    )


def _vae(latent_channels: int) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(32, 64),
        latent_channels=latent_channels,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        sample_size=SIZE,
    )


def _scheduler() -> EulerDiscreteScheduler:
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        timestep_spacing="leading",
    )
