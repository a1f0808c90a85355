"""Links that callers want called later, judged by their text."""

from __future__ import annotations

import pytest

from diffuserve.core.errors import InvalidParameter
from diffuserve.outgoing.address import check_target, host_header

pytestmark = pytest.mark.unit


def check(url: str, *, allow_private: bool = False) -> str:
    return check_target(url, "callback_url", allow_private=allow_private)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://example.org/a", "example.org"),
        ("https://example.org:8443/", "example.org:8443"),
        ("http://[2606:2800::1]:80/", "[2606:2800::1]:80"),
    ],
)
def test_the_host_header_is_name_and_port(url: str, host: str) -> None:
    assert host_header(url) == host


def test_a_public_address_passes_without_the_space_around_it() -> None:
    assert check(" https://example.org/done?id=1 ") == "https://example.org/done?id=1"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org/x",
        "ftp://example.org/",
        "file:///etc/passwd",
        "http://",
        "http://exa mple.org/",
        "http://[::1/",
        "http://example.org:99999/",
        "http://example.org/" + "x" * 2048,
    ],
)
def test_what_is_no_http_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidParameter, match="callback_url must be an http or https address"):
        check(url)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[fd00::1]"],
)
def test_an_address_that_says_itself_that_it_is_private_is_refused(host: str) -> None:
    with pytest.raises(InvalidParameter, match="public internet"):
        check(f"http://{host}/")


def test_private_addresses_pass_where_they_are_allowed() -> None:
    assert check("http://127.0.0.1:9000/", allow_private=True) == "http://127.0.0.1:9000/"


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidParameter, match="without a user name") as refusal:
        check("https://ann:hunter2@example.org/")
    assert "hunter2" not in str(refusal.value)
