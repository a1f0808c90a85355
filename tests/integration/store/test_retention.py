"""Which jobs are old enough to be forgotten, on every database."""

from __future__ import annotations

import pytest

from diffuserve.core.delivery import Callback
from diffuserve.core.job import JobStatus
from diffuserve.core.ports import Expired, Idempotency, Outcome
from diffuserve.core.request import InputImage
from diffuserve.store import Stores
from support.models import artifact, job, resolved

pytestmark = pytest.mark.integration

NOW = 1_800_000_000.0
ANY_ID = 2**62
CALLBACK = Callback("https://example.org/hook", "native")


async def finished(stores: Stores, job_id: int, at: float, pictures: int = 1, **changes: object) -> None:
    """A job that succeeded at a time."""
    await stores.jobs.add(job(job_id, **changes), now=at)
    await stores.jobs.claim("me", 10, at, at + 30)
    made = tuple(
        artifact(index, id=f"{job_id:016x}{index:016x}", blob_key=f"artifacts/{job_id}/{index}.png")
        for index in range(pictures)
    )
    assert await stores.jobs.finish("me", job_id, Outcome(JobStatus.SUCCEEDED, made), at)


async def expired(stores: Stores, before: float, id_below: int = ANY_ID, limit: int = 10) -> list[Expired]:
    return list(await stores.retention.expired(before, id_below, limit))


async def test_jobs_that_ended_before_a_time_are_found_with_their_pictures(stores: Stores) -> None:
    await finished(stores, 1, NOW, pictures=2)
    await finished(stores, 2, NOW + 10)
    assert await expired(stores, NOW + 10) == [Expired(1, ("artifacts/1/0.png", "artifacts/1/1.png"))]


async def test_the_oldest_come_first_and_no_more_than_asked(stores: Stores) -> None:
    for job_id in (3, 1, 2):
        await finished(stores, job_id, NOW)
    assert [one.job_id for one in await expired(stores, NOW + 1, limit=2)] == [1, 2]


async def test_the_search_ends_at_the_id_that_it_is_told(stores: Stores) -> None:
    await finished(stores, 1, NOW)
    await finished(stores, 2, NOW)
    assert [one.job_id for one in await expired(stores, NOW + 1, id_below=2)] == [1]


async def test_a_job_that_has_not_ended_is_never_found(stores: Stores) -> None:
    await stores.jobs.add(job(1), now=NOW)
    await stores.jobs.claim("me", 1, NOW, NOW + 30)
    await stores.jobs.add(job(2), now=NOW)
    assert await expired(stores, NOW + 1e6) == []


async def test_a_job_whose_notification_is_still_on_its_way_is_kept(stores: Stores) -> None:
    await finished(stores, 1, NOW, callback=CALLBACK)
    assert await expired(stores, NOW + 1) == []
    [delivery] = await stores.deliveries.deliveries(job_id=1)
    await stores.deliveries.delivered(delivery.id, NOW)
    assert [one.job_id for one in await expired(stores, NOW + 1)] == [1]


async def test_a_forgotten_job_is_gone_with_all_that_belongs_to_it(stores: Stores) -> None:
    promise = Idempotency("again", "f" * 64)
    await stores.jobs.add(job(1, callback=CALLBACK), now=NOW, idempotency=promise)
    await stores.jobs.claim("me", 1, NOW, NOW + 30)
    await stores.jobs.finish("me", 1, Outcome(JobStatus.SUCCEEDED, (artifact(),)), NOW)
    await stores.retention.forget([1])
    assert await stores.jobs.get(1) is None
    assert await stores.jobs.artifact(artifact().id) is None
    assert await stores.deliveries.deliveries() == []
    assert await stores.jobs.replayed("local", promise, NOW) is None


async def test_the_bill_of_a_forgotten_job_stays(stores: Stores) -> None:
    await finished(stores, 1, NOW)
    await stores.retention.forget([1])
    assert [entry.job_id async for entry in stores.accounts.usage(None, 0, NOW + 1)] == [1]


async def test_a_job_that_has_not_ended_cannot_be_forgotten(stores: Stores) -> None:
    await stores.jobs.add(job(1), now=NOW)
    await stores.retention.forget([1])
    assert await stores.jobs.get(1) is not None


async def test_input_pictures_are_in_use_until_their_last_job_ends(stores: Stores) -> None:
    def with_input(digest: str) -> object:
        return resolved(init_image=InputImage(digest, 64, 64))

    await stores.jobs.add(job(1, request=with_input("a" * 64)), now=NOW)
    await stores.jobs.add(job(2, request=with_input("a" * 64)), now=NOW)
    await stores.jobs.add(job(3, request=with_input("b" * 64)), now=NOW)
    await stores.jobs.add(job(4, request=resolved(prompt='no picture but the word "digest"')), now=NOW)
    await stores.jobs.claim("me", 1, NOW, NOW + 30)
    await stores.jobs.cancel(3, NOW)
    assert await stores.retention.inputs_in_use() == {"a" * 64}
    await stores.jobs.cancel(1, NOW)
    assert await stores.retention.inputs_in_use() == {"a" * 64}
    await stores.jobs.cancel(2, NOW)
    assert await stores.retention.inputs_in_use() == frozenset()


async def test_the_queue_is_counted_by_model_and_key(stores: Stores) -> None:
    await stores.jobs.add(job(1), now=NOW)
    for job_id in (2, 3):
        await stores.jobs.add(job(job_id, key_id="key_1", request=resolved(model="other")), now=NOW)
    await stores.jobs.add(job(4, key_id="key_1"), now=NOW)
    await stores.jobs.cancel(4, NOW)
    assert await stores.jobs.queue() == {("tiny", None): 1, ("other", "key_1"): 2}
