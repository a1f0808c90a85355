"""One claimed job, through the engine: from its request to the `Outcome` that ends it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

from diffuserve.core.errors import (
    DiffuserveError,
    EngineCrashed,
    EngineNotReady,
    GenerationFailed,
    InternalError,
    JobCanceled,
)
from diffuserve.core.events import ArtifactReady, EngineEvent, Failed, Finished
from diffuserve.core.job import Artifact, Job, JobError, JobStatus
from diffuserve.core.ports import BlobStore, Engine, Outcome, Tracer
from diffuserve.jobs.hub import Hub
from diffuserve.jobs.output import Output, Pictures
from diffuserve.jobs.preparing import Preparing
from diffuserve.media.prepared import Prepared, Underlay

_log = logging.getLogger(__name__)


class Drawing:
    def __init__(
        self, engine: Engine, blobs: BlobStore, hub: Hub, output: Output, pictures: Pictures, tracer: Tracer
    ) -> None:
        self._engine = engine
        self._hub = hub
        self._output = output
        self._preparing = Preparing(blobs, pictures)
        self._tracer = tracer

    async def draw(self, job: Job) -> Outcome:
        """How the job is to end. Its artifacts are stored then; those of a job that does not succeed are deleted again.

        Raises EngineCrashed and EngineNotReady, after which the job is to be tried again, and nothing else. Cancelling
        the call stops the engine.
        """
        storing: list[asyncio.Task[Artifact]] = []
        succeeded = False
        try:
            with self._tracer.drawing(job):
                prepared = await self._preparing.prepare(job.request)
                last = await self._run_engine(job, prepared, storing)
            if isinstance(last, Failed):
                canceled = last.error.code == JobCanceled.code
                return Outcome(JobStatus.CANCELED) if canceled else Outcome(JobStatus.FAILED, error=last.error)
            await asyncio.wait(storing)
            ordered = tuple(sorted((task.result() for task in storing), key=lambda artifact: artifact.index))
            succeeded = True
            return Outcome(JobStatus.SUCCEEDED, ordered, last.usage, prepared.notes + last.notes)
        except (EngineCrashed, EngineNotReady):
            raise
        except DiffuserveError as error:
            return Outcome(JobStatus.FAILED, error=JobError(error.code, error.message))
        except Exception:  # noqa: BLE001 - one job's bug is not another's
            _log.exception("job %s failed on a bug", job.id)
            bug = InternalError()
            return Outcome(JobStatus.FAILED, error=JobError(bug.code, bug.message))
        finally:
            if not succeeded:
                await self._undo(storing)

    async def _run_engine(
        self, job: Job, prepared: Prepared, storing: list[asyncio.Task[Artifact]]
    ) -> Finished | Failed:
        """Drive the engine to its last word, storing pictures beside it as they come."""
        events = self._engine.generate(job.id, prepared.request, account=job.account, priority=job.priority)
        async with AsyncExitStack() as on_leaving:
            on_leaving.push_async_callback(self._leave, job.id, events)
            async for event in events:
                if isinstance(event, ArtifactReady):
                    storing.append(asyncio.create_task(self._store(job, event, prepared.underlay)))
                elif isinstance(event, Finished | Failed):
                    on_leaving.pop_all()
                    if isinstance(event, Finished) and len(storing) != job.request.num_images:
                        raise GenerationFailed(f"the engine drew {len(storing)} of {job.request.num_images} pictures")
                    return event
                else:
                    self._hub.publish(job.id, event)
        raise GenerationFailed("the engine stopped without a reason")

    async def _store(self, job: Job, drawn: ArtifactReady, underlay: Underlay | None) -> Artifact:
        with self._tracer.storing(job, drawn.index):
            return await self._output.store(job, drawn, underlay)

    async def _leave(self, job_id: int, events: AsyncIterator[EngineEvent]) -> None:
        """The engine has not had its last word: tell it that nobody listens any more."""
        await self._engine.cancel(job_id)
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()

    async def _undo(self, storing: Sequence[asyncio.Task[Artifact]]) -> None:
        # Awaited and not cancelled: a write that is interrupted may happen all the same, and leave its blob.
        if storing:
            await asyncio.wait(storing)
        await self._output.discard(task.result() for task in storing if task.exception() is None)
