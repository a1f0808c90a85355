"""OAuth access tokens that no table holds: each carries the pair that it was given to and its end, signed by the server.

So they are good after a restart and on every server that shares the secret, and any number may be out for one pair.
Whether the pair is still valid is looked up each time (`Gate.by_access_key`): revoking it ends its tokens.

    24.{32 hexadecimal digits}.{lifetime}.{end}.{holder}

which is Baidu's shape. The digits are HMAC-SHA256 over the rest, cut to 128 bits. `holder` is `1-` and the pair's access key
as a number (its bytes, the first one highest), or `0-0` where an open server gave the token to somebody unknown.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass

from diffuserve.core.ports import Clock

LIFETIME = 30 * 86400
"""Seconds."""
REFRESH_LIFETIME = 3650 * 86400

_ACCESS = "24"
_REFRESH = "25"
_FORM = re.compile(r"(2[45])\.([0-9a-f]{32})\.([0-9]{1,10})\.([0-9]{1,12})\.(0-0|1-[0-9]{1,80})")
_NOBODY = "0-0"
# Another use of the same secret takes other words and gets a key that has nothing to do with this.
_PURPOSE = b"diffuserve: access tokens, 1"


class BadToken(Exception):
    """It was not made by this server's secret."""


class ExpiredToken(Exception):
    """It was, and is over."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token stands for."""

    access_key: str | None
    """The pair; None for a token that an open server gave to somebody unknown."""
    expires_at: float


class AccessTokens:
    """Makes and reads tokens with one secret."""

    def __init__(self, secret: bytes, clock: Clock) -> None:
        self._key = hmac.new(secret, _PURPOSE, hashlib.sha256).digest()
        self._clock = clock

    def issue(self, access_key: str | None) -> str:
        """A token for a pair, good for `LIFETIME`; for nobody in particular where it is None."""
        return self._make(_ACCESS, access_key, LIFETIME)

    def issue_refresh(self, access_key: str | None) -> str:
        """The token beside it in the vendor's answer. Nothing here takes it."""
        return self._make(_REFRESH, access_key, REFRESH_LIFETIME)

    def read(self, token: str) -> Grant:
        """Raises BadToken, ExpiredToken."""
        parts = _FORM.fullmatch(token)
        if parts is None:
            raise BadToken
        kind, signed, lifetime, end, holder = parts.groups()
        good = hmac.compare_digest(signed.encode(), self._sign(kind, lifetime, end, holder).encode())
        if not good or kind != _ACCESS:
            raise BadToken
        if int(end) <= self._clock.now():
            raise ExpiredToken
        return Grant(None if holder == _NOBODY else _access_key(holder), float(end))

    def _make(self, kind: str, access_key: str | None, seconds: int) -> str:
        lifetime, end = str(seconds), str(int(self._clock.now()) + seconds)
        holder = _NOBODY if access_key is None else _holder(access_key)
        return f"{kind}.{self._sign(kind, lifetime, end, holder)}.{lifetime}.{end}.{holder}"

    def _sign(self, *parts: str) -> str:
        return hmac.new(self._key, ".".join(parts).encode(), hashlib.sha256).hexdigest()[:32]


def _holder(access_key: str) -> str:
    return f"1-{int.from_bytes(access_key.encode('ascii'), 'big')}"


def _access_key(holder: str) -> str:
    number = int(holder.removeprefix("1-"))
    return number.to_bytes((number.bit_length() + 7) // 8, "big").decode("ascii")
