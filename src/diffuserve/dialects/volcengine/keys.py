"""Who calls: a signature by a key pair, as the vendor's SDKs make it, or a bearer token, as in every dialect."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from diffuserve.auth import Gate, bearer, volcengine
from diffuserve.auth.replays import Replays
from diffuserve.auth.volcengine import Fault, Message, Refused
from diffuserve.core.account import Key
from diffuserve.core.errors import Unauthenticated
from diffuserve.core.ports import Clock
from diffuserve.dialects.volcengine import envelope
from diffuserve.dialects.volcengine.errors import unsigned
from diffuserve.dialects.volcengine.manners import Manners
from diffuserve.dialects.volcengine.parse import read_body

_LARGE = 256 * 1024


class Keys:
    """Finds the key of a call."""

    def __init__(self, clock: Clock, manners: Manners) -> None:
        self._clock = clock
        self._tokens = manners.tokens
        self._replays = Replays(manners.replay_seconds)

    async def __call__(self, request: Request, gate: Gate) -> Key:
        """Raises Unauthenticated, PayloadTooLarge."""
        envelope.stamp(request)
        try:
            message = read_message(request)
            if volcengine.is_signed(message):
                return await self._signer(request, gate, message)
            token = bearer.in_headers(request.headers)
            if token is None:
                if message.header("authorization"):
                    raise Refused(Fault.INVALID_AUTHORIZATION)
                hint = "sign the request, or send the header Authorization: Bearer YOUR_KEY"
                raise Unauthenticated(f"a key is required: {hint}")
            return await gate.by_token(token)
        except Refused as refused:
            raise unsigned(request, refused) from None

    async def _signer(self, request: Request, gate: Gate, message: Message) -> Key:
        claim = volcengine.read_claim(message)
        now = self._clock.now()
        until = volcengine.check_time(claim, message, now)
        access_key = claim.credential.access_key
        try:
            key, secret = await gate.by_access_key(access_key)
        except Unauthenticated:
            raise Refused(Fault.INVALID_ACCESS_KEY, access_key[:128]) from None
        # A presigned body is not signed; reading it is left to whoever wants it.
        body_hash = "" if claim.presigned else await _hashed(await read_body(request))
        volcengine.verify(claim, message, body_hash, secret)
        if access_key in self._tokens:
            volcengine.check_token(message, self._tokens[access_key])
        # A presigned link is made to be used, by whoever holds it, until it expires.
        if not claim.presigned and not self._replays.use(claim.signature, now, until):
            raise Refused(Fault.INVALID_TIMESTAMP, "it was used before")
        if claim.credential.service != envelope.SERVICE:
            raise Refused(Fault.SERVICE_NOT_FOUND, claim.credential.service[:100])
        return key


def read_message(request: Request) -> Message:
    """The request as it is signed."""
    headers = [
        (name.decode("latin-1"), value.decode("utf-8", "surrogateescape")) for name, value in request.headers.raw
    ]
    query = volcengine.decoded_query(request.scope["query_string"].decode("latin-1"))
    return Message(request.method, request.scope["path"], query, headers)


async def _hashed(body: bytes) -> str:
    return await asyncio.to_thread(volcengine.sha256, body) if len(body) > _LARGE else volcengine.sha256(body)
