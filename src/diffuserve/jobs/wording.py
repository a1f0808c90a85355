"""The words of a request: its style put around them, its LoRA tags taken out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from diffuserve.core.errors import InvalidParameter, MissingParameter
from diffuserve.core.model import ModelInfo
from diffuserve.core.request import GenerationRequest, Lora
from diffuserve.jobs.catalog import Catalog
from diffuserve.jobs.checks import Limits, number, text
from diffuserve.prompts import lora_tags, styles

_MAX_WEIGHT = 10.0
_MOST_NAMES = 5


@dataclass(frozen=True, slots=True)
class Wording:
    """What is drawn, in words."""

    prompt: str
    negative_prompt: str
    loras: tuple[Lora, ...]
    """Catalog names, each once, none with weight 0."""
    notes: tuple[str, ...]


def worded(request: GenerationRequest, model: ModelInfo, catalog: Catalog, limits: Limits) -> Wording:
    """Raises MissingParameter, InvalidParameter."""
    prompt, negative = text("prompt", request.prompt, limits), text("negative_prompt", request.negative_prompt, limits)
    if not prompt.strip():
        raise MissingParameter("prompt")
    if request.style is not None:
        prompt, negative = styles.apply(styles.find(request.style), prompt, negative)
    prompt, wanted, notes = lora_tags.split(prompt)
    negative, unwanted, more = lora_tags.split(negative)
    tagged, unknown = _known((*wanted, *unwanted), model, catalog)
    named = [_found(lora, model, catalog) for lora in request.loras]
    return Wording(
        prompt, negative, _mixed([*tagged, *named]), tuple(dict.fromkeys((*notes, *more, *_left_out(unknown, model))))
    )


def _known(tags: Sequence[Lora], model: ModelInfo, catalog: Catalog) -> tuple[list[Lora], list[str]]:
    """The tags whose LoRA is there, and the names of the others: a prompt from elsewhere is drawn without them."""
    known, unknown = [], []
    for tag in tags:
        try:
            known.append(_found(tag, model, catalog))
        except InvalidParameter:
            unknown.append(tag.name)
    return known, list(dict.fromkeys(unknown))


def _found(lora: Lora, model: ModelInfo, catalog: Catalog) -> Lora:
    return Lora(catalog.find_lora(lora.name, model).name, lora.weight)


def _mixed(loras: Sequence[Lora]) -> tuple[Lora, ...]:
    """Each LoRA once: weights of several mentions add up."""
    weights: dict[str, float] = {}
    for lora in loras:
        weight = number("loras.weight", lora.weight, -_MAX_WEIGHT, _MAX_WEIGHT)
        weights[lora.name] = weights.get(lora.name, 0.0) + weight
    mixed = {name: number("loras.weight", weight, -_MAX_WEIGHT, _MAX_WEIGHT) for name, weight in weights.items()}
    # 0.1 + 0.2 - 0.3 is meant to be nothing.
    return tuple(Lora(name, weight) for name, weight in mixed.items() if not math.isclose(weight, 0.0, abs_tol=1e-9))


def _left_out(names: Sequence[str], model: ModelInfo) -> tuple[str, ...]:
    if not names:
        return ()
    shown = ", ".join(names[:_MOST_NAMES]) + (" and others" if len(names) > _MOST_NAMES else "")
    return (f"there is no LoRA {shown} for the model {model.name}: drawn without",)
