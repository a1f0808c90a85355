"""Takes jobs from the store, draws them and ends them; the loop that keeps the promise that no job is lost.

A job in hand is leased: the lease is renewed while this process lives, and any worker may take the job over once it has
run out. Ending is guarded by owner and status, so whatever happens a job ends once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from diffuserve import logs
from diffuserve.core.errors import EngineCrashed, EngineNotReady, StorageFailed
from diffuserve.core.job import Job, JobError, JobStatus
from diffuserve.core.ports import BlobStore, Clock, Engine, JobStore, Outcome, Tracer
from diffuserve.jobs.claiming import Claim, next_claim
from diffuserve.jobs.drawing import Drawing
from diffuserve.jobs.hub import Hub
from diffuserve.jobs.output import RETRY_PAUSES, Output, Pictures
from diffuserve.jobs.turns import Turns
from diffuserve.jobs.untraced import Untraced

_log = logging.getLogger(__name__)

_MOST_CRASHES = 2
_READY_POLL_SECONDS = 0.25


@dataclass(slots=True, eq=False)
class _Held:
    """A job whose lease is ours."""

    job: Job
    task: asyncio.Task[None] = field(init=False)
    settled: bool = False
    """Drawn and about to be written, or told to stop: nobody interrupts it any more, only the store's guard decides."""

    def stop(self) -> None:
        if not self.settled:
            self.settled = True
            self.task.cancel()


