"""A job's life as server-sent events: `started`, `progress`, `preview`, and one of `succeeded`, `failed`, `canceled`"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import orjson
from starlette.responses import StreamingResponse

from diffuserve.core.events import Preview, Progress, Started
from diffuserve.core.job import Artifact, Job
from diffuserve.core.ports import Clock
from diffuserve.dialects.native.render import job_view, preview_data

HEARTBEAT_SECONDS = 15.0
"""A comment is sent after so long a silence, lest a proxy takes the connection for dead."""

LAST_ID = "end"
"""The id of the last event. A browser that reconnects after it sends it back, and is told 204: to stop."""

Happening = Started | Progress | Preview | Job
LinksOf = Callable[[Job], Awaitable[Callable[[Artifact], str]]]


def event_stream(happenings: AsyncIterator[Happening], links: LinksOf, clock: Clock) -> StreamingResponse:
    """The response that sends `happenings` as they come; a caller who hangs up ends it and nothing else."""
    return StreamingResponse(
        _frames(happenings, links, clock),
        media_type="text/event-stream",
        # Without the last header nginx would hold events back.
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def _frames(happenings: AsyncIterator[Happening], links: LinksOf, clock: Clock) -> AsyncIterator[bytes]:
    upcoming = asyncio.ensure_future(anext(happenings))
    try:
        yield b": diffuserve\n\n"
        while True:
            silence = asyncio.ensure_future(clock.sleep(HEARTBEAT_SECONDS))
            await asyncio.wait((upcoming, silence), return_when=asyncio.FIRST_COMPLETED)
            silence.cancel()
            if not upcoming.done():
                yield b": still here\n\n"
                continue
            happening = await upcoming
            yield await frame(happening, links)
            if isinstance(happening, Job):
                return
            upcoming = asyncio.ensure_future(anext(happenings))
    except StopAsyncIteration:
        return
    finally:
        upcoming.cancel()
        await asyncio.gather(upcoming, return_exceptions=True)
        if close := getattr(happenings, "aclose", None):
            await close()


async def frame(happening: Happening, links: LinksOf) -> bytes:
    """One event on the wire."""
    match happening:
        case Started():
            return _event("started", b"{}")
        case Progress(done, total):
            return _event("progress", orjson.dumps({"done": done, "total": total}))
        case Preview():
            return _event("preview", orjson.dumps(await asyncio.to_thread(preview_data, happening)))
        case Job():
            view = job_view(happening, await links(happening))
            return _event(happening.status.value, view.model_dump_json().encode(), LAST_ID)


def _event(name: str, data: bytes, event_id: str | None = None) -> bytes:
    marker = f"id: {event_id}\n" if event_id else ""
    return f"{marker}event: {name}\ndata: ".encode() + data + b"\n\n"
