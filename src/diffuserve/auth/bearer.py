"""Where callers put a bearer token. Pure; which of these places a dialect looks at is the dialect's affair."""

from __future__ import annotations

from collections.abc import Mapping

AUTHORIZATION = "authorization"
API_KEY = "x-api-key"
FIELD = "key"
"""Of a query, a form or a JSON object, in APIs that grew up without headers."""

MAX_TOKEN = 512
"""Characters; nothing longer is one of ours."""


def in_headers(headers: Mapping[str, str]) -> str | None:
    """From `Authorization: Bearer ...`, else `X-API-Key: ...`; `headers` has lower-case names.

    Another scheme in `Authorization` belongs to a proxy before us and does not count.
    """
    scheme, _, rest = headers.get(AUTHORIZATION, "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return _token(rest)
    return _token(headers.get(API_KEY))


def in_fields(fields: Mapping[str, object]) -> str | None:
    """From the field `key`."""
    value = fields.get(FIELD)
    return _token(value) if isinstance(value, str) else None


def _token(text: str | None) -> str | None:
    token = (text or "").strip()
    return token if 0 < len(token) <= MAX_TOKEN else None
