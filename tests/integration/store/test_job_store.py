"""What every `JobStore` promises, on every database that it runs on."""

from __future__ import annotations

import asyncio

import pytest

from diffuserve.core.errors import StorageFailed
from diffuserve.core.job import Job, JobError, JobStatus, Usage
from diffuserve.core.ports import Backlog, IdTaken, JobStore, Outcome
from diffuserve.core.request import Canvas, InputImage
from support.models import artifact, job, resolved

pytestmark = pytest.mark.integration

NOW, LEASE = 1_800_000_000.0, 1_800_000_030.0


async def test_a_job_comes_back_as_it_was_added(store: JobStore) -> None:
    image = InputImage("a" * 64, 64, 64, b"the bytes lie elsewhere")
    request = resolved(seeds=(2**64 - 1, 0), init_image=image, prompt="红苹果 \x00 'quoted\" 🍎", strength=0.5)
    added = job(2**62, request=request, notes=("one", "two"))
    await store.add(added, now=NOW)
    found = await store.get(2**62)
    assert found == added
    assert found is not None and found.request.init_image is not None
    assert found.request.init_image.data == b""


async def test_a_job_that_was_never_added_is_none(store: JobStore) -> None:
    assert await store.get(404) is None
    assert await store.artifact("0" * 32) is None
    assert await store.cancel(404, NOW) is None


async def test_an_id_that_another_server_gave_out_is_refused_and_its_job_kept(store: JobStore) -> None:
    first = await store.add(job(1, memo="mine"), now=NOW)
    with pytest.raises(IdTaken):
        await store.add(job(1, memo="yours"), now=NOW)
    assert await store.get(1) == first


async def test_one_bad_call_does_not_fail_those_that_shared_its_commit(store: JobStore) -> None:
    await store.add(job(1), now=NOW)
    results = await asyncio.gather(*(store.add(job(n), now=NOW) for n in (2, 1, 3)), return_exceptions=True)
    assert [type(result) for result in results] == [Job, IdTaken, Job]
    assert await store.queued() == 3


async def test_claims_take_the_oldest_jobs_first(store: JobStore) -> None:
    for n in (3, 1, 2):
        await store.add(job(n), now=NOW)
    claimed = await store.claim("me", 2, NOW, LEASE)
    assert [one.id for one in claimed] == [1, 2]
    assert {one.status for one in claimed} == {JobStatus.RUNNING}
    assert {(one.attempts, one.started_at) for one in claimed} == {(1, NOW)}
    assert await store.queued() == 1


async def test_the_pixels_of_waiting_jobs_are_summed(store: JobStore) -> None:
    assert await store.queued_pixels() == 0
    canvas = Canvas(40_000, 60_000, 40_000, 60_000)
    await store.add(job(1, request=resolved(canvas=Canvas(10, 20, 10, 20), seeds=(1, 2))), now=NOW)
    await store.add(job(2, request=resolved(canvas=canvas)), now=NOW)
    assert await store.queued_pixels() == 2 * 10 * 20 + 40_000 * 60_000
    await store.claim("me", 1, NOW, LEASE)
    assert await store.queued_pixels() == 40_000 * 60_000


async def test_what_stands_before_a_job_is_what_runs_and_what_is_claimed_first(store: JobStore) -> None:
    assert await store.ahead(1, 0) == Backlog(0, 0, 0, 0)
    for number, steps, priority in ((1, 10, 0), (2, 20, 0), (3, 30, 0), (4, 40, 5)):
        asked = resolved(num_inference_steps=steps, seeds=(1, 2))
        await store.add(job(number, request=asked, priority=priority), now=NOW)
    await store.claim("me", 1, NOW, LEASE)
    assert await store.ahead(2, 0) == Backlog(1, 20, 1, 80)
    assert await store.ahead(3, 0) == Backlog(2, 60, 1, 80)
    assert await store.ahead(4, 5) == Backlog(0, 0, 0, 0)
    assert await store.ahead(2**53 - 1, -1000) == Backlog(3, 120, 1, 80)


