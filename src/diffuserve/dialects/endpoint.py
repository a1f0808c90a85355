"""The wrapper around every endpoint of every dialect: who asks, the endpoint, errors in the dialect's own shape.

`attend` is what synchronous dialects wait with.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from diffuserve.auth import Gate, bearer
from diffuserve.core.account import Key
from diffuserve.core.errors import AccessDenied, DiffuserveError, InternalError, InvalidParameter, JobCanceled
from diffuserve.core.job import Job
from diffuserve.core.principal import Principal
from diffuserve.dialects.base import Rooms

log = logging.getLogger(__name__)

Render = Callable[[DiffuserveError, Request], Response]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Identify = Callable[[Request, Gate], Awaitable[Key]]
"""Finds the key in a request, and proves it where it is a signature. Raises Unauthenticated."""


async def by_bearer(request: Request, gate: Gate) -> Key:
    """The key whose token stands in the headers."""
    return await gate.by_token(bearer.in_headers(request.headers))


def dialect_router(rooms: Rooms, name: str, tag: str, render: Render, identify: Identify = by_bearer) -> APIRouter:
    """A router whose endpoints are authenticated and answer every failure through `render`.

    `name` is the dialect's; keys may be bound to it. An endpoint finds who asks with `principal(request)`.
    """

    async def enter(request: Request) -> Principal:
        return await rooms.gate.enter(name, lambda: identify(request, rooms.gate))

    class DialectRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            return _wrapped(super().get_route_handler(), enter, render)

    return APIRouter(route_class=DialectRoute, tags=[tag])


def principal(request: Request) -> Principal:
    """Who asks, as the wrapper found out."""
    who: Principal = request.state.principal
    return who


async def attend(rooms: Rooms, request: Request, job: Job, seconds: float | None = None, *, cancel: bool = True) -> Job:
    """Wait for the end of `job` on behalf of a caller who holds the line; whoever hangs up loses the job if `cancel`.

    The request's body must have been read. Raises DeadlineExceeded after `seconds`, JobCanceled when the caller left.
    """
    ended = asyncio.ensure_future(rooms.jobs.wait(job.id, seconds))
    gone = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait((ended, gone), return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            return await ended
        if cancel:
            await rooms.jobs.cancel(principal(request), job.id)
        raise JobCanceled("the caller hung up")
    finally:
        ended.cancel()
        gone.cancel()


def _wrapped(handler: Handler, enter: Callable[[Request], Awaitable[Principal]], render: Render) -> Handler:
    async def answer(request: Request) -> Response:
        try:
            request.state.principal = await enter(request)
            return await handler(request)
        except DiffuserveError as error:
            if isinstance(error, AccessDenied):
                caller = request.client.host if request.client else "somebody"
                log.info("%s %s by %s is refused: %s", request.method, request.url.path, caller, error.message)
            if isinstance(error.__cause__, Exception):
                log.error("%s %s failed", request.method, request.url.path, exc_info=error)
            return render(error, request)
        except RequestValidationError as error:
            return render(_refusal(error), request)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except Exception:
            log.exception("%s %s failed", request.method, request.url.path)
            return render(InternalError(), request)

    return answer


def _refusal(error: RequestValidationError) -> InvalidParameter:
    """A query parameter that FastAPI refused."""
    first = error.errors()[0]
    accepted = str(first["msg"]).removeprefix("Input should be ").lower()
    return InvalidParameter(str(first["loc"][-1]), accepted, first.get("input"))


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
