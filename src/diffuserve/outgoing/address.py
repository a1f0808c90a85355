"""Links as callers write them, judged by their text alone; where a name leads is judged by `guard` when it connects."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from diffuserve.core.errors import InvalidParameter
from diffuserve.outgoing.guard import is_public

MAX_LENGTH = 2048


def host_header(url: str) -> str:
    """The Host header for `url`. Raises ValueError where it is no plain http(s) address."""
    parts = urlsplit(url)
    host, port = parts.hostname, parts.port
    if parts.scheme.lower() not in ("http", "https") or not host or not re.fullmatch(r"[!-~]+", url):
        raise ValueError(url)
    name = f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"


def check_target(url: str, param: str, *, allow_private: bool) -> str:
    """`url` without surrounding space, fit to be called later. Raises InvalidParameter naming `param`."""
    url = url.strip()
    try:
        if len(url) > MAX_LENGTH:
            raise ValueError(url)
        host_header(url)
        parts = urlsplit(url)
    except ValueError:
        raise InvalidParameter(param, f"an http or https address of up to {MAX_LENGTH} characters", url) from None
    if parts.username is not None or parts.password is not None:
        # Not echoed: it holds a password.
        raise InvalidParameter(param, "an address without a user name or password")
    if not allow_private and _is_private(parts.hostname or ""):
        raise InvalidParameter(param, "an address on the public internet", url)
    return url


def _is_private(host: str) -> bool:
    if host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return not is_public(host)
