"""All models of a server: the ones that its owner listed, the embedded ones, and the default wherever it lies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from diffuserve.checkpoints import hub
from diffuserve.checkpoints.card import Overrides
from diffuserve.checkpoints.inspect import describe
from diffuserve.core.model import ModelInfo


@dataclass(frozen=True, slots=True)
class Entry:
    """One model as its owner lists it."""

    name: str
    path: str
    """Anything that `hub.resolve` understands."""
    overrides: Overrides = field(default_factory=Overrides)


def collect(entries: Sequence[Entry], default: str) -> tuple[tuple[ModelInfo, ...], str]:
    """The models of the catalog and the name of the default one.

    `default` is a listed name or alias, an embedded name, a path or a hub id; one of the latter two becomes an entry
    named by its last part. Raises ConfigurationError for what `hub.resolve` and `describe` refuse.
    """
    models = [describe(hub.resolve(entry.path), entry.name, entry.overrides) for entry in entries]
    taken = {name.lower() for model in models for name in (model.name, *model.aliases)}
    # A listed model may take the place of an embedded one, by taking its name.
    models += [
        describe(hub.resolve(hub.EMBEDDED_PREFIX + name), name) for name in hub.embedded_names() if name not in taken
    ]
    chosen = _named(models, default.removeprefix(hub.EMBEDDED_PREFIX))
    if chosen is None:
        chosen = describe(hub.resolve(default), _name_of(default, models))
        models.append(chosen)
    return tuple(models), chosen.name


def _named(models: Sequence[ModelInfo], name: str) -> ModelInfo | None:
    wanted = name.lower()
    return next((m for m in models if wanted in (m.name.lower(), *(alias.lower() for alias in m.aliases))), None)


def _name_of(default: str, models: Sequence[ModelInfo]) -> str:
    path = Path(default)
    last = path.stem if path.suffix == ".safetensors" else path.absolute().name
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-._") or "model"
    while _named(models, name):
        name += "-2"
    return name
