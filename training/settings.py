"""`settings.toml`, typed, and the options that every stage has."""

from __future__ import annotations

import argparse
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Settings:
    work: Path
    packages: Path
    model: Path
    seed: int
    data: dict[str, Any]
    controlnet: dict[str, Any]
    lora: dict[str, Any]


def parser(description: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--settings", type=Path, default=HERE / "settings.toml")
    made.add_argument("--work", type=Path, help="where pictures and checkpoints lie; default: as the settings say")
    made.add_argument("--packages", type=Path, help="the node_modules with the drawings; default: as the settings say")
    return made


def read(arguments: argparse.Namespace) -> Settings:
    table = tomllib.loads(arguments.settings.read_text(encoding="utf-8"))
    for name in ("work", "packages", "model"):
        table[name] = Path(getattr(arguments, name, None) or table[name])
    table["work"].mkdir(parents=True, exist_ok=True)
    return Settings(**table)
