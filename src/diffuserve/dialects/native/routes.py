"""The native dialect's endpoints."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from diffuserve.core.errors import DeadlineExceeded, JobNotFound
from diffuserve.core.job import Artifact, Job
from diffuserve.dialects.base import Rooms, base_url
from diffuserve.dialects.endpoint import attend, dialect_router, principal
from diffuserve.dialects.native import lists, render, wire
from diffuserve.dialects.native.body import body_schema
from diffuserve.dialects.native.errors import render_error
from diffuserve.dialects.native.events import LAST_ID, event_stream
from diffuserve.dialects.native.parse import read_body, to_callback, to_idempotency, to_request

MAX_WAIT = 3600.0

_EVENTS = {
    "description": "`started`, then `progress` and `preview` as they come, at last one of `succeeded`, `failed` and "
    "`canceled` with the whole job. Comments keep the connection alive.",
    "content": {
        "text/event-stream": {
            "schema": {"type": "string"},
            "example": 'event: progress\ndata: {"done": 5, "total": 20}\n\n',
        }
    },
}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {status: {"model": wire.Problem, "content": {"application/problem+json": schema}} for status in statuses}


def _callbacks() -> APIRouter:
    """What we call, for the documentation."""
    router = APIRouter()

    @router.post(
        "{$request.body#/callback_url}",
        operation_id="native_notification",
        summary="The job has ended",
        description="Signed per the Standard Webhooks specification; sent again until it is answered with 2xx.",
        status_code=204,
        response_class=Response,
    )
    async def ended(
        body: wire.Notification,
        webhook_id: Annotated[str, Header(description="The same for every repetition.")],
        webhook_timestamp: Annotated[int, Header(description="Unix seconds of this attempt.")],
        webhook_signature: Annotated[str, Header(description="`v1,` and HMAC-SHA256 in base64.")],
    ) -> None:
        raise NotImplementedError

    return router


def build(rooms: Rooms) -> APIRouter:
    router = dialect_router(rooms, "native", "Native", render_error)

    @router.post(
        "/jobs",
        operation_id="native_submit_job",
        summary="Submit a job",
        status_code=202,
        response_model=wire.JobView,
        responses={
            200: {"model": wire.JobView, "description": "The job ended while the caller waited"},
            **_problems(400, 401, 402, 403, 409, 413, 415, 429, 503),
        },
        openapi_extra=body_schema(),
        callbacks=_callbacks().routes,
    )
    async def submit(
        request: Request,
        wait: Annotated[
            float,
            Query(
                ge=0,
                le=MAX_WAIT,
                description="Seconds to wait for the end. Hanging up meanwhile cancels a job without `Idempotency-Key`.",
            ),
        ] = 0.0,
        idempotency_key: Annotated[
            str | None,
            Header(description="Up to 255 characters. A repetition of key and body within a day returns the same job."),
        ] = None,
    ) -> Response:
        who, body = principal(request), await read_body(request)
        idempotency = to_idempotency(idempotency_key, await request.body())
        headers = {}
        if idempotency and (before := await rooms.jobs.replayed(who, idempotency)):
            job = before
            headers["idempotent-replay"] = "true"
        else:
            told = to_callback(body, rooms, request)
            wish = await to_request(body, rooms)
            job = await rooms.jobs.submit(who, "native", wish, callback=told, idempotency=idempotency)
        if wait > 0:
            try:
                # Whoever brings a key means to come back for the job.
                job = await attend(rooms, request, job, wait, cancel=idempotency is None)
            except DeadlineExceeded:
                job = await rooms.jobs.get(who, job.id)
        headers["location"] = f"{request.url.path}/{job.id}"
        return await show(request, job, 200 if job.status.ended else 202, headers)

    @router.get(
        "/jobs/{job_id}",
        operation_id="native_get_job",
        summary="Look at a job",
        response_model=wire.JobView,
        responses=_problems(401, 403, 404, 429),
    )
    async def get(job_id: str, request: Request) -> Response:
        return await show(request, await rooms.jobs.get(principal(request), number(job_id)))

    @router.delete(
        "/jobs/{job_id}",
        operation_id="native_cancel_job",
        summary="Cancel a job; one that has ended stays as it is",
        response_model=wire.JobView,
        responses=_problems(401, 403, 404, 429),
    )
    async def cancel(job_id: str, request: Request) -> Response:
        return await show(request, await rooms.jobs.cancel(principal(request), number(job_id)))

    @router.get(
        "/jobs/{job_id}/events",
        operation_id="native_job_events",
        summary="Follow a job",
        response_class=Response,
        responses={200: _EVENTS, **_problems(401, 403, 404, 429)},
    )
    async def events(job_id: str, request: Request) -> Response:
        if request.headers.get("last-event-id") == LAST_ID:
            return Response(status_code=204)
        # A job that is not there must be answered before the stream begins.
        job = await rooms.jobs.get(principal(request), number(job_id))
        return event_stream(rooms.jobs.watch(principal(request), job.id), partial(links, request), rooms.clock)

    @router.get(
        "/models",
        operation_id="native_models",
        summary="Models, and the LoRAs, ControlNets and adapters that fit them",
        response_model=lists.ModelList,
    )
    async def models(request: Request) -> Response:
        return render.reply(lists.model_list(rooms.jobs.catalog))

    @router.get(
        "/styles",
        operation_id="native_styles",
        summary="Styles that can be put around a prompt",
        response_model=lists.StyleList,
    )
    async def styles(request: Request) -> Response:
        return render.reply(lists.style_list())

    @router.get(
        "/samplers",
        operation_id="native_samplers",
        summary="Samplers, schedules, and names that stand for others",
        response_model=lists.SamplerList,
    )
    async def samplers(request: Request) -> Response:
        return render.reply(lists.sampler_list())

    async def show(request: Request, job: Job, status: int = 200, headers: dict[str, str] | None = None) -> Response:
        view = render.job_view(job, await links(request, job), rooms.jobs.progress(job.id))
        return render.reply(view, status, headers)

    async def links(request: Request, job: Job) -> Callable[[Artifact], str]:
        return await rooms.links.of(job.artifacts, base_url(request))

    return router


def number(job_id: str) -> int:
    """The id of the job that a path names. Raises JobNotFound for what cannot be one."""
    if not re.fullmatch(r"[0-9]{1,19}", job_id) or int(job_id) >= 2**63:
        raise JobNotFound(job_id)
    return int(job_id)
