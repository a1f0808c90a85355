"""Accounts and keys in memory, for rooms that only use the port."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence

from diffuserve.auth import Keyring, Sealer
from diffuserve.core.account import Account, Key, KeyLimits, KeyType, LedgerEntry, NewKey, Plan
from diffuserve.core.ports import Clock

SECRET = b"s" * 32


class MemoryAccounts:
    """`ports.AccountStore` without a database; counts what it is asked for."""

    def __init__(self) -> None:
        self.rows: list[tuple[Key, str | None, bytes | None]] = []
        self.made: dict[str, Account] = {}
        self.asked = 0
        """Look-ups of keys."""

    async def add_account(self, account: str, now: float) -> Account:
        return self.made.setdefault(account, Account(account, now))

    async def accounts(self) -> Sequence[Account]:
        return list(self.made.values())

    async def add_key(self, key: Key, *, token_hash: str | None = None, sealed_secret: bytes | None = None) -> None:
        await self.add_account(key.account, key.created_at)
        self.rows.insert(0, (key, token_hash, sealed_secret))

    async def keys(self, account: str | None = None) -> Sequence[Key]:
        return [key for key, _, _ in self.rows if account in (None, key.account)]

    async def has_keys(self) -> bool:
        return any(key.revoked_at is None for key, _, _ in self.rows)

    async def key_by_token_hash(self, token_hash: str) -> Key | None:
        self.asked += 1
        return next((key for key, kept, _ in self.rows if kept == token_hash and key.revoked_at is None), None)

    async def key_by_access_key(self, access_key: str) -> tuple[Key, bytes] | None:
        for key, _, sealed in self.rows:
            if key.access_key == access_key and key.revoked_at is None and sealed is not None:
                return key, sealed
        return None

    async def revoke_key(self, key_id: str, now: float) -> bool:
        for index, (key, token_hash, sealed) in enumerate(self.rows):
            if key.id == key_id and key.revoked_at is None:
                self.rows[index] = (dataclasses.replace(key, revoked_at=now), token_hash, sealed)
                return True
        return False

    async def add_plan(self, plan: Plan) -> Plan:
        raise NotImplementedError

    async def plans(self, account: str | None = None, wallet: str | None = None) -> Sequence[Plan]:
        raise NotImplementedError

    async def usage(self, account: str | None, since: float, until: float) -> AsyncIterator[LedgerEntry]:
        raise NotImplementedError


def keyring(store: MemoryAccounts, clock: Clock) -> Keyring:
    return Keyring(store, Sealer(SECRET), clock)


async def bearer_key(
    store: MemoryAccounts, clock: Clock, account: str = "acme", *scopes: str, limits: KeyLimits | None = None
) -> NewKey:
    return await keyring(store, clock).create(account, KeyType.BEARER, scopes=frozenset(scopes), limits=limits)
