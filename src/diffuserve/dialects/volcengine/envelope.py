"""What is around every answer: ids, times, and the three shapes that the vendor wraps things in."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

REGION, SERVICE = "cn-north-1", "cv"

Data = Mapping[str, Any]


def _new_id() -> str:
    """14 digits of local time and 20 capital hexadecimal ones."""
    return time.strftime("%Y%m%d%H%M%S") + secrets.token_hex(10).upper()


@dataclass(frozen=True, slots=True)
class Stamp:
    """A call's id, and when it came."""

    request_id: str = field(default_factory=_new_id)
    began: float = field(default_factory=time.perf_counter)

    @property
    def elapsed(self) -> str:
        return go_duration(time.perf_counter() - self.began)


def stamp(request: Request) -> Stamp:
    """The same at every call for one request, made at the first."""
    if not hasattr(request.state, "volcengine"):
        request.state.volcengine = Stamp()
    made: Stamp = request.state.volcengine
    return made


def business(request: Request, code: int, message: str, data: Data | None) -> dict[str, Any]:
    """Section 7: the algorithm service's answer, good or bad."""
    call = stamp(request)
    return {
        "code": code,
        "data": data,
        "message": message,
        "request_id": call.request_id,
        "status": code,
        "time_elapsed": call.elapsed,
    }


def metadata(request: Request) -> dict[str, Any]:
    """What the gateway says of a call. Clients of the 2022-08-31 actions take an answer with it for an error."""
    query = request.query_params
    return {
        "RequestId": stamp(request).request_id,
        "Action": query.get("Action", ""),
        "Version": query.get("Version", ""),
        "Service": SERVICE,
        "Region": REGION,
    }


def gateway(request: Request, number: int, code: str, message: str) -> dict[str, Any]:
    """Section 8: the gateway's refusal."""
    error = {"CodeN": number, "Code": code, "Message": message}
    return {"ResponseMetadata": {**metadata(request), "Error": error}}


def reply(body: Data, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    # Without blanks, as the vendor writes it: people look for `"code":50411` in the text of the SDK's exceptions.
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    # Half of a surrogate pair, in what a caller sent, cannot be said back.
    content = text.encode("utf-8", "replace")
    return Response(content, status_code=status, headers=headers, media_type="application/json")


def go_duration(seconds: float) -> str:
    """As Go writes a duration: `1m6.780796541s`, `104.852309ms`, `84.448µs`."""
    nanoseconds = max(0, round(seconds * 1e9))
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if 0 < nanoseconds < size * 1000:
            return _decimal(nanoseconds, size) + unit
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    larger = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{larger}{_decimal(rest, 10**9)}s"


def _decimal(amount: int, size: int) -> str:
    whole, part = divmod(amount, size)
    digits = f"{part:0{len(str(size)) - 1}d}".rstrip("0") if part else ""
    return f"{whole}.{digits}" if digits else str(whole)
