"""Every socket in the wall: what one room asks of another without knowing who answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from diffuserve.core.events import EngineEvent
from diffuserve.core.job import Artifact, Job, JobError, JobStatus, Usage
from diffuserve.core.request import ResolvedRequest


class Clock(Protocol):
    """Time, so that tests can hold it still."""

    def now(self) -> float:
        """Unix seconds."""
        ...

    async def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What an engine says of itself, for readiness, metrics and `doctor`."""

    ready: bool
    detail: str = ""
    """One line for people: 'ready', 'loading emoji-mini', 'restarting after a crash'."""
    device: str = ""
    dtype: str = ""
    running: int = 0
    """Samples in the step loop."""
    waiting: int = 0
    restarts: int = 0
    forwards: int = 0
    """Shared forward passes since start."""
    rows: int = 0
    """Samples advanced by one step, since start; `rows / forwards` is the mean batch."""
    step_seconds: float = 0.0
    """Time spent in forward passes since start."""


class Engine(Protocol):
    """Whoever draws. Implementations: `engine.fake`, `engine.local`."""

    async def start(self) -> None:
        """Begin to load; returns when the first models are ready.

        Raises ConfigurationError where it never will be (a missing library, an unreadable checkpoint).
        """
        ...

    def generate(self, job_id: int, request: ResolvedRequest) -> AsyncIterator[EngineEvent]:
        """Draw. Ends after `Finished` or `Failed`; raises EngineCrashed if the engine died under it.

        Closing the iterator early cancels the job.
        """
        ...

    async def cancel(self, job_id: int) -> None:
        """Stop drawing within one step; the iterator then ends in `Failed` with code 'canceled'. Unknown ids are ignored."""
        ...

    def status(self) -> EngineStatus: ...

    async def close(self) -> None:
        """Stop at once and free the device."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended, written in one transaction."""

    status: JobStatus
    artifacts: tuple[Artifact, ...] = ()
    usage: Usage = field(default_factory=Usage)
    notes: tuple[str, ...] = ()
    """Added to the notes that the job already has."""
    error: JobError | None = None


class JobStore(Protocol):
    """The truth about jobs. Implementation: `store.jobs` over SQLAlchemy."""

    async def add(self, job: Job) -> None:
        """Insert a QUEUED job; it is durable when this returns."""
        ...

    async def get(self, job_id: int) -> Job | None: ...

    async def artifact(self, artifact_id: str) -> Artifact | None: ...

    async def claim(self, owner: str, limit: int, now: float, lease_until: float) -> Sequence[Job]:
        """Take up to `limit` jobs, oldest first: queued ones, and running ones whose lease ran out. They are RUNNING then."""
        ...

    async def renew(self, owner: str, job_ids: Sequence[int], lease_until: float) -> Sequence[int]:
        """Lengthen leases; returns the ids that are still this owner's and RUNNING. The others were lost or cancelled."""
        ...

    async def finish(self, owner: str, job_id: int, outcome: Outcome, now: float) -> bool:
        """End a RUNNING job that `owner` still holds. False (and nothing written) if it is not, so a job ends once."""
        ...

    async def cancel(self, job_id: int, now: float) -> Job | None:
        """End a QUEUED or RUNNING job as CANCELED. Returns the job as it is afterwards, or None if there is none."""
        ...

    async def requeue(self, owner: str, job_ids: Sequence[int] | None = None, *, crashed: bool = False) -> int:
        """Give RUNNING jobs of `owner` back to the queue (all of them where `job_ids` is None); returns how many."""
        ...

    async def queued(self) -> int:
        """How many jobs wait."""
        ...

    async def close(self) -> None: ...


class BlobStore(Protocol):
    """Bytes under keys that we choose. Implementations: local disk and memory, in `blobs`."""

    async def put(self, key: str, data: bytes) -> None:
        """Store; whole or not at all. Raises StorageFailed."""
        ...

    async def get(self, key: str) -> bytes:
        """Raises ArtifactNotFound, StorageFailed."""
        ...

    async def delete(self, key: str) -> None:
        """Missing keys are no error."""
        ...
