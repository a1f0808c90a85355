"""All that can go wrong, as one closed tree. An error carries facts; a dialect's table turns it into a status and a body.

DiffuserveError
├── InvalidRequest               the caller can mend it
│   ├── MissingParameter           a required parameter is absent or empty
│   ├── InvalidParameter           a value is of the wrong type, out of range, or no known name
│   ├── UnknownModel               the catalog has no such model
│   ├── UnreadablePicture          bytes that are no picture, or one too large, truncated or hostile
│   ├── MalformedBody              a body that does not parse at all
│   ├── UnsupportedMediaType       a content type or charset that the operation does not speak
│   └── PayloadTooLarge            a body over the limit
├── AccessDenied                 the caller is not who it should be
│   ├── Unauthenticated            no credentials, or wrong ones
│   └── Forbidden                  known, but not allowed this (a foreign web page included)
├── NotFound                     there is no such thing, or it is somebody else's
│   ├── JobNotFound
│   ├── ArtifactNotFound
│   ├── LinkExpired
│   └── RouteNotFound
├── MethodNotAllowed
├── Unavailable                  try again later; `retry_after` says when
│   ├── QueueFull
│   ├── EngineNotReady
│   └── DeadlineExceeded           a synchronous caller waited as long as it may; the job goes on
├── JobCanceled                  the job was withdrawn while somebody waited for it
├── ServerFailure                nobody's fault but ours
│   ├── GenerationFailed           the engine could not draw it
│   ├── OutOfMemory
│   ├── EngineCrashed              it killed the engine twice
│   ├── StorageFailed
│   └── InternalError              a bug
└── ConfigurationError           at start: one sentence that says how to mend it; exit code 2; never sent to a caller
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from diffuserve.core.job import JobError


class DiffuserveError(Exception):
    """Base of the tree. `message` is one English sentence fit for the caller; `code` is stable, for machines."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, param: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        """The name of the parameter at fault, in the words of the core; a dialect translates it to its own."""
        self.retry_after = retry_after
        """Seconds after which trying again makes sense."""


class InvalidRequest(DiffuserveError):
    code = "invalid_request"


class MissingParameter(InvalidRequest):
    code = "missing_parameter"

    def __init__(self, param: str) -> None:
        super().__init__(f"{param} is required", param=param)


class InvalidParameter(InvalidRequest):
    """`accepted` completes the sentence "<param> must be ..."; `value` is echoed, shortened."""

    code = "invalid_parameter"

    def __init__(self, param: str, accepted: str, value: object = None) -> None:
        shown = "" if value is None else f", got {_short(value)}"
        super().__init__(f"{param} must be {accepted}{shown}", param=param)
        self.accepted = accepted
        self.value = value


class UnknownModel(InvalidRequest):
    code = "unknown_model"

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"no such model: {_short(name)}; known models: {', '.join(known)}", param="model")
        self.name = name
        self.known = tuple(known)


class UnreadablePicture(InvalidRequest):
    """`reason` completes the sentence "<param> ...", for example "is not a picture"."""

    code = "unreadable_picture"

    def __init__(self, param: str, reason: str = "is not a picture") -> None:
        super().__init__(f"{param} {reason}", param=param)
        self.reason = reason


class MalformedBody(InvalidRequest):
    code = "malformed_body"


class UnsupportedMediaType(InvalidRequest):
    code = "unsupported_media_type"


class PayloadTooLarge(InvalidRequest):
    code = "payload_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request body is over the limit of {limit} bytes")
        self.limit = limit


class IdempotencyConflict(InvalidRequest):
    code = "idempotency_conflict"

    def __init__(self) -> None:
        super().__init__("this idempotency key was used for another request before")


class AccessDenied(DiffuserveError):
    code = "access_denied"


class Unauthenticated(AccessDenied):
    code = "unauthenticated"


class Forbidden(AccessDenied):
    code = "forbidden"


class QuotaExhausted(AccessDenied):
    """`unit` and `left` say what is missing: `left` of a plan's unit is all that the account may still use."""

    code = "quota_exhausted"

    def __init__(self, unit: str, needed: float, left: float) -> None:
        unit = unit.replace("_", " ")
        super().__init__(f"the account's plan has {left:g} {unit} left and this needs {needed:g}")
        self.unit, self.needed, self.left = unit, needed, left


