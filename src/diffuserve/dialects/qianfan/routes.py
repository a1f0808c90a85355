"""The Qianfan dialect's endpoints."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from diffuserve.dialects.base import Rooms, base_url
from diffuserve.dialects.endpoint import attend, dialect_router, principal
from diffuserve.dialects.qianfan import console, tokens, wire
from diffuserve.dialects.qianfan.errors import CONSOLE_PATH, TOKEN_PATH, render_error
from diffuserve.dialects.qianfan.keys import identify
from diffuserve.dialects.qianfan.parse import model_of, read_object, to_wish
from diffuserve.dialects.qianfan.render import job_headers, rate_headers, reply, success, usage_of
from diffuserve.jobs.service import ended_or_raise

log = logging.getLogger(__name__)

TITLE = "Qianfan"


def build(rooms: Rooms) -> APIRouter:
    router = dialect_router(rooms, "qianfan", TITLE, render_error, identify(rooms))

    @router.post(
        f"{console.IMAGES}/{{endpoint}}",
        operation_id="qianfan_text2image",
        summary="Draw pictures from text",
        description="`endpoint` is `sd_xl`, or a model's name. Failures come with HTTP 200, too.",
        response_model=wire.ImageAnswer | wire.ImageFailure,
        openapi_extra=wire.body_schema(wire.ImageBody),
    )
    async def text2image(endpoint: str, request: Request) -> Response:
        wish = to_wish(await read_object(request), model_of(endpoint, rooms.jobs.catalog))
        job = await rooms.jobs.submit(principal(request), "qianfan", wish.request)
        log.info("job %s for user %r", job.id, wish.user_id[:100])
        job = ended_or_raise(await attend(rooms, request, job))
        pictures = await asyncio.gather(*(rooms.jobs.read(artifact) for artifact in job.artifacts))
        usage = usage_of(wish.request.prompt, wish.request.negative_prompt)
        body = await asyncio.to_thread(lambda: success(job, pictures, usage).model_dump_json().encode())
        return reply(body, request, headers=job_headers(job) | rate_headers(principal(request)))

    @router.post(
        CONSOLE_PATH,
        operation_id="qianfan_service_list",
        summary="Models, for clients that sign",
        response_model=wire.ServiceList,
        responses=_failures(wire.ConsoleFailure, 400, 401, 403),
    )
    async def service_list(request: Request) -> Response:
        body = await read_object(request) if await request.body() else {}
        return reply(console.service_list(rooms.jobs.catalog, principal(request), body, base_url(request)), request)

    async def token(request: Request) -> Response:
        return await tokens.grant(request, rooms.access_tokens)

    for method in ("POST", "GET"):
        # The vendor's Java client asks with GET, all others with POST.
        router.add_api_route(
            TOKEN_PATH,
            token,
            methods=[method],
            operation_id=f"qianfan_token_{method.lower()}",
            summary="An access token for a pair of keys",
            description="`grant_type=client_credentials`, `client_id`, `client_secret`, in the query or in a form.",
            response_model=wire.Token,
            responses=_failures(wire.TokenFailure, 401),
        )
    return router


def _failures(model: Any, *statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": model} for status in statuses}
