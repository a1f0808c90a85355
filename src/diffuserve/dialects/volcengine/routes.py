"""The vendor's one endpoint, `POST /`, and what its actions do."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from diffuserve.core.errors import ArtifactNotFound, JobNotFound, RateLimited
from diffuserve.core.job import Artifact, Job
from diffuserve.core.request import Watermark
from diffuserve.dialects.base import Rooms, base_url
from diffuserve.dialects.endpoint import attend, dialect_router, principal
from diffuserve.dialects.volcengine import actions, envelope, parse, render, wire
from diffuserve.dialects.volcengine.actions import Action, Kind
from diffuserve.dialects.volcengine.errors import BUSINESS, Refusal, render_error, render_refusal
from diffuserve.dialects.volcengine.keys import Keys
from diffuserve.dialects.volcengine.manners import Manners
from diffuserve.dialects.volcengine.recipes import Recipes
from diffuserve.jobs.service import ended_or_raise
from diffuserve.media import marking

log = logging.getLogger(__name__)

NAME = "volcengine"

FAILURES: dict[int | str, dict[str, Any]] = {
    400: {
        "model": wire.Answer,
        "description": "A parameter or the picture; or, in the gateway's shape, the signature's date",
    },
    401: {"model": wire.GatewayAnswer, "description": "Not signed, or not rightly so; or no such `req_key`"},
    402: {"model": wire.Answer, "description": "The account's plan is used up"},
    403: {"model": wire.GatewayAnswer, "description": "The key may not do this"},
    404: {"model": wire.GatewayAnswer, "description": "No such action"},
    413: {"model": wire.Answer, "description": "The body is over 10 MB"},
    415: {"model": wire.Answer, "description": "The body is not JSON"},
    429: {"model": wire.Answer, "description": "Too many calls or tasks; `Retry-After` says when to try again"},
    500: {"model": wire.Answer, "description": "The picture could not be drawn"},
    503: {"model": wire.GatewayAnswer, "description": "Not ready yet"},
}


def build(rooms: Rooms, manners: Manners, recipes: Recipes) -> APIRouter:
    recipes.check(rooms.jobs.catalog)
    router = dialect_router(rooms, NAME, "Volcengine", render_error, Keys(rooms.clock, manners))

    @router.post(
        "/",
        operation_id="volcengine_action",
        summary="Draw a picture from a picture, at once or as a task",
        description="`Action` and `Version` say what is wanted; the body below is that of the actions that draw.",
        response_model=wire.Answer,
        responses=FAILURES,
        openapi_extra=wire.body_schema(),
    )
    async def call(
        request: Request,
        action: Annotated[str, Query(alias="Action", examples=["CVProcess"])] = "",
        version: Annotated[str, Query(alias="Version", examples=["2022-08-31"])] = "",
    ) -> Response:
        envelope.stamp(request)
        try:
            asked = actions.find(action, version)
            return await _DO[asked.kind](request, asked, await parse.read_json(request))
        except Refusal as refusal:
            return render_refusal(refusal, request)

    async def draw(request: Request, action: Action, values: dict[str, Any]) -> Response:
        wish = await parse.to_wish(values, rooms, recipes, stylise=action.stylise)
        job = await submit(request, wish)
        job = ended_or_raise(await attend(rooms, request, job))
        if wish.return_url:
            data = render.picture((), await links(request, job, None))
        else:
            data = render.picture(await pictures(job, None), None)
        return render.success(request, action, data, render.remarks(job, wish.notes))

    async def submit_task(request: Request, action: Action, values: dict[str, Any]) -> Response:
        wish = await parse.to_wish(values, rooms, recipes)
        job = await submit(request, wish)
        return render.success(request, action, render.task(job), render.remarks(job, wish.notes))

    async def query(request: Request, action: Action, values: dict[str, Any]) -> Response:
        body = wire.read(wire.QueryBody, values)
        recipes.find(body.req_key)
        options = parse.to_options(body)
        job = await find(request, body.task_id)
        data = render.result(render.NOT_FOUND) if job is None else await outcome(request, job, options)
        if options.aigc_meta is not None:
            data["aigc_meta_tagged"] = False
        return render.success(request, action, data, {} if job is None else render.remarks(job))

    async def cancel(request: Request, action: Action, values: dict[str, Any]) -> Response:
        body = wire.read(wire.CancelBody, values)
        recipes.find(body.req_key)
        job = await find(request, body.task_id)
        if job is None:
            return render.success(request, action, {"status": render.NOT_FOUND}, {})
        job = await rooms.jobs.cancel(principal(request), job.id)
        status = render.WAITING.get(job.status, render.DONE)
        return render.success(request, action, {"status": status}, render.remarks(job))

    _DO = {Kind.DRAW: draw, Kind.SUBMIT: submit_task, Kind.QUERY: query, Kind.CANCEL: cancel}  # noqa: N806 - a table

    async def submit(request: Request, wish: parse.Wish) -> Job:
        try:
            job = await rooms.jobs.submit(principal(request), NAME, wish.request)
        except RateLimited as error:
            # The gate has let the call in: it is not the calls that are too many, but the open tasks.
            raise Refusal(BUSINESS[50430], error.message, retry_after=error.retry_after) from None
        if notes := (*wish.notes, *job.notes):
            log.info("job %s: %s", job.id, "; ".join(notes))
        return job

    async def find(request: Request, task_id: str) -> Job | None:
        """The task, if it is one of the very key that asks, and not forgotten."""
        if not re.fullmatch(r"[0-9]{1,19}", task_id) or int(task_id) >= 2**63:
            return None
        who = principal(request)
        try:
            job = await rooms.jobs.get(who, int(task_id))
        except JobNotFound:
            return None
        if job.dialect != NAME or job.key_id != who.key_id:
            return None
        forgotten = job.finished_at is not None and job.finished_at + render.TASK_SECONDS < rooms.clock.now()
        return None if forgotten else job

    async def outcome(request: Request, job: Job, options: wire.QueryOptions) -> dict[str, Any]:
        if job.status in render.WAITING:
            return render.result(render.WAITING[job.status])
        job = ended_or_raise(job)
        # A picture that was marked when it was drawn is not marked again.
        mark = parse.to_watermark(options.logo_info) if job.request.watermark is None else None
        if options.return_url:
            return render.result(render.DONE, links=await links(request, job, mark))
        try:
            return render.result(render.DONE, await pictures(job, mark))
        except ArtifactNotFound:
            return render.result(render.EXPIRED)

    async def pictures(job: Job, mark: Watermark | None) -> Sequence[bytes]:
        return await asyncio.gather(*(picture(artifact, mark) for artifact in job.artifacts))

    async def picture(artifact: Artifact, mark: Watermark | None) -> bytes:
        data = await rooms.jobs.read(artifact)
        return data if mark is None else await asyncio.to_thread(marking.apply, data, mark)

    async def links(request: Request, job: Job, mark: Watermark | None) -> Sequence[str]:
        url = await rooms.links.of(job.artifacts, base_url(request), seconds=manners.link_seconds, watermark=mark)
        return [url(artifact) for artifact in job.artifacts]

    return router
