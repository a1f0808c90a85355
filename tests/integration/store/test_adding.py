"""What holds when jobs are added: promises of the same request, limits of a key, amounts of a plan; also all at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from diffuserve.core.account import Charge, Key, KeyType, Plan, PlanUnit
from diffuserve.core.errors import DiffuserveError, IdempotencyConflict, QuotaExhausted, RateLimited
from diffuserve.core.job import Job, JobStatus, Usage
from diffuserve.core.ports import IDEMPOTENCY_SECONDS, Idempotency, Outcome
from diffuserve.store import Stores, open_store
from support.models import job

pytestmark = pytest.mark.integration

NOW, LATER = 1_800_000_000.0, 1_900_000_000.0
PROMISE = Idempotency("order 7", "a" * 64)


async def bought(stores: Stores, amount: float, unit: PlanUnit = PlanUnit.IMAGES, **changes: Any) -> Plan:
    return await stores.accounts.add_plan(replace(Plan(0, "acme", unit, amount, 0, 0, NOW, LATER), **changes))


async def the_plan(stores: Stores) -> Plan:
    (only,) = await stores.accounts.plans()
    return only


def paid(job_id: int, plan: Plan, amount: float, **changes: Any) -> Job:
    return job(job_id, account="acme", charge=Charge(plan.id, plan.unit, amount), **changes)


async def end(stores: Stores, job_id: int, status: JobStatus, usage: Usage) -> None:
    while not (await stores.jobs.claim("me", 10, NOW, LATER)):
        pass
    assert await stores.jobs.finish("me", job_id, Outcome(status, usage=usage), NOW)


# Idempotency


async def test_a_repeated_promise_is_the_job_of_the_first_time(stores: Stores) -> None:
    first = await stores.jobs.add(job(1), now=NOW, idempotency=PROMISE)
    assert await stores.jobs.add(job(2), now=NOW + 1, idempotency=PROMISE) == first == job(1)
    assert await stores.jobs.get(2) is None
    assert await stores.jobs.replayed("local", PROMISE, NOW + 1) == first


async def test_a_promise_of_another_request_is_a_conflict(stores: Stores) -> None:
    await stores.jobs.add(job(1), now=NOW, idempotency=PROMISE)
    other = Idempotency(PROMISE.key, "b" * 64)
    with pytest.raises(IdempotencyConflict):
        await stores.jobs.add(job(2), now=NOW, idempotency=other)
    with pytest.raises(IdempotencyConflict):
        await stores.jobs.replayed("local", other, NOW)


async def test_accounts_do_not_share_their_promises(stores: Stores) -> None:
    await stores.jobs.add(job(1), now=NOW, idempotency=PROMISE)
    assert (await stores.jobs.add(job(2, account="acme"), now=NOW, idempotency=PROMISE)).id == 2
    assert await stores.jobs.replayed("globex", PROMISE, NOW) is None


async def test_a_promise_is_forgotten_after_its_time(stores: Stores) -> None:
    await stores.jobs.add(job(1), now=NOW, idempotency=PROMISE)
    later = NOW + IDEMPOTENCY_SECONDS + 1
    assert await stores.jobs.replayed("local", PROMISE, later) is None
    assert (await stores.jobs.add(job(2), now=later, idempotency=PROMISE)).id == 2
    assert (await stores.jobs.add(job(3), now=later, idempotency=PROMISE)).id == 2


async def test_one_promise_made_many_times_at_once_is_one_job(stores: Stores, database_url: str) -> None:
    other = await open_store(database_url)
    servers = (stores, other)
    added = await asyncio.gather(
        *(servers[n % 2].jobs.add(job(n), now=NOW, idempotency=PROMISE) for n in range(24)), return_exceptions=True
    )
    await other.close()
    assert len({one.id for one in added if isinstance(one, Job)}) == 1
    assert not [one for one in added if not isinstance(one, Job)]
    assert await stores.jobs.queued() == 1


# The limit of a key


async def test_a_key_has_no_more_unfinished_jobs_than_it_may(stores: Stores) -> None:
    await stores.accounts.add_key(Key("key_1", "acme", KeyType.BEARER, NOW), token_hash="a" * 64)
    tries = (stores.jobs.add(job(n, key_id="key_1"), now=NOW, open_jobs=3) for n in range(12))
    added = await asyncio.gather(*tries, return_exceptions=True)
    assert [type(one) for one in added if not isinstance(one, Job)] == [RateLimited] * 9
    await stores.jobs.cancel(next(one.id for one in added if isinstance(one, Job)), NOW)
    assert (await stores.jobs.add(job(99, key_id="key_1"), now=NOW, open_jobs=3)).id == 99


async def test_another_key_has_a_count_of_its_own(stores: Stores) -> None:
    await stores.jobs.add(job(1, key_id="key_1"), now=NOW, open_jobs=1)
    assert (await stores.jobs.add(job(2, key_id="key_2"), now=NOW, open_jobs=1)).id == 2


async def test_a_repetition_is_not_counted_against_the_limit(stores: Stores) -> None:
    await stores.jobs.add(job(1, key_id="key_1"), now=NOW, idempotency=PROMISE, open_jobs=1)
    assert (await stores.jobs.add(job(2, key_id="key_1"), now=NOW, idempotency=PROMISE, open_jobs=1)).id == 1


# Priority


async def test_urgent_jobs_are_claimed_first_then_the_oldest(stores: Stores) -> None:
    for n, priority in enumerate((0, 5, -1, 5)):
        await stores.jobs.add(job(n, priority=priority), now=NOW)
    assert [one.id for one in await stores.jobs.claim("me", 3, NOW, LATER)] == [1, 3, 0]


# What a plan pays


async def test_a_job_sets_aside_what_it_may_use(stores: Stores) -> None:
    plan = await bought(stores, 10)
    added = await stores.jobs.add(paid(1, plan, 4), now=NOW)
    assert await stores.jobs.get(1) == added
    assert ((await the_plan(stores)).reserved, (await the_plan(stores)).left) == (4, 6)


@pytest.mark.parametrize(
    ("unit", "usage", "charged"),
    [
        (PlanUnit.IMAGES, Usage(images=3, device_seconds=99), 3),
        (PlanUnit.IMAGES, Usage(images=5), 4),
        (PlanUnit.DEVICE_SECONDS, Usage(images=9, device_seconds=1.25), 1.25),
        (PlanUnit.DEVICE_SECONDS, Usage(images=1, device_seconds=7.5), 4),
        (PlanUnit.VIDEO_SECONDS, Usage(images=1), 4),
        (PlanUnit.SECONDS, Usage(images=9, device_seconds=1.25), 2),
        (PlanUnit.SECONDS, Usage(images=1, device_seconds=0.0), 1),
        (PlanUnit.SECONDS, Usage(images=1, device_seconds=7.5), 4),
    ],
)
async def test_a_job_pays_what_it_used_and_never_more_than_it_set_aside(
    stores: Stores, unit: PlanUnit, usage: Usage, charged: float
) -> None:
    plan = await bought(stores, 10, unit)
    await stores.jobs.add(paid(1, plan, 4), now=NOW)
    await end(stores, 1, JobStatus.SUCCEEDED, usage)
    assert await the_plan(stores) == replace(plan, used=charged, reserved=0.0)
    (entry,) = [entry async for entry in stores.accounts.usage("acme", 0, LATER)]
    assert (entry.plan_id, entry.charged) == (plan.id, charged)


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELED])
async def test_a_job_that_makes_nothing_pays_nothing(stores: Stores, status: JobStatus) -> None:
    plan = await bought(stores, 10)
    await stores.jobs.add(paid(1, plan, 4), now=NOW)
    if status is JobStatus.CANCELED:
        await stores.jobs.cancel(1, NOW)
    else:
        await end(stores, 1, status, Usage(images=2))
    assert await the_plan(stores) == plan
    (entry,) = [entry async for entry in stores.accounts.usage("acme", 0, LATER)]
    assert (entry.status, entry.plan_id, entry.charged) == (status.value, plan.id, 0.0)


@pytest.mark.parametrize("when", [NOW - 1, LATER])
async def test_a_plan_pays_only_in_its_time(stores: Stores, when: float) -> None:
    plan = await bought(stores, 10)
    with pytest.raises(QuotaExhausted, match="has 0 images left and this needs 1"):
        await stores.jobs.add(paid(1, plan, 1), now=when)
    assert await stores.jobs.get(1) is None


async def test_a_job_that_was_refused_for_its_plan_leaves_nothing(stores: Stores) -> None:
    plan = await bought(stores, 3)
    with pytest.raises(QuotaExhausted, match="has 3 images left and this needs 4"):
        await stores.jobs.add(paid(1, plan, 4), now=NOW, idempotency=PROMISE)
    assert await stores.jobs.get(1) is None
    assert await stores.jobs.replayed("acme", PROMISE, NOW) is None
    assert await the_plan(stores) == plan


async def test_no_race_overspends_a_plan(stores: Stores, database_url: str) -> None:
    """Two servers, sixty jobs at once that end in all ways, a plan for twenty pictures."""
    other = await open_store(database_url)
    servers = (stores, other)
    plan = await bought(stores, 20.0)

    async def one(n: int) -> Job | DiffuserveError:
        mine = servers[n % 2].jobs
        try:
            added = await mine.add(paid(n, plan, 1.0 + n % 2, key_id=f"key_{n % 5}"), now=NOW, open_jobs=50)
        except QuotaExhausted as refused:
            return refused
        seen = await the_plan(servers[(n + 1) % 2])
        assert seen.used + seen.reserved <= seen.amount
        return added

    results = await asyncio.gather(*(one(n) for n in range(60)))
    accepted = [result for result in results if isinstance(result, Job)]
    assert sum(result.charge.amount for result in accepted if result.charge) in (19, 20)
    held = await stores.jobs.claim("a", 8, NOW, LATER), await other.jobs.claim("b", 8, NOW, LATER)
    ends = []
    for owner, server, claimed in zip("ab", servers, held, strict=True):
        for n, done in enumerate(claimed):
            status = (JobStatus.SUCCEEDED, JobStatus.SUCCEEDED, JobStatus.FAILED)[n % 3]
            usage = Usage(images=int(done.charge.amount)) if done.charge else Usage()
            ends += [server.jobs.finish(owner, done.id, Outcome(status, usage=usage), NOW) for _ in range(2)]
            ends.append(servers[n % 2].jobs.cancel(done.id, NOW))
    await asyncio.gather(*ends)
    await asyncio.gather(*(other.jobs.cancel(done.id, NOW) for done in accepted))
    await other.close()
    bills = [entry async for entry in stores.accounts.usage("acme", 0, LATER)]
    assert sorted(entry.job_id for entry in bills) == sorted(done.id for done in accepted)
    assert (await the_plan(stores)).used == sum(entry.charged for entry in bills)
    assert (await the_plan(stores)).reserved == 0
