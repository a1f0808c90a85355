"""Who asks: a signature, an access token, or a key of ours in its place; and the pair behind a request for a token.

All of it is for closed servers. An open one looks at no credentials, so any token is good there.
"""

from __future__ import annotations

import hmac

from starlette.requests import Request

from diffuserve.auth import Gate, bce, bearer
from diffuserve.auth.access_tokens import AccessTokens, BadToken, ExpiredToken
from diffuserve.auth.tokens import TOKEN_PREFIX
from diffuserve.core.account import Key
from diffuserve.core.errors import MalformedBody, Unauthenticated, UnsupportedMediaType
from diffuserve.core.ports import Clock
from diffuserve.dialects.base import Rooms
from diffuserve.dialects.bodies import FORM, MULTIPART, read_fields
from diffuserve.dialects.endpoint import Identify
from diffuserve.dialects.qianfan import errors
from diffuserve.dialects.qianfan.errors import MOUNT, TOKEN_PATH, turned_away, vendor_path

_WHY = {
    bce.Fault.UNREADABLE: errors.UNREADABLE,
    bce.Fault.EXPIRED: errors.EXPIRED,
    bce.Fault.MISMATCH: errors.MISMATCH,
}


def identify(rooms: Rooms) -> Identify:
    """A signature counts first, then `?access_token=`, then the headers. Where tokens are given, the pair is shown itself."""

    async def find(request: Request, gate: Gate) -> Key:
        if vendor_path(request) == TOKEN_PATH:
            return await by_client(request, gate)
        header = request.headers.get("authorization", "")
        if bce.is_bce(header):
            return await by_signature(request, gate, header, rooms.clock)
        token = request.query_params.get("access_token") or bearer.in_headers(request.headers)
        return await by_token(request, gate, token, rooms.access_tokens)

    return find


async def by_signature(request: Request, gate: Gate, header: str, clock: Clock) -> Key:
    """Raises Unauthenticated."""
    try:
        authorization = bce.read(header)
        bce.check_time(authorization, clock.now())
        try:
            key, secret = await gate.by_access_key(authorization.access_key)
        except Unauthenticated as error:
            raise turned_away(request, errors.UNKNOWN_KEY, error.message) from None
        bce.verify(signed_request(request), authorization, secret, mount=MOUNT)
    except bce.BadSignature as bad:
        raise turned_away(request, _WHY[bad.fault], bad.message) from None
    return key


async def by_token(request: Request, gate: Gate, token: str | None, access_tokens: AccessTokens) -> Key:
    """`token` is an access token of ours, or a bearer key. Raises Unauthenticated."""
    if not token:
        raise turned_away(request, errors.TOKEN, "a key is required: send ?access_token= or a bce-auth-v1 signature")
    try:
        if token.startswith(TOKEN_PREFIX):
            return await gate.by_token(token)
        grant = access_tokens.read(token)
        if grant.access_key is not None:
            key, _ = await gate.by_access_key(grant.access_key)
            return key
    except ExpiredToken:
        raise turned_away(request, errors.TOKEN_EXPIRED, "ask for a new one at /oauth/2.0/token") from None
    except (BadToken, Unauthenticated):
        pass
    raise turned_away(request, errors.TOKEN, "the key is not valid")


async def by_client(request: Request, gate: Gate) -> Key:
    """The pair that asks for a token: `client_id` and `client_secret`. Raises Unauthenticated.

    The Python client knows the two messages, and then tells which half is wrong.
    """
    client_id, client_secret = await asked(request, "client_id"), await asked(request, "client_secret")
    try:
        key, secret = await gate.by_access_key(client_id)
    except Unauthenticated:
        raise Unauthenticated("unknown client id") from None
    if not hmac.compare_digest(secret.encode(), client_secret.encode("utf-8", "surrogatepass")):
        raise Unauthenticated("Client authentication failed")
    return key


async def asked(request: Request, name: str) -> str:
    """A parameter of the token endpoint: of the query, or else of a form. JSON bodies are there, but say nothing."""
    if name in request.query_params:
        return request.query_params[name]
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (FORM, MULTIPART):
        return ""
    try:
        value = (await read_fields(request)).get(name, "")
    except (MalformedBody, UnsupportedMediaType):
        return ""
    return value if isinstance(value, str) else ""


def signed_request(request: Request) -> bce.SignedRequest:
    """What of a request its signature covers, byte for byte."""
    scope = request.scope
    headers = [(_text(name).lower(), _text(value)) for name, value in scope["headers"]]
    return bce.SignedRequest(
        method=request.method,
        path=scope["path"],
        query=bce.query_pairs(_text(scope["query_string"])),
        headers=headers,
    )


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
