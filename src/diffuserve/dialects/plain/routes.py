"""The plain dialect's endpoints."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from diffuserve.core.job import Job
from diffuserve.dialects.base import Rooms, base_url
from diffuserve.dialects.bodies import read_fields
from diffuserve.dialects.endpoint import attend, dialect_router, principal
from diffuserve.dialects.plain import parse, wire
from diffuserve.dialects.plain.errors import render_error
from diffuserve.dialects.plain.keys import by_key
from diffuserve.dialects.plain.render import custom_models, success
from diffuserve.jobs.service import ended_or_raise

log = logging.getLogger(__name__)

FAILURES: dict[int | str, dict[str, Any]] = {
    400: {"model": wire.Failure, "description": "A parameter is missing or out of its range"},
    401: {"model": wire.Failure, "description": "The server asks for a key, and this is none"},
    402: {"model": wire.Failure, "description": "The account's plan is used up"},
    403: {"model": wire.Failure, "description": "The key may not do this"},
    404: {"model": wire.Failure, "description": "No such model"},
    413: {"model": wire.Failure, "description": "The body is too large"},
    415: {"model": wire.Failure, "description": "Content type or charset is not understood"},
    429: {"model": wire.Failure, "description": "The key calls too often; `Retry-After` says when to try again"},
    500: {"model": wire.Failure, "description": "The picture could not be drawn"},
    503: {"model": wire.Failure, "description": "The queue is full; `Retry-After` says when to try again"},
}


def build(rooms: Rooms, manners: parse.Manners) -> APIRouter:
    router = dialect_router(rooms, "plain", "Plain", partial(render_error, always_200=manners.always_200), by_key)

    @router.post(
        "/txt2img",
        operation_id="plain_txt2img",
        summary="Draw pictures from text",
        response_model=wire.Success,
        responses=FAILURES,
        openapi_extra=wire.form_schema(wire.Txt2ImgForm),
    )
    async def txt2img(request: Request) -> Response:
        return await draw(request, parse.txt2img(await read_fields(request), manners))

    @router.post(
        "/img2img",
        operation_id="plain_img2img",
        summary="Draw pictures from a picture and text",
        response_model=wire.Success,
        responses=FAILURES,
        openapi_extra=wire.form_schema(wire.Img2ImgForm),
    )
    async def img2img(request: Request) -> Response:
        return await draw(request, await parse.img2img(await read_fields(request), rooms, manners))

    @router.post(
        "/custom/{url_path}",
        operation_id="plain_custom",
        summary="Draw pictures from text with a certain model",
        response_model=wire.Success,
        responses=FAILURES,
        openapi_extra=wire.form_schema(wire.Txt2ImgForm),
    )
    async def custom(url_path: str, request: Request) -> Response:
        return await draw(request, parse.txt2img(await read_fields(request), manners, model=url_path))

    @router.post(
        "/masking",
        operation_id="plain_masking",
        summary="Repaint a part of a picture",
        response_model=wire.Success,
        responses=FAILURES,
        openapi_extra=wire.form_schema(wire.MaskingForm),
    )
    async def masking(request: Request) -> Response:
        return await draw(request, await parse.masking(await read_fields(request), rooms, manners))

    @router.get("/ping", operation_id="plain_ping", summary="Is the server there?", response_model=wire.Pong)
    async def ping(request: Request) -> wire.Pong:
        return wire.Pong()

    @router.get("/custom_models", operation_id="plain_custom_models", summary="Models besides the default one")
    async def models(request: Request) -> list[wire.CustomModel]:
        return custom_models(rooms.jobs.catalog)

    async def draw(request: Request, wish: parse.Wish) -> Response:
        job = await rooms.jobs.submit(principal(request), "plain", wish.request)
        job = ended_or_raise(await attend(rooms, request, job))
        if job.notes:
            log.info("job %s: %s", job.id, "; ".join(job.notes))
        pictures = await _pictures(job) if wish.base64 else ()
        return success(job, await rooms.links.of(job.artifacts, base_url(request)), pictures)

    async def _pictures(job: Job) -> tuple[bytes, ...]:
        return tuple(await asyncio.gather(*(rooms.jobs.read(artifact) for artifact in job.artifacts)))

    return router
