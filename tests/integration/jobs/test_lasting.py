"""Jobs are never lost: crashes, restarts, lost leases, failing storage, shutting down."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from diffuserve.core.job import JobStatus
from support.jobs import House, house

pytestmark = pytest.mark.integration


async def test_a_job_that_kills_the_engine_twice_fails_and_its_neighbours_are_drawn(slow: House) -> None:
    bystanders = [await slow.submit(f"apple {n}", num_inference_steps=5) for n in range(3)]
    killer = await slow.submit("fail:crash")
    waiting = [asyncio.create_task(slow.service.wait(job.id)) for job in (*bystanders, killer)]
    for job in (*bystanders, killer):
        await slow.started(job.id)
    everybody = asyncio.gather(*waiting)
    while not everybody.done():
        # Only a step takes time: while the store works, which is a matter of real time, no lease may run out.
        asleep = asyncio.ensure_future(slow.clock.until_asleep(1.0))
        await asyncio.wait((everybody, asleep), return_when=asyncio.FIRST_COMPLETED)
        asleep.cancel()
        await slow.clock.advance(0 if everybody.done() else 1)
    *drawn, failed = [task.result() for task in waiting]
    assert {job.status for job in drawn} == {JobStatus.SUCCEEDED}
    assert failed.status is JobStatus.FAILED and failed.error is not None
    assert failed.error.code == "engine_crashed"
    assert {job.crashes for job in drawn} == {1}
    assert slow.engine.status().restarts == 2


@pytest.mark.parametrize(("word", "code"), [("fail:error", "generation_failed"), ("fail:oom", "out_of_memory")])
async def test_a_job_that_the_engine_refuses_fails_alone(quick: House, word: str, code: str) -> None:
    failed, fine = await asyncio.gather(quick.draw(word), quick.draw())
    assert failed.error is not None and failed.error.code == code
    assert fine.status is JobStatus.SUCCEEDED


async def test_a_worker_takes_up_what_its_earlier_life_left_running(tmp_path: Path) -> None:
    memory = MemoryStore()
    async with house(tmp_path, started=False, memory=memory) as before:
        job = await before.submit(seeds=(1,), num_images=2)
        await before.store.claim("here", 1, before.clock.now(), before.clock.now() + 30)
    async with house(tmp_path, memory=memory) as after:
        ended = await after.service.wait(job.id)
        assert (ended.status, ended.attempts) == (JobStatus.SUCCEEDED, 2)
        assert ended.request.seeds == job.request.seeds


async def test_a_job_whose_worker_vanished_is_taken_over_when_its_lease_runs_out(quick: House) -> None:
    arrived, go_on = quick.store.hold("claim", when="before")
    job = await quick.submit()
    await arrived.wait()
    await quick.store.claim("elsewhere", 1, quick.clock.now(), quick.clock.now() + 30)
    go_on.set()
    await quick.clock.until_asleep(5.0)
    await quick.clock.advance(31)
    await quick.clock.advance(5)  # the worker looks every five seconds
    assert (await quick.service.wait(job.id)).attempts == 2


async def test_the_heartbeat_keeps_a_long_job(slow: House) -> None:
    job = await slow.submit(num_inference_steps=60)
    await slow.started(job.id)
    await slow.clock.until_asleep(1.0)
    for _ in range(45):
        await slow.clock.until_asleep(1.0)
        await slow.clock.advance(1)
        # The renewal is a round trip to the store's writing thread: this waits behind it.
        await slow.store.requeue("nobody")
    taken = await slow.store.claim("elsewhere", 1, slow.clock.now(), slow.clock.now() + 30)
    assert list(taken) == []


async def test_a_job_whose_lease_was_lost_stops_and_leaves_the_end_to_its_new_owner(slow: House) -> None:
    job = await slow.submit(num_inference_steps=60)
    waiting = asyncio.create_task(slow.service.wait(job.id))
    await slow.started(job.id)
    await slow.clock.until_asleep(1.0)
    far = slow.clock.now() + 10_000
    await slow.store.claim("elsewhere", 1, far, far + 30)
    await slow.clock.advance(10)
    await slow.at_rest()
    assert slow.engine.status().running == 0
    assert (await slow.stored(job.id)).status is JobStatus.RUNNING
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_a_job_that_another_process_cancelled_stops_and_is_told(slow: House) -> None:
    job = await slow.submit(num_inference_steps=60)
    waiting = asyncio.create_task(slow.service.wait(job.id, 1000))
    await slow.started(job.id)
    await slow.clock.until_asleep(1.0)
    await slow.store.cancel(job.id, slow.clock.now())
    await slow.clock.advance(10)
    assert (await waiting).status is JobStatus.CANCELED


async def test_the_blob_is_stored_before_the_row_that_names_it(quick: House) -> None:
    arrived, go_on = quick.blobs.hold("put", when="before")
    job = await quick.submit()
    await arrived.wait()
    assert "finish" not in quick.store.calls
    go_on.set()
    assert (await quick.service.wait(job.id)).status is JobStatus.SUCCEEDED


async def test_a_picture_that_storage_refuses_is_tried_again(quick: House) -> None:
    quick.blobs.fail("put", 2)
    job = await quick.submit()
    await quick.clock.until_asleep(0.2)
    await quick.clock.advance(0.2)
    await quick.clock.until_asleep(1.0)
    await quick.clock.advance(1.0)
    assert (await quick.service.wait(job.id)).status is JobStatus.SUCCEEDED


async def test_a_picture_that_storage_keeps_refusing_fails_the_job(quick: House) -> None:
    quick.blobs.fail("put", 4)
    job = await quick.submit()
    for pause in (0.2, 1.0, 3.0):
        await quick.clock.until_asleep(pause)
        await quick.clock.advance(pause)
    failed = await quick.service.wait(job.id)
    assert failed.error is not None and failed.error.code == "storage_failed"
    assert (await quick.draw()).status is JobStatus.SUCCEEDED


async def test_an_end_that_the_store_refuses_is_tried_again(quick: House) -> None:
    quick.store.fail("finish", 1)
    job = await quick.submit()
    await quick.clock.until_asleep(0.2)
    await quick.clock.advance(0.2)
    assert (await quick.service.wait(job.id)).attempts == 1


async def test_an_end_that_cannot_be_written_is_drawn_again_when_the_lease_runs_out(quick: House) -> None:
    quick.store.fail("finish", 4)
    job = await quick.submit()
    for pause in (0.2, 1.0, 3.0):
        await quick.clock.until_asleep(pause)
        await quick.clock.advance(pause)
    await quick.at_rest()
    assert quick.blob_keys() == []
    await quick.clock.advance(31)
    assert (await quick.service.wait(job.id)).attempts == 2


async def test_a_claim_that_fails_does_not_stop_the_worker(quick: House) -> None:
    quick.store.fail("claim", 1)
    job = await quick.submit()
    await quick.clock.until_asleep(1.0)
    await quick.clock.advance(1.0)
    assert (await quick.service.wait(job.id)).status is JobStatus.SUCCEEDED


async def test_a_bug_fails_its_own_job_only(quick: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("diffuserve.engine.fake.hashlib.shake_256", _raise)
        failed = await quick.draw()
    assert failed.error is not None and failed.error.code == "internal_error"
    assert (await quick.draw()).status is JobStatus.SUCCEEDED


def _raise(*_: object) -> None:
    raise RuntimeError("a bug")


async def test_draining_lets_running_jobs_finish_and_takes_no_more(slow: House) -> None:
    job = await slow.submit(num_inference_steps=3)
    await slow.started(job.id)
    await slow.clock.until_asleep(1.0)
    draining = asyncio.create_task(slow.worker.drain(7))
    await slow.clock.until_asleep(7.0)
    late = await slow.submit()
    await slow.clock.advance(3)
    await draining
    assert (await slow.stored(job.id)).status is JobStatus.SUCCEEDED
    assert (await slow.stored(late.id)).status is JobStatus.QUEUED


async def test_draining_queues_again_what_does_not_finish_in_time(slow: House) -> None:
    job = await slow.submit(num_inference_steps=60)
    await slow.started(job.id)
    draining = asyncio.create_task(slow.worker.drain(7))
    await slow.clock.until_asleep(7.0)
    await slow.clock.advance(7)
    await draining
    after = await slow.stored(job.id)
    assert (after.status, after.crashes) == (JobStatus.QUEUED, 0)
    assert slow.engine.status().running == 0
    assert slow.blob_keys() == []


async def test_draining_gives_back_what_a_claim_brings_in_meanwhile(idle: House) -> None:
    arrived, go_on = idle.store.hold("claim", when="after")
    job = await idle.submit()
    await idle.worker.start()
    await arrived.wait()
    draining = asyncio.create_task(idle.worker.drain(7))
    await asyncio.sleep(0)
    go_on.set()
    await draining
    assert (await idle.stored(job.id)).status is JobStatus.QUEUED


async def test_closing_twice_is_closing_once(quick: House) -> None:
    await quick.worker.close()
    await quick.worker.close()


_VICTIM = """
import asyncio, sys
from pathlib import Path
from support.jobs import house

async def main():
    async with house(Path(sys.argv[1]), step_seconds=1.0) as built:
        running = await built.submit("running", seeds=(1,))
        await built.started(running.id)
        built.worker._draining = True  # the next job is accepted, and nobody gets to it
        queued = await built.submit("queued", seeds=(2,))
        print(running.id, queued.id, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_accepted_jobs_survive_kill_9_and_end_once(tmp_path: Path) -> None:
    victim = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _VICTIM,
        str(tmp_path),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert victim.stdout is not None
    ids = [int(word) for word in (await victim.stdout.readline()).split()]
    victim.send_signal(signal.SIGKILL)
    await victim.wait()
    assert len(ids) == 2
    async with house(tmp_path) as after:
        ended = [await after.service.wait(job_id) for job_id in ids]
        assert [(job.status, job.request.prompt) for job in ended] == [
            (JobStatus.SUCCEEDED, "running"),
            (JobStatus.SUCCEEDED, "queued"),
        ]
        assert [job.attempts for job in ended] == [2, 1]
        assert [job.artifacts[0].seed for job in ended] == [1, 2]
        assert len(after.blob_keys()) == 2
