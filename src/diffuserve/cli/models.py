"""`diffuserve models`: what can draw, without loading any of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from diffuserve.cli import options

if TYPE_CHECKING:
    from diffuserve.jobs.catalog import Catalog

app = typer.Typer(help="List the models that requests may name, or show one.", invoke_without_command=True)


@app.callback()
def models(context: typer.Context, config: options.Config = None, model: options.Model = None) -> None:
    context.obj = (config, model)
    if context.invoked_subcommand is None:
        _list(context)


@app.command("list")
def list_models(context: typer.Context) -> None:
    """List all models; the default one is marked."""
    _list(context)


@app.command("show")
def show(context: typer.Context, name: Annotated[str, typer.Argument(help="A name or alias.")]) -> None:
    """Show what is known of one model."""
    info = _catalog(context).find(name)
    rows = {
        "name": info.name,
        "aliases": ", ".join(info.aliases),
        "description": info.description,
        "family": info.family.value,
        "path": info.path,
        "default size": f"{info.size}x{info.size}",
        "native sides": f"{info.native.min_side} to {info.native.max_side} pixels, in steps of {info.multiple}",
        "sampler": info.sampler,
        "steps": str(info.num_inference_steps),
        "guidance scale": f"{info.guidance_scale:g}",
        "languages": ", ".join(info.languages),
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
    Console(highlight=False).print(table)


def _catalog(context: typer.Context) -> Catalog:
    from diffuserve.config import load
    from diffuserve.wiring import catalog

    config, model = context.obj
    return catalog(load(config, model=model))
