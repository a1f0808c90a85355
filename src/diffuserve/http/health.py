"""For whoever watches over the server: is it alive, can it draw, what has it counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from diffuserve.auth import Gate
from diffuserve.core.ports import EngineStatus
from diffuserve.dialects.endpoint import by_bearer
from diffuserve.http.metrics import Levels, Metrics
from diffuserve.loopback import is_loopback

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


class Alive(BaseModel):
    status: str = "ok"


class Readiness(BaseModel):
    ready: bool
    detail: str
    device: str
    dtype: str


def health_router(
    status: Callable[[], EngineStatus], gate: Gate, metrics: Metrics, levels: Callable[[], Awaitable[Levels | None]]
) -> APIRouter:
    """The counters are for this machine and for administrators, once the server asks for keys; the rest is for all."""
    router = APIRouter(tags=["Server"])

    @router.get("/healthz", operation_id="healthz", summary="The server is alive")
    async def healthz() -> Alive:
        return Alive()

    @router.get(
        "/readyz",
        operation_id="readyz",
        summary="The engine can draw",
        response_model=Readiness,
        responses={503: {"model": Readiness, "description": "The engine is loading or restarting"}},
    )
    async def readyz() -> Response:
        now = status()
        body = Readiness(ready=now.ready, detail=now.detail, device=now.device, dtype=now.dtype)
        return JSONResponse(body.model_dump(), status_code=200 if now.ready else 503)

    @router.get("/metrics", operation_id="metrics", summary="Counters for Prometheus", response_class=Response)
    async def show_metrics(request: Request) -> Response:
        if not is_local(request):
            await gate.administrator(lambda: by_bearer(request, gate))
        return Response(metrics.text(await levels()), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def is_local(request: Request) -> bool:
    """Whether a process on this machine asks for itself, and not a proxy for somebody else."""
    if any(name in request.headers for name in _FORWARDED):
        return False
    return request.client is not None and is_loopback(request.client.host)
