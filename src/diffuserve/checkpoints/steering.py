"""All that steers a server's models: the LoRAs, ControlNets and adapters that its owner listed, and those that a model's
folder brings along.

`lora.py`, `controlnet.py` and `adapter.py` say what lies at a path. A model folder may hold `loras/*.safetensors` and
`controlnets/*/`: these fit that model and no other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from diffuserve.checkpoints import hub
from diffuserve.checkpoints.adapter import describe_adapter
from diffuserve.checkpoints.controlnet import WEIGHTS, describe_controlnet
from diffuserve.checkpoints.entries import AdapterEntry, ControlNetEntry, LoraEntry
from diffuserve.checkpoints.lora import describe_lora
from diffuserve.core.errors import ConfigurationError
from diffuserve.core.model import AdapterInfo, ControlNetInfo, LoraInfo, ModelInfo

Listed = TypeVar("Listed", LoraEntry, ControlNetEntry)


@dataclass(frozen=True, slots=True)
class Steering:
    """Everything that is not a model."""

    loras: tuple[LoraInfo, ...] = ()
    controlnets: tuple[ControlNetInfo, ...] = ()
    adapters: tuple[AdapterInfo, ...] = ()


def collect_steering(
    models: Sequence[ModelInfo],
    loras: Sequence[LoraEntry] = (),
    controlnets: Sequence[ControlNetEntry] = (),
    adapters: Sequence[AdapterEntry] = (),
) -> Steering:
    """Listed ones first, then those that models bring along; one that is listed takes the place of one of its name.

    Raises ConfigurationError for one that is missing, damaged, of a kind that is not supported, or listed for a model
    that is not there.
    """
    return Steering(
        tuple(look_at_lora(entry, models) for entry in (*loras, *_brought(models, loras, _loras))),
        tuple(look_at_controlnet(entry, models) for entry in (*controlnets, *_brought(models, controlnets, _nets))),
        tuple(look_at_adapter(entry, models) for entry in adapters),
    )


def look_at_lora(entry: LoraEntry, models: Sequence[ModelInfo]) -> LoraInfo:
    """Raises ConfigurationError; so do the next two."""
    named = _named("loras", entry, models)
    return describe_lora(hub.resolve_file(entry.path, "LoRA"), entry, named)


def look_at_controlnet(entry: ControlNetEntry, models: Sequence[ModelInfo]) -> ControlNetInfo:
    named = _named("controlnets", entry, models)
    return describe_controlnet(hub.resolve_folder(entry.path, "ControlNet", WEIGHTS), entry, named)


def look_at_adapter(entry: AdapterEntry, models: Sequence[ModelInfo]) -> AdapterInfo:
    named = _named("adapters", entry, models)
    encoder = hub.resolve_folder(entry.image_encoder, "image encoder", "model")
    return describe_adapter(hub.resolve_file(entry.path, "IP-Adapter"), encoder, entry, named)


def _named(
    table: str, entry: LoraEntry | ControlNetEntry | AdapterEntry, models: Sequence[ModelInfo]
) -> tuple[ModelInfo, ...]:
    """The models that `entry` is listed for."""
    known = {name.casefold(): info for info in models for name in (info.name, *info.aliases)}
    found: dict[str, ModelInfo] = {}
    for name in entry.models:
        model = known.get(name.strip().casefold())
        if model is None:
            there = ", ".join(info.name for info in models)
            raise ConfigurationError(
                f"[[{table}]] {entry.name}: models names {name}, which is not there; there are {there}"
            )
        found[model.name] = model
    if len({model.family for model in found.values()}) > 1:
        raise ConfigurationError(f"[[{table}]] {entry.name}: models names models of different families")
    return tuple(found.values())


def _brought(
    models: Sequence[ModelInfo], listed: Sequence[Listed], inside: Callable[[Path], Iterable[Listed]]
) -> Iterator[Listed]:
    """Entries for what lies in the models' folders, each with a name that nobody else has."""
    taken = {name.casefold() for names in map(_answers, listed) for name in names}
    given: set[str] = set()
    sharers: dict[str, list[str]] = {}
    for model in models:
        sharers.setdefault(model.path, []).append(model.name)
    for path, names in sharers.items():
        for entry in inside(Path(path)):
            if entry.name.casefold() in taken:
                continue
            name = entry.name if entry.name.casefold() not in given else f"{entry.name}-{names[0]}"
            given.add(name.casefold())
            yield replace(entry, name=name, models=tuple(names))


def _answers(entry: LoraEntry | ControlNetEntry) -> tuple[str, ...]:
    return (entry.name, *entry.aliases)


def _loras(folder: Path) -> Iterator[LoraEntry]:
    for path in sorted((folder / "loras").glob("*.safetensors")):
        yield LoraEntry(_name(path.stem), str(path))


def _nets(folder: Path) -> Iterator[ControlNetEntry]:
    for path in sorted((folder / "controlnets").glob("*/config.json")):
        name = path.parent.name
        kind = name.lower() if re.fullmatch(r"[A-Za-z0-9_]+", name) else "canny"
        yield ControlNetEntry(_name(name), str(path.parent), kind=kind)


def _name(stem: str) -> str:
    """A name that a prompt's tag can hold."""
    return re.sub(r"[<>:]+|^\s+|\s+$", "-", stem)
