"""`ports.AccountStore` on SQL: accounts, keys, plans, and the bills in the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, Select, bindparam, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql

from diffuserve.core.account import Account, Key, KeyLimits, KeyType, LedgerEntry, Plan, PlanUnit
from diffuserve.store.database import Database
from diffuserve.store.tables import accounts, keys, ledger, plans

_PAGE = 1000
_SCOPES = TypeAdapter(list[str])

# PostgreSQL's words for it, which are SQLite's too.
_ADD_ACCOUNT = postgresql.insert(accounts).on_conflict_do_nothing()
_ACCOUNT = select(accounts).where(accounts.c.id == bindparam("p_account"))
_ACCOUNTS = select(accounts).order_by(accounts.c.created_at, accounts.c.id)
_ADD_KEY = insert(keys)
_KEYS = select(keys).order_by(keys.c.created_at.desc(), keys.c.id)
_valid = keys.c.revoked_at.is_(None)
_ANY_KEY = select(keys.c.id).where(_valid).limit(1)
_BY_TOKEN = select(keys).where(keys.c.token_hash == bindparam("p_token_hash"), _valid)
_BY_ACCESS_KEY = select(keys).where(keys.c.access_key == bindparam("p_access_key"), _valid)
# The hash goes: a text that an operator chose may become a key again.
_REVOKE = (
    update(keys).where(keys.c.id == bindparam("p_id"), _valid).values(revoked_at=bindparam("p_now"), token_hash=None)
)
_ADD_PLAN = insert(plans).returning(plans)
_PLANS = select(plans).order_by(plans.c.id)
_place = tuple_(ledger.c.finished_at, ledger.c.job_id)
_BILLS = (
    select(ledger)
    .where(ledger.c.finished_at < bindparam("p_until"), _place > tuple_(bindparam("p_time"), bindparam("p_id")))
    .order_by(ledger.c.finished_at, ledger.c.job_id)
    .limit(_PAGE)
)
_BILL = _BILLS.where(ledger.c.account == bindparam("p_account"))


class SqlAccountStore:
    """The accounts of one database. Every method raises StorageFailed where the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_account(self, account: str, now: float) -> Account:
        return await self._database.write(partial(_add_account, account=account, now=now))

    async def accounts(self) -> Sequence[Account]:
        return [Account(row.id, row.created_at) for row in await self._rows(_ACCOUNTS)]

    async def add_key(self, key: Key, *, token_hash: str | None = None, sealed_secret: bytes | None = None) -> None:
        if (token_hash is None) == (sealed_secret is None):
            raise ValueError("a key has either the hash of a token or a sealed secret")
        values = {**_key_to_row(key), "token_hash": token_hash, "sealed_secret": sealed_secret}
        await self._database.write(partial(_add_key, values=values))

    async def keys(self, account: str | None = None) -> Sequence[Key]:
        statement = _KEYS if account is None else _KEYS.where(keys.c.account == account)
        return [_row_to_key(row) for row in await self._rows(statement)]

    async def has_keys(self) -> bool:
        return bool(await self._rows(_ANY_KEY))

    async def key_by_token_hash(self, token_hash: str) -> Key | None:
        found = await self._rows(_BY_TOKEN, p_token_hash=token_hash)
        return _row_to_key(found[0]) if found else None

    async def key_by_access_key(self, access_key: str) -> tuple[Key, bytes] | None:
        found = await self._rows(_BY_ACCESS_KEY, p_access_key=access_key)
        return (_row_to_key(found[0]), found[0].sealed_secret) if found else None

    async def revoke_key(self, key_id: str, now: float) -> bool:
        revoking = {"p_id": key_id, "p_now": now}
        return await self._database.write(lambda connection: connection.execute(_REVOKE, revoking).rowcount == 1)

    async def add_plan(self, plan: Plan) -> Plan:
        return await self._database.write(partial(_add_plan, plan=plan))

    async def plans(self, account: str | None = None, wallet: str | None = None) -> Sequence[Plan]:
        statement = _PLANS if account is None else _PLANS.where(plans.c.account == account)
        if wallet is not None:
            statement = statement.where(plans.c.wallet == wallet)
        return [_row_to_plan(row) for row in await self._rows(statement)]

    async def usage(self, account: str | None, since: float, until: float) -> AsyncIterator[LedgerEntry]:
        """`since` counts in, `until` does not. What is written behind the page that was read last is missed."""
        statement = _BILLS if account is None else _BILL
        place: dict[str, Any] = {"p_account": account, "p_until": until, "p_time": since, "p_id": -1}
        while page := await self._rows(statement, **place):
            for row in page:
                yield LedgerEntry(**row._mapping)
            if len(page) < _PAGE:
                return
            place |= {"p_time": page[-1].finished_at, "p_id": page[-1].job_id}

    async def _rows(self, statement: Select[Any], **values: Any) -> Sequence[Row[Any]]:
        return await self._database.read(lambda connection: connection.execute(statement, values).all())


def _add_account(connection: Connection, account: str, now: float) -> Account:
    connection.execute(_ADD_ACCOUNT, {"id": account, "created_at": now})
    row = connection.execute(_ACCOUNT, {"p_account": account}).one()
    return Account(row.id, row.created_at)


def _add_key(connection: Connection, values: dict[str, Any]) -> None:
    connection.execute(_ADD_ACCOUNT, {"id": values["account"], "created_at": values["created_at"]})
    connection.execute(_ADD_KEY, values)


def _add_plan(connection: Connection, plan: Plan) -> Plan:
    connection.execute(_ADD_ACCOUNT, {"id": plan.account, "created_at": plan.valid_from})
    values = asdict(plan) | {"unit": plan.unit.value}
    del values["id"]
    return _row_to_plan(connection.execute(_ADD_PLAN, values).one())


def _key_to_row(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "account": key.account,
        "type": key.type.value,
        "created_at": key.created_at,
        "scopes": _SCOPES.dump_json(sorted(key.scopes)).decode(),
        "requests_per_second": key.limits.requests_per_second,
        "requests_per_day": key.limits.requests_per_day,
        "concurrent_jobs": key.limits.concurrent_jobs,
        "priority": key.priority,
        "access_key": key.access_key,
        "revoked_at": key.revoked_at,
    }


def _row_to_key(row: Row[Any]) -> Key:
    return Key(
        id=row.id,
        account=row.account,
        type=KeyType(row.type),
        created_at=row.created_at,
        scopes=frozenset(_SCOPES.validate_json(row.scopes)),
        limits=KeyLimits(row.requests_per_second, row.requests_per_day, row.concurrent_jobs),
        priority=row.priority,
        access_key=row.access_key,
        revoked_at=row.revoked_at,
    )


def _row_to_plan(row: Row[Any]) -> Plan:
    return Plan(**{**row._mapping, "unit": PlanUnit(row.unit)})
