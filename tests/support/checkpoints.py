"""Checkpoints that are all headers: folders and files that look like models, without torch and without weights."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PARTS = ("unet", "vae", "text_encoder")
XL_PARTS = (*PARTS, "text_encoder_2")

_SD15_FILE = {
    "model.diffusion_model.input_blocks.0.0.weight": (8, 4, 3, 3),
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (4, 4),
    "first_stage_model.decoder.conv_in.weight": (4, 4, 3, 3),
}
_SDXL_FILE = {
    "model.diffusion_model.input_blocks.0.0.weight": (8, 4, 3, 3),
    "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight": (4, 4),
    "conditioner.embedders.1.model.token_embedding.weight": (4, 4),
    "first_stage_model.decoder.conv_in.weight": (4, 4, 3, 3),
}


def safetensors(tensors: Mapping[str, tuple[int, ...]]) -> bytes:
    """A whole safetensors file with these shapes, all zeros in half precision."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in tensors.items():
        begin = end
        size = 2
        for side in shape:
            size *= side
        end += size
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def edit_json(path: Path, **changes: object) -> None:
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **changes})


def weights_of(folder: Path, part: str) -> Path:
    name = "model.safetensors" if part.startswith("text_encoder") else "diffusion_pytorch_model.safetensors"
    return folder / part / name


def sd15_folder(folder: Path) -> Path:
    """A folder in diffusers layout as of Stable Diffusion 1.5."""
    return _folder(folder, "StableDiffusionPipeline", PARTS, {"sample_size": 64, "in_channels": 4})


def sdxl_folder(folder: Path) -> Path:
    """As of SDXL."""
    unet = {"sample_size": 128, "in_channels": 4, "addition_embed_type": "text_time"}
    return _folder(folder, "StableDiffusionXLPipeline", XL_PARTS, unet)


def sd15_file(path: Path, **changes: tuple[int, ...] | None) -> Path:
    return _file(path, _SD15_FILE, changes)


def sdxl_file(path: Path, **changes: tuple[int, ...] | None) -> Path:
    return _file(path, _SDXL_FILE, changes)


def without(path: Path, prefix: str, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Path:
    """An SD 1.5 file (or `shapes`) without the tensors that begin with `prefix`."""
    chosen = _SD15_FILE if shapes is None else shapes
    path.write_bytes(safetensors({name: shape for name, shape in chosen.items() if not name.startswith(prefix)}))
    return path


def sdxl_shapes() -> dict[str, tuple[int, ...]]:
    return dict(_SDXL_FILE)


LORA_LAYOUTS = {
    "diffusers": "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight",
    "diffusers named": "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v.lora_A.default.weight",
    "older diffusers": "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.lora.down.weight",
    "oldest diffusers": "unet.mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora.down.weight",
    "peft": "base_model.model.mid_block.attentions.0.transformer_blocks.0.attn2.to_v.lora_A.weight",
    "linear layers": "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.lora_linear_layer.down.weight",
    "kohya": "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight",
}
"""What reduces the text embeddings, in each layout of a LoRA file."""


def lora_file(path: Path, width: int = 768, name: str = LORA_LAYOUTS["diffusers"]) -> Path:
    """A LoRA whose cross-attention reads text of this width."""
    return tensors_file(path, {name: (4, width)})


def tensors_file(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(safetensors(shapes))
    return path


def controlnet_folder(folder: Path, **config: object) -> Path:
    write_json(folder / "config.json", {"_class_name": "ControlNetModel", "cross_attention_dim": 768, **config})
    tensors_file(folder / "diffusion_pytorch_model.safetensors", {"conv_in.weight": (2, 2)})
    return folder


def adapter_file(path: Path, width: int = 768, reads: int = 1024, **shapes: tuple[int, ...] | None) -> Path:
    """A base IP-Adapter for text of `width`, which reads embeddings of `reads` channels."""
    base: dict[str, tuple[int, ...] | None] = {
        "image_proj.proj.weight": (4 * width, reads),
        "image_proj.norm.weight": (width,),
        "ip_adapter.1.to_k_ip.weight": (320, width),
        "ip_adapter.1.to_v_ip.weight": (320, width),
        **shapes,
    }
    return tensors_file(path, {name: shape for name, shape in base.items() if shape is not None})


def encoder_folder(folder: Path, **config: object) -> Path:
    """A CLIP vision model that gives embeddings of 1024 channels, and hidden states of 1280."""
    given = {"model_type": "clip_vision_model", "projection_dim": 1024, "hidden_size": 1280, **config}
    write_json(folder / "config.json", given)
    tensors_file(folder / "model.safetensors", {"visual_projection.weight": (2, 2)})
    return folder


def _file(path: Path, shapes: Mapping[str, tuple[int, ...]], changes: Mapping[str, tuple[int, ...] | None]) -> Path:
    mixed = {**shapes, **changes}
    path.write_bytes(safetensors({name: shape for name, shape in mixed.items() if shape is not None}))
    return path


def _folder(folder: Path, pipeline: str, parts: tuple[str, ...], unet: Mapping[str, object]) -> Path:
    write_json(folder / "model_index.json", {"_class_name": pipeline})
    write_json(folder / "unet" / "config.json", unet)
    write_json(folder / "vae" / "config.json", {"latent_channels": 4, "block_out_channels": [1, 1, 1, 1]})
    write_json(folder / "scheduler" / "scheduler_config.json", {"_class_name": "PNDMScheduler"})
    for part in parts:
        weights_of(folder, part).parent.mkdir(exist_ok=True)
        weights_of(folder, part).write_bytes(safetensors({"weight": (2, 2)}))
    for suffix in ("", "_2")[: len(parts) - 2]:
        write_json(folder / f"tokenizer{suffix}" / "vocab.json", {})
        (folder / f"tokenizer{suffix}" / "merges.txt").touch()
    return folder
