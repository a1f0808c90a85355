"""What every `DeliveryStore` promises, on every database that it runs on."""

from __future__ import annotations

import asyncio

import pytest

from diffuserve.core.delivery import Callback, Delivery, DeliveryStatus
from diffuserve.core.job import JobStatus
from diffuserve.core.ports import Outcome
from diffuserve.store import Stores
from support.models import job

pytestmark = pytest.mark.integration

NOW, HIDDEN = 1_800_000_000.0, 1_800_000_060.0
CALLBACK = Callback("https://example.com/hook", "native", secret="s\x00cret", track_id="7", base_url="https://me")


async def ended(stores: Stores, *ids: int) -> None:
    """Jobs that were cancelled, one second after the other, and want to tell."""
    for n, job_id in enumerate(ids):
        await stores.jobs.add(job(job_id, callback=CALLBACK), now=NOW)
        await stores.jobs.cancel(job_id, NOW + n)


async def the_one(stores: Stores) -> Delivery:
    (only,) = await stores.deliveries.deliveries()
    return only


@pytest.mark.parametrize("status", [JobStatus.SUCCEEDED, JobStatus.FAILED])
async def test_the_transaction_that_ends_a_job_posts_its_notification(stores: Stores, status: JobStatus) -> None:
    await stores.jobs.add(job(1, callback=CALLBACK), now=NOW)
    await stores.jobs.claim("me", 1, NOW, NOW + 30)
    assert await stores.deliveries.deliveries() == []
    ends = [stores.jobs.finish("me", 1, Outcome(status), NOW + 1) for _ in range(4)]
    await asyncio.gather(*ends, stores.jobs.cancel(1, NOW + 1))
    posted = await the_one(stores)
    assert posted == Delivery(posted.id, 1, CALLBACK, DeliveryStatus.PENDING, NOW + 1, NOW + 1)
    assert posted.id.startswith("msg_") and len(posted.id) == 36


async def test_a_job_without_a_callback_tells_nobody(stores: Stores) -> None:
    await stores.jobs.add(job(1), now=NOW)
    await stores.jobs.cancel(1, NOW)
    assert await stores.deliveries.deliveries() == []
    assert await stores.deliveries.oldest_due() is None


async def test_a_claimed_delivery_is_hidden_until_its_time_has_passed(stores: Stores) -> None:
    await ended(stores, 1)
    (claimed,) = await stores.deliveries.claim_deliveries(5, NOW, HIDDEN)
    assert claimed.next_at == HIDDEN
    assert list(await stores.deliveries.claim_deliveries(5, HIDDEN - 1, HIDDEN)) == []
    assert [one.id for one in await stores.deliveries.claim_deliveries(5, HIDDEN, HIDDEN + 60)] == [claimed.id]


async def test_those_that_have_been_due_longest_come_first(stores: Stores) -> None:
    await ended(stores, 3, 1, 2)
    assert await stores.deliveries.oldest_due() == NOW
    assert [one.job_id for one in await stores.deliveries.claim_deliveries(2, NOW + 9, HIDDEN)] == [3, 1]
    assert [one.job_id for one in await stores.deliveries.claim_deliveries(2, NOW + 9, HIDDEN)] == [2]


async def test_nothing_is_claimed_before_it_is_due(stores: Stores) -> None:
    await ended(stores, 1)
    assert list(await stores.deliveries.claim_deliveries(5, NOW - 1, HIDDEN)) == []
    assert list(await stores.deliveries.claim_deliveries(0, NOW, HIDDEN)) == []


async def test_senders_never_share_a_delivery(stores: Stores) -> None:
    await ended(stores, *range(20))
    claims = await asyncio.gather(*(stores.deliveries.claim_deliveries(5, NOW + 99, HIDDEN + 99) for _ in range(8)))
    while again := await stores.deliveries.claim_deliveries(5, NOW + 99, HIDDEN + 99):
        claims.append(again)  # those that another sender had locked
    assert sorted(one.job_id for claim in claims for one in claim) == list(range(20))


async def test_a_delivered_one_is_never_sent_again(stores: Stores) -> None:
    await ended(stores, 1)
    sent = await the_one(stores)
    await stores.deliveries.delivered(sent.id, NOW + 5)
    await stores.deliveries.postponed(sent.id, "too late", NOW + 6)
    await stores.deliveries.buried(sent.id, "too late")
    after = await the_one(stores)
    assert (after.status, after.delivered_at, after.attempts) == (DeliveryStatus.DELIVERED, NOW + 5, 1)
    assert after.last_error is None
    assert list(await stores.deliveries.claim_deliveries(5, HIDDEN, HIDDEN)) == []
    assert await stores.deliveries.replay(None, NOW) == 0


async def test_a_failed_attempt_is_counted_and_tried_later(stores: Stores) -> None:
    await ended(stores, 1)
    sent = await the_one(stores)
    await stores.deliveries.postponed(sent.id, "no route\x00\ud800", NOW + 100)
    after = await the_one(stores)
    assert (after.status, after.attempts, after.next_at) == (DeliveryStatus.PENDING, 1, NOW + 100)
    assert after.last_error == "no route\ufffd?"
    assert list(await stores.deliveries.claim_deliveries(5, NOW + 99, HIDDEN)) == []


async def test_the_dead_can_be_replayed(stores: Stores) -> None:
    await ended(stores, 1, 2, 3)
    for one in await stores.deliveries.deliveries():
        await stores.deliveries.buried(one.id, "gone")
    dead = await stores.deliveries.deliveries(status="dead")
    assert [(one.job_id, one.attempts, one.last_error) for one in dead] == [(n, 1, "gone") for n in (1, 2, 3)]
    assert await stores.deliveries.replay(dead[1].id, NOW + 50) == 1
    assert [one.job_id for one in await stores.deliveries.claim_deliveries(5, NOW + 50, HIDDEN)] == [2]
    assert await stores.deliveries.replay(None, NOW + 60) == 2
    assert [one.attempts for one in await stores.deliveries.deliveries(job_id=1)] == [0]
