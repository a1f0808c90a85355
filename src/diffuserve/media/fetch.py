"""Pictures by link, without becoming a stranger's window into the local network.

The check sits in the network backend, below name resolution: the address that was judged is the one connected to, for
the first request and for every redirect, so a name that resolves differently the second time gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpcore2

from diffuserve.core.errors import UnreadablePicture

_MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Ranges that Python calls global although they lead to IPv4 addresses of the translator's or tunnel's choice.
_TRANSLATED = tuple(ipaddress.ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "::/96"))


class RefusedAddress(httpcore2.ConnectError):
    """A link led to an address that is not on the public internet."""


def is_public(address: str) -> bool:
    """Whether an IP address is globally reachable unicast, seen through IPv4-in-IPv6 wrappings."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif any(ip in net for net in _TRANSLATED):
            return False
    return ip.is_global and not ip.is_multicast


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Resolves names itself and connects only to addresses that passed `is_public`."""

    def __init__(self, inner: httpcore2.AsyncNetworkBackend | None = None) -> None:
        self._inner = inner or httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        addresses = await self.resolve(host, port)
        if not addresses or not all(is_public(address) for address in addresses):
            raise RefusedAddress(f"{host} is not a public address")
        failure: Exception = httpcore2.ConnectError(f"{host} has no address")
        for address in addresses[:3]:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def resolve(self, host: str, port: int) -> list[str]:
        """Every address of `host`, in the resolver's order; tests replace it."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from None
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


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
        self._backend = backend or (httpcore2.AnyIOBackend() if allow_private else GuardedBackend())

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
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        if parts.scheme.lower() not in ("http", "https") or not host or not re.fullmatch(r"[!-~]+", url):
            raise ValueError
    except ValueError:
        raise UnreadablePicture(param, "is not a valid link") from None
    name = f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"
