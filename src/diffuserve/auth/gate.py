"""The gate before every dialect: is the server open, whose key is this, may it come in here, and so fast.

A dialect finds the key in its own way (`Gate.by_token`, or `Gate.by_access_key` and a signature) inside `enter`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from diffuserve.auth import tokens
from diffuserve.auth.pace import Pace
from diffuserve.auth.recent import Recent
from diffuserve.auth.secrets import BrokenSeal, Sealer
from diffuserve.core.account import Key
from diffuserve.core.errors import Forbidden, InternalError, Unauthenticated
from diffuserve.core.ports import AccountStore, Clock
from diffuserve.core.principal import ANONYMOUS, Principal

log = logging.getLogger(__name__)

FRESH_SECONDS = 2.0
"""How long what the store said is believed: a key that is revoked works no longer than that."""


class Gate:
    """Lets callers in as somebody. Fails closed: where the store does not answer, StorageFailed is all one gets."""

    def __init__(self, store: AccountStore, sealer: Sealer, clock: Clock, *, may_be_open: bool) -> None:
        """`may_be_open`: without any key in the store, everybody is ANONYMOUS; otherwise nobody is let in then."""
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._may_be_open = may_be_open
        self._pace = Pace()
        self._keys: Recent[Key] = Recent(clock, FRESH_SECONDS)
        self._pairs: Recent[tuple[Key, str]] = Recent(clock, FRESH_SECONDS)
        self._closed: tuple[bool, float] = (False, float("-inf"))

    async def is_open(self) -> bool:
        """Whether everybody may come in, because there is no key that they could show."""
        if not self._may_be_open:
            return False
        closed, asked = self._closed
        if not self._fresh(asked):
            asked = self._clock.now()
            closed = await self._store.has_keys()
            self._closed = (closed, asked)
        return not closed

    async def enter(self, dialect: str, identify: Callable[[], Awaitable[Key]]) -> Principal:
        """Who asks. `identify` finds the key; it is not called on an open server, which looks at no credentials.

        Raises Unauthenticated, Forbidden, RateLimited.
        """
        if await self.is_open():
            return ANONYMOUS
        key = await identify()
        who = _principal(key)
        if not who.allows("dialect", dialect):
            raise Forbidden("this key may not use this API")
        self._pace.step(key.id, key.limits, self._clock.now())
        return who

    async def administrator(self, identify: Callable[[], Awaitable[Key]]) -> Principal:
        """Who asks for what concerns the whole server. Raises Unauthenticated, Forbidden."""
        who = ANONYMOUS if await self.is_open() else _principal(await identify())
        if not who.is_admin:
            raise Forbidden("this needs a key with the scope admin")
        return who

    async def by_token(self, token: str | None) -> Key:
        """The key of a bearer token. Raises Unauthenticated."""
        if token is None:
            raise Unauthenticated("a key is required: send the header Authorization: Bearer YOUR_KEY")
        token_hash = tokens.hashed(token)
        known = self._keys.get(token_hash)
        if known is not None:
            return known
        asked = self._clock.now()
        key = await self._store.key_by_token_hash(token_hash)
        if key is None:
            self._keys.drop(token_hash)
            raise Unauthenticated("the key is not valid")
        self._keys.keep(token_hash, key, asked)
        return key

    async def by_access_key(self, access_key: str) -> tuple[Key, str]:
        """A pair's key and its secret, to recompute a signature with. Raises Unauthenticated."""
        known = self._pairs.get(access_key)
        if known is not None:
            return known
        asked = self._clock.now()
        found = await self._store.key_by_access_key(access_key) if tokens.is_access_key(access_key) else None
        if found is None:
            self._pairs.drop(access_key)
            raise Unauthenticated("the access key is not valid")
        key, sealed = found
        try:
            pair = key, self._sealer.unseal(sealed)
        except BrokenSeal:
            log.error("the secret of %s was sealed with another secret_key than this server's", key.id)
            raise InternalError() from None
        self._pairs.keep(access_key, pair, asked)
        return pair

    def _fresh(self, asked: float) -> bool:
        # A clock that was set back makes nothing fresh for longer.
        return 0 <= self._clock.now() - asked < FRESH_SECONDS


def _principal(key: Key) -> Principal:
    return Principal(account=key.account, key_id=key.id, scopes=key.scopes, limits=key.limits, priority=key.priority)
