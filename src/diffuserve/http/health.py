"""For whoever watches over the server: is it alive, can it draw, what has it counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from diffuserve.core.ports import EngineStatus
from diffuserve.http.metrics import Metrics


class Alive(BaseModel):
    status: str = "ok"


class Readiness(BaseModel):
    ready: bool
    detail: str
    device: str
    dtype: str


def health_router(
    status: Callable[[], EngineStatus], metrics: Metrics, queued: Callable[[], Awaitable[int]]
) -> APIRouter:
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
    async def show_metrics() -> Response:
        return Response(metrics.text(await queued()), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
