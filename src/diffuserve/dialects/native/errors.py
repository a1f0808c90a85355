"""Errors in the native dialect: RFC 9457 problem details with a stable `code` and the parameter at fault."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from diffuserve.core import errors as e
from diffuserve.dialects.base import ErrorTable, allow_header, challenge_header, retry_header, sentence
from diffuserve.dialects.native.wire import Problem

STATUSES: ErrorTable[int] = ErrorTable(
    {
        e.MissingParameter: 400,
        e.InvalidParameter: 400,
        e.UnknownModel: 400,
        e.UnreadablePicture: 400,
        e.MalformedBody: 400,
        e.UnsupportedMediaType: 415,
        e.PayloadTooLarge: 413,
        e.IdempotencyConflict: 409,
        e.Unauthenticated: 401,
        e.Forbidden: 403,
        e.QuotaExhausted: 402,
        e.JobNotFound: 404,
        e.ArtifactNotFound: 404,
        e.LinkExpired: 410,
        e.RouteNotFound: 404,
        e.MethodNotAllowed: 405,
        e.QueueFull: 503,
        e.RateLimited: 429,
        e.EngineNotReady: 503,
        e.DeadlineExceeded: 504,
        e.JobCanceled: 409,
        e.GenerationFailed: 500,
        e.OutOfMemory: 500,
        e.EngineCrashed: 500,
        e.StorageFailed: 500,
        e.InternalError: 500,
    }
)


NAMES = {
    "inpaint": "mask",
    "variation_seeds": "variation.seeds",
    "variation_strength": "variation.strength",
}
"""The core's parameter names, where ours differ."""


def render_error(error: e.DiffuserveError, request: Request) -> Response:
    status = STATUSES[error]
    title = HTTPStatus(status).phrase
    param = NAMES.get(error.param or "", error.param)
    problem = Problem(title=title, status=status, detail=sentence(error, NAMES), code=error.code, param=param)
    return Response(
        problem.model_dump_json(exclude_none=True),
        status_code=status,
        headers={**retry_header(error), **allow_header(error), **challenge_header(error)},
        media_type="application/problem+json",
    )
