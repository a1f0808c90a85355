"""What dialects call. Sync is async plus wait: there is one path through the house, and `submit` is its door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from diffuserve.core import errors
from diffuserve.core.account import Charge
from diffuserve.core.delivery import Callback
from diffuserve.core.events import Preview, Progress, Started
from diffuserve.core.job import Artifact, Job, JobStatus
from diffuserve.core.ports import AccountStore, BlobStore, Clock, EngineStatus, Idempotency, JobStore, Tracer
from diffuserve.core.principal import Principal
from diffuserve.core.request import GenerationRequest
from diffuserve.jobs import ids
from diffuserve.jobs.admission import Admission
from diffuserve.jobs.catalog import Catalog
from diffuserve.jobs.charging import Charging
from diffuserve.jobs.hub import Hub, Subscription
from diffuserve.jobs.resolve import Limits, resolve
from diffuserve.jobs.untraced import Untraced

T = TypeVar("T")

# The hub tells of every end in this process. One that another server wrote is noticed by reading this often, seconds.
_RECHECK_SECONDS = 2.0


class Runner(Protocol):
    """The worker, as far as the service needs it."""

    def nudge(self) -> None:
        """There is a new job."""
        ...

    async def cancel(self, job_id: int) -> None:
        """Stop drawing a job that the store has already cancelled."""
        ...


class JobService:
    """Submit, wait, watch, get, cancel. Everything that can go wrong is a `DiffuserveError`."""

    def __init__(
        self,
        *,
        store: JobStore,
        accounts: AccountStore,
        blobs: BlobStore,
        hub: Hub,
        clock: Clock,
        catalog: Catalog,
        limits: Limits,
        runner: Runner,
        status: Callable[[], EngineStatus],
        max_queue: int = 1000,
        random_seed: Callable[[], int] = ids.random_seed,
        tracer: Tracer | None = None,
    ) -> None:
        self.catalog = catalog
        self._store = store
        self._blobs = blobs
        self._hub = hub
        self._clock = clock
        self._limits = limits
        self._runner = runner
        self._random_seed = random_seed
        self._tracer = tracer or Untraced()
        self._admission = Admission(store, clock, max_queue)
        self._charging = Charging(accounts, status)
        self._ids = ids.JobIds()

    async def submit(
        self,
        principal: Principal,
        dialect: str,
        request: GenerationRequest,
        *,
        callback: Callback | None = None,
        idempotency: Idempotency | None = None,
    ) -> Job:
        """Accept a request; the job is durable when this returns, and what it costs is set aside.

        A repetition of what `idempotency` promised is answered with the job of the first time, however full the queue
        or empty the plan is by now. Raises InvalidRequest's children, Forbidden, QuotaExhausted, RateLimited, QueueFull,
        StorageFailed.
        """
        if idempotency is not None:
            before = await self.replayed(principal, idempotency)
            if before is not None:
                return before
        resolved, notes = resolve(request, self.catalog, self._limits, self._random_seed)
        if not principal.allows("model", resolved.model):
            raise errors.Forbidden(f"this key may not use the model {resolved.model}")
        charges = await self._charging.charges(principal.account, resolved, self._clock.now())
        await self._admission.enter()
        queued = False
        try:
            if resolved.init_image is not None:
                await self._blobs.put(ids.input_key(resolved.init_image.digest), resolved.init_image.data)
            now = self._clock.now()
            job = Job(
                id=self._ids.next(now),
                account=principal.account,
                dialect=dialect,
                request=resolved,
                status=JobStatus.QUEUED,
                created_at=now,
                notes=notes,
                key_id=principal.key_id,
                priority=principal.priority,
                callback=callback,
            )
            added = await self._add(job, charges, idempotency, principal.limits.concurrent_jobs)
            queued = added.id == job.id
        finally:
            self._admission.entered(queued=queued)
        if queued:
            self._tracer.accepted(added)
            self._runner.nudge()
        return added

    async def replayed(self, principal: Principal, idempotency: Idempotency) -> Job | None:
        """The job that this caller made with the same promise before. Raises IdempotencyConflict."""
        return await self._store.replayed(principal.account, idempotency, self._clock.now())

    async def wait(self, job_id: int, seconds: float | None = None) -> Job:
        """The ended job, as soon as it ends. Raises DeadlineExceeded after `seconds`, JobNotFound."""
        until = None if seconds is None else self._clock.now() + seconds
        with self._hub.subscribe(job_id, only_end=True) as news:
            while True:
                job = await self._store.get(job_id)
                if job is None:
                    raise errors.JobNotFound(job_id)
                if job.status.ended:
                    return job
                left = None if until is None else until - self._clock.now()
                if left is not None and left <= 0:
                    raise errors.DeadlineExceeded(seconds or 0.0)
                pause = _RECHECK_SECONDS if left is None else min(left, _RECHECK_SECONDS)
                ended = await self._within(pause, _end(news))
                if ended is not None:
                    return ended

    async def watch(self, principal: Principal, job_id: int) -> AsyncIterator[Started | Progress | Preview | Job]:
        """What happens to a job, beginning with what is known of it already and ending with the ended `Job`.

        A job that is drawn again after a crash says `Started` again. Raises JobNotFound at the first step. Close it
        (`contextlib.aclosing`) where it is left early.
        """
        with self._hub.subscribe(job_id) as news:
            job = await self.get(principal, job_id)
            while not job.status.ended:
                happened = await self._within(_RECHECK_SECONDS, news.__anext__())
                if happened is None:
                    job = await self.get(principal, job_id)
                elif isinstance(happened, Job):
                    job = happened
                else:
                    yield happened
            yield job

    async def get(self, principal: Principal, job_id: int) -> Job:
        """Raises JobNotFound, for another account's job too: whether it exists is not this caller's business."""
        job = await self._store.get(job_id)
        if job is None or job.account != principal.account:
            raise errors.JobNotFound(job_id)
        return job

    async def cancel(self, principal: Principal, job_id: int) -> Job:
        """The job as it is afterwards; one that has ended already is returned as it ended. Raises JobNotFound."""
        job = await self.get(principal, job_id)
        if job.status.ended:
            return job
        after = await self._store.cancel(job_id, self._clock.now())
        if after is None:
            raise errors.JobNotFound(job_id)
        if after.status is JobStatus.CANCELED:
            self._hub.publish(job_id, after)
            await self._runner.cancel(job_id)
        return after

    async def artifact(self, artifact_id: str) -> Artifact:
        """Raises ArtifactNotFound."""
        found = await self._store.artifact(artifact_id)
        if found is None:
            raise errors.ArtifactNotFound()
        return found

    async def read(self, artifact: Artifact) -> bytes:
        """The stored picture. Raises ArtifactNotFound, StorageFailed."""
        return await self._blobs.get(artifact.blob_key)

    def progress(self, job_id: int) -> Progress | None:
        """The latest, while the job runs."""
        return self._hub.progress(job_id)

    def preview(self, job_id: int) -> Preview | None:
        """The latest, while the job runs and where it asked for previews."""
        return self._hub.preview(job_id)

    async def _add(
        self, job: Job, charges: Sequence[Charge | None], idempotency: Idempotency | None, open_jobs: int | None
    ) -> Job:
        """The job as it was added, charged to the first of `charges` that nobody used up meanwhile."""
        for charge in charges[:-1]:
            try:
                charged = replace(job, charge=charge)
                return await self._store.add(charged, now=job.created_at, idempotency=idempotency, open_jobs=open_jobs)
            except errors.QuotaExhausted:
                continue
        charged = replace(job, charge=charges[-1])
        return await self._store.add(charged, now=job.created_at, idempotency=idempotency, open_jobs=open_jobs)

    async def _within(self, seconds: float, news: Coroutine[None, None, T]) -> T | None:
        """What `news` returns, or None after `seconds`; nothing is left running in either case."""
        waiting = asyncio.ensure_future(news)
        alarm = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait((waiting, alarm), return_when=asyncio.FIRST_COMPLETED)
            return waiting.result() if waiting.done() else None
        finally:
            for task in (waiting, alarm):
                task.cancel()
            await asyncio.gather(waiting, alarm, return_exceptions=True)


def ended_or_raise(job: Job) -> Job:
    """`job` if it succeeded, for callers that want its pictures. Raises JobCanceled, or the error it failed with."""
    if job.status is JobStatus.CANCELED:
        raise errors.JobCanceled()
    if job.status is JobStatus.FAILED:
        raise errors.rebuild(job.error) if job.error else errors.InternalError()
    return job


async def _end(news: Subscription) -> Job | None:
    async for happened in news:
        if isinstance(happened, Job):
            return happened
    return None
