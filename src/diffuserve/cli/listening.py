"""The address that the server listens on: whether it may, and one sentence where it cannot."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable

from diffuserve.core.errors import ConfigurationError
from diffuserve.loopback import is_loopback


def check_host(host: str, *, allow_anonymous: bool, has_keys: Callable[[], bool]) -> None:
    """Raises ConfigurationError where the server would be open to others without anybody having said so."""
    if not is_loopback(host) and not allow_anonymous and not has_keys():
        raise ConfigurationError(
            f"refusing to listen on {host}, where everybody who reaches it could draw, since there is no key yet: make "
            "one with `diffuserve keys create --account NAME` (the same --data-dir), or say --allow-anonymous if that "
            "is what you want"
        )


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to `host` and `port` (0: any free one), not yet listening. Raises ConfigurationError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise ConfigurationError(f"--host {host} is no address: give an IP address or a name of this machine") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Binding alone does not claim the port on every system; listening does.
        listener.listen()
    except OSError as error:
        listener.close()
        raise ConfigurationError(_why(host, port, error)) from None
    return listener


def origin(host: str, listener: socket.socket) -> str:
    """The URL under which the server on `listener` is reached from this machine."""
    address, port = listener.getsockname()[:2]
    name = host
    if ipaddress.ip_address(address).is_unspecified:
        name = "localhost"
    elif ":" in host and not host.startswith("["):
        name = f"[{host}]"
    return f"http://{name}:{port}"


def _why(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is in use, perhaps by another diffuserve: choose another with --port, or --port 0"
        )
    if error.errno == errno.EACCES:
        return f"port {port} is for administrators only: choose one above 1023 with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host} is not an address of this machine"
    return f"cannot listen on {host} port {port}: {error.strerror or error}"
