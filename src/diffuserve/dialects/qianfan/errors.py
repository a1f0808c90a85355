"""Errors in the Qianfan dialect: HTTP 200 and an integer `error_code`, for every path but two.

The token endpoint and the model list have shapes and statuses of their own (`tokens.py`, `console.py`); `render_error`
asks the path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from diffuserve.auth.bce import Fault
from diffuserve.core import errors as e
from diffuserve.dialects.base import ErrorTable, allow_header, challenge_header, retry_header, sentence
from diffuserve.dialects.qianfan.render import new_id, reply
from diffuserve.dialects.qianfan.wire import ConsoleFailure, ImageFailure, TokenFailure

TOKEN_PATH = "/oauth/2.0/token"
CONSOLE_PATH = "/wenxinworkshop/service/list"
MOUNT = "/qianfan"
"""Everything stands below this, too."""

INVALID_ARGUMENT = 336001
DAILY_LIMIT = 17
SOON = 60.0
"""Seconds. Clients repeat a call that is answered 18 at once, and one that is answered 17 not at all."""


@dataclass(frozen=True, slots=True)
class Why:
    """Why a caller was not let in, for which the error tree has one class and the vendor many codes."""

    code: int
    """Of `text2image`."""
    status: int
    """Of the model list, as the next two."""
    console_code: str
    console_text: str = ""


TOKEN = Why(110, 401, "AccessDenied")
TOKEN_EXPIRED = Why(111, 401, "AccessDenied")
# The Python client knows the texts of these two, and then tells which half of the pair is wrong.
UNKNOWN_KEY = Why(14, 403, "InvalidAccessKeyId", "NotFound, cause: Could not find credential.")
MISMATCH = Why(14, 400, Fault.MISMATCH, "SignatureDoesNotMatch, cause: Fail to authn user: Signature does not match")
EXPIRED = Why(14, 400, Fault.EXPIRED)
UNREADABLE = Why(14, 400, Fault.UNREADABLE)


CODES: ErrorTable[int] = ErrorTable(
    {
        e.MissingParameter: 336003,
        e.InvalidParameter: 336003,
        e.UnknownModel: 3,
        e.UnreadablePicture: 336003,
        e.MalformedBody: 336002,
        e.UnsupportedMediaType: 336002,
        e.PayloadTooLarge: 336003,
        e.IdempotencyConflict: 336003,
        e.Unauthenticated: 110,
        e.Forbidden: 6,
        e.QuotaExhausted: 19,
        e.JobNotFound: 336005,
        e.ArtifactNotFound: 336005,
        e.LinkExpired: 336005,
        e.RouteNotFound: 3,
        e.MethodNotAllowed: 336101,
        e.QueueFull: 336100,
        e.RateLimited: 18,
        e.EngineNotReady: 2,
        e.DeadlineExceeded: 2,
        e.JobCanceled: 336000,
        e.GenerationFailed: 336000,
        e.OutOfMemory: 336000,
        e.EngineCrashed: 336000,
        e.StorageFailed: 336000,
        e.InternalError: 1,
    }
)

STATUSES: ErrorTable[int] = ErrorTable(dict.fromkeys(CODES.rows, 200))
"""Of `text2image`: with any other, the Python client does not look at the code and Node's reports a timeout."""

WORDS = {
    1: "Unknown error",
    2: "Service temporarily unavailable",
    3: "Unsupported openapi method",
    6: "No permission to access data",
    14: "IAM Certification failed",
    17: "Open api daily request limit reached",
    18: "Open api qps request limit reached",
    19: "Open api total request limit reached",
    110: "Access token invalid or no longer valid",
    111: "Access token expired",
    336000: "Internal error",
    336001: "Invalid Argument",
    336002: "Invalid JSON",
    336101: "Invalid HTTP Method",
}
"""The vendor's own text of a code, which stands before ours."""

# The token endpoint and the model list: status, OAuth's word, the console's word.
_ELSEWHERE: ErrorTable[tuple[int, str, str]] = ErrorTable(
    {
        e.InvalidRequest: (400, "invalid_request", "InvalidHTTPRequest"),
        e.MalformedBody: (400, "invalid_request", "MalformedJSON"),
        e.PayloadTooLarge: (413, "invalid_request", "RequestTooLarge"),
        e.Unauthenticated: (401, "invalid_client", "AccessDenied"),
        e.Forbidden: (403, "unauthorized_client", "AccessDenied"),
        e.MethodNotAllowed: (405, "invalid_request", "MethodNotAllowed"),
        e.RateLimited: (429, "slow_down", "RequestLimitExceeded"),
        e.Unavailable: (503, "temporarily_unavailable", "ServiceUnavailable"),
        e.DiffuserveError: (500, "server_error", "InternalError"),
    }
)

NAMES = {
    "num_images": "n",
    "seeds": "seed",
    "num_inference_steps": "steps",
    "guidance_scale": "cfg_scale",
    "sampler": "sampler_index",
    "schedule": "sampler_index",
    "width": "size",
    "height": "size",
}
"""The core's parameter names, where ours differ."""

E = TypeVar("E", bound=e.DiffuserveError)


def with_code(request: Request, code: int, error: E) -> E:
    """`error`, to be answered with a code that only whoever raises it knows."""
    request.state.qianfan_code = code
    return error


def turned_away(request: Request, why: Why, message: str) -> e.Unauthenticated:
    """The refusal of a caller, for the reason that the path's own shape then names."""
    request.state.qianfan_why = why
    return e.Unauthenticated(message)


def vendor_path(request: Request) -> str:
    """The path without our mount."""
    return request.url.path.removeprefix(MOUNT)


def render_error(error: e.DiffuserveError, request: Request) -> Response:
    render = {TOKEN_PATH: _token_failure, CONSOLE_PATH: _console_failure}.get(vendor_path(request), _failure)
    response = render(error, request)
    response.headers.update(retry_header(error) | allow_header(error))
    if response.status_code == 401:
        response.headers.update(challenge_header(error))
    return response


def code_of(error: e.DiffuserveError, request: Request) -> int:
    why: Why | None = getattr(request.state, "qianfan_why", None)
    if isinstance(error, e.Unauthenticated) and why is not None:
        return why.code
    if isinstance(error, e.RateLimited) and (error.retry_after or 0) > SOON:
        return DAILY_LIMIT
    code: int = getattr(request.state, "qianfan_code", CODES[error])
    return code


def _failure(error: e.DiffuserveError, request: Request) -> Response:
    code = code_of(error, request)
    ours = sentence(error, NAMES)
    text = f"{WORDS[code]}: {ours}" if code in WORDS else ours
    return reply(ImageFailure(error_code=code, error_msg=text, id=new_id()), request, STATUSES[error])


def _token_failure(error: e.DiffuserveError, request: Request) -> Response:
    status, word, _ = _ELSEWHERE[error]
    if isinstance(error, e.InvalidParameter) and error.param == "grant_type":
        status, word = 401, "unsupported_grant_type"
    return reply(TokenFailure(error=word, error_description=error.message), request, status)


def _console_failure(error: e.DiffuserveError, request: Request) -> Response:
    status, _, code = _ELSEWHERE[error]
    text = ""
    why: Why | None = getattr(request.state, "qianfan_why", None)
    if isinstance(error, e.Unauthenticated) and why is not None:
        status, code, text = why.status, why.console_code, why.console_text
    response = reply(ConsoleFailure(code=code, message=error.message, requestId=new_id()), request, status)
    response.headers["x-bce-error-code"] = code
    response.headers["x-bce-error-message"] = text or f"{code}, cause: {code}"
    return response
