"""What every `AccountStore` promises, on every database that it runs on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from diffuserve.core.account import Account, Key, KeyLimits, KeyType, LedgerEntry, Plan, PlanUnit
from diffuserve.core.errors import StorageFailed
from diffuserve.core.job import JobStatus, Usage
from diffuserve.core.ports import Outcome
from diffuserve.store import Stores, accounts
from support.models import job

pytestmark = pytest.mark.integration

NOW, LATER = 1_800_000_000.0, 1_900_000_000.0


def key(name: str = "key_1", **changes: Any) -> Key:
    return replace(Key(name, "acme", KeyType.BEARER, NOW), **changes)


def plan(**changes: Any) -> Plan:
    return replace(Plan(0, "acme", PlanUnit.IMAGES, 10.0, 0.0, 0.0, NOW, LATER), **changes)


async def bills(stores: Stores, account: str | None, since: float = 0.0, until: float = LATER) -> list[LedgerEntry]:
    return [entry async for entry in stores.accounts.usage(account, since, until)]


async def test_an_account_is_made_once(stores: Stores) -> None:
    assert await stores.accounts.add_account("acme", NOW) == Account("acme", NOW)
    assert await stores.accounts.add_account("acme", NOW + 1) == Account("acme", NOW)
    assert await stores.accounts.accounts() == [Account("acme", NOW)]


async def test_a_key_comes_back_as_it_was_added_and_brings_its_account(stores: Stores) -> None:
    limits = KeyLimits(2.5, 1000, 4)
    added = key(scopes=frozenset({"dialect:native", "admin"}), limits=limits, priority=-7)
    await stores.accounts.add_key(added, token_hash="a" * 64)
    assert await stores.accounts.key_by_token_hash("a" * 64) == added
    assert await stores.accounts.keys() == [added]
    assert [account.id for account in await stores.accounts.accounts()] == ["acme"]


async def test_a_pair_is_found_by_its_public_half_with_its_sealed_secret(stores: Stores) -> None:
    pair = key(type=KeyType.PAIR, access_key="AK1")
    await stores.accounts.add_key(pair, sealed_secret=b"\x00sealed")
    assert await stores.accounts.key_by_access_key("AK1") == (pair, b"\x00sealed")
    assert await stores.accounts.key_by_access_key("AK2") is None


async def test_a_key_has_one_kind_of_secret(stores: Stores) -> None:
    with pytest.raises(ValueError, match="either"):
        await stores.accounts.add_key(key())
    with pytest.raises(ValueError, match="either"):
        await stores.accounts.add_key(key(), token_hash="a" * 64, sealed_secret=b"sealed")


async def test_no_two_keys_share_a_token(stores: Stores) -> None:
    await stores.accounts.add_key(key("key_1"), token_hash="a" * 64)
    with pytest.raises(StorageFailed):
        await stores.accounts.add_key(key("key_2"), token_hash="a" * 64)


async def test_keys_are_listed_newest_first_and_by_account(stores: Stores) -> None:
    for n, account in enumerate(("acme", "acme", "globex")):
        await stores.accounts.add_key(key(f"key_{n}", account=account, created_at=NOW + n), token_hash=f"{n}" * 64)
    assert [one.id for one in await stores.accounts.keys()] == ["key_2", "key_1", "key_0"]
    assert [one.id for one in await stores.accounts.keys("acme")] == ["key_1", "key_0"]


async def test_a_revoked_key_is_listed_and_opens_nothing(stores: Stores) -> None:
    await stores.accounts.add_key(key(), token_hash="a" * 64)
    assert await stores.accounts.has_keys()
    assert await stores.accounts.revoke_key("key_1", NOW + 1)
    assert not await stores.accounts.revoke_key("key_1", NOW + 2)
    assert not await stores.accounts.revoke_key("key_404", NOW + 2)
    assert await stores.accounts.key_by_token_hash("a" * 64) is None
    assert not await stores.accounts.has_keys()
    assert [one.revoked_at for one in await stores.accounts.keys()] == [NOW + 1]


async def test_plans_have_ids_of_the_stores_choosing(stores: Stores) -> None:
    first = await stores.accounts.add_plan(plan(wallet="0xabc"))
    second = await stores.accounts.add_plan(plan(account="globex", unit=PlanUnit.DEVICE_SECONDS, amount=0.5))
    assert first == plan(id=first.id, wallet="0xabc") and second.id > first.id > 0
    assert await stores.accounts.plans() == [first, second]
    assert await stores.accounts.plans("globex") == [second]
    assert await stores.accounts.plans(wallet="0xabc") == [first]
    assert await stores.accounts.plans("globex", "0xabc") == []


async def test_a_bill_is_written_for_every_ended_job_and_for_no_other(stores: Stores) -> None:
    for n in range(4):
        await stores.jobs.add(job(n, account="acme", key_id="key_1"), now=NOW)
    await stores.jobs.claim("me", 2, NOW, NOW + 30)
    await stores.jobs.finish("me", 0, Outcome(JobStatus.SUCCEEDED, usage=Usage(1, 4, 4096, 0.25)), NOW + 1)
    await stores.jobs.finish("me", 1, Outcome(JobStatus.FAILED), NOW + 2)
    await stores.jobs.cancel(2, NOW + 3)
    await stores.jobs.cancel(2, NOW + 4)
    made, failed, canceled = await bills(stores, "acme")
    assert made == LedgerEntry(
        0, "acme", "key_1", "native", "tiny", "succeeded", job().created_at, NOW + 1, 1, 4, 4096, 0.25
    )
    assert (failed.job_id, failed.status, failed.images) == (1, "failed", 0)
    assert (canceled.job_id, canceled.status, canceled.finished_at) == (2, "canceled", NOW + 3)


async def test_bills_are_of_one_account_and_one_time(stores: Stores) -> None:
    for n, account in enumerate(("acme", "globex", "acme", "acme")):
        await stores.jobs.add(job(n, account=account), now=NOW)
        await stores.jobs.cancel(n, NOW + n)
    assert [entry.job_id for entry in await bills(stores, "acme", NOW, NOW + 3)] == [0, 2]
    assert [entry.job_id for entry in await bills(stores, None, NOW + 1, NOW + 3)] == [1, 2]


async def test_long_bills_are_read_whole(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "_PAGE", 3)
    monkeypatch.setattr(accounts, "_BILLS", accounts._BILLS.limit(3))
    for n in range(8):
        await stores.jobs.add(job(n), now=NOW)
    # Several end at the same time: the place in the ledger is the time and the job.
    await asyncio.gather(*(stores.jobs.cancel(n, NOW + n // 4) for n in range(8)))
    assert [entry.job_id for entry in await bills(stores, None)] == list(range(8))
