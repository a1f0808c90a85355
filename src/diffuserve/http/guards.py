"""The doors before every dialect: who may knock, from where, and with how much. Plain ASGI, so that nothing is buffered
and a caller who hangs up is noticed.

A refusal is answered in the shape of the dialect that owns the path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diffuserve.core.errors import DiffuserveError, Forbidden, PayloadTooLarge
from diffuserve.dialects.base import Dialect

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")

Owner = Callable[[str], Dialect]


@dataclass(frozen=True)
class Doors:
    """What a server lets in."""

    max_body_bytes: int = 48 * 2**20
    check_host: bool = True
    """Refuse Host headers that are not ours: set on loopback addresses, where a foreign web page could reach us under a
    name of its own (DNS rebinding)."""
    trusted_hosts: tuple[str, ...] = ()
    """Further names to be called by; `*` is any."""
    public_url: str | None = None
    cors_origins: tuple[str, ...] = ()
    """Origins of web pages that may call us; `*` is any."""


def owner_of(dialects: Sequence[Dialect]) -> Owner:
    """Who answers for a path: the dialect whose territory it is, else the first one."""
    return lambda path: next((dialect for dialect in dialects if dialect.owns(path)), dialects[0])


class HostGuard:
    """Lets in requests that call the server by one of its own names."""

    def __init__(self, app: ASGIApp, doors: Doors, owner: Owner) -> None:
        self._app = app
        self._owner = owner
        public = urlsplit(doors.public_url).netloc if doors.public_url else ""
        self._names = frozenset(_name(host) for host in (*LOOPBACK_NAMES, *doors.trusted_hosts, public) if host)
        self._open = not doors.check_host or "*" in doors.trusted_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._open or _name(Headers(scope=scope).get("host", "")) in self._names:
            await self._app(scope, receive, send)
            return
        error = Forbidden("this server is not known by that host name; add it to trusted_hosts to allow it")
        await _refuse(self._owner, error, scope, receive, send)


class CrossSiteGuard:
    """Keeps foreign web pages from making a visitor's browser submit jobs."""

    def __init__(self, app: ASGIApp, doors: Doors, owner: Owner) -> None:
        self._app = app
        self._owner = owner
        self._allowed = frozenset(origin.rstrip("/").lower() for origin in doors.cors_origins)
        self._public = urlsplit(doors.public_url).netloc.lower() if doors.public_url else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS or self._welcome(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        error = Forbidden("a web page of another site may not call this server; add its origin to cors_origins")
        await _refuse(self._owner, error, scope, receive, send)

    def _welcome(self, headers: Headers) -> bool:
        if "*" in self._allowed:
            return True
        origin = headers.get("origin")
        if origin is None:
            # Not a browser, or one that says where it stands.
            return headers.get("sec-fetch-site", "none") in ("none", "same-origin")
        if origin.lower() in self._allowed:
            return True
        authority = urlsplit(origin).netloc.lower()
        # The scheme is not compared: before a proxy that ends TLS, ours is http and the page's https.
        return bool(authority) and authority in (headers.get("host", "").lower(), self._public)


class BodyLimit:
    """Counts what is read of a body; over the limit, the reader gets PayloadTooLarge and renders it."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        read = 0
        over = False

        async def counted() -> Message:
            nonlocal read, over
            # What is announced as too large is not read at all.
            over = over or (length.isdecimal() and int(length[:20]) > self._limit)
            if not over:
                message = await receive()
                read += len(message.get("body", b""))
                over = read > self._limit
                if not over:
                    return message
            raise PayloadTooLarge(self._limit)

        async def closing(message: Message) -> None:
            if over and message["type"] == "http.response.start":
                # The rest of the body is still on its way and must not be taken for the next request.
                MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        await self._app(scope, counted, closing)


class SecurityHeaders:
    """What every answer carries, where the answer does not say otherwise."""

    _ALWAYS = (
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"x-frame-options", b"DENY"),
    )

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def added(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._ALWAYS]
            await send(message)

        await self._app(scope, receive, added if scope["type"] == "http" else send)


async def _refuse(owner: Owner, error: DiffuserveError, scope: Scope, receive: Receive, send: Send) -> None:
    response = owner(scope["path"]).render_error(error, Request(scope))
    await response(scope, receive, send)


def _name(host: str) -> str:
    """A Host header without its port, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
