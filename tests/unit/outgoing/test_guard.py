"""Which addresses are on the public internet."""

from __future__ import annotations

import pytest

from diffuserve.outgoing.guard import is_public

pytestmark = pytest.mark.unit


def test_public_addresses_are_told_from_the_others() -> None:
    assert is_public("93.184.215.14")
    assert is_public("2606:2800:220:1:248:1893:25c8:1946")
    for address in ("224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "2002:7f00:1::", "::127.0.0.1", "fe80::1%eth0"):
        assert not is_public(address), address
