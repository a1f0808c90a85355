"""Every socket in the wall: what one room asks of another without knowing who answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from diffuserve.core.account import Account, Key, LedgerEntry, Plan
from diffuserve.core.delivery import Delivery
from diffuserve.core.events import EngineEvent
from diffuserve.core.job import Artifact, Job, JobError, JobStatus, Usage
from diffuserve.core.model import ModelInfo
from diffuserve.core.request import GenerationRequest, ResolvedRequest


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
    encodings: int = 0
    """Prompts that were needed as embeddings, since start; one picture needs two."""
    encoding_hits: int = 0
    """Those of them that were found in the cache."""
    memory_bytes: int = 0
    """Resident memory of the engine's process; 0 where it has none of its own."""
    models: tuple[str, ...] = ()
    """Loaded, the least recently used first."""
    loading: tuple[str, ...] = ()
    """Being read from disk beside running work."""


class Engine(Protocol):
    """Whoever draws. Implementations: `engine.fake`, `engine.local`."""

    async def start(self) -> None:
        """Begin to load; returns when the first models are ready.

        Raises ConfigurationError where it never will be (a missing library, an unreadable checkpoint).
        """
        ...

    def generate(
        self, job_id: int, request: ResolvedRequest, *, account: str = "", priority: int = 0
    ) -> AsyncIterator[EngineEvent]:
        """Draw. Accounts share the engine evenly, and a higher priority (-100..100) gets a larger share.

        Ends after `Finished` or `Failed`; raises EngineCrashed if the engine died under it.

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


@dataclass(frozen=True, slots=True)
class Backlog:
    """What stands before a job, on all servers of the database."""

    waiting: int
    """Jobs in the queue,"""
    waiting_steps: int
    """and the steps that they have to take, summed over their pictures."""
    running: int
    running_steps: int
    """Of the running jobs, those included that they have taken already."""


class IdTaken(Exception):
    """Another server gave its job the same id within the same millisecond."""


class JobStore(Protocol):
    """The truth about jobs. Implementation: `store.jobs` over SQLAlchemy."""

    async def add(
        self, job: Job, *, now: float, idempotency: Idempotency | None = None, open_jobs: int | None = None
    ) -> Job:
        """Insert a QUEUED job; it is durable when this returns, and what it charges is reserved, all or nothing.

        With an idempotency key that the account used before for the same request, the job of that time is returned and
        nothing is written. `open_jobs` is how many unended jobs the job's key may have, this one included. Raises
        IdempotencyConflict, QuotaExhausted (another job was quicker), RateLimited, IdTaken.
        """
        ...

    async def replayed(self, account: str, idempotency: Idempotency, now: float) -> Job | None:
        """The job that the account made with this key before. Raises IdempotencyConflict if it was another request."""
        ...

    async def get(self, job_id: int) -> Job | None: ...

    async def artifact(self, artifact_id: str) -> Artifact | None: ...

    async def claim(
        self, owner: str, limit: int, now: float, lease_until: float, full: Sequence[str] = ()
    ) -> Sequence[Job]:
        """Take up to `limit` jobs: running ones whose lease ran out, then queued ones, each by priority, then oldest first.
        None of the accounts `full`.

        They are RUNNING then.
        """
        ...

    async def renew(self, owner: str, job_ids: Sequence[int], lease_until: float) -> Sequence[int]:
        """Lengthen leases; returns the ids that are still this owner's and RUNNING. The others were lost or cancelled."""
        ...

    async def finish(self, owner: str, job_id: int, outcome: Outcome, now: float) -> bool:
        """End a RUNNING job that `owner` still holds. False (and nothing written) if it is not, so a job ends once.

        The same transaction settles the job's charge, writes its ledger entry and inserts its delivery; so does `cancel`.
        """
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

    async def queued_pixels(self) -> int:
        """How many pixels they have to draw: canvas width times height, summed over all pictures."""
        ...

    async def queue(self) -> Mapping[tuple[str, str | None], int]:
        """How many jobs wait, by model and key."""
        ...

    async def ahead(self, job_id: int, priority: int) -> Backlog:
        """What is drawn now or will be claimed before this job, which need not exist."""
        ...

    async def waiting_of(self, account: str) -> Sequence[int]:
        """The ids of an account's queued jobs."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A caller's promise that repetitions of one key are the same request."""

    key: str
    """Up to 255 characters, unique in its account for `IDEMPOTENCY_SECONDS`."""
    fingerprint: str
    """SHA-256 of the request as it came, hexadecimal."""


IDEMPOTENCY_SECONDS = 24 * 3600.0


