"""`diffuserve db`: the database's schema. `serve` brings a SQLite file up to date by itself, and PostgreSQL never."""

from __future__ import annotations

import typer

from diffuserve.cli import options

app = typer.Typer(help="Look after the database.", no_args_is_help=True)


@app.callback()
def _commands() -> None:
    """Look after the database."""


@app.command("upgrade")
def upgrade(config: options.Config = None, data_dir: options.DataDir = None) -> None:
    """Bring the database to the schema of this version; servers of older versions are to be stopped before."""
    import asyncio

    from diffuserve import store
    from diffuserve.config import load
    from diffuserve.datadir import DataFolder

    settings = load(config, data_dir=data_dir)
    url = settings.database_url or DataFolder(settings.data_dir).database_url
    print(f"the database is at revision {asyncio.run(store.upgrade(url))}")
