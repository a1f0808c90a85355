"""`diffuserve serve`: the flags, and the checks that are better made before anything is started."""

from __future__ import annotations

from typing import Annotated

import typer

from diffuserve.cli import options


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]", show_default=False)
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(help="Port; 0 takes a free one. [default: 8000]", show_default=False, min=0, max=65535),
    ] = None,
    config: options.Config = None,
    data_dir: options.DataDir = None,
    engine: Annotated[
        options.EngineKind | None,
        typer.Option(help="fake draws patterns and needs no torch. [default: local]", show_default=False),
    ] = None,
    model: options.Model = None,
    dtype: options.DtypeOption = None,
    device: options.Device = None,
    threads: options.Threads = None,
    allow_anonymous: Annotated[
        bool | None,
        typer.Option(
            "--allow-anonymous", help="Listen on other addresses although nobody needs a key.", show_default=False
        ),
    ] = None,
) -> None:
    """Start the server. Ctrl-C lets running jobs finish; what does not finish in time is taken up at the next start."""
    import asyncio

    from diffuserve import logs
    from diffuserve.cli.listening import bind, check_host
    from diffuserve.cli.running import run
    from diffuserve.config import load
    from diffuserve.wiring import anybody_has_a_key, catalog

    settings = load(
        config,
        host=host,
        port=port,
        data_dir=data_dir,
        engine=engine and engine.value,
        model=model,
        dtype=dtype and dtype.value,
        device=device,
        threads=threads,
        allow_anonymous=allow_anonymous,
    )
    logs.configure(settings.log_level, json=settings.log_json)
    check_host(
        settings.host,
        allow_anonymous=settings.allow_anonymous,
        has_keys=lambda: asyncio.run(anybody_has_a_key(settings)),
    )
    models = catalog(settings)
    with bind(settings.host, settings.port) as listener:
        raise typer.Exit(run(settings, models, listener))
