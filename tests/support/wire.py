"""A network that is a script of raw answers: nothing leaves the test."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpcore2

from diffuserve.outgoing.guard import GuardedBackend


class Wire(httpcore2.AsyncNetworkBackend):
    """Answers every connection with the next raw answer, and remembers the addresses."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.addresses: list[str] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self.addresses.append(host)
        return httpcore2.AsyncMockStream([self.answers.pop(0)])

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing is retried")


class Names(GuardedBackend):
    """The guard, with a resolver of its own."""

    def __init__(self, inner: Wire, names: dict[str, list[str]]) -> None:
        super().__init__(inner)
        self.names = names

    async def resolve(self, host: str, port: int) -> list[str]:
        return self.names[host] if host in self.names else await super().resolve(host, port)
