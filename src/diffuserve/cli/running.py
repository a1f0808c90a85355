"""The life of a running server: it listens while the model loads, says when it is ready, and leaves in good order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import uvicorn
import uvloop

from diffuserve import __version__
from diffuserve.cli.listening import origin
from diffuserve.wiring import App, build

if TYPE_CHECKING:
    from diffuserve.config import Settings
    from diffuserve.jobs.catalog import Catalog

GOODBYE = 1.0
"""Seconds for last answers to leave after the last job ended; then streams that are still open are cut."""
INTERRUPTED = 130


class HttpServer(uvicorn.Server):
    """uvicorn, without its own idea of signals: ours drain the jobs first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(settings: Settings, catalog: Catalog, listener: socket.socket) -> int:
    """Serve until told to stop. Returns the exit code. Raises ConfigurationError if the engine cannot be loaded."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, catalog, listener))


async def _serve(settings: Settings, catalog: Catalog, listener: socket.socket) -> int:
    app = await build(settings, catalog)
    http = HttpServer(
        uvicorn.Config(
            app.asgi,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
        )
    )
    stop = asyncio.Event()
    print(f"diffuserve {__version__}: loading {catalog.default.name} ...", flush=True)
    with _signals(_on_signal(stop, settings)):
        await app.start()
        serving = asyncio.create_task(http.serve(sockets=[listener]), name="http")
        try:
            open_to_all = await app.gate.is_open()
            greet = partial(_greet, settings, app, listener, open_to_all)
            await _until_stopped(app, serving, stop, greet)
        finally:
            # A job that waits for a model to load would only use up the time.
            ready = app.engine.status().ready
            http.should_exit = True
            await app.drain(settings.shutdown_seconds if ready else 0)
            await asyncio.wait({serving}, timeout=GOODBYE)
            http.force_exit = True
            await asyncio.wait({serving})
            await _let_go(http)
            await app.close()
    serving.result()
    print("diffuserve has stopped", flush=True)
    return 0


async def _until_stopped(
    app: App, serving: asyncio.Task[None], stop: asyncio.Event, when_ready: Callable[[], None]
) -> None:
    """Returns when told to stop, or when the HTTP server ended by itself. Raises what went wrong with the engine."""
    stopped = asyncio.create_task(stop.wait())
    loaded = asyncio.create_task(app.ready())
    try:
        await asyncio.wait({stopped, serving, loaded}, return_when=asyncio.FIRST_COMPLETED)
        if loaded.done() and not stopped.done():
            loaded.result()
            when_ready()
            await asyncio.wait({stopped, serving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        loaded.cancel()
        await asyncio.wait({stopped, loaded})


async def _let_go(http: HttpServer) -> None:
    """End the requests that are still open, while what they talk to is still there."""
    for request in http.server_state.tasks:
        request.cancel()
    if http.server_state.tasks:
        await asyncio.wait(http.server_state.tasks)


def _on_signal(stop: asyncio.Event, settings: Settings) -> Callable[[], None]:
    def first_or_second() -> None:
        if stop.is_set():
            # Unfinished jobs are safe in the store, and the engine process ends with us.
            os._exit(INTERRUPTED)
        seconds = settings.shutdown_seconds
        print(f"\nstopping: running jobs have {seconds:g} seconds to finish; Ctrl-C again stops at once", flush=True)
        stop.set()

    return first_or_second


@contextlib.contextmanager
def _signals(handler: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _greet(settings: Settings, app: App, listener: socket.socket, open_to_all: bool) -> None:
    url = origin(settings.host, listener)
    status = app.engine.status()
    drawn_by = ", ".join(filter(None, (app.catalog.default.name, status.device, status.dtype)))
    key = "" if open_to_all else "-H 'Authorization: Bearer YOUR_KEY' "
    print(
        f"""
Ready at {url}  ({drawn_by})

  Try it   curl {key}-d 'prompt=a red apple' -d seed=7 {url}/txt2img
  Docs     {url}/docs
  Data     {settings.data_dir.absolute()}
  Stop     Ctrl-C
""",
        flush=True,
    )
