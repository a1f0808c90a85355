"""Pictures by link, over the guarded network of `outgoing`: every redirect is judged like the first address."""

from __future__ import annotations

import asyncio
from urllib.parse import urljoin

import httpcore2

from diffuserve.core.errors import UnreadablePicture
from diffuserve.outgoing.address import host_header
from diffuserve.outgoing.guard import RefusedAddress, network

_MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Fetcher:
    """Gets pictures by http(s) link. Proxies and credentials of the environment are not used."""

    def __init__(
        self,
        allow_private: bool = False,
        max_bytes: int = 32 * 2**20,
        timeout: float = 20.0,
        backend: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        """`timeout` is in seconds for the whole download; `backend` replaces the guarded network in tests."""
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._backend = backend or network(allow_private=allow_private)

    async def get(self, url: str, param: str) -> bytes:
        """The body behind `url`, after at most three redirects. Raises UnreadablePicture naming `param`."""
        try:
            async with asyncio.timeout(self._timeout), self._pool() as pool:
                return await self._follow(pool, url.strip(), param)
        except RefusedAddress:
            raise UnreadablePicture(param, "is a link to an address that is not public") from None
        except (TimeoutError, httpcore2.TimeoutException):
            raise UnreadablePicture(param, "could not be fetched in time") from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.UnsupportedProtocol, OSError):
            raise UnreadablePicture(param, "could not be fetched") from None

    def _pool(self) -> httpcore2.AsyncConnectionPool:
        # One pool for each picture: a connection kept alive would be trusted without a new look at its address.
        return httpcore2.AsyncConnectionPool(network_backend=self._backend, retries=0)

    async def _follow(self, pool: httpcore2.AsyncConnectionPool, url: str, param: str) -> bytes:
        for _ in range(_MAX_REDIRECTS + 1):
            host = _checked(url, param)
            headers = [
                ("Host", host),
                ("Accept", "image/*"),
                ("Accept-Encoding", "identity"),
                ("User-Agent", "diffuserve"),
            ]
            async with pool.stream("GET", url, headers=headers) as response:
                fields = {name.lower(): value for name, value in response.headers}
                if response.status in _REDIRECTS and b"location" in fields:
                    url = urljoin(url, fields[b"location"].decode("latin-1"))
                    continue
                if response.status != 200:
                    raise UnreadablePicture(param, f"could not be fetched: its server answered {response.status}")
                return await self._read(response, fields, param)
        raise UnreadablePicture(param, "could not be fetched: too many redirects")

    async def _read(self, response: httpcore2.Response, fields: dict[bytes, bytes], param: str) -> bytes:
        length = fields.get(b"content-length", b"")
        if length.isdigit() and int(length[:20]) > self._max_bytes:
            raise UnreadablePicture(param, f"is too large: more than {self._max_bytes} bytes")
        body = bytearray()
        async for chunk in response.aiter_stream():
            body += chunk
            if len(body) > self._max_bytes:
                raise UnreadablePicture(param, f"is too large: more than {self._max_bytes} bytes")
        return bytes(body)


def _checked(url: str, param: str) -> str:
    """The Host header for `url`. Raises UnreadablePicture where it is no plain http(s) address."""
    try:
        return host_header(url)
    except ValueError:
        raise UnreadablePicture(param, "is not a valid link") from None
