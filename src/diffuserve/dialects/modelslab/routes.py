"""ModelsLab's endpoints, made of the tables in `paths.py`."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from diffuserve.core.errors import DeadlineExceeded, JobNotFound, MissingParameter
from diffuserve.core.job import Job, JobStatus
from diffuserve.dialects.base import Rooms, base_url
from diffuserve.dialects.endpoint import attend, dialect_router, principal
from diffuserve.dialects.modelslab import eta, parse, paths, render, video, wire
from diffuserve.dialects.modelslab.errors import render_error, reply
from diffuserve.dialects.modelslab.keys import by_key, read_values
from diffuserve.dialects.modelslab.loose import Fields
from diffuserve.dialects.modelslab.management import Desk
from diffuserve.dialects.modelslab.manners import Manners
from diffuserve.dialects.modelslab.memo import NAME
from diffuserve.dialects.modelslab.paths import Operation, Path
from diffuserve.jobs.service import ended_or_raise

log = logging.getLogger(__name__)

MOUNT = "/api"
_VIDEOS = (Operation.TEXT2VIDEO, Operation.IMG2VIDEO)
_FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"model": wire.Failure, "description": words}
    for status, words in (
        (400, "A field is missing or out of its range"),
        (401, "The server asks for a key, and this is none"),
        (402, "The account's plan is used up"),
        (403, "The key may not do this"),
        (404, "No such request"),
        (429, "The queue is full, or the key calls too often; `retry_after` says when to try again"),
        (500, "The picture could not be drawn"),
    )
}


def build(rooms: Rooms, manners: Manners) -> APIRouter:
    router = dialect_router(rooms, NAME, "ModelsLab", partial(render_error, legacy=manners.legacy_errors), by_key)
    _tolerate_slashes(router)
    desk = Desk(rooms, manners, eta.Speedometer(), rooms.clock.now())
    studio = Studio(rooms, manners, desk.speed)
    for path in paths.drawing():
        _add(router, path, studio)
    for fetch in paths.FETCH:
        _add_fetch(router, fetch, "POST", studio)
        for method in ("POST", "GET"):
            # People with browsers look with GET.
            _add_fetch(router, f"{fetch}/{{job_id}}", method, studio)
    for root in paths.MANAGED:
        for name, call in desk.calls().items():
            _manage(router, f"{root}/{name}", call, described=root == paths.MANAGED[0])
    _manage(router, "/v3/system_load", desk.system_load)
    _manage(router, "/v3/load_model", desk.load_model)
    _manage(router, "/v4/dreambooth/model_list", desk.model_list)
    _manage(router, "/v6/video/base64_to_url", desk.base64_to_url)
    return router


class Studio:
    """Draws and fetches."""

    def __init__(self, rooms: Rooms, manners: Manners, speed: eta.Speedometer) -> None:
        self._rooms = rooms
        self._manners = manners
        self._speed = speed

    async def draw(self, request: Request, path: Path) -> Response:
        values = await read_values(request)
        if path.operation in _VIDEOS:
            video_wish = await video.to_wish(values, path, self._rooms, request)
            return await video.draw(self._rooms, request, video_wish, self._manners)
        wish = await parse.to_wish(values, path, self._rooms, request, self._manners)
        job = await self._rooms.jobs.submit(
            principal(request), NAME, wish.request, callback=wish.callback, memo=wish.memo.text()
        )
        if wish.memo.ignored:
            log.info("job %s: without effect here: %s", job.id, ", ".join(wish.memo.ignored))
        if not wish.at_once:
            try:
                job = ended_or_raise(await attend(self._rooms, request, job, self._manners.wait_seconds))
                return reply(await self._success(request, job))
            except DeadlineExceeded:
                job = await self._rooms.jobs.get(principal(request), job.id)
        asked = paths.single_slashes(request.url.path).removeprefix(MOUNT)
        where = MOUNT + paths.fetch_of(asked)
        return reply(render.processing(self._rooms, job, await self.eta(job), where, base_url(request)))

    async def fetch(self, request: Request, job_id: str = "") -> Response:
        if not job_id:
            values = await read_values(request)
            job_id = _named(values, "request_id") or _named(values, "id")
            if not job_id:
                raise MissingParameter("request_id")
        job = await self._rooms.jobs.get(principal(request), _number(job_id))
        if not job.status.ended:
            return reply(render.waiting(job, await self.eta(job)))
        if job.status is not JobStatus.SUCCEEDED:
            return reply(render.failed(job))
        return reply(await self._success(request, job))

    async def eta(self, job: Job) -> int:
        """Seconds until `job` is done, rather too many than too few."""
        status, backlog = self._rooms.status(), await self._rooms.jobs.ahead(job)
        progress = self._rooms.jobs.progress(job.id)
        running = job.status is JobStatus.RUNNING
        # Another server's progress is not known here: half of it, as for everybody else.
        done = progress.done if progress else job.request.drawn_steps // 2
        return eta.remaining(
            job.request.drawn_steps,
            job.request.num_images,
            backlog,
            self._speed.read(status),
            ready=status.ready,
            done=done if running else None,
        )

    async def _success(self, request: Request, job: Job) -> Mapping[str, Any]:
        return render.success(job, await render.output_of(self._rooms, job, base_url(request)))


def _add(router: APIRouter, path: Path, studio: Studio) -> None:
    async def draw(request: Request) -> Response:
        return await studio.draw(request, path)

    call = wire.VideoCall if path.operation in _VIDEOS else wire.ImageCall
    router.add_api_route(
        path.path,
        draw,
        methods=["POST"],
        operation_id=_name(path.path),
        summary=f"The vendor's {path.operation.value}",
        **_documented(path.described, wire.Answer, call),
    )


def _add_fetch(router: APIRouter, path: str, method: str, studio: Studio) -> None:
    router.add_api_route(
        path,
        studio.fetch,
        methods=[method],
        operation_id=_name(path, method),
        summary="Look for the pictures of a request",
        **_documented(path.startswith("/v6/images/fetch"), wire.Answer, wire.FetchCall if method == "POST" else None),
    )


def _manage(
    router: APIRouter, path: str, call: Callable[[Request, Fields], Awaitable[Response]], *, described: bool = False
) -> None:
    async def answer(request: Request) -> Response:
        return await call(request, Fields(await read_values(request)))

    router.add_api_route(
        path,
        answer,
        methods=["POST"],
        operation_id=_name(path),
        summary=f"The vendor's {path.rpartition('/')[2]}",
        **_documented(described),
    )


def _documented(
    described: bool, answer: type[BaseModel] | None = None, call: type[BaseModel] | None = None
) -> dict[str, Any]:
    """What the documentation says of a route. Of the many that are further names of another nothing is worked out: it would
    make every start slower."""
    if not described:
        return {"include_in_schema": False, "response_model": None}
    return {
        "response_model": answer,
        "responses": _FAILURES,
        "openapi_extra": None if call is None else wire.body_schema(call),
    }


def _name(path: str, method: str = "POST") -> str:
    """An operation's id for the interactive documentation."""
    words = re.findall(r"[a-z0-9]+", path.replace("{job_id}", "by_id"))
    return "_".join(["modelslab", *words, *([] if method == "POST" else [method.lower()])])


def _tolerate_slashes(router: APIRouter) -> None:
    """Base addresses are joined by hand: `/api//v6/images/text2img/` is meant to be found."""

    class LooseRoute(router.route_class):  # type: ignore[misc, name-defined]
        def matches(self, scope: Scope) -> tuple[Match, Scope]:
            if scope["type"] == "http":
                scope = {**scope, "path": paths.single_slashes(scope["path"])}
            return super().matches(scope)  # type: ignore[no-any-return]

    router.route_class = LooseRoute


def _named(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return value.strip() if isinstance(value, str) else ""


def _number(job_id: str) -> int:
    """Raises JobNotFound for what cannot be an id."""
    if not (job_id.isascii() and job_id.isdecimal() and len(job_id) <= 16):
        raise JobNotFound(job_id)
    return int(job_id)
