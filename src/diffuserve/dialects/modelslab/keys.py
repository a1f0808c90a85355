"""The key of a caller: the field `key` of the body, a Bearer header, or the header `key`; older callers put all their fields,
and so perhaps the key, into the query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from diffuserve.auth import Gate, bearer
from diffuserve.core.account import Key
from diffuserve.core.errors import MalformedBody, Unauthenticated, UnsupportedMediaType
from diffuserve.dialects.bodies import read_fields

TWO_KEYS = "the request shows two different keys: send one"


async def read_values(request: Request) -> Mapping[str, Any]:
    """The call's fields, those of the body before those of the query.

    Raises UnsupportedMediaType, MalformedBody, PayloadTooLarge.
    """
    # Who puts everything into the query may still announce a body of JSON.
    empty = request.method != "POST" or not (await request.body()).strip()
    body = {} if empty else await read_fields(request)
    return {**request.query_params, **body}


async def by_key(request: Request, gate: Gate) -> Key:
    """Raises Unauthenticated, PayloadTooLarge."""
    try:
        values = await read_values(request)
    except (MalformedBody, UnsupportedMediaType):
        # Whoever has not shown a key is told so, and not what is wrong with the rest.
        values = request.query_params
    found = [bearer.in_fields(values), bearer.in_headers(request.headers), bearer.in_fields(request.headers)]
    shown = [token for token in found if token is not None]
    if len(set(shown)) > 1:
        raise Unauthenticated(TWO_KEYS)
    return await gate.by_token(shown[0] if shown else None)