async def test_steps_that_are_not_taken_are_not_waited_for(store: JobStore) -> None:
    image = InputImage("a" * 64, 64, 64)
    await store.add(job(1, request=resolved(num_inference_steps=20, init_image=image, strength=0.5)), now=NOW)
    assert (await store.ahead(2, 0)).waiting_steps == 10


async def test_the_queue_of_an_account_is_its_own(store: JobStore) -> None:
    for number, account in ((1, "a"), (2, "b"), (3, "a")):
        await store.add(job(number, account=account), now=NOW)
    await store.claim("me", 1, NOW, LEASE)
    assert (list(await store.waiting_of("a")), list(await store.waiting_of("c"))) == ([3], [])


async def test_a_claimed_job_is_not_claimed_again_while_its_lease_lasts(store: JobStore) -> None:
    await store.add(job(1), now=NOW)
    await store.claim("me", 5, NOW, LEASE)
    assert list(await store.claim("you", 5, LEASE - 1, LEASE + 30)) == []


async def test_a_job_whose_lease_ran_out_is_taken_over(store: JobStore) -> None:
    await store.add(job(1), now=NOW)
    await store.add(job(2), now=NOW)
    await store.claim("me", 1, NOW, LEASE)
    taken = await store.claim("you", 2, LEASE + 1, LEASE + 31)
    assert [(one.id, one.attempts) for one in taken] == [(1, 2), (2, 1)]


async def test_concurrent_claims_never_share_a_job(store: JobStore) -> None:
    for n in range(1, 41):
        await store.add(job(n), now=NOW)
    claims = await asyncio.gather(*(store.claim(f"worker-{n}", 5, NOW, LEASE) for n in range(10)))
    ids = [one.id for claim in claims for one in claim]
    assert sorted(ids) == list(range(1, 41))


async def test_a_claim_of_nothing_takes_nothing(store: JobStore) -> None:
    await store.add(job(1), now=NOW)
    assert list(await store.claim("me", 0, NOW, LEASE)) == []
    assert await store.queued() == 1


async def test_renewing_lengthens_a_lease(store: JobStore) -> None:
    await store.add(job(1), now=NOW)
    await store.claim("me", 1, NOW, LEASE)
    assert list(await store.renew("me", [1], LEASE + 100)) == [1]
    assert list(await store.claim("you", 1, LEASE + 50, LEASE + 80)) == []


async def test_renewing_returns_only_what_is_still_held(store: JobStore) -> None:
    for n in (1, 2, 3):
        await store.add(job(n), now=NOW)
    await store.claim("me", 3, NOW, LEASE)
    await store.cancel(2, NOW)
    assert sorted(await store.renew("me", [1, 2, 3, 404], LEASE)) == [1, 3]
    assert list(await store.renew("you", [1], LEASE)) == []
    assert list(await store.renew("me", [], LEASE)) == []


async def test_finishing_writes_all_of_the_outcome(store: JobStore) -> None:
    await store.add(job(1, notes=("before",)), now=NOW)
    await store.claim("me", 1, NOW, LEASE)
    made = (artifact(1), artifact(0))
    usage = Usage(2, 8, 8192, 0.25)
    outcome = Outcome(JobStatus.SUCCEEDED, made, usage, notes=("after",))
    assert await store.finish("me", 1, outcome, NOW + 5)
    found = await store.get(1)
    assert found is not None
    assert (found.status, found.finished_at, found.usage) == (JobStatus.SUCCEEDED, NOW + 5, usage)
    assert found.notes == ("before", "after")
    assert found.artifacts == (artifact(0), artifact(1))
    assert await store.artifact(artifact(1).id) == artifact(1)


async def test_a_failed_job_keeps_its_reason(store: JobStore) -> None:
    await store.add(job(1), now=NOW)
    await store.claim("me", 1, NOW, LEASE)
    error = JobError("out_of_memory", "too large")
    await store.finish("me", 1, Outcome(JobStatus.FAILED, error=error), NOW)
    found = await store.get(1)
    assert found is not None and (found.status, found.error) == (JobStatus.FAILED, error)