class Worker:
    """One per server process. `owner` must be the same after a restart, so that it finds what it left behind."""

    def __init__(
        self,
        *,
        store: JobStore,
        blobs: BlobStore,
        engine: Engine,
        hub: Hub,
        clock: Clock,
        pictures: Pictures,
        owner: str,
        concurrency: int = 32,
        lease_seconds: float = 30.0,
        heartbeat_seconds: float = 10.0,
        poll_seconds: float = 5.0,
        tracer: Tracer | None = None,
    ) -> None:
        """`concurrency`: jobs of one account held at once.

        `poll_seconds`: how often it looks for jobs that nobody nudged it about.
        """
        self._store = store
        self._engine = engine
        self._hub = hub
        self._clock = clock
        self._owner = owner
        self._concurrency = concurrency
        self._lease_seconds = lease_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._poll_seconds = poll_seconds
        self._output = Output(blobs, clock, pictures)
        self._drawing = Drawing(engine, blobs, hub, self._output, pictures, tracer or Untraced())
        self._turns = Turns()
        self._held: dict[int, _Held] = {}
        self._wake = asyncio.Event()
        self._more = True
        """There may be jobs in the queue: false after a claim that found fewer than it wanted."""
        self._newcomers = True
        """Among them there may be jobs of accounts that are not full."""
        self._claiming = False
        self._withdrawn: set[int] = set()
        """Cancelled while a claim was under way that may have taken them."""
        self._draining = False
        self._claims: asyncio.Task[None] | None = None
        self._timers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Take up what an earlier life of this worker left RUNNING, then begin to claim. Raises StorageFailed."""
        left = await self._store.requeue(self._owner)
        if left:
            _log.info("%s unfinished jobs of the last run are queued again", left)
        self._claims = asyncio.create_task(self._claim_loop(), name="worker-claims")
        self._timers = [
            asyncio.create_task(self._tick(), name="worker-tick"),
            asyncio.create_task(self._heartbeat(), name="worker-heartbeat"),
        ]

    def nudge(self, account: str | None = None) -> None:
        """There is a new job, of this account where that is known."""
        self._more = True
        full = next_claim(self._jobs_by_account(), self._concurrency).full
        self._newcomers = self._newcomers or account is None or account not in full
        self._wake.set()

    async def cancel(self, job_id: int) -> None:
        """Stop drawing a job that the store has already cancelled; unknown ids are ignored."""
        if self._claiming:
            self._withdrawn.add(job_id)
        held = self._held.get(job_id)
        if held is not None:
            held.stop()

    async def drain(self, seconds: float) -> None:
        """Claim no more, let the jobs in hand finish for up to `seconds`, and queue the rest again."""
        self._draining = True
        self._wake.set()
        if self._claims is not None:
            await self._claims
        await self._await_held(seconds)
        rest = [held for held in self._held.values() if not held.settled]
        await self._stop(rest)
        for timer in self._timers:
            timer.cancel()
        await asyncio.gather(*self._timers, return_exceptions=True)
        self._timers = []

    async def close(self) -> None:
        """Stop now; the jobs in hand are queued again."""
        await self.drain(0)

    @property
    def running(self) -> int:
        """Jobs in hand."""
        return len(self._held)

    # Claiming

    async def _claim_loop(self) -> None:
        while not self._draining:
            self._wake.clear()
            claim = next_claim(self._jobs_by_account(), self._concurrency)
            worth_it = self._more and (self._newcomers or not claim.full)
            if worth_it and not self._turns.suspects and self._engine.status().ready:
                try:
                    await self._claim(claim)
                except Exception:  # noqa: BLE001 - whatever it was, the server must go on serving
                    _log.exception("no jobs could be claimed; trying again")
                    await self._clock.sleep(1.0)
                    self.nudge()
            await self._wake.wait()

    async def _claim(self, claim: Claim) -> None:
        if claim.full:
            self._newcomers = False
        else:
            self._more = False
        self._claiming = True
        now = self._clock.now()
        try:
            jobs = await self._store.claim(
                self._owner, claim.limit, now, now + self._lease_seconds, full=tuple(claim.full)
            )
            wanted = [job for job in jobs if job.id not in self._withdrawn]
        finally:
            self._claiming = False
            self._withdrawn.clear()
        if len(jobs) == claim.limit:
            self._more = True
            self._newcomers = self._newcomers or bool(claim.full)
            self._wake.set()
        if self._draining:
            await self._give_back([job.id for job in wanted])
            return
        for job in wanted:
            self._hold(job)

    def _hold(self, job: Job) -> None:
        held = _Held(job)
        self._held[job.id] = held
        held.task = asyncio.create_task(self._run(held), name=f"job-{job.id}")
        held.task.add_done_callback(lambda task: self._let_go(held, task))

    def _let_go(self, held: _Held, task: asyncio.Task[None]) -> None:
        # A job that came back to us while its first task was still dying has a new holder by now.
        if self._held.get(held.job.id) is held:
            del self._held[held.job.id]
            self._hub.forget(held.job.id)
        if len(self._held) >= self._concurrency:
            self._newcomers = True  # the shares have changed
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("job %s is left until its lease runs out", held.job.id, exc_info=error)

    def _jobs_by_account(self) -> Counter[str]:
        return Counter(held.job.account for held in self._held.values())

    # One job

    async def _run(self, held: _Held) -> None:
        job = held.job
        with logs.bound(job_id=job.id):
            async with self._turns.turn(alone=job.crashes > 0):
                outcome = await self._draw(job)
                held.settled = True
            if outcome is not None:
                await self._end(job, outcome)

    async def _draw(self, job: Job) -> Outcome | None:
        """How the job is to end; None if it went back to the queue."""
        try:
            return await self._drawing.draw(job)
        except EngineNotReady:
            await self._give_back([job.id])
        except EngineCrashed as error:
            if job.crashes + 1 >= _MOST_CRASHES:
                message = f"the engine died {job.crashes + 1} times while it drew this job"
                return Outcome(JobStatus.FAILED, error=JobError(error.code, message))
            _log.warning("the engine died with job %s on board; it is queued again", job.id)
            await self._give_back([job.id], crashed=True)
        return None

    async def _end(self, job: Job, outcome: Outcome) -> None:
        now, ended = self._clock.now(), False
        for pause in (*RETRY_PAUSES, None):
            try:
                ended = await self._store.finish(self._owner, job.id, outcome, now)
                break
            except StorageFailed:
                if pause is None:  # the lease runs out, and somebody draws the same pictures again
                    await self._output.discard(outcome.artifacts)
                    raise
                await self._clock.sleep(pause)
        if ended:
            self._hub.publish(job.id, _ended(job, outcome, now))
        else:
            await self._yield_to_the_store(job, outcome)

    async def _yield_to_the_store(self, job: Job, outcome: Outcome) -> None:
        """The job was not ours any more: it was cancelled, or taken over, or a try that seemed to fail had ended it."""
        truth = await self._store.get(job.id)
        kept = {artifact.id for artifact in truth.artifacts} if truth else set()
        await self._output.discard(artifact for artifact in outcome.artifacts if artifact.id not in kept)
        self._tell_end(truth)

    def _tell_end(self, job: Job | None) -> None:
        # Who cancelled it here has told already; this is for ends that another process wrote.
        if job is not None and job.status.ended and self._hub.listened_to(job.id):
            self._hub.publish(job.id, job)

    async def _give_back(self, job_ids: Sequence[int], *, crashed: bool = False) -> None:
        if not job_ids:
            return
        for job_id in job_ids:
            self._hub.forget(job_id)
        try:
            await self._store.requeue(self._owner, job_ids, crashed=crashed)
        except StorageFailed:
            _log.warning("jobs %s could not be queued again; they are once their lease runs out", list(job_ids))
        self.nudge()

    # Time

    async def _tick(self) -> None:
        while True:
            ready = self._engine.status().ready
            await self._clock.sleep(self._poll_seconds if ready else _READY_POLL_SECONDS)
            self.nudge()

    async def _heartbeat(self) -> None:
        while True:
            await self._clock.sleep(self._heartbeat_seconds)
            try:
                await self._renew()
            except Exception:  # noqa: BLE001 - without a heartbeat every job would be drawn twice
                _log.exception("leases could not be renewed; trying again")

    async def _renew(self) -> None:
        held = dict(self._held)
        kept = set(await self._store.renew(self._owner, list(held), self._clock.now() + self._lease_seconds))
        for job_id in held.keys() - kept:
            # Ended or handed over meanwhile: no loss. Else somebody else has the job, or cancelled it.
            if self._held.get(job_id) is held[job_id] and not held[job_id].settled:
                held[job_id].stop()
                self._tell_end(await self._store.get(job_id))

    # Stopping

    async def _await_held(self, seconds: float) -> None:
        tasks = [held.task for held in self._held.values()]
        if not tasks or seconds <= 0:
            return
        finished = asyncio.gather(*tasks, return_exceptions=True)
        alarm = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            # Shielded by wait: giving up waiting does not cancel the jobs, which may be about to be written.
            await asyncio.wait((finished, alarm), return_when=asyncio.FIRST_COMPLETED)
        finally:
            alarm.cancel()
            await asyncio.gather(alarm, return_exceptions=True)

    async def _stop(self, rest: Sequence[_Held]) -> None:
        for held in rest:
            held.stop()
        tasks = [held.task for held in self._held.values()]
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._give_back([held.job.id for held in rest])


def _ended(job: Job, outcome: Outcome, now: float) -> Job:
    """The job as the store has it after `finish`, without reading it again."""
    return replace(
        job,
        status=outcome.status,
        finished_at=now,
        artifacts=outcome.artifacts,
        notes=job.notes + outcome.notes,
        usage=outcome.usage,
        error=outcome.error,
    )
