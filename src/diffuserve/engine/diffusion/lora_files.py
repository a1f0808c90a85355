"""A LoRA's file to pairs of factors by the names that the file has for their places. Nothing is unpickled or skipped.

Read here: PEFT's and diffusers' layouts, those of diffusers' old attention processors, kohya's, and LoCon's convolutions.
Everything that sets the strength of a module (alpha, PEFT's config in the header) ends in one number, its `scale`.
`lora_names.py` knows which module a name means.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from diffuserve.checkpoints.header import read_header
from diffuserve.core.errors import ConfigurationError
from diffuserve.engine.diffusion.lora_names import part_of


class Unusable(Exception):
    """The reason completes the sentence "LoRA x cannot be used: ..."."""


@dataclass(frozen=True, slots=True)
class Factors:
    """`scale * up @ down` is added to a module's weight; on the processor, in the precision of the file."""

    down: torch.Tensor
    """(rank, in), of convolutions (rank, in, height, width); a file may have 1x1 for a linear layer, and the reverse."""
    up: torch.Tensor
    """(out, rank) or (out, rank, 1, 1)."""
    scale: float


# What the tensors of one place are for, by how their names end. PEFT may put the adapter's own name before "weight".
_ROLES = {
    "down": re.compile(r"(\.lora_A(\.[^.]+)?|\.lora_down|[._]lora\.down|\.lora_linear_layer\.down)\.weight$"),
    "up": re.compile(r"(\.lora_B(\.[^.]+)?|\.lora_up|[._]lora\.up|\.lora_linear_layer\.up)\.weight$"),
    "mid": re.compile(r"\.lora_mid\.weight$"),
    "alpha": re.compile(r"\.alpha$"),
}

# Other kinds of adaptation, by what only their tensors' names have.
_OTHER_KINDS = (
    (re.compile(r"\.hada_"), "a LoHa"),
    (re.compile(r"\.lokr_"), "a LoKr"),
    (re.compile(r"dora_scale|lora_magnitude_vector"), "a DoRA"),
    (re.compile(r"\.b?oft_"), "an OFT"),
    (re.compile(r"^lora_controlnet"), "a Control-LoRA"),
    (re.compile(r"lora_embedding_"), "a LoRA of embeddings"),
    (re.compile(r"lora_(B(\.[^.]+)?|up)\.bias$"), "a LoRA with biases"),
    (re.compile(r"\.diff(_b)?$"), "made of whole weights' differences"),
    (re.compile(r"^bundle_emb"), "bundled with embeddings"),
)

_CONFIG = "lora_adapter_metadata"
"""Where diffusers keeps PEFT's config in a file's header, the parts' names before its keys."""


def read(path: Path) -> dict[str, Factors]:
    """All that `path` holds, by the names of its places. Raises Unusable."""
    tensors, metadata = _open(path)
    config = _config(metadata)
    found: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
    for key, tensor in tensors.items():
        name, role = _place(key)
        if role in found[name]:
            raise Unusable(f"it changes {name} twice")
        found[name][role] = tensor
    if not found:
        raise Unusable("its file is empty")
    return {name: _factors(name, roles, config) for name, roles in found.items()}


def _open(path: Path) -> tuple[dict[str, torch.Tensor], Mapping[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        read_header(path)  # says in words what is wrong with a file
        with safe_open(path, framework="pt", device="cpu") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118 - no mapping
    except ConfigurationError as error:
        raise Unusable(error.message.replace(str(path), "its file")) from None  # callers need not know where it lies
    except (SafetensorError, OSError):
        raise Unusable("its file is damaged") from None


def _place(key: str) -> tuple[str, str]:
    for mark, kind in _OTHER_KINDS:
        if mark.search(key):
            raise Unusable(f"it is {kind}, which is not supported")
    for role, ending in _ROLES.items():
        if match := ending.search(key):
            return key[: match.start()].replace(".processor.", "."), role
    raise Unusable(f"its tensor {key} is none that LoRAs have")


def _factors(name: str, roles: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> Factors:
    for role in ("down", "up"):
        if role not in roles:
            raise Unusable(f"it is incomplete: {name} has no {role} tensor")
        if roles[role].ndim not in (2, 4) or not roles[role].numel() or not roles[role].is_floating_point():
            raise Unusable(f"the {role} tensor of {name} is no matrix of real numbers")
    down = roles["down"]
    if "mid" in roles:
        down = _joined(name, down, roles["mid"])
    if "alpha" not in roles:
        return Factors(down, roles["up"], _configured(name, down.shape[0], config))
    if roles["alpha"].numel() != 1:
        raise Unusable(f"the alpha of {name} is not one number")
    return Factors(down, roles["up"], float(roles["alpha"]) / down.shape[0])


def _joined(name: str, down: torch.Tensor, mid: torch.Tensor) -> torch.Tensor:
    """LoCon may keep a convolution's first factor in two: 1x1 into the rank, then the kernel. Here it is one again."""
    if mid.ndim != 4 or down.shape[2:] not in ((), (1, 1)) or mid.shape[:2] != (down.shape[0], down.shape[0]):
        raise Unusable(f"the mid tensor of {name} does not match its down tensor")
    return torch.einsum("rskl,si->rikl", mid.to(torch.float32), down.flatten(1).to(torch.float32))


def _config(metadata: Mapping[str, str]) -> Mapping[str, Any]:
    try:
        config = json.loads(metadata.get(_CONFIG, "{}"))
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise Unusable(f"the {_CONFIG} in its header cannot be read")
    return config


def _configured(name: str, rank: int, config: Mapping[str, Any]) -> float:
    """The scale that PEFT would use: alpha / rank, or alpha / sqrt(rank) (arXiv:2312.03732); 1 where nothing is said."""
    part, module = part_of(name)
    prefix = f"{part}." if name.startswith(f"{part}.") else ""
    try:
        alpha = config.get(f"{prefix}lora_alpha", rank)
        for pattern, other in (config.get(f"{prefix}alpha_pattern") or {}).items():
            if re.fullmatch(rf"(.*\.)?({pattern})", module):
                alpha = other
                break
        return float(alpha) / (math.sqrt(rank) if config.get(f"{prefix}use_rslora") else rank)
    except (TypeError, ValueError, AttributeError, re.error):
        raise Unusable(f"the {_CONFIG} in its header cannot be read") from None
