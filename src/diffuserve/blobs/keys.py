"""What a blob key may look like: plain enough for every file system and object store, and no way out of the root."""

from __future__ import annotations

import re

_SEGMENT = r"[a-z0-9_-][a-z0-9._-]*"
_KEY = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")
_LONGEST = 300


def checked(key: str) -> str:
    """`key` itself. Raises ValueError (a bug: no caller names a key) for one that is not relative and lower case."""
    if len(key) > _LONGEST or _KEY.fullmatch(key) is None:
        raise ValueError(f"not a blob key: {key[:_LONGEST]!r}")
    return key
