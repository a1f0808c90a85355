"""Fetching by link, and all that it must not reach. The network is a script of raw answers; nothing leaves the test."""

from __future__ import annotations

from typing import Any

import pytest

from diffuserve.core.errors import UnreadablePicture
from diffuserve.media.fetch import Fetcher
from support.wire import Names, Wire

pytestmark = pytest.mark.unit

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\npicture"


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
