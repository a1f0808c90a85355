"""Signatures of notifications, per the Standard Webhooks specification 1.0.0 (symmetric, `v1`).

A secret is written `whsec_` and the base64 of 24 to 64 random bytes. What is signed is the message's id, the time of this
attempt and the body as it is sent, with dots between.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

_PREFIX = "whsec_"
SECRET_FORM = "whsec_ and the base64 of 24 to 64 bytes"


def headers(secret: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers by which a receiver knows sender, time and repetition. `timestamp` is in Unix seconds."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature(secret, message_id, timestamp, body)}",
    }


def signature(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """HMAC-SHA256 of `id.timestamp.body` in base64."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode("ascii")


def read_secret(text: str) -> bytes:
    """The bytes of a written secret. Raises ValueError, which does not repeat it."""
    try:
        secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not text.startswith(_PREFIX) or not 24 <= len(secret) <= 64:
        raise ValueError(f"a signing secret is {SECRET_FORM}")
    return secret


def write_secret(secret: bytes) -> str:
    return _PREFIX + base64.b64encode(secret).decode("ascii")


class SigningSecrets:
    """Which secret signs what an account is told, where the job's callback brings none of its own.

    Each account has another, so that none can sign in the server's name to the receivers of another. They follow from
    the server's secret, and are not stored.
    """

    def __init__(self, root: bytes, common: str | None = None) -> None:
        """`root` is the server's secret; `common`, where the operator chose one, signs for everybody instead.

        Raises ValueError if `common` is no secret.
        """
        self._root = root
        self._common = None if common is None else read_secret(common)

    def of(self, account: str) -> bytes:
        if self._common is not None:
            return self._common
        return hmac.new(self._root, b"webhooks\n" + account.encode(), hashlib.sha256).digest()
