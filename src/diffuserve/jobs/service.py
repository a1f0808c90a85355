"""What dialects call. Sync is async plus wait: there is one path through the house, and `submit` is its door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from diffuserve.core import errors
from diffuserve.core.account import Charge, Plan
from diffuserve.core.delivery import Callback
from diffuserve.core.events import Preview, Progress, Started
from diffuserve.core.job import Artifact, Job, JobStatus
from diffuserve.core.ports import (
    AccountStore,
    Backlog,
    BlobStore,
    Clock,
    EngineStatus,
    Idempotency,
    IdTaken,
    JobStore,
    PromptHelp,
    Tracer,
)
from diffuserve.core.principal import Principal
from diffuserve.core.request import GenerationRequest, InputImage, ResolvedRequest, pictures
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

    def nudge(self, account: str | None = None) -> None:
        """There is a new job, of this account where that is known."""
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
        max_queued_pixels: int | None = None,
        random_seed: Callable[[], int] = ids.random_seed,
        tracer: Tracer | None = None,
        prompts: PromptHelp | None = None,
    ) -> None:
        self.catalog = catalog
        self._store = store
        self._accounts = accounts
        self._blobs = blobs
        self._hub = hub
        self._clock = clock
        self._limits = limits
        self._runner = runner
        self._random_seed = random_seed
        self._tracer = tracer or Untraced()
        self._prompts = prompts
        self._admission = Admission(store, clock, max_queue, max_queued_pixels)
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
        memo: str = "",
        wallet: str | None = None,
    ) -> Job:
        """Accept a request; the job is durable when this returns, and what it costs is set aside.

        `memo` comes back with the job, whoever reads it. With a `wallet`, only plans that were bought with it pay.

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
        charges = await self._charging.charges(principal.account, resolved, self._clock.now(), wallet)
        # Only now, so that nobody is asked to help with what would be refused.
        resolved, notes = await self._helped(request, resolved, notes)
        pixels = resolved.drawn_pixels
        await self._admission.enter(pixels)
        queued = False
        try:
            await self._keep_pictures(resolved)
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
                memo=memo,
            )
            try:
                added = await self._add(job, charges, idempotency, principal.limits.concurrent_jobs)
            except IdTaken:
                job = replace(job, id=self._ids.next(now))
                added = await self._add(job, charges, idempotency, principal.limits.concurrent_jobs)
            queued = added.id == job.id
        finally:
            self._admission.entered(pixels, queued=queued)
        if queued:
            self._tracer.accepted(added)
            self._runner.nudge(added.account)
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

    async def shown(self, job_id: int) -> Job:
        """A job for whoever holds a secret that only its submitter was told; it is on the caller to check that, against the
        memo. Raises JobNotFound."""
        job = await self._store.get(job_id)
        if job is None:
            raise errors.JobNotFound(job_id)
        return job

    async def plans(self, account: str | None = None, wallet: str | None = None) -> Sequence[Plan]:
        """Plans as they stand, oldest first: an account's, those bought with a wallet, or both."""
        return await self._accounts.plans(account, wallet)

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

    async def clear(self, principal: Principal) -> int:
        """Cancel what the account has in the queue; how many jobs that were."""
        waiting = await self._store.waiting_of(principal.account)
        ended = [await self.cancel(principal, job_id) for job_id in waiting]
        return sum(job.status is JobStatus.CANCELED for job in ended)

    async def ahead(self, job: Job | None = None) -> Backlog:
        """What stands before a job; all that there is for None."""
        if job is None:
            return await self._store.ahead(ids.LAST, -1000)
        return await self._store.ahead(job.id, job.priority)

    async def expected(self, job_id: int, index: int) -> Artifact:
        """A picture of a job that has perhaps not ended yet. Raises ArtifactNotFound; its `retry_after` says if it may
        come."""
        job = await self._store.get(job_id)
        if job is not None and index < len(job.artifacts):
            return job.artifacts[index]
        error = errors.ArtifactNotFound()
        error.retry_after = None if job is None or job.status.ended else 2.0
        raise error

    async def keep(self, picture: InputImage) -> None:
        """Store a picture that no job uses yet; it is swept some time after it was sent last. Raises StorageFailed."""
        await self._blobs.put(ids.input_key(picture.digest), picture.data)

    async def kept(self, digest: str) -> bytes:
        """An input picture by its SHA-256. Raises ArtifactNotFound, StorageFailed."""
        return await self._blobs.get(ids.input_key(digest))

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

    async def _keep_pictures(self, request: ResolvedRequest) -> None:
        """Store the input pictures, each once however often it serves."""
        for digest, picture in {picture.digest: picture for picture in pictures(request)}.items():
            await self._blobs.put(ids.input_key(digest), picture.data)

    async def _helped(
        self, request: GenerationRequest, resolved: ResolvedRequest, notes: tuple[str, ...]
    ) -> tuple[ResolvedRequest, tuple[str, ...]]:
        """What `request` resolves to once its prompts are translated and enhanced, where they are; and all notes."""
        if self._prompts is None:
            return resolved, notes
        prepared, said = await self._prompts.prepare(request, self.catalog.find(resolved.model))
        if prepared is not request:
            # The seeds stay: who asked for the same twice gets the same twice.
            prepared = replace(prepared, seeds=resolved.seeds, variation_seeds=resolved.variation_seeds)
            resolved, notes = resolve(prepared, self.catalog, self._limits, self._random_seed)
        return resolved, (*said, *notes)

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
