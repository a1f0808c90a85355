"""The endpoints of this family."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from diffuserve.core.errors import MissingParameter, QuotaExhausted
from diffuserve.core.job import Job
from diffuserve.core.principal import ANONYMOUS
from diffuserve.dialects.base import Rooms, base_url
from diffuserve.dialects.bodies import read_fields
from diffuserve.dialects.endpoint import dialect_router, principal
from diffuserve.dialects.ipollo import parse, render, tasks, wallets, wire
from diffuserve.dialects.ipollo.drawing import Drawing
from diffuserve.dialects.ipollo.errors import NoWorker, render_error, render_no_worker
from diffuserve.dialects.ipollo.keys import asked_task, identify
from diffuserve.dialects.ipollo.manners import Manners
from diffuserve.dialects.ipollo.operations import (
    CHAT_TXT2IMG,
    CHAT_TXT2VOICE,
    NAME,
    SAD_TALKER,
    TASKS,
    TXT2IMG,
    Kind,
    Task,
    vendor_path,
)
from diffuserve.dialects.ipollo.workers import SPEECH, Worker, worker_for

Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


def failures(shape: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    said = {
        400: "A parameter is missing or wrong; `msg` says which",
        401: "The server asks for a key, and this is none",
        402: "The plan of this address is over or used up",
        403: "The key may not do this",
        413: "The body is too large",
        415: "Content type or charset is not understood",
        429: "The key calls too often; `Retry-After` says when to try again",
        500: "The picture could not be drawn",
        501: "There is no worker for this",
        503: "The queue is full; `Retry-After` says when to try again",
        504: "The picture is not there yet; `msg` names the task to ask for",
    }
    return {status: {"model": shape, "description": words} for status, words in said.items()}


def build(rooms: Rooms, manners: Manners, workers: Mapping[Kind, Worker]) -> APIRouter:
    """Raises ConfigurationError for manners that cannot be."""
    manners.check(rooms.jobs.catalog)
    router = dialect_router(rooms, NAME, "iPollo", render_error, identify(rooms))
    drawing = Drawing(rooms, manners.wait_seconds)

    async def txt2img(request: Request) -> Response:
        fields = await read_fields(request)
        wish = parse.to_wish(fields, manners, secrets.randbelow)
        payer = await wallets.payer(rooms, request, fields)
        job = await drawing.draw(request, wish, payer)
        account = await wallets.account(rooms, payer, job, manners.bench_mark)
        return render.picture(job, wish, account, await links(request, job), await drawing.model_hash(job))

    for path in TXT2IMG:
        router.post(
            path,
            operation_id="ipollo_txt2img",
            summary="Draw a picture from text",
            response_model=wire.Picture,
            responses=failures(wire.Picture),
            openapi_extra=wire.body_schema(wire.Txt2ImgBody),
            include_in_schema=path == TXT2IMG[0],
        )(txt2img)

    @router.post(
        CHAT_TXT2IMG,
        operation_id="ipollo_chat_txt2img",
        summary="Draw a picture from text; `msg` is its address",
        response_model=wire.Said,
        responses=failures(wire.Said),
        openapi_extra=wire.body_schema(wire.ChatTxt2ImgBody),
    )
    async def chat_txt2img(request: Request) -> Response:
        fields = await read_fields(request)
        wish = parse.to_chat_wish(fields, manners, secrets.randbelow)
        job = await drawing.draw(request, wish, await wallets.payer(rooms, request, fields))
        return render.reply(wire.Said(msg=(await links(request, job))[0]), headers=render.remarks(job))

    @router.post(
        CHAT_TXT2VOICE,
        operation_id="ipollo_chat_txt2voice",
        summary="Speech from text: there is no worker for it",
        response_model=wire.Said,
        responses=failures(wire.Said),
        openapi_extra=wire.body_schema(wire.SpeechBody),
    )
    async def chat_txt2voice(request: Request) -> Response:
        fields = await read_fields(request)
        if not parse.text(fields, "txt").strip():
            raise MissingParameter("txt")
        await wallets.payer(rooms, request, fields)
        return render_no_worker(NoWorker(SPEECH), request)

    def submitting(task: Task) -> Endpoint:
        async def submit(request: Request) -> Response:
            fields = await read_fields(request)
            assignment = parse.to_assignment(task, fields)
            payer = await wallets.payer(rooms, request, fields)
            try:
                worker = worker_for(workers, task.kind)
                return render.submitted(await worker.submit(rooms, payer, assignment, tasks.new_memo()))
            except NoWorker as refusal:
                return render_no_worker(refusal, request)
            except QuotaExhausted as refusal:
                raise await wallets.explained(rooms, payer, refusal) from None

        return submit

    async def query(request: Request) -> Response:
        asked = asked_task(request)
        if not asked:
            raise MissingParameter("taskID")
        # Where the id was all that was shown, the task has been found already.
        job = getattr(request.state, "task", None) or await tasks.find(rooms, asked)
        who = principal(request)
        if who != ANONYMOUS and who.account != job.account:
            raise tasks.unknown(asked)
        plan, _ = await wallets.paid_by(rooms, job)
        at_sad_talker = vendor_path(request.url.path) == SAD_TALKER
        failed = render.FAILED_OF_SAD_TALKER if at_sad_talker or manners.always_104 else render.FAILED
        return render.state(job, await links(request, job), plan, rooms.status().device, failed)

    for path, task in TASKS.items():
        name = "_".join(part for part in path.split("/") if part and part != "iPollo").lower()
        router.post(
            path,
            operation_id=f"ipollo_{name}",
            summary=f"Submit a task: {task.kind.value}",
            response_model=wire.Submitted,
            openapi_extra=wire.task_schema(task),
        )(submitting(task))
        router.get(
            path,
            operation_id=f"ipollo_{name}_state",
            summary="The state of any task (`?taskID=`)",
            response_model=wire.State,
        )(query)

    async def links(request: Request, job: Job) -> Sequence[str]:
        url = await rooms.links.of(job.artifacts, base_url(request))
        return [render.result_link(job, artifact, url(artifact)) for artifact in job.artifacts]

    return router
