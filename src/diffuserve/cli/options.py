"""Flags that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Dtype(StrEnum):
    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class EngineKind(StrEnum):
    LOCAL = "local"
    FAKE = "fake"


Config = Annotated[
    Path | None, typer.Option(help="Settings file. [default: diffuserve.toml, where there is one]", show_default=False)
]
Model = Annotated[
    str | None,
    typer.Option(
        help="A name from the settings or an embedded one, a folder, a .safetensors file, or a hub id. "
        "[default: emoji-mini]",
        show_default=False,
    ),
]
DtypeOption = Annotated[Dtype | None, typer.Option(help="Number format of the weights.", show_default=False)]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps. [default: auto]", show_default=False)]
Threads = Annotated[
    int | None, typer.Option(help="Processor threads. [default: one a core]", show_default=False, min=1, max=512)
]
DataDir = Annotated[
    Path | None, typer.Option(help="Where jobs and pictures are kept. [default: diffuserve-data]", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def print_json(value: object) -> None:
    """JSON on one line of standard output."""
    import json

    print(json.dumps(value, ensure_ascii=False))
