"""Errors in ModelsLab's words: `{"status": "error", "message": ..., "tip": ...}` with the codes of the vendor's error page, or
as the servers of 2023 answered: always 200, validation errors field by field, and `messege` beside `message`.

Where the vendor has a sentence of its own it is the message, and ours the tip.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from diffuserve.core import errors as e
from diffuserve.dialects.base import ErrorTable, allow_header, challenge_header, retry_header, sentence


@dataclass(frozen=True, slots=True)
class Row:
    """How an error is said."""

    status: int
    says: str = ""
    """The vendor's own sentence; empty where ours is the message."""
    legacy: str = ""
    """The sentence of 2023."""
    broke: bool = False
    """The job broke: `failed` in 2023, not `error`."""


_BROKE = Row(500, legacy="Failed, Try Again", broke=True)

ROWS: ErrorTable[Row] = ErrorTable(
    {
        e.MissingParameter: Row(400),
        e.InvalidParameter: Row(400),
        e.UnknownModel: Row(400, "Model not found", "Model id not found"),
        e.UnreadablePicture: Row(400),
        e.MalformedBody: Row(400),
        e.UnsupportedMediaType: Row(415),
        e.PayloadTooLarge: Row(413),
        e.IdempotencyConflict: Row(409),
        e.Unauthenticated: Row(401, "Invalid API key", "Invalid Api Key"),
        e.Forbidden: Row(403),
        e.QuotaExhausted: Row(402, "Insufficient credits"),
        e.JobNotFound: Row(404, "Request not found"),
        e.ArtifactNotFound: Row(404),
        e.LinkExpired: Row(410),
        e.RouteNotFound: Row(404),
        e.MethodNotAllowed: Row(405),
        e.QueueFull: Row(429, "Rate limit exceeded", "Rate limit exceeded"),
        e.RateLimited: Row(429, "Rate limit exceeded", "Rate limit exceeded"),
        e.EngineNotReady: Row(503),
        e.DeadlineExceeded: Row(503),
        e.JobCanceled: Row(500, broke=True),
        e.GenerationFailed: _BROKE,
        e.OutOfMemory: _BROKE,
        e.EngineCrashed: _BROKE,
        e.StorageFailed: Row(500),
        e.InternalError: Row(500),
    }
)
STATUSES: ErrorTable[int] = ErrorTable({error: row.status for error, row in ROWS.rows.items()})

NAMES = {
    "model": "model_id",
    "num_images": "samples",
    "seeds": "seed",
    "sampler": "scheduler",
    "schedule": "scheduler",
    "loras": "lora_model",
    "loras.weight": "lora_strength",
    "controls": "controlnet_model",
    "controls.scale": "controlnet_conditioning_scale",
    "controls.image": "control_image",
    "reference": "ip_adapter_id",
    "reference.scale": "ip_adapter_scale",
    "inpaint": "mask_image",
    "hires": "highres_fix",
}
"""The core's parameter names, where the vendor's differ."""

_KEY_REQUIRED = "a key is required"
_UNFETCHED = "Unable to fetch image from provided URL"


def render_error(error: e.DiffuserveError, request: Request, legacy: bool = False) -> Response:
    row = ROWS[error]
    ours = sentence(error, NAMES)
    message, tip = _worded(error, row, ours)
    headers = {**retry_header(error), **allow_header(error), **challenge_header(error)}
    if legacy:
        return reply(_legacy(error, row, message, ours), 200, headers)
    body: dict[str, Any] = {"status": "error", "message": message, "tip": tip}
    if error.retry_after is not None:
        body["retry_after"] = math.ceil(max(1.0, error.retry_after))
    return reply(body, row.status, headers)


def refusal(status: int, message: str, *, legacy: bool = False, tip: str = "") -> Response:
    """An answer for what this server does not do."""
    body = {"status": "error", "message": message, "tip": tip}
    return reply({**body, "messege": message} if legacy else body, 200 if legacy else status)


def reply(body: Mapping[str, Any] | list[Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    # Half of a surrogate pair, in what a caller sent, cannot be said back.
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return Response(content, status_code=status, headers=headers, media_type="application/json")


def _worded(error: e.DiffuserveError, row: Row, ours: str) -> tuple[str, str]:
    """The message and the tip. What an error was made with is looked for with care: one of a failed job has its sentence
    only."""
    name = NAMES.get(error.param or "", error.param)
    match error:
        case e.Unauthenticated() if ours.startswith(_KEY_REQUIRED):
            return "API key required", ours
        case e.UnknownModel() if hasattr(error, "name"):
            return f"{row.says}: {error.name[:200]}", ours
        case e.InvalidParameter() if name == "scheduler":
            return f"Invalid scheduler: {ours}", ""
        case e.InvalidParameter() if hasattr(error, "accepted"):
            return f"{name} must be {error.accepted}", ours
        case e.UnreadablePicture() if "fetched" in ours or "link" in ours:
            return _UNFETCHED, ours
        case _:
            return (row.says, ours) if row.says else (ours, "")


def _legacy(error: e.DiffuserveError, row: Row, message: str, ours: str) -> dict[str, Any]:
    if row.broke:
        said = row.legacy or message
        return {"status": "failed", "id": "", "message": said, "messege": said, "output": "", "tip": ours}
    if isinstance(error, e.MissingParameter | e.InvalidParameter | e.UnreadablePicture) and error.param:
        name = NAMES.get(error.param, error.param)
        missing = isinstance(error, e.MissingParameter)
        fields = {name: [f"The {name.replace('_', ' ')} field is required." if missing else message]}
        return {"status": "error", "message": fields, "messege": fields, "tip": ours}
    said = row.legacy or message
    tips = "tips" if isinstance(error, e.Unavailable) else "tip"
    return {"status": "error", "message": said, "messege": said, tips: ours}