async def test_a_job_ends_once(store: JobStore) -> None:
    await store.add(job(1), now=NOW)
    await store.claim("me", 1, NOW, LEASE)
    ends = await asyncio.gather(
        *(store.finish("me", 1, Outcome(JobStatus.SUCCEEDED, (artifact(0, id=f"{n:032}"),)), NOW) for n in range(5))
    )
    assert sorted(ends) == [False, False, False, False, True]
    found = await store.get(1)
    assert found is not None and len(found.artifacts) == 1


@pytest.mark.parametrize("notes", [(), ("a note",)])
async def test_who_lost_the_lease_cannot_finish(store: JobStore, notes: tuple[str, ...]) -> None:
    await store.add(job(1), now=NOW)
    await store.claim("me", 1, NOW, LEASE)
    await store.claim("you", 1, LEASE + 1, LEASE + 31)
    assert not await store.finish("me", 1, Outcome(JobStatus.SUCCEEDED, (artifact(0),), notes=notes), NOW)
    assert await store.artifact(artifact(0).id) is None
    found = await store.get(1)
    assert found is not None and found.status is JobStatus.RUNNING


@pytest.mark.parametrize("claimed", [False, True])
async def test_a_job_can_be_cancelled_until_it_ends(store: JobStore, claimed: bool) -> None:
    await store.add(job(1), now=NOW)
    if claimed:
        await store.claim("me", 1, NOW, LEASE)
    canceled = await store.cancel(1, NOW + 1)
    assert canceled is not None and (canceled.status, canceled.finished_at) == (JobStatus.CANCELED, NOW + 1)
    assert not await store.finish("me", 1, Outcome(JobStatus.SUCCEEDED), NOW + 2)
    assert list(await store.claim("me", 1, LEASE + 99, LEASE + 199)) == []


async def test_cancelling_an_ended_job_changes_nothing(store: JobStore) -> None:
    await store.add(job(1), now=NOW)
    await store.claim("me", 1, NOW, LEASE)
    await store.finish("me", 1, Outcome(JobStatus.SUCCEEDED, (artifact(0),)), NOW)
    after = await store.cancel(1, NOW + 1)
    assert after == await store.get(1)
    assert after is not None and after.status is JobStatus.SUCCEEDED and after.artifacts == (artifact(0),)


async def test_requeued_jobs_wait_again_at_their_old_place(store: JobStore) -> None:
    for n in (1, 2, 3):
        await store.add(job(n), now=NOW)
    await store.claim("me", 2, NOW, LEASE)
    assert await store.requeue("me", [1]) == 1
    found = await store.get(1)
    assert found is not None and (found.status, found.started_at, found.crashes) == (JobStatus.QUEUED, None, 0)
    assert [one.id for one in await store.claim("you", 1, NOW, LEASE)] == [1]


async def test_requeue_of_all_takes_only_this_owners_running_jobs(store: JobStore) -> None:
    for n in (1, 2, 3, 4):
        await store.add(job(n), now=NOW)
    await store.claim("me", 2, NOW, LEASE)
    await store.claim("you", 1, NOW, LEASE)
    await store.finish("me", 1, Outcome(JobStatus.SUCCEEDED), NOW)
    assert await store.requeue("me") == 1
    statuses = [found.status for n in (1, 2, 3, 4) if (found := await store.get(n))]
    assert statuses == [JobStatus.SUCCEEDED, JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.QUEUED]


async def test_a_crash_is_counted(store: JobStore) -> None:
    await store.add(job(1), now=NOW)
    await store.claim("me", 1, NOW, LEASE)
    await store.requeue("me", [1], crashed=True)
    found = await store.get(1)
    assert found is not None and found.crashes == 1


async def test_a_closed_store_says_so(store: JobStore) -> None:
    await store.close()
    with pytest.raises(StorageFailed, match="closed"):
        await store.get(1)
