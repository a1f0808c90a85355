"""Making secrets, and the hash under which a token is kept. Read `secrets.py` next."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets

TOKEN_PREFIX = "dsk_"
"""So that people, and scanners of published code, know one of ours when they see it."""
_ACCESS_PREFIX = "DSAK"


def new_key_id() -> str:
    """The public name of a key."""
    return f"key_{secrets.token_hex(8)}"


def new_token() -> str:
    """A bearer token: 256 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def new_access_key() -> str:
    """The public half of a pair: capitals and digits only, as vendors' signing schemes write it into headers."""
    return _ACCESS_PREFIX + base64.b32encode(secrets.token_bytes(10)).decode("ascii")


def is_access_key(text: str) -> bool:
    """Whether it looks like one."""
    return re.fullmatch(rf"{_ACCESS_PREFIX}[A-Z2-7]{{16}}", text) is not None


def new_secret_key() -> str:
    """The secret half of a pair: 256 random bits."""
    return secrets.token_urlsafe(32)


def hashed(token: str) -> str:
    """SHA-256, hexadecimal. Nothing slower is needed: there is no guessing at 256 random bits.

    Looking it up may take as long as it likes, too: whoever measures that learns about a hash, never about a token.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
