"""LoRAs, ControlNets and adapters as a server's owner lists them, for `steering.py` to look at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoraEntry:
    name: str
    path: str
    """Anything that `hub.resolve_file` understands."""
    models: tuple[str, ...] = ()
    """Names or aliases of the models that it fits; empty: found out."""
    aliases: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class ControlNetEntry:
    name: str
    path: str
    """Anything that `hub.resolve_folder` understands."""
    kind: str = "canny"
    models: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class AdapterEntry:
    name: str
    path: str
    """Anything that `hub.resolve_file` understands."""
    image_encoder: str
    """Anything that `hub.resolve_folder` understands."""
    models: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    description: str = ""
