"""What a LoRA file is for, by the names and shapes of its tensors: diffusers', PEFT's and kohya's layouts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from diffuserve.checkpoints.entries import LoraEntry
from diffuserve.checkpoints.header import TensorEntry, read_file
from diffuserve.core.errors import ConfigurationError
from diffuserve.core.model import Family, LoraInfo, ModelInfo

_SUFFIX = r"(?:\.lora_down|\.lora_A(?:\.[^.]+)?|[._]lora\.down|\.lora_linear_layer\.down)\.weight$"
_DOWN = re.compile(_SUFFIX)
_CONTEXT = re.compile(r"attn2[._](?:processor[._])?to_[kv]" + _SUFFIX)
"""What reduces the text embeddings that cross-attention reads: (rank, their width)."""
_SDXL = re.compile(
    r"lora_te2_|text_encoder_2\.|(?:input|output)_blocks|middle_block|add_embedding|transformer_blocks[._][1-9]"
)
_SD15 = re.compile(r"(?:down_blocks[._]0|up_blocks[._]3)[._]attentions|lora_te_|text_encoder\.")
_OTHER_KINDS = (
    (re.compile(r"\.hada_"), "LoHa"),
    (re.compile(r"\.lokr_"), "LoKr"),
    (re.compile(r"\.b?oft_"), "OFT"),
    (re.compile(r"dora_scale|lora_magnitude_vector"), "DoRA"),
    (re.compile(r"^lora_controlnet"), "Control-LoRA"),
)


def describe_lora(path: Path, entry: LoraEntry, named: Sequence[ModelInfo] = ()) -> LoraInfo:
    """The catalog entry of the LoRA at `path`. `named` are the models that its owner says it fits, who is
    believed.

    Raises ConfigurationError: nothing is there, it is a pickle, cut off, no LoRA or one of another kind, or its family
    cannot be told.
    """
    tensors = read_file(path, "LoRA")
    _check(path, tensors)
    width = next((one.shape[1] for name, one in tensors.items() if _CONTEXT.search(name) and len(one.shape) > 1), 0)
    family = named[0].family if named else _family(path, tensors, width)
    return LoraInfo(
        name=entry.name,
        family=family,
        path=str(path),
        models=tuple(model.name for model in named),
        aliases=entry.aliases,
        description=entry.description,
        context_width=width,
    )


def _check(path: Path, tensors: Mapping[str, TensorEntry]) -> None:
    for mark, kind in _OTHER_KINDS:
        if any(mark.search(name) for name in tensors):
            raise ConfigurationError(f"{path} is of the kind {kind}, which is not supported: only plain LoRAs are")
    if not any(_DOWN.search(name) for name in tensors):
        whole = any(name.startswith("model.diffusion_model.") for name in tensors)
        raise ConfigurationError(f"{path} is {'a whole model, not a LoRA: list it as one' if whole else 'not a LoRA'}")


def _family(path: Path, tensors: Mapping[str, TensorEntry], width: int) -> Family:
    """By the width, where it has one; else by what only one family's modules are called."""
    if width == 768 or width == 1024:  # SD 1.x and 2.x
        return Family.SD15
    if width == 2048 or any(_SDXL.search(name) for name in tensors):
        return Family.SDXL
    if width or any(_SD15.search(name) for name in tensors):
        return Family.SD15
    raise ConfigurationError(
        f'{path} does not show which family of models it is for: name those that it fits, models = ["..."]'
    )
