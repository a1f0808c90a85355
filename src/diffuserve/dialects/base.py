"""What a dialect is (`Dialect`), what it is given (`Rooms`), and how it says that something went wrong (`ErrorTable`).

`endpoint.py` holds the wrapper around every endpoint; `bodies.py` and `pictures.py` read what callers send.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from diffuserve.auth import Gate
from diffuserve.auth.access_tokens import AccessTokens
from diffuserve.core.delivery import Delivery
from diffuserve.core.errors import ConfigurationError, DiffuserveError, InvalidParameter, Unauthenticated, leaves
from diffuserve.core.job import Job
from diffuserve.core.ports import Clock, EngineStatus
from diffuserve.dialects.links import Links
from diffuserve.jobs.service import JobService
from diffuserve.media.fetch import Fetcher
from diffuserve.webhooks.rendered import Rendered
from diffuserve.webhooks.sign import SigningSecrets

Row = TypeVar("Row")


@dataclass(frozen=True)
class Notices:
    """What dialects need to promise notifications (`callbacks.py`)."""

    secrets: SigningSecrets
    allow_private: bool = False
    """Private addresses may be named too."""


@dataclass(frozen=True)
class Rooms:
    """What dialects use of the house; `wiring` fills it."""

    jobs: JobService
    gate: Gate
    """Who asks; `endpoint.py` takes everybody through it."""
    links: Links
    fetcher: Fetcher
    notices: Notices
    access_tokens: AccessTokens
    """For dialects whose callers show a pair once and a token from then on."""
    clock: Clock
    status: Callable[[], EngineStatus]
    max_input_pixels: int
    decoding: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    """How many input pictures are decoded at once: a large one takes hundreds of megabytes while it is."""


@dataclass(frozen=True)
class Dialect:
    """One HTTP API that applications already speak."""

    name: str
    title: str
    """Its heading in the interactive documentation."""
    description: str
    mounts: tuple[str, ...]
    """Path prefixes under which its routes stand; the first is the vendor's own and the documented one."""
    territory: tuple[str, ...]
    """Paths that it answers for, with all that lies below them, also where no route is found."""
    build: Callable[[Rooms], APIRouter]
    errors: ErrorTable[int]
    """HTTP status of each error."""
    render_error: Callable[[DiffuserveError, Request], Response]
    render_delivery: Callable[[Rooms, Job, Delivery], Awaitable[Rendered]] | None = None
    """A notification in its words; None where it has no webhooks."""

    def owns(self, path: str) -> bool:
        return any(path == root or path.startswith(root + "/") for root in self.territory)


class ErrorTable(Generic[Row]):
    """One row for each leaf of the error tree that can reach a caller; none may be left to chance."""

    def __init__(self, rows: Mapping[type[DiffuserveError], Row]) -> None:
        self.rows = dict(rows)

    def __getitem__(self, error: DiffuserveError) -> Row:
        for cls in type(error).__mro__:
            if cls in self.rows:
                return self.rows[cls]
        raise KeyError(type(error).__name__)

    def missing(self) -> list[type[DiffuserveError]]:
        """Leaves without a row of their own; empty in a finished dialect."""
        return [leaf for leaf in leaves() if leaf not in self.rows and leaf is not ConfigurationError]


def retry_header(error: DiffuserveError) -> dict[str, str]:
    """`Retry-After` in whole seconds, where the error knows it."""
    return {} if error.retry_after is None else {"retry-after": str(max(1, round(error.retry_after)))}


def challenge_header(error: DiffuserveError) -> dict[str, str]:
    """`WWW-Authenticate`, which every answer 401 must carry."""
    return {"www-authenticate": 'Bearer realm="diffuserve"'} if isinstance(error, Unauthenticated) else {}


def allow_header(error: DiffuserveError) -> dict[str, str]:
    """`Allow`, where the error is about the method."""
    allowed = getattr(error, "allowed", ())
    return {"allow": ", ".join(allowed)} if allowed else {}


def sentence(error: DiffuserveError, names: Mapping[str, str]) -> str:
    """The error's message with the core's parameter name replaced by the vendor's."""
    ours = error.param or ""
    if ours in names and error.message.startswith(ours):
        return names[ours] + error.message[len(ours) :]
    return error.message


def unknown_value(param: str, accepted: list[str], value: object) -> InvalidParameter:
    """The refusal of a word that is not on the list."""
    return InvalidParameter(param, f"one of {', '.join(accepted)}", value)


def base_url(request: Request) -> str:
    """The scheme and authority that the client used, which links stand on."""
    return str(request.base_url).rstrip("/")
