"""The application: routers and doors, in order, in one place."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Lifespan

from diffuserve import __version__
from diffuserve.core.errors import (
    ArtifactNotFound,
    DiffuserveError,
    InternalError,
    InvalidParameter,
    MethodNotAllowed,
    RouteNotFound,
)
from diffuserve.dialects.base import Dialect, Rooms
from diffuserve.http.docs import describe, docs_router
from diffuserve.http.files import files_router
from diffuserve.http.guards import (
    BodyLimit,
    CrossSiteGuard,
    Doors,
    HostGuard,
    Owner,
    SecurityHeaders,
    owner_of,
)
from diffuserve.http.health import health_router
from diffuserve.http.landing import landing_router
from diffuserve.http.metrics import Levels, Metrics, RequestCounter

log = logging.getLogger(__name__)

Mounted = Sequence[tuple[str, APIRouter]]
"""Routers and the prefixes under which they stand."""

_DESCRIPTION = "One diffusion engine behind the HTTP APIs that applications already speak."
_SERVER_TAGS = [
    {"name": "Files", "description": "Results under signed links that expire."},
    {"name": "Server", "description": "Health and counters."},
]


def create_app(
    rooms: Rooms,
    dialects: Sequence[Dialect],
    doors: Doors,
    metrics: Metrics,
    levels: Callable[[], Awaitable[Levels | None]],
    lifespan: Lifespan[FastAPI] | None = None,
) -> FastAPI:
    """The ASGI application. `levels` reads what the store holds; `lifespan` starts and stops what lies behind."""
    owner = owner_of(dialects)
    app = FastAPI(
        title="diffuserve",
        version=__version__,
        description=_DESCRIPTION,
        openapi_tags=[*({"name": d.title, "description": d.description} for d in dialects), *_SERVER_TAGS],
        docs_url=None,
        redoc_url=None,
        # A redirect would lose the form that was posted.
        redirect_slashes=False,
        middleware=_middleware(doors, metrics, owner, dialects),
        lifespan=lifespan,
    )
    mounted = []
    for dialect in dialects:
        router = dialect.build(rooms)
        for mount in dialect.mounts:
            # Described once, at the vendor's own path.
            app.include_router(router, prefix=mount, include_in_schema=mount == dialect.mounts[0])
            mounted.append((mount, router))
    pages = [
        files_router(rooms),
        health_router(rooms.status, rooms.gate, metrics, levels),
        docs_router(),
        landing_router(dialects, lambda: rooms.jobs.catalog, rooms.status, rooms.gate.is_open, doors.public_url),
    ]
    for router in pages:
        app.include_router(router)
    describe(app, {dialect.title for dialect in dialects})
    _handle_errors(app, owner, [*mounted, *(("", router) for router in pages)])
    return app


def _middleware(doors: Doors, metrics: Metrics, owner: Owner, dialects: Sequence[Dialect]) -> list[Middleware]:
    """From the outside in."""
    cors = [
        Middleware(
            CORSMiddleware,
            allow_origins=list(doors.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=["Location", "Retry-After", "Idempotent-Replay", "Diffuserve-Job", "Diffuserve-Notes"],
            max_age=600,
        )
    ]
    return [
        Middleware(RequestCounter, metrics=metrics, dialects=dialects),
        Middleware(SecurityHeaders),
        Middleware(HostGuard, doors=doors, owner=owner),
        *(cors if doors.cors_origins else []),
        Middleware(CrossSiteGuard, doors=doors, owner=owner),
        Middleware(BodyLimit, limit=doors.max_body_bytes),
    ]


def _handle_errors(app: FastAPI, owner: Owner, mounted: Mounted) -> None:
    """What no endpoint wrapper has seen: wrong paths and methods, files, bugs in pages of our own."""

    def render(request: Request, error: DiffuserveError) -> Response:
        return owner(request.url.path).render_error(error, request)

    async def domain(request: Request, error: Exception) -> Response:
        assert isinstance(error, DiffuserveError)
        return render(request, error)

    async def routing(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        match error.status_code:
            case 404:
                return render(request, RouteNotFound(request.url.path))
            case 405:
                return render(request, MethodNotAllowed(request.method, _allowed(mounted, request.url.path)))
        return render(request, InternalError())

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        name = str(error.errors()[0]["loc"][-1])
        # Outside of the dialects only links have parameters: a mangled one leads nowhere.
        return render(
            request, ArtifactNotFound() if name in ("expires", "signature", "mark") else InvalidParameter(name, "valid")
        )

    async def bug(request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return render(request, InternalError())

    handlers: dict[Any, Any] = {
        DiffuserveError: domain,
        HTTPException: routing,
        RequestValidationError: refused,
        Exception: bug,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _allowed(mounted: Mounted, path: str) -> list[str]:
    """Every method that some route takes at this path."""
    methods: set[str] = set()
    for prefix, router in mounted:
        for route in router.routes:
            if isinstance(route, Route) and path.startswith(prefix) and route.path_regex.match(path[len(prefix) :]):
                methods |= set(route.methods or ())
    return sorted(methods)
