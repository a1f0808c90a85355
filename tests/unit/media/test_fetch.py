"""Fetching by link, and all that it must not reach. The network is a script of raw answers; nothing leaves the test."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpcore2
import pytest

from diffuserve.core.errors import UnreadablePicture
from diffuserve.media.fetch import Fetcher, GuardedBackend, is_public

pytestmark = pytest.mark.unit

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\npicture"


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


PUBLIC = {
    "example.org": ["93.184.215.14"],
    "inside.example": ["10.1.2.3"],
    "both.example": ["93.184.215.14", "127.0.0.1"],
}


async def fetch(url: str, *answers: bytes, wire: Wire | None = None, **options: Any) -> bytes:
    return await Fetcher(backend=Names(wire or Wire(*answers), PUBLIC), **options).get(url, "init_image")


async def test_a_public_link_gives_its_body() -> None:
    assert await fetch("http://example.org/a.png", OK) == b"picture"


async def test_the_address_that_was_checked_is_the_one_connected_to() -> None:
    wire = Wire(OK)
    await fetch("http://example.org/a.png", wire=wire)
    assert wire.addresses == ["93.184.215.14"]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "127.1",
        "0.0.0.0",
        "169.254.169.254",
        "100.64.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fd00::1]",
        "[fe80::1]",
        "[64:ff9b::7f00:1]",
        "inside.example",
        "both.example",
    ],
)
async def test_private_addresses_are_refused_in_every_spelling(host: str) -> None:
    wire = Wire()
    with pytest.raises(UnreadablePicture, match=r"not public|could not be fetched"):
        await fetch(f"http://{host}/", wire=wire)
    assert wire.addresses == []


async def test_a_redirect_is_checked_again() -> None:
    wire = Wire(b"HTTP/1.1 302 Found\r\nLocation: http://inside.example/\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(UnreadablePicture, match="not public"):
        await fetch("http://example.org/", wire=wire)
    assert wire.addresses == ["93.184.215.14"]


async def test_a_relative_redirect_is_followed() -> None:
    hop = b"HTTP/1.1 302 Found\r\nLocation: /b.png\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    assert await fetch("http://example.org/a.png", hop, OK) == b"picture"


async def test_redirects_without_end_are_refused() -> None:
    hop = b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with pytest.raises(UnreadablePicture, match="too many redirects"):
        await fetch("http://example.org/", *[hop] * 9)


@pytest.mark.parametrize("location", [b"file:///etc/passwd", b"ftp://example.org/"])
async def test_a_redirect_to_something_else_than_http_is_refused(location: bytes) -> None:
    hop = b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with pytest.raises(UnreadablePicture, match="not a valid link"):
        await fetch("http://example.org/", hop)


@pytest.mark.parametrize(
    "url", ["http://", "http://exa mple.org/", "http://example.org:99999/", "http://[::1/", "http://é.org/"]
)
async def test_a_mangled_link_is_refused(url: str) -> None:
    with pytest.raises(UnreadablePicture, match="not a valid link"):
        await fetch(url)


async def test_an_announced_size_over_the_limit_is_not_read() -> None:
    with pytest.raises(UnreadablePicture, match="more than 5 bytes"):
        await fetch("http://example.org/", OK, max_bytes=5)


async def test_a_body_that_grows_over_the_limit_is_dropped() -> None:
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 100
    with pytest.raises(UnreadablePicture, match="more than 50 bytes"):
        await fetch("http://example.org/", answer, max_bytes=50)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"garbage\r\n\r\n", b""])
async def test_a_failed_download_names_the_parameter(answer: bytes) -> None:
    with pytest.raises(UnreadablePicture, match="init_image could not be fetched"):
        await fetch("http://example.org/", answer)


def test_public_addresses_are_told_from_the_others() -> None:
    assert is_public("93.184.215.14")
    assert is_public("2606:2800:220:1:248:1893:25c8:1946")
    for address in ("224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "2002:7f00:1::", "::127.0.0.1", "fe80::1%eth0"):
        assert not is_public(address), address
