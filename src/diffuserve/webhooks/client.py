"""One POST to an address that a caller chose: over the guarded network, no redirects, no proxy, no patience beyond a
limit."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import httpcore2

from diffuserve import __version__
from diffuserve.outgoing.address import host_header
from diffuserve.outgoing.guard import RefusedAddress, network

MAX_ANSWER = 64 * 1024
"""Bytes of an answer that are read, for the receiver's sake, before the connection is closed."""


class NotReached(Exception):
    """No answer came. The text completes the sentence "the receiver ..."."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    retry_after: float | None = None
    """Seconds, where the receiver asked for a pause."""


class Client:
    """Posts. Credentials and proxies of the environment are not used; connections are not kept."""

    def __init__(
        self,
        *,
        timeout: float = 15.0,
        allow_private: bool = False,
        backend: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        """`timeout` is in seconds for the whole call; `backend` replaces the guarded network in tests."""
        self.timeout = timeout
        self._backend = backend or network(allow_private=allow_private)
        self._tls: ssl.SSLContext | None = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """What the receiver answered, whatever it was; a redirect too is just an answer. Raises NotReached."""
        answers: list[Answer] = []
        try:
            async with asyncio.timeout(self.timeout):
                await self._call(url, headers, body, answers)
        except RefusedAddress:
            raise NotReached("has no public address") from None
        except (TimeoutError, httpcore2.TimeoutException):
            if not answers:  # else it has answered, and just does not stop talking
                raise NotReached(f"did not answer within {self.timeout:g} seconds") from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.UnsupportedProtocol, OSError, ValueError):
            if not answers:
                raise NotReached("could not be reached") from None
        return answers[0]

    async def _call(self, url: str, headers: Mapping[str, str], body: bytes, answers: list[Answer]) -> None:
        sent = [
            ("Host", host_header(url)),
            ("User-Agent", f"diffuserve/{__version__}"),
            ("Accept", "*/*"),
            ("Accept-Encoding", "identity"),
            ("Connection", "close"),
            ("Content-Length", str(len(body))),
            *headers.items(),
        ]
        # One pool for each call: a connection kept alive would be trusted without a new look at its address.
        async with (
            httpcore2.AsyncConnectionPool(
                ssl_context=self._context(url), network_backend=self._backend, retries=0
            ) as pool,
            pool.stream("POST", url, headers=sent, content=body) as response,
        ):
            answers.append(Answer(response.status, _retry_after(response)))
            size = 0
            async for chunk in response.aiter_stream():
                size += len(chunk)
                if size > MAX_ANSWER:
                    return

    def _context(self, url: str) -> ssl.SSLContext | None:
        """Read once: it takes milliseconds to load the certificates of the machine."""
        if self._tls is None and url[:6].lower() == "https:":
            self._tls = httpcore2.default_ssl_context()
        return self._tls


def _retry_after(response: httpcore2.Response) -> float | None:
    for name, value in response.headers:
        if name.lower() == b"retry-after" and value.strip().isdigit():
            return float(value.strip()[:9])
    return None
