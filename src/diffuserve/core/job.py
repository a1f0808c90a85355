"""What was accepted: a `Job`, its life (`JobStatus`), what it made (`Artifact`) and what it cost (`Usage`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from diffuserve.core.account import Charge
from diffuserve.core.delivery import Callback
from diffuserve.core.request import ResolvedRequest


class JobStatus(StrEnum):
    """The life of a job. It begins QUEUED and ends exactly once in one of the last three."""

    QUEUED = "queued"
    """Accepted and durable, waiting for a worker."""
    RUNNING = "running"
    """A worker holds its lease. Back to QUEUED when that worker dies or shuts down."""
    SUCCEEDED = "succeeded"
    """All its artifacts are stored."""
    FAILED = "failed"
    """It will not be tried again; `Job.error` says why."""
    CANCELED = "canceled"
    """The caller withdrew it."""

    @property
    def ended(self) -> bool:
        return self in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED)


@dataclass(frozen=True, slots=True)
class Artifact:
    """One stored output."""

    id: str
    """32 random hexadecimal digits; the only name by which a caller can ask for it."""
    index: int
    """Its place among the job's pictures, from 0."""
    blob_key: str
    """Where it lies in the `BlobStore`; never shown to a caller, never computed from what a caller sent."""
    media_type: str
    size: int
    """Bytes."""
    width: int
    height: int
    seed: int
    digest: str
    """SHA-256 of the stored bytes, hexadecimal."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a job cost."""

    images: int = 0
    steps: int = 0
    """Model evaluations, summed over pictures (a guided step counts once)."""
    pixels: int = 0
    """Pixels drawn, summed over pictures, before any enlargement."""
    device_seconds: float = 0.0
    """The job's share of the time that the engine's device worked; a shared step is divided among its samples."""


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, as facts that survive in the store; `core.errors.rebuild` makes the exception again."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Job:
    """One accepted request, durable."""

    id: int
    """Positive, below 2**53, roughly ascending in time. Each dialect renders it in its own way."""
    account: str
    """Who pays; 'local' on an open server."""
    dialect: str
    """The dialect that submitted it."""
    request: ResolvedRequest
    status: JobStatus
    created_at: float
    """Unix seconds, as are the next two."""
    started_at: float | None = None
    finished_at: float | None = None
    attempts: int = 0
    """How often a worker has claimed it."""
    crashes: int = 0
    """How often an engine died with it on board."""
    artifacts: tuple[Artifact, ...] = ()
    notes: tuple[str, ...] = ()
    """Things that the caller should know: a substituted sampler, a smaller canvas. English sentences."""
    usage: Usage = field(default_factory=Usage)
    error: JobError | None = None
    key_id: str | None = None
    """The key that submitted it; None on an open server."""
    priority: int = 0
    """Higher is claimed first."""
    callback: Callback | None = None
    charge: Charge | None = None
    memo: str = field(default="", repr=False)
    """What its dialect wants to remember of the call, in its own words; nobody else reads it."""
