"""Where the server listens, and where it refuses to."""

from __future__ import annotations

import socket

import pytest

from diffuserve.cli.listening import bind, check_host, origin
from diffuserve.core.errors import ConfigurationError
from diffuserve.loopback import is_loopback

pytestmark = pytest.mark.unit


def unasked() -> bool:
    raise AssertionError("the store need not be opened for this")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "LOCALHOST", "::1", "[::1]"])
def test_loopback_addresses_need_no_permission(host: str) -> None:
    assert is_loopback(host)
    check_host(host, allow_anonymous=False, has_keys=unasked)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.2", "example.org", "127.0.0.1.example.org"])
def test_other_addresses_are_refused_with_the_ways_out(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"keys create --account.*--allow-anonymous"):
        check_host(host, allow_anonymous=False, has_keys=lambda: False)
    check_host(host, allow_anonymous=True, has_keys=unasked)
    check_host(host, allow_anonymous=False, has_keys=lambda: True)


def test_port_0_takes_a_free_port_and_the_url_names_it() -> None:
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert port > 0
        assert origin("127.0.0.1", listener) == f"http://127.0.0.1:{port}"


def test_a_server_on_all_addresses_is_reached_as_localhost() -> None:
    with bind("0.0.0.0", 0) as listener:
        assert origin("0.0.0.0", listener) == f"http://localhost:{listener.getsockname()[1]}"


def test_a_port_in_use_is_told_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} on 127.0.0.1 is in use.*--port 0"):
            bind("127.0.0.1", port)


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1 is not an address of this machine"):
        bind("192.0.2.1", 0)


def test_a_host_that_is_no_address_is_told() -> None:
    with pytest.raises(ConfigurationError, match="is no address"):
        bind("not an address", 0)
