"""`diffuserve models`: what can draw, without loading any of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from diffuserve.cli import options
from diffuserve.core.model import ControlNetInfo, LoraInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffuserve.core.model import ModelInfo, Steering
    from diffuserve.jobs.catalog import Catalog

app = typer.Typer(
    help="List what requests may name: models, and what steers them. Or show one model.", invoke_without_command=True
)


@app.callback()
def models(context: typer.Context, config: options.Config = None, model: options.Model = None) -> None:
    context.obj = (config, model)
    if context.invoked_subcommand is None:
        _list(context)


@app.command("list")
def list_models(context: typer.Context) -> None:
    """List all models, LoRAs, ControlNets and adapters; the default model is marked."""
    _list(context)


@app.command("show")
def show(context: typer.Context, name: Annotated[str, typer.Argument(help="A name or alias.")]) -> None:
    """Show what is known of one model."""
    catalog = _catalog(context)
    info = catalog.find(name)
    rows = {
        "name": info.name,
        "aliases": ", ".join(info.aliases),
        "description": info.description,
        "family": info.family.value,
        "path": info.path,
        "default size": f"{info.size}x{info.size}",
        "native sides": f"{info.native.min_side} to {info.native.max_side} pixels, in steps of {info.multiple}",
        "beyond them": "drawn in two passes" if info.hires else "enlarged",
        "inpainting": "natively, and nothing else" if info.inpainting else "",
        "sampler": info.sampler,
        "steps": str(info.num_inference_steps),
        "guidance scale": f"{info.guidance_scale:g}",
        "languages": ", ".join(info.languages),
        "LoRAs": _fitting(catalog.loras, info),
        "ControlNets": _fitting(catalog.controlnets, info),
        "adapters": _fitting(catalog.adapters, info),
    }
    for label, value in rows.items():
        if value:
            print(f"{label:<15} {value}")


def _list(context: typer.Context) -> None:
    from rich.console import Console
    from rich.table import Table

    catalog = _catalog(context)
    table = Table(
        "", "name", "family", "size", "steps", "guidance", "languages", "description", box=None, pad_edge=False
    )
    for info in catalog.models:
        mark = "*" if info.name == catalog.default.name else ""
        size, guidance = f"{info.size}", f"{info.guidance_scale:g}"
        names = " ".join((info.name, *info.aliases))
        steps, languages = str(info.num_inference_steps), ", ".join(info.languages)
        table.add_row(mark, names, info.family.value, size, steps, guidance, languages, info.description)
    console = Console(highlight=False)
    console.print(table)
    steering: tuple[Steering, ...] = (*catalog.loras, *catalog.controlnets, *catalog.adapters)
    if steering:
        others = Table("", "name", "family", "for", "description", box=None, pad_edge=False)
        for one in steering:
            names = " ".join((one.name, *one.aliases))
            fits = ", ".join(model.name for model in catalog.models if one.fits(model))
            others.add_row(_what(one), names, one.family.value, fits or "no model here", one.description)
        console.print()
        console.print(others)


def _what(one: Steering) -> str:
    if isinstance(one, ControlNetInfo):
        return f"ControlNet ({one.kind})"
    return "LoRA" if isinstance(one, LoraInfo) else "adapter"


def _fitting(entries: Sequence[Steering], model: ModelInfo) -> str:
    return ", ".join(one.name for one in entries if one.fits(model))


def _catalog(context: typer.Context) -> Catalog:
    from diffuserve.config import load
    from diffuserve.wiring import catalog

    config, model = context.obj
    return catalog(load(config, model=model))