class NotFound(DiffuserveError):
    code = "not_found"


class JobNotFound(NotFound):
    code = "job_not_found"

    def __init__(self, job_id: object) -> None:
        super().__init__(f"no such job: {_short(job_id)}")


class ArtifactNotFound(NotFound):
    code = "artifact_not_found"

    def __init__(self) -> None:
        super().__init__("no such file")


class LinkExpired(NotFound):
    code = "link_expired"

    def __init__(self) -> None:
        super().__init__("this link has expired; ask for the job again to get a new one")


class RouteNotFound(NotFound):
    code = "route_not_found"

    def __init__(self, path: str) -> None:
        super().__init__(f"there is nothing at {_short(path)}")


class MethodNotAllowed(DiffuserveError):
    code = "method_not_allowed"

    def __init__(self, method: str, allowed: Sequence[str] = ()) -> None:
        hint = f"; use {' or '.join(allowed)}" if allowed else ""
        super().__init__(f"{_short(method)} is not allowed here{hint}")
        self.allowed = tuple(allowed)


class Unavailable(DiffuserveError):
    code = "unavailable"


class QueueFull(Unavailable):
    code = "queue_full"

    def __init__(self, retry_after: float) -> None:
        super().__init__("the server is busy: its queue is full, try again later", retry_after=retry_after)


class RateLimited(Unavailable):
    """`limit` completes the sentence "this key may ...", for example "have 4 jobs open at once"."""

    code = "rate_limited"

    def __init__(self, limit: str, retry_after: float) -> None:
        super().__init__(f"this key may {limit}; try again later", retry_after=retry_after)
        self.limit = limit


class EngineNotReady(Unavailable):
    code = "engine_not_ready"

    def __init__(self, retry_after: float = 5.0) -> None:
        super().__init__("the server is still loading its models, try again in a moment", retry_after=retry_after)


class DeadlineExceeded(Unavailable):
    code = "deadline_exceeded"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"not finished within {seconds:g} seconds; the job goes on", retry_after=5.0)


class JobCanceled(DiffuserveError):
    code = "canceled"

    def __init__(self, message: str = "the job was canceled") -> None:
        super().__init__(message)


class ServerFailure(DiffuserveError):
    code = "server_failure"


class GenerationFailed(ServerFailure):
    code = "generation_failed"


class OutOfMemory(ServerFailure):
    code = "out_of_memory"


class EngineCrashed(ServerFailure):
    code = "engine_crashed"


class StorageFailed(ServerFailure):
    code = "storage_failed"


class InternalError(ServerFailure):
    code = "internal_error"

    def __init__(self, message: str = "something went wrong on the server; its log says more") -> None:
        super().__init__(message)


class ConfigurationError(DiffuserveError):
    code = "configuration_error"


def leaves(root: type[DiffuserveError] = DiffuserveError) -> Iterator[type[DiffuserveError]]:
    """Every class of the tree that is raised as it is (the law test of the dialects walks them)."""
    children = root.__subclasses__()
    if not children:
        yield root
    for child in children:
        yield from leaves(child)


def rebuild(error: JobError) -> DiffuserveError:
    """The exception that a stored `JobError` stands for; an unknown code (from an older server) is an InternalError."""
    for cls in leaves():
        if cls.code == error.code:
            exception = cls.__new__(cls)
            DiffuserveError.__init__(exception, error.message)
            return exception
    return InternalError(error.message)


def _short(value: object, limit: int = 80) -> str:
    """`value` for an error message: one line, at most `limit` characters, control characters escaped."""
    text = value if isinstance(value, str) else repr(value)
    text = text.encode("unicode_escape").decode("ascii") if not text.isprintable() else text
    return text if len(text) <= limit else text[: limit - 1] + "…"