class AccountStore(Protocol):
    """Accounts, keys and plans. Implementation: `store.accounts` over SQLAlchemy."""

    async def add_account(self, account: str, now: float) -> Account:
        """Make it, or return the one that is there."""
        ...

    async def accounts(self) -> Sequence[Account]: ...

    async def add_key(self, key: Key, *, token_hash: str | None = None, sealed_secret: bytes | None = None) -> None:
        """Insert; the account is made if it is new. Exactly one of the two is given, by the key's type."""
        ...

    async def keys(self, account: str | None = None) -> Sequence[Key]:
        """Revoked ones included, newest first."""
        ...

    async def has_keys(self) -> bool:
        """Whether any key is valid: then nobody is anonymous."""
        ...

    async def key_by_token_hash(self, token_hash: str) -> Key | None:
        """None for an unknown or revoked one; so do the next two."""
        ...

    async def key_by_access_key(self, access_key: str) -> tuple[Key, bytes] | None:
        """The key and its sealed secret."""
        ...

    async def revoke_key(self, key_id: str, now: float) -> bool:
        """False if there is no such valid key."""
        ...

    async def add_plan(self, plan: Plan) -> Plan:
        """Insert with an id of the store's choosing; the account is made if it is new."""
        ...

    async def plans(self, account: str | None = None, wallet: str | None = None) -> Sequence[Plan]:
        """Oldest first."""
        ...

    def usage(self, account: str | None, since: float, until: float) -> AsyncIterator[LedgerEntry]:
        """Ledger entries by time of ending, oldest first, a page at a time."""
        ...


class DeliveryStore(Protocol):
    """The outbox. Implementation: `store.deliveries` over SQLAlchemy."""

    async def claim_deliveries(self, limit: int, now: float, hidden_until: float) -> Sequence[Delivery]:
        """Pending ones that are due, oldest first, only the oldest pending one of each job; hidden from other senders."""
        ...

    async def delivered(self, delivery_id: str, now: float) -> None: ...

    async def postponed(self, delivery_id: str, error: str, next_at: float) -> None:
        """The attempt failed: count it and try again at `next_at`."""
        ...

    async def buried(self, delivery_id: str, error: str) -> None:
        """The attempt failed and was the last one: DEAD."""
        ...

    async def replay(self, delivery_id: str | None, now: float) -> int:
        """DEAD ones (all of them for None) become PENDING and due, as if they were made `now`; returns how many."""
        ...

    async def deliveries(self, *, job_id: int | None = None, status: str | None = None) -> Sequence[Delivery]: ...

    async def oldest_due(self) -> float | None:
        """When the oldest pending delivery was due, for the metric of the lag."""
        ...


@dataclass(frozen=True, slots=True)
class Expired:
    """A job that ended so long ago that it is to be forgotten."""

    job_id: int
    blob_keys: tuple[str, ...]


class RetentionStore(Protocol):
    """What the sweeper asks. Implementation: `store.retention` over SQLAlchemy."""

    async def expired(self, ended_before: float, id_below: int, limit: int) -> Sequence[Expired]:
        """Jobs that ended before a time and have no pending delivery, oldest first.

        `id_below` saves the search of newer ones: no job that ended before then has an id as large.
        """
        ...

    async def forget(self, job_ids: Sequence[int]) -> None:
        """Delete ended jobs with all that belongs to them; their ledger entries stay."""
        ...

    async def inputs_in_use(self) -> frozenset[str]:
        """Digests of the input pictures of jobs that have not ended."""
        ...


class Translator(Protocol):
    """Whoever reads what a model cannot. Implementations: `engine.writer`, `prompts.chat`."""

    async def translate(self, text: str, source: str = "zh", target: str = "en") -> str:
        """`text`, which is plain words, in another language (ISO 639-1). Raises ServerFailure."""
        ...

    async def close(self) -> None: ...


class Enhancer(Protocol):
    """Whoever makes more of a prompt. Implementations: `engine.writer`, `prompts.chat`."""

    async def enhance(self, text: str) -> str:
        """A richer prompt. Raises ServerFailure."""
        ...

    async def close(self) -> None: ...


class PromptHelp(Protocol):
    """What is done to a prompt before a request is resolved. Implementation: `prompts.help`."""

    async def prepare(self, request: GenerationRequest, model: ModelInfo) -> tuple[GenerationRequest, tuple[str, ...]]:
        """The request in words that `model` reads, enhanced where it asks for that, and notes. Never fails.

        `request` itself is returned where nothing changed.
        """
        ...


class Tracer(Protocol):
    """Whoever is told where the time of a job goes. Implementations: `tracing`, and `jobs.untraced`."""

    def accepted(self, job: Job) -> None:
        """The job is durable; called while its request is answered."""
        ...

    def drawing(self, job: Job) -> AbstractContextManager[None]:
        """Around the time that the engine has the job."""
        ...

    def storing(self, job: Job, index: int) -> AbstractContextManager[None]:
        """Around the encoding and storing of picture `index`."""
        ...


class Links(Protocol):
    """A store that can give out links of its own (presigned or public ones)."""

    async def link(self, key: str, seconds: int) -> str:
        """Opens the object `key`, which was stored, for `seconds`. Its media type and name were stored with it."""
        ...


class BlobStore(Protocol):
    """Bytes under keys that we choose. Implementations: local disk, S3 and memory, in `blobs`."""

    async def put(self, key: str, data: bytes) -> None:
        """Store; whole or not at all. Raises StorageFailed."""
        ...

    async def get(self, key: str) -> bytes:
        """Raises ArtifactNotFound, StorageFailed."""
        ...

    async def delete(self, key: str) -> None:
        """Missing keys are no error."""
        ...

    async def older(self, folder: str, before: float) -> Sequence[str]:
        """Keys under `folder` that were last written before a time."""
        ...

    async def is_older(self, key: str, before: float) -> bool:
        """Whether it is there and was last written before a time."""
        ...
