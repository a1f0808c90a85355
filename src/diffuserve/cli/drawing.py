"""Drawing without a server: resolve, draw, and write the files only when all of them are there."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from diffuserve.cli.asking import Wish, to_request, with_flags
from diffuserve.cli.pictures import output_paths, write_all
from diffuserve.config import Settings
from diffuserve.core import errors, events
from diffuserve.core.ports import Engine
from diffuserve.core.request import PictureFormat, ResolvedRequest
from diffuserve.jobs import ids
from diffuserve.jobs.resolve import resolve
from diffuserve.wiring import catalog, limits, make_engine, pictures

INTERRUPTED = 130


def draw(settings: Settings, wish: Wish, output: Path, form: PictureFormat | None = None) -> int:
    """Draw and write, in `form` or else as the file's name says. Returns the exit code.

    Raises ConfigurationError for what is wrong before anything is drawn.
    """
    console = Console(stderr=True, highlight=False)
    paths, form = output_paths(output, max(1, wish.num_images), form)
    models, media = catalog(settings), pictures(settings)
    try:
        asked = to_request(wish, models, form, settings.max_input_pixels)
        request, notes = resolve(asked, models, limits(settings), ids.random_seed)
    except errors.InvalidRequest as error:
        raise errors.ConfigurationError(with_flags(error)) from None
    try:
        prepared = media.prepare(request)
        drawn = asyncio.run(
            _drawn(
                make_engine(settings, models),
                prepared.request,
                lambda pixels: media.finish(pixels, request, prepared.underlay),
                console,
            )
        )
        write_all(list(zip(paths, drawn, strict=True)))
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return INTERRUPTED
    for note in (*notes, *prepared.notes):
        print(f"note: {note}", file=sys.stderr)
    for path, seed in zip(paths, request.seeds, strict=True):
        print(f"{path}  {request.width}x{request.height}  seed {seed}")
    return 0


async def _drawn(
    engine: Engine, request: ResolvedRequest, finish: Callable[[bytes], bytes], console: Console
) -> list[bytes]:
    """The finished files, in order."""
    finished: dict[int, bytes] = {}
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task(f"loading {request.model}", total=None)
        try:
            await engine.start()
            bar.update(task, description="drawing")
            async with aclosing(_checked(engine.generate(1, request))) as happenings:
                async for event in happenings:
                    if isinstance(event, events.Progress):
                        bar.update(task, completed=event.done, total=event.total)
                    elif isinstance(event, events.ArtifactReady):
                        finished[event.index] = await asyncio.to_thread(finish, event.pixels)
        finally:
            await engine.close()
    return [finished[index] for index in range(request.num_images)]


async def _checked(happenings: AsyncIterator[events.EngineEvent]) -> AsyncGenerator[events.EngineEvent]:
    """The same events, but a failure is raised."""
    async for event in happenings:
        if isinstance(event, events.Failed):
            raise errors.rebuild(event.error)
        yield event
