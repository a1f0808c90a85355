"""An engine without torch: whole pictures in no time, for client developers, demonstrations and most of our tests."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from PIL import Image, ImageDraw

from diffuserve.core.errors import (
    DiffuserveError,
    EngineCrashed,
    EngineNotReady,
    GenerationFailed,
    JobCanceled,
    OutOfMemory,
)
from diffuserve.core.events import ArtifactReady, EngineEvent, Failed, Finished, Preview, Progress, Started
from diffuserve.core.job import JobError, Usage
from diffuserve.core.ports import Clock, EngineStatus
from diffuserve.core.request import ResolvedRequest

_PREVIEW_SIDE = 64
# Larger pictures are drawn in a thread, so that the event loop does not stand still for them.
_DRAWN_AT_ONCE = 256 * 256


@dataclass(slots=True, eq=False)
class _Aboard:
    """A job that is being drawn."""

    request: ResolvedRequest
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    verdict: DiffuserveError | None = None
    """Why it was stopped."""

    def stop(self, verdict: DiffuserveError) -> None:
        self.verdict = verdict
        self.stopped.set()


class FakeEngine:
    """Draws a coloured pattern that depends on (prompt, seed) only, and on the input picture where there is one.

    It honours the number of steps and pictures, the canvas, strength, previews and cancelling, and draws any number of
    jobs at once. Words in a prompt make it fail after the first step, for clients that test their error handling:

    - `fail:error`  the job fails with `generation_failed`
    - `fail:oom`    the job fails with `out_of_memory`
    - `fail:crash`  the engine dies with every job on board, and is back at once
    - `fail:hang`   nothing happens any more, until the job is cancelled
    """

    def __init__(self, step_seconds: float, clock: Clock) -> None:
        """`step_seconds`: how long a step takes, 0 or more."""
        self._step_seconds = step_seconds
        self._clock = clock
        self._ready = False
        self._aboard: dict[int, _Aboard] = {}
        self._restarts = 0
        self._steps = self._rows = 0
        self._stepping = 0
        """Jobs in the middle of a step: they step side by side, so that time counts once for all of them."""
        self._stepping_since = self._step_time = 0.0

    async def start(self) -> None:
        self._ready = True

    async def generate(
        self, job_id: int, request: ResolvedRequest, *, account: str = "", priority: int = 0
    ) -> AsyncIterator[EngineEvent]:
        if not self._ready:
            raise EngineNotReady()
        aboard = self._aboard[job_id] = _Aboard(request)
        try:
            yield Started()
            total = request.steps // request.num_images
            for step in range(1, total + 1):
                await self._step(aboard)
                yield Progress(step * request.num_images, total * request.num_images)
                if aboard.verdict is not None:
                    yield _failed(aboard.verdict)
                    return
                if request.preview_every and step % request.preview_every == 0 and step < total:
                    for index in range(request.num_images):
                        yield _preview(request, index, step)
            for index, seed in enumerate(request.seeds):
                pixels = await _drawn(request, seed)
                yield ArtifactReady(index, seed, request.canvas.width, request.canvas.height, pixels)
            yield Finished(self._usage(request, total))
        finally:
            if self._aboard.get(job_id) is aboard:
                del self._aboard[job_id]

    async def cancel(self, job_id: int) -> None:
        if (aboard := self._aboard.get(job_id)) is not None:
            aboard.stop(JobCanceled())

    def status(self) -> EngineStatus:
        return EngineStatus(
            ready=self._ready,
            detail="ready (draws patterns, not what the prompt says)" if self._ready else "not started",
            device="fake",
            running=sum(aboard.request.num_images for aboard in self._aboard.values()),
            restarts=self._restarts,
            # Steps side by side are one forward pass, as far as they overlap.
            forwards=round(self._step_time / self._step_seconds) if self._step_seconds else self._steps,
            rows=self._rows,
            step_seconds=self._step_time,
        )

    async def close(self) -> None:
        self._ready = False
        for aboard in self._aboard.values():
            aboard.stop(EngineNotReady())

    async def _step(self, aboard: _Aboard) -> None:
        if not self._stepping:
            self._stepping_since = self._clock.now()
        self._stepping += 1
        try:
            await self._clock.sleep(self._step_seconds)
        finally:
            self._stepping -= 1
            now = self._clock.now()
            self._step_time += now - self._stepping_since
            self._stepping_since = now
        self._steps += 1
        self._rows += aboard.request.num_images
        prompt = aboard.request.prompt
        if "fail:hang" in prompt:
            await aboard.stopped.wait()
        elif "fail:crash" in prompt:
            self._restarts += 1
            for victim in self._aboard.values():
                victim.stop(EngineCrashed("the engine died"))
        elif "fail:oom" in prompt:
            aboard.stop(OutOfMemory("the device has not enough memory for this picture"))
        elif "fail:error" in prompt:
            aboard.stop(GenerationFailed("the picture could not be drawn, as the prompt asked"))

    def _usage(self, request: ResolvedRequest, steps: int) -> Usage:
        images, canvas = request.num_images, request.canvas
        return Usage(images, steps * images, images * canvas.width * canvas.height, steps * self._step_seconds)


def _failed(verdict: DiffuserveError) -> Failed:
    """The engine's last word on a job. Raises what is not said of a job but of the engine."""
    if isinstance(verdict, EngineCrashed | EngineNotReady):
        raise verdict
    return Failed(JobError(verdict.code, verdict.message))


def _preview(request: ResolvedRequest, index: int, step: int) -> Preview:
    scale = min(1.0, _PREVIEW_SIDE / max(request.canvas.width, request.canvas.height))
    width, height = max(1, round(request.canvas.width * scale)), max(1, round(request.canvas.height * scale))
    picture = _pattern(request.prompt, request.seeds[index], width, height)
    return Preview(index, step, width, height, picture.tobytes())


async def _drawn(request: ResolvedRequest, seed: int) -> bytes:
    if request.init_image is None and request.canvas.width * request.canvas.height <= _DRAWN_AT_ONCE:
        return _draw(request, seed)
    return await asyncio.to_thread(_draw, request, seed)


def _draw(request: ResolvedRequest, seed: int) -> bytes:
    """RGB pixels of canvas size."""
    size = (request.canvas.width, request.canvas.height)
    picture = _pattern(request.prompt, seed, *size)
    if request.init_image is not None:
        with Image.open(io.BytesIO(request.init_image.data)) as given:
            picture = Image.blend(given.convert("RGB").resize(size), picture, request.strength)
    return picture.tobytes()


def _pattern(prompt: str, seed: int, width: int, height: int) -> Image.Image:
    """Three discs on a wash of four colours, all of them digits of a hash."""
    digits = hashlib.shake_256(f"{seed}\0{prompt}".encode()).digest(30)
    picture = Image.frombytes("RGB", (2, 2), digits[:12]).resize((width, height), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    for disc in (digits[12:18], digits[18:24], digits[24:30]):
        x, y = disc[0] * width / 255, disc[1] * height / 255
        radius = min(width, height) * (0.08 + disc[2] / 255 * 0.2)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(disc[3], disc[4], disc[5]))
    return picture
