"""The key of a caller in the plain dialect: in a header, or as the field `key`, which is all that form-filling plugins
and scripts may be able to send."""

from __future__ import annotations

from starlette.requests import Request

from diffuserve.auth import Gate, bearer
from diffuserve.core.account import Key
from diffuserve.core.errors import MalformedBody, UnsupportedMediaType
from diffuserve.dialects.bodies import read_fields


async def by_key(request: Request, gate: Gate) -> Key:
    """From the headers, the query, or the body, in this order. Raises Unauthenticated, PayloadTooLarge."""
    token = bearer.in_headers(request.headers) or bearer.in_fields(request.query_params)
    if token is None and request.method == "POST":
        token = await _in_body(request)
    return await gate.by_token(token)


async def _in_body(request: Request) -> str | None:
    try:
        return bearer.in_fields(await read_fields(request))
    except (MalformedBody, UnsupportedMediaType):
        # Whoever has not shown a key is told so, and not what is wrong with the rest.
        return None
