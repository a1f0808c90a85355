"""What an IP-Adapter's file is for, and whether its image encoder is the one that it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from diffuserve.checkpoints.controlnet import read_parts
from diffuserve.checkpoints.entries import AdapterEntry
from diffuserve.checkpoints.header import TensorEntry, read_file
from diffuserve.core.errors import ConfigurationError
from diffuserve.core.model import AdapterInfo, Family, ModelInfo

_KINDS = (
    # (by which tensor the kind is known, whose second side is the width of what it reads, of which the encoder's config
    # says the width)
    ("image_proj.proj.weight", "image_proj.proj.weight", "projection_dim"),
    ("image_proj.proj.3.weight", "image_proj.proj.0.weight", "hidden_size"),
    ("image_proj.latents", "image_proj.proj_in.weight", "hidden_size"),
)
_KEYS = "to_k_ip.weight"
_DEFAULTS = {"projection_dim": 512, "hidden_size": 768}
"""Of transformers, for a config that does not say."""


def describe_adapter(path: Path, encoder: Path, entry: AdapterEntry, named: Sequence[ModelInfo] = ()) -> AdapterInfo:
    """The catalog entry of the IP-Adapter at `path`, which reads pictures through `encoder`. `named` are the models that
    its owner says it fits.

    Raises ConfigurationError: one of the two is missing, a pickle or cut off; it is a FaceID adapter or none; the encoder
    is not the one that it was trained with.
    """
    tensors = read_file(path, "IP-Adapter")
    reads, says = _kind(path, tensors)
    _check_encoder(path, encoder, reads, says)
    # Of shape (channels of the attention, width of the text embeddings that it takes otherwise).
    width = next(one.shape[1] for name, one in tensors.items() if name.endswith(_KEYS) and len(one.shape) == 2)
    family = Family.SDXL if width == 2048 else Family.SD15
    return AdapterInfo(
        name=entry.name,
        family=named[0].family if named else family,
        path=str(path),
        image_encoder=str(encoder),
        models=tuple(model.name for model in named),
        aliases=entry.aliases,
        description=entry.description,
        context_width=width,
    )


def _kind(path: Path, tensors: Mapping[str, TensorEntry]) -> tuple[int, str]:
    """The width of the embeddings that it reads, and what the encoder's config calls that."""
    if not any(name.startswith("ip_adapter.") and name.endswith(_KEYS) for name in tensors):
        raise ConfigurationError(f"{path} is not an IP-Adapter")
    face = "image_proj.norm.weight" in tensors and "image_proj.proj.weight" not in tensors
    if any("_lora." in name or "perceiver_resampler" in name for name in tensors) or (
        face and "image_proj.latents" not in tensors
    ):
        raise ConfigurationError(
            f"{path} is a FaceID adapter, which wants InsightFace instead of a CLIP encoder: take a base, plus or full one"
        )
    for mark, reads, says in _KINDS:
        if mark in tensors and reads in tensors and len(tensors[reads].shape) == 2:
            return tensors[reads].shape[1], says
    raise ConfigurationError(f"{path} is an IP-Adapter of an unknown kind: base, plus and full ones are supported")


def _check_encoder(path: Path, encoder: Path, reads: int, says: str) -> None:
    config = read_parts(encoder, "model", "image encoder")
    if config.get("model_type") != "clip_vision_model":
        raise ConfigurationError(f"{encoder} is not a CLIP vision model, which an IP-Adapter needs")
    gives = config.get(says, _DEFAULTS[says])
    if gives != reads:
        raise ConfigurationError(
            f"{encoder} is not the image encoder of {path}: it gives embeddings of {gives} channels, not {reads}"
        )
