"""Errors in iPollo's words: one `result_code`, and the shape of whatever path was called.

200 means success at one place and a wrong parameter at another. So pictures say what is wrong by HTTP status, message and two
nulls; tasks by HTTP 200 and a code, because their only public client looks at nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from diffuserve.core import errors as e
from diffuserve.dialects.base import ErrorTable, allow_header, challenge_header, retry_header, sentence
from diffuserve.dialects.ipollo import wire
from diffuserve.dialects.ipollo.operations import TASKS, TXT2IMG, vendor_path
from diffuserve.dialects.ipollo.render import reply

PARAMETER, ACCESS, SOURCE, INTERNAL = 200, 201, 202, 203

ROWS: ErrorTable[tuple[int, int]] = ErrorTable(
    {
        e.MissingParameter: (400, PARAMETER),
        e.InvalidParameter: (400, PARAMETER),
        e.UnknownModel: (400, PARAMETER),
        e.UnreadablePicture: (400, SOURCE),
        e.MalformedBody: (400, PARAMETER),
        e.UnsupportedMediaType: (415, PARAMETER),
        e.PayloadTooLarge: (413, PARAMETER),
        e.IdempotencyConflict: (409, PARAMETER),
        e.Unauthenticated: (401, ACCESS),
        e.Forbidden: (403, ACCESS),
        e.QuotaExhausted: (402, ACCESS),
        e.JobNotFound: (404, PARAMETER),
        e.ArtifactNotFound: (404, PARAMETER),
        e.LinkExpired: (410, PARAMETER),
        e.RouteNotFound: (404, PARAMETER),
        e.MethodNotAllowed: (405, PARAMETER),
        e.QueueFull: (503, INTERNAL),
        e.RateLimited: (429, INTERNAL),
        e.EngineNotReady: (503, INTERNAL),
        e.DeadlineExceeded: (504, INTERNAL),
        e.JobCanceled: (500, INTERNAL),
        e.GenerationFailed: (500, INTERNAL),
        e.OutOfMemory: (500, INTERNAL),
        e.EngineCrashed: (500, INTERNAL),
        e.StorageFailed: (500, INTERNAL),
        e.InternalError: (500, INTERNAL),
    }
)
"""HTTP status, where it is honest, and `result_code`."""
STATUSES: ErrorTable[int] = ErrorTable({error: status for error, (status, _) in ROWS.rows.items()})

NAMES = {
    "seeds": "seed",
    "num_inference_steps": "steps",
    "guidance_scale": "cfg_scale",
    "num_images": "batch_size",
    "loras.weight": "the weight of a LoRA in the prompt",
}
"""The core's parameter names, where ours differ."""

# Not of the tree: what the server cannot do is no error of this caller, nor one that passes.
NO_WORKER = (501, INTERNAL)


class NoWorker(Exception):
    """There is nobody in this installation for such work. `what` is that work, in the plural."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


def render_error(error: e.DiffuserveError, request: Request) -> Response:
    status, code = ROWS[error]
    said = sentence(error, NAMES)
    message = f"parameter error: {said}" if code == PARAMETER and isinstance(error, e.InvalidRequest) else said
    headers = {**retry_header(error), **allow_header(error)}
    if isinstance(error, e.RouteNotFound | e.MethodNotAllowed):
        return reply(wire.Said(result_code=code, msg=message), status, headers)
    return _answer(request, status, code, message, {**headers, **challenge_header(error)})


def render_no_worker(refusal: NoWorker, request: Request) -> Response:
    status, code = NO_WORKER
    message = f"this server has no worker for {refusal.what}, so nothing was queued and nothing is charged"
    return _answer(request, status, code, message, {})


def _answer(request: Request, status: int, code: int, message: str, headers: Mapping[str, str]) -> Response:
    path = vendor_path(request.url.path)
    if path in TASKS:
        failure: BaseModel = (
            wire.Submitted(result_code=code, msg=message)
            if request.method == "POST"
            else wire.State(result_code=code, msg=message)
        )
        return reply(failure, 200, headers)
    if path in TXT2IMG:
        return reply(wire.Picture(result_code=code, msg=message), status, headers)
    return reply(wire.Said(result_code=code, msg=message), status, headers)
