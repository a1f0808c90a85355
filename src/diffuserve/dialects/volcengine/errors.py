"""Errors in Volcengine's words: the gateway's table, the algorithm service's, and which of our errors is which of theirs.

What our error tree does not tell apart (`no picture` and `no prompt` are both a missing parameter) is raised as a
`Refusal`, with its row.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from diffuserve.auth.volcengine import Refused
from diffuserve.core import errors as e
from diffuserve.dialects.base import ErrorTable, allow_header, challenge_header, retry_header, sentence
from diffuserve.dialects.volcengine import envelope


@dataclass(frozen=True, slots=True)
class Gateway:
    """What is refused before the algorithm service."""

    status: int
    number: int
    code: str
    message: str
    """`%s` is filled in."""


@dataclass(frozen=True, slots=True)
class Business:
    """What the algorithm service answers."""

    status: int
    code: int
    message: str


Row = Gateway | Business

_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your Secret Access Key and "
    "signing method. Consult the service documentation for details."
)

GATEWAY = {
    row.code: row
    for row in (
        Gateway(400, 100002, "MissingParameter", "The request is missing %s parameter."),
        Gateway(401, 100003, "MissingAuthenticationToken", "Request is missing Authentication Token."),
        Gateway(400, 100004, "MissingRequestInfo", "The request is missing %s information."),
        Gateway(401, 100005, "MissingSignature", "The request is missing signature."),
        Gateway(400, 100006, "InvalidTimestamp", "The Signature of the request is expired."),
        Gateway(404, 100007, "ServiceNotFound", "This service[%s] not found."),
        Gateway(404, 100008, "InvalidActionOrVersion", "Could not find operation %s for version %s."),
        Gateway(401, 100009, "InvalidAccessKey", "The accesskey [%s] included in the request is invalid."),
        Gateway(401, 100010, "SignatureDoesNotMatch", _MISMATCH),
        Gateway(403, 100013, "AccessDenied", "User is not authorized to perform: %s on resource: %s."),
        Gateway(504, 100016, "InternalServiceTimeout", "Internal Service is timeout. Pls Contact With Admin."),
        Gateway(503, 100019, "ServiceUnavailableTemp", "Service is temporarily unavailable."),
        Gateway(405, 100020, "MethodNotAllowed", "Method is not allowed."),
        Gateway(
            400,
            100024,
            "InvalidAuthorization",
            "Invalid 'Authorization' header, Pls check authorization header.",
        ),
        Gateway(
            400,
            100025,
            "InvalidCredential",
            "Invalid credential in 'Authorization', Pls check credential in authorization header.",
        ),
        Gateway(401, 100026, "InvalidSecretToken", "Invalid secret token, msg: %s."),
    )
}

BUSINESS = {
    row.code: row
    for row in (
        Business(400, 50200, "Request Invalid Args"),
        Business(400, 50201, "Request Missing Args"),
        Business(400, 50204, "Parse Args Error"),
        Business(400, 50205, "Image Size Limited"),
        Business(400, 50206, "Image Empty"),
        Business(400, 50207, "Image Decode Error"),
        Business(413, 50213, "Request Body Size Limited"),
        Business(401, 50400, "Access Denied: Internal Error"),
        Business(404, 50402, "Method Not Found"),
        Business(429, 50429, "Request Has Reached API Limit, Please Try Later"),
        Business(429, 50430, "Request Has Reached API Concurrent Limit, Please Try Later"),
        Business(500, 50500, "Internal Error"),
        Business(500, 50501, "Internal RPC Error"),
    )
}

ROWS: ErrorTable[Row] = ErrorTable(
    {
        e.MissingParameter: BUSINESS[50201],
        e.InvalidParameter: BUSINESS[50200],
        e.UnknownModel: Business(400, 50200, BUSINESS[50200].message),
        e.UnreadablePicture: BUSINESS[50207],
        e.MalformedBody: BUSINESS[50200],
        e.UnsupportedMediaType: Business(415, 50204, BUSINESS[50204].message),
        e.PayloadTooLarge: BUSINESS[50213],
        e.IdempotencyConflict: Business(409, 50200, BUSINESS[50200].message),
        e.Unauthenticated: GATEWAY["MissingAuthenticationToken"],
        e.Forbidden: GATEWAY["AccessDenied"],
        e.QuotaExhausted: Business(402, 50400, BUSINESS[50400].message),
        e.JobNotFound: BUSINESS[50402],
        e.ArtifactNotFound: BUSINESS[50402],
        e.LinkExpired: BUSINESS[50402],
        e.RouteNotFound: BUSINESS[50402],
        e.MethodNotAllowed: GATEWAY["MethodNotAllowed"],
        e.QueueFull: BUSINESS[50430],
        e.RateLimited: BUSINESS[50429],
        e.EngineNotReady: GATEWAY["ServiceUnavailableTemp"],
        e.DeadlineExceeded: GATEWAY["InternalServiceTimeout"],
        e.JobCanceled: BUSINESS[50500],
        e.GenerationFailed: BUSINESS[50501],
        e.OutOfMemory: BUSINESS[50501],
        e.EngineCrashed: BUSINESS[50501],
        e.StorageFailed: BUSINESS[50500],
        e.InternalError: BUSINESS[50500],
    }
)
STATUSES: ErrorTable[int] = ErrorTable({error: row.status for error, row in ROWS.rows.items()})

NAMES = {
    "loras": "lora_multipers",
    "controls": "canny_weight",
    "reference": "id_scale",
    "watermark": "logo_info",
    "guidance_scale": "scale",
    "num_inference_steps": "ddim_steps",
    "seeds": "seed",
    "sampler": "sampler_name",
    "width": "long_resolution",
    "height": "long_resolution",
}
"""The core's parameter names, where the vendor's differ."""


class Refusal(Exception):
    """An answer of a certain row. `fill` is for the places in its message, `detail` is put behind it."""

    def __init__(
        self, row: Row, detail: str = "", fill: tuple[str, ...] = (), retry_after: float | None = None
    ) -> None:
        super().__init__(row.code)
        self.row, self.detail, self.fill, self.retry_after = row, detail, fill, retry_after


def unsigned(request: Request, refused: Refused) -> e.Unauthenticated:
    """The error for a signature that is refused; `render_error` finds in the request what is wrong with it."""
    row = GATEWAY[refused.fault.value]
    fill = (refused.detail,) if "%s" in row.message else ()
    request.state.refusal = Refusal(row, "" if fill else refused.detail, fill)
    return e.Unauthenticated(refused.fault.value)


def render_error(error: e.DiffuserveError, request: Request) -> Response:
    if isinstance(error, e.Unauthenticated) and hasattr(request.state, "refusal"):
        return render_refusal(request.state.refusal, request)
    row = ROWS[error]
    fill = (request.query_params.get("Action", "*"), "*") if isinstance(error, e.Forbidden) else ()
    headers = {**retry_header(error), **allow_header(error)}
    return _answer(row, _says(row, sentence(error, NAMES), fill), request, headers)


def render_refusal(refusal: Refusal, request: Request) -> Response:
    headers = retry_header(e.Unavailable("", retry_after=refusal.retry_after))
    return _answer(refusal.row, _says(refusal.row, refusal.detail, refusal.fill), request, headers)


def _says(row: Row, detail: str, fill: tuple[str, ...]) -> str:
    message = row.message % fill if fill else row.message
    if not detail:
        return message
    return f"{message}: {detail}" if isinstance(row, Business) else f"{message} ({detail})"


def _answer(row: Row, message: str, request: Request, headers: dict[str, str]) -> Response:
    if row.status == 401:
        headers |= challenge_header(e.Unauthenticated(""))
    if isinstance(row, Gateway):
        return envelope.reply(envelope.gateway(request, row.number, row.code, message), row.status, headers)
    return envelope.reply(envelope.business(request, row.code, message, None), row.status, headers)
