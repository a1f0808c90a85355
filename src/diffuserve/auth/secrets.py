"""Secrets that must be read again, because signatures are recomputed with them: encrypted wherever they lie.

Read `gate.py` next.
"""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

# Another use of the same secret (it signs links too) takes other words and gets a key that has nothing to do with this.
_PURPOSE = b"diffuserve: secrets of key pairs, 1"


class BrokenSeal(Exception):
    """It was sealed with another secret, or tampered with."""


class Sealer:
    """Seals with the server's own secret; only servers that share it can unseal."""

    def __init__(self, secret: bytes) -> None:
        derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(secret)
        self._fernet = Fernet(base64.urlsafe_b64encode(derived))

    def seal(self, secret: str) -> bytes:
        return self._fernet.encrypt(secret.encode())

    def unseal(self, sealed: bytes) -> str:
        """Raises BrokenSeal."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            raise BrokenSeal from None
