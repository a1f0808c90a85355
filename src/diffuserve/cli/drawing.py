"""Drawing without a server: resolve, draw, and write the files only when all of them are there."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from diffuserve.cli.pictures import convert, output_paths, write_all
from diffuserve.config import Settings
from diffuserve.core import errors, events
from diffuserve.core.ports import Engine
from diffuserve.core.request import MAX_SEED, GenerationRequest, InputImage, ResolvedRequest
from diffuserve.jobs import ids
from diffuserve.jobs.resolve import resolve
from diffuserve.media.decode import read_picture
from diffuserve.media.finish import encode, fit
from diffuserve.wiring import catalog, limits, make_engine

INTERRUPTED = 130
_FLAGS = {"num_inference_steps": "--steps", "seeds": "--seed"}


@dataclass(frozen=True, slots=True)
class Wish:
    """The flags of the command; `None` is the model's default."""

    prompt: str
    negative_prompt: str
    width: int | None
    height: int | None
    num_inference_steps: int | None
    guidance_scale: float | None
    sampler: str | None
    schedule: str | None
    seed: int | None
    num_images: int
    init_image: Path | None
    strength: float | None


def draw(settings: Settings, wish: Wish, output: Path) -> int:
    """Draw and write. Returns the exit code. Raises ConfigurationError for what is wrong before anything is drawn."""
    console = Console(stderr=True, highlight=False)
    paths = output_paths(output, max(1, wish.num_images))
    models = catalog(settings)
    try:
        asked = _request(wish, settings)
        request, notes = resolve(asked, models, limits(settings), ids.random_seed)
    except errors.InvalidRequest as error:
        raise errors.ConfigurationError(_with_flags(error)) from None
    try:
        drawn = asyncio.run(_drawn(make_engine(settings, models), request, models.find(request.model).name, console))
        write_all(list(zip(paths, (convert(png, output.suffix) for png in drawn), strict=True)))
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return INTERRUPTED
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    for path, seed in zip(paths, request.seeds, strict=True):
        print(f"{path}  {request.width}x{request.height}  seed {seed}")
    return 0


def _request(wish: Wish, settings: Settings) -> GenerationRequest:
    return GenerationRequest(
        prompt=wish.prompt,
        negative_prompt=wish.negative_prompt,
        width=wish.width,
        height=wish.height,
        num_images=wish.num_images,
        seeds=_seeds(wish.seed, wish.num_images),
        num_inference_steps=wish.num_inference_steps,
        guidance_scale=wish.guidance_scale,
        sampler=wish.sampler,
        schedule=wish.schedule,
        init_image=_read(wish.init_image, settings.max_input_pixels) if wish.init_image else None,
        strength=wish.strength,
    )


def _seeds(first: int | None, count: int) -> tuple[int, ...]:
    """`first`, then one more for each further picture; a bad first seed is passed on to be refused."""
    if first is None or count < 1:
        return ()
    if not 0 <= first <= MAX_SEED:
        return (first,)
    return tuple((first + index) % (MAX_SEED + 1) for index in range(count))


def _read(path: Path, max_pixels: int) -> InputImage:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise errors.ConfigurationError(f"{path} cannot be read: {error.strerror or error}") from None
    return read_picture(data, "init_image", max_pixels)


async def _drawn(engine: Engine, request: ResolvedRequest, model: str, console: Console) -> list[bytes]:
    """The finished pictures as PNG, in order."""
    if request.init_image is not None:
        fitted = fit(request.init_image, request.canvas)
        request = replace(request, init_image=replace(request.init_image, data=fitted))
    pictures: dict[int, bytes] = {}
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
        task = bar.add_task(f"loading {model}", total=None)
        try:
            await engine.start()
            bar.update(task, description="drawing")
            async with aclosing(_checked(engine.generate(1, request))) as happenings:
                async for event in happenings:
                    if isinstance(event, events.Progress):
                        bar.update(task, completed=event.done, total=event.total)
                    elif isinstance(event, events.ArtifactReady):
                        size = (request.width, request.height)
                        pictures[event.index] = await asyncio.to_thread(encode, event.pixels, request.canvas, *size)
        finally:
            await engine.close()
    return [pictures[index] for index in range(request.num_images)]


async def _checked(happenings: AsyncIterator[events.EngineEvent]) -> AsyncGenerator[events.EngineEvent]:
    """The same events, but a failure is raised."""
    async for event in happenings:
        if isinstance(event, events.Failed):
            raise errors.rebuild(event.error)
        yield event


def _with_flags(error: errors.InvalidRequest) -> str:
    """The sentence with the flag in place of the core's parameter name."""
    if error.param is None or error.param == "prompt" or not error.message.startswith(error.param):
        return error.message
    flag = _FLAGS.get(error.param, "--" + error.param.replace("_", "-"))
    return flag + error.message[len(error.param) :]
