"""The network that outgoing calls use, without becoming a stranger's window into the local one.

The check sits below name resolution: the address that was judged is the one connected to, for the first request and for
every redirect, so a name that resolves differently the second time gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Any

import httpcore2

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


def network(*, allow_private: bool) -> httpcore2.AsyncNetworkBackend:
    """The network for outgoing calls: a guarded one, unless private addresses are allowed."""
    return httpcore2.AnyIOBackend() if allow_private else GuardedBackend()


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
