"""Making, replacing and revoking keys, for whoever manages a server. The command line is `cli.keys`."""

from __future__ import annotations

import re

from diffuserve.auth import tokens
from diffuserve.auth.secrets import Sealer
from diffuserve.core.account import Key, KeyLimits, KeyType, NewKey
from diffuserve.core.errors import InvalidParameter
from diffuserve.core.ports import AccountStore, Clock

MAX_PRIORITY = 100

_ACCOUNT = re.compile(r"[A-Za-z0-9._-]{1,100}")
_CHOSEN = re.compile(r"[!-~]{8,200}")
_SCOPE = re.compile(r"admin|(dialect|model):\S{1,200}")


class Keyring:
    """The keys of one store. Secrets leave it once, in a `NewKey`."""

    def __init__(self, store: AccountStore, sealer: Sealer, clock: Clock) -> None:
        self._store = store
        self._sealer = sealer
        self._clock = clock

    async def create(
        self,
        account: str,
        kind: KeyType,
        *,
        scopes: frozenset[str] = frozenset(),
        limits: KeyLimits | None = None,
        priority: int = 0,
        token: str | None = None,
    ) -> NewKey:
        """A new key; its account is made if it is new. Raises InvalidParameter.

        `token` is a text that becomes the key in place of a random one, for callers that can show nothing else (a wallet
        address): whoever knows it has the key, so it must be bound to a dialect.
        """
        limits = limits or KeyLimits()
        check_account(account)
        _check_scopes(scopes)
        _check_limits(limits)
        if abs(priority) > MAX_PRIORITY:
            raise InvalidParameter("priority", f"between -{MAX_PRIORITY} and {MAX_PRIORITY}", priority)
        if token is not None:
            await self._check_token(token, kind, scopes)
        return await self._make(account, kind, scopes, limits, priority, token)

    async def rotate(self, key_id: str) -> NewKey:
        """A new key with the settings of `key_id`, which is revoked. Raises InvalidParameter where it is not valid."""
        old = next((key for key in await self._store.keys() if key.id == key_id and key.revoked_at is None), None)
        if old is None:
            raise _no_such_key(key_id)
        # In this order there is always a valid key: without any, a server would open itself to everybody.
        new = await self._make(old.account, old.type, old.scopes, old.limits, old.priority)
        if not await self._store.revoke_key(key_id, self._clock.now()):
            # Somebody else was quicker; one key must not become two.
            await self._store.revoke_key(new.key.id, self._clock.now())
            raise _no_such_key(key_id)
        return new

    async def revoke(self, key_id: str) -> None:
        """Raises InvalidParameter where there is no such valid key."""
        if not await self._store.revoke_key(key_id, self._clock.now()):
            raise _no_such_key(key_id)

    async def _check_token(self, token: str, kind: KeyType, scopes: frozenset[str]) -> None:
        if kind is not KeyType.BEARER:
            raise InvalidParameter("token", "absent for a pair")
        if not _CHOSEN.fullmatch(token) or token.startswith(tokens.TOKEN_PREFIX):
            raise InvalidParameter(
                "token", f"8 to 200 visible ASCII characters that do not begin with {tokens.TOKEN_PREFIX}"
            )
        if "admin" in scopes or not any(scope.startswith("dialect:") for scope in scopes):
            raise InvalidParameter("scope", "dialect:NAME, and not admin, for a token that others may know")
        if await self._store.key_by_token_hash(tokens.hashed(token)) is not None:
            raise InvalidParameter("token", "a text that is no key yet")

    async def _make(
        self,
        account: str,
        kind: KeyType,
        scopes: frozenset[str],
        limits: KeyLimits,
        priority: int,
        token: str | None = None,
    ) -> NewKey:
        pair = kind is KeyType.PAIR
        key = Key(
            id=tokens.new_key_id(),
            account=account,
            type=kind,
            created_at=self._clock.now(),
            scopes=scopes,
            limits=limits,
            priority=priority,
            access_key=tokens.new_access_key() if pair else None,
        )
        secret = tokens.new_secret_key() if pair else token or tokens.new_token()
        if pair:
            await self._store.add_key(key, sealed_secret=self._sealer.seal(secret))
        else:
            await self._store.add_key(key, token_hash=tokens.hashed(secret))
        return NewKey(key, secret)


def check_account(account: str) -> None:
    """Raises InvalidParameter for what cannot be an account's name."""
    if not _ACCOUNT.fullmatch(account):
        raise InvalidParameter("account", "1 to 100 letters, digits, dots, underscores or hyphens", account)


def _check_scopes(scopes: frozenset[str]) -> None:
    for scope in sorted(scopes):
        if not _SCOPE.fullmatch(scope):
            raise InvalidParameter("scope", "dialect:NAME, model:NAME or admin", scope)


def _check_limits(limits: KeyLimits) -> None:
    rate = limits.requests_per_second
    if rate is not None and not 0 < rate <= 1e6:
        raise InvalidParameter("requests per second", "over 0 and at most a million", rate)
    for name, number in (("requests per day", limits.requests_per_day), ("concurrent jobs", limits.concurrent_jobs)):
        if number is not None and not 1 <= number < 2**31:
            raise InvalidParameter(name, "a whole number from 1", number)


def _no_such_key(key_id: str) -> InvalidParameter:
    return InvalidParameter("key", "the id of a valid key, as `diffuserve keys list` shows it", key_id)
