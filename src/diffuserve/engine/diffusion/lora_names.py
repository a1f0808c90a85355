"""What LoRA files call the places of a model: every layout's spelling of each module, made from the model's own names.

Spelling the model's modules instead of reading the files' names needs no guess: a name is in the table or the LoRA is not
for this model. The layouts are PEFT's and diffusers' (dots), kohya's (underscores), and kohya's for SDXL, whose trainer
has the original blocks (`input_blocks`, as in Stability's generative-models). Read `lora_files.py` next.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

UNET = "unet"
ENCODERS = ("text_encoder", "text_encoder_2")
"""The parts of a model that a LoRA may change; a model with one text encoder has the first."""

_PREFIXES = (
    ("unet.", UNET),
    ("lora_unet_", UNET),
    ("text_encoder.", ENCODERS[0]),
    ("lora_te_", ENCODERS[0]),
    ("lora_te1_", ENCODERS[0]),
    ("text_encoder_2.", ENCODERS[1]),
    ("lora_te2_", ENCODERS[1]),
)

_WRAPPER = "text_model."
"""Older transformers keep a text encoder's layers in a module of this name, newer ones do not; files have either."""

_ENDS = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_IN_RESNETS = {
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_SIDE = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")


def part_of(name: str) -> tuple[str, str]:
    """The part of the model that a file's name is about, and the rest of the name.

    The first files of diffusers, which knew LoRAs of UNets only, have no prefix.
    """
    for prefix, part in _PREFIXES:
        if name.startswith(prefix):
            return part, name.removeprefix(prefix)
    return UNET, name


def unet_spellings(modules: Iterable[str], layers: object) -> dict[str, str]:
    """The module by each of its spellings; `layers` is the UNet's `layers_per_block`."""
    modules = list(modules)
    attentive = {
        int(match[2])
        for match in map(_SIDE.fullmatch, modules)
        if match and match[1] == "up" and match[3] == "attentions"
    }
    spelled: dict[str, str] = {}
    for module in modules:
        # Attention processors, which LoRAs once were, had no list of one layer there.
        names = [module, module.replace(".to_out.0", ".to_out"), _underscored(module)]
        if isinstance(layers, int) and (original := _original(module, layers, attentive)):
            names.append(_underscored(original))
        spelled |= dict.fromkeys(names, module)
    return spelled


def text_spellings(modules: Iterable[str]) -> dict[str, str]:
    """The same of a text encoder."""
    spelled: dict[str, str] = {}
    for module in modules:
        bare = module.removeprefix(_WRAPPER)
        for name in (bare, _WRAPPER + bare):
            old = re.sub(r"\.([qkv])_proj$", r".to_\1", name).replace(".out_proj", ".to_out")
            spelled |= dict.fromkeys((name, old, _underscored(name)), module)
    return spelled


def _underscored(name: str) -> str:
    return name.replace(".", "_")


def _original(module: str, layers: int, attentive: set[int]) -> str | None:
    """A UNet's module in the original layout: blocks are counted through, and end with what halves or doubles the size."""
    if module in _ENDS:
        return _ENDS[module]
    if match := _MIDDLE.fullmatch(module):
        kind, index, rest = match.groups()
        return f"middle_block.{1 if kind == 'attentions' else 2 * int(index)}.{_IN_RESNETS.get(rest, rest)}"
    if match := _SIDE.fullmatch(module):
        side, block, kind, index, rest = match.groups()
        place = int(block) * (layers + 1) + (layers if kind.endswith("samplers") else int(index))
        if side == "down":
            return f"input_blocks.{place + 1}.{_down(kind, rest)}"
        return f"output_blocks.{place}.{_up(kind, rest, int(block) in attentive)}"
    return None


def _down(kind: str, rest: str) -> str:
    if kind == "downsamplers":
        return "0.op"
    return f"1.{rest}" if kind == "attentions" else f"0.{_IN_RESNETS.get(rest, rest)}"


def _up(kind: str, rest: str, attentive: bool) -> str:
    if kind == "upsamplers":
        return f"{2 if attentive else 1}.{rest}"
    return f"1.{rest}" if kind == "attentions" else f"0.{_IN_RESNETS.get(rest, rest)}"
