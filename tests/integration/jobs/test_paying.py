"""Who pays for a job, out of which plan, and what a key may ask for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from diffuserve.core.account import Charge, KeyLimits, Plan, PlanUnit
from diffuserve.core.delivery import Callback
from diffuserve.core.errors import Forbidden, IdempotencyConflict, QueueFull, QuotaExhausted, RateLimited
from diffuserve.core.job import Job
from diffuserve.core.ports import Idempotency
from diffuserve.core.principal import Principal
from support.jobs import House, house
from support.models import wish

pytestmark = pytest.mark.integration

CALLER = Principal("acme", "key_1", priority=3)
PROMISE = Idempotency("order 7", "a" * 64)


async def bought(
    house: House, amount: float, unit: PlanUnit = PlanUnit.IMAGES, days: float = 30, since: float = 0
) -> Plan:
    now = house.clock.now()
    plan = Plan(0, "acme", unit, amount, 0, 0, now + since * 86400, now + days * 86400)
    return await house.stores.accounts.add_plan(plan)


async def submit(house: House, principal: Principal = CALLER, **changes: Any) -> Job:
    return await house.service.submit(principal, "native", wish(**changes))


async def test_a_job_remembers_who_asked_and_whom_to_tell(idle: House) -> None:
    callback = Callback("https://example.com/hook", "native")
    job = await idle.service.submit(CALLER, "native", wish(), callback=callback)
    stored = await idle.stored(job.id)
    assert (stored.account, stored.key_id, stored.priority, stored.callback) == ("acme", "key_1", 3, callback)
    assert stored.charge is None


async def test_pictures_are_paid_by_the_piece(idle: House) -> None:
    plan = await bought(idle, 10)
    job = await submit(idle, num_images=3)
    assert (await idle.stored(job.id)).charge == Charge(plan.id, PlanUnit.IMAGES, 3.0)


async def test_device_seconds_are_a_second_a_step_until_the_engine_was_measured(idle: House) -> None:
    plan = await bought(idle, 100, PlanUnit.DEVICE_SECONDS)
    job = await submit(idle, num_images=2, num_inference_steps=7)
    assert job.charge == Charge(plan.id, PlanUnit.DEVICE_SECONDS, 14.0)


async def test_device_seconds_are_estimated_by_what_steps_took_and_rounded_up(quick: House) -> None:
    await bought(quick, 100, PlanUnit.DEVICE_SECONDS)
    await quick.draw()  # another account's; the quick engine takes no time at all
    job = await submit(quick, num_images=2, num_inference_steps=7)
    assert job.charge is not None and job.charge.amount == 0.0
    await quick.service.wait(job.id)


async def test_whole_seconds_are_at_least_one(quick: House) -> None:
    await bought(quick, 100, PlanUnit.SECONDS)
    await quick.draw()
    job = await submit(quick, num_images=2, num_inference_steps=7)
    assert job.charge is not None and job.charge.amount == 1.0
    await quick.service.wait(job.id)


async def test_with_a_wallet_only_its_plans_pay(idle: House) -> None:
    await bought(idle, 10, days=3)
    with pytest.raises(QuotaExhausted):
        await idle.service.submit(CALLER, "native", wish(), wallet="0x6fd5")
    plan = replace(await bought(idle, 10), id=0, wallet="0x6fd5")
    theirs = await idle.stores.accounts.add_plan(plan)
    job = await idle.service.submit(CALLER, "native", wish(), wallet="0x6fd5")
    assert job.charge is not None and job.charge.plan_id == theirs.id
    with pytest.raises(QuotaExhausted):
        await idle.service.submit(Principal("globex"), "native", wish(), wallet="0x6fd5")


async def test_the_plan_that_expires_first_is_used_first(idle: House) -> None:
    await bought(idle, 10, days=30)
    soon = await bought(idle, 10, days=3)
    await bought(idle, 10, days=2, since=1)  # has not begun
    await bought(idle, 10, days=-1)  # is over
    await bought(idle, 10, PlanUnit.VIDEO_SECONDS, days=1)  # pays no pictures
    job = await submit(idle)
    assert job.charge is not None and job.charge.plan_id == soon.id


async def test_a_plan_with_too_little_left_is_passed_over(idle: House) -> None:
    await bought(idle, 1, days=3)
    rich = await bought(idle, 10, days=30)
    job = await submit(idle, num_images=2)
    assert job.charge is not None and job.charge.plan_id == rich.id


async def test_a_plan_that_another_job_used_up_meanwhile_is_passed_over(idle: House) -> None:
    soon, rich = await bought(idle, 1, days=3), await bought(idle, 10, days=30)
    arrived, go_on = idle.store.hold("add")
    late = asyncio.create_task(submit(idle))
    await arrived.wait()
    first = await submit(idle)
    go_on.set()
    assert [one.charge.plan_id for one in (first, await late) if one.charge] == [soon.id, rich.id]


@pytest.mark.parametrize(
    ("unit", "days", "said"),
    [
        (PlanUnit.IMAGES, 30, "has 3 images left and this needs 4"),
        (PlanUnit.DEVICE_SECONDS, 30, "has 3 device seconds left and this needs 16"),
        (PlanUnit.IMAGES, -1, "has 0 images left and this needs 4"),
        (PlanUnit.VIDEO_SECONDS, 30, "has 0 images left and this needs 4"),
    ],
)
async def test_an_account_whose_plans_cannot_pay_is_refused(
    idle: House, unit: PlanUnit, days: float, said: str
) -> None:
    await bought(idle, 3, unit, days)
    with pytest.raises(QuotaExhausted, match=said):
        await submit(idle, num_images=4, num_inference_steps=4)
    assert await idle.store.queued() == 0


async def test_other_accounts_are_not_metered(idle: House) -> None:
    await bought(idle, 0)
    assert (await submit(idle, Principal("globex"))).charge is None


async def test_a_key_uses_only_the_models_of_its_scopes(idle: House) -> None:
    scopes = frozenset({"model:other", "dialect:native"})
    with pytest.raises(Forbidden, match="model tiny"):
        await submit(idle, Principal("acme", "key_1", scopes))
    await submit(idle, Principal("acme", "key_1", frozenset({"model:tiny"})))
    await submit(idle, Principal("acme", "key_1", frozenset({"dialect:native"})))


async def test_a_key_has_no_more_jobs_open_than_it_may(idle: House) -> None:
    caller = Principal("acme", "key_1", limits=KeyLimits(concurrent_jobs=1))
    first = await submit(idle, caller)
    with pytest.raises(RateLimited, match="1 unfinished job"):
        await submit(idle, caller)
    await idle.service.cancel(caller, first.id)
    await submit(idle, caller)


async def test_a_repetition_is_answered_however_full_and_poor_it_has_become(tmp_path: Any) -> None:
    async with house(tmp_path, started=False, max_queue=1) as full:
        await bought(full, 1)
        first = await full.service.submit(CALLER, "native", wish(), idempotency=PROMISE)
        again = await full.service.submit(CALLER, "native", wish(), idempotency=PROMISE)
        assert again == first
        with pytest.raises(QuotaExhausted):
            await submit(full)
        with pytest.raises(QueueFull):
            await submit(full, Principal("globex"))
        with pytest.raises(IdempotencyConflict):
            await full.service.submit(CALLER, "native", wish(), idempotency=Idempotency(PROMISE.key, "b" * 64))
