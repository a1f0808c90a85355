"""Errors in the plain dialect: `{"status": "failure", "message": ...}` with an honest HTTP status, or always 200."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from diffuserve.core import errors as e
from diffuserve.dialects.base import ErrorTable, allow_header, challenge_header, retry_header, sentence
from diffuserve.dialects.plain.render import reply
from diffuserve.dialects.plain.wire import Failure

STATUSES: ErrorTable[int] = ErrorTable(
    {
        e.MissingParameter: 400,
        e.InvalidParameter: 400,
        e.UnknownModel: 404,
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
        e.DeadlineExceeded: 503,
        e.JobCanceled: 503,
        e.GenerationFailed: 500,
        e.OutOfMemory: 500,
        e.EngineCrashed: 500,
        e.StorageFailed: 500,
        e.InternalError: 500,
    }
)

NAMES = {
    "num_images": "num_outputs",
    "sampler": "scheduler",
    "schedule": "scheduler",
    "inpaint": "mask_image",
    "loras.weight": "the weight of a LoRA in the prompt",
}
"""The core's parameter names, where ours differ."""


def render_error(error: e.DiffuserveError, request: Request, always_200: bool = False) -> Response:
    headers = {**retry_header(error), **allow_header(error), **challenge_header(error)}
    return failure(STATUSES[error], sentence(error, NAMES), always_200, headers)


def failure(status: int, message: str, always_200: bool, headers: dict[str, str] | None = None) -> Response:
    """A failure's answer; `always_200` hides the status, as that API's first server did."""
    return reply(Failure(message=message), 200 if always_200 else status, headers)
