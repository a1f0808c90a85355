"""Who owns keys and pays: accounts, the keys they sign with, and the plans that meter them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Account:
    """Whoever pays. Made when its first key or plan is."""

    id: str
    """A name: letters, digits, `.`, `_`, `-`; up to 100 characters."""
    created_at: float
    """Unix seconds, as are all times here."""


class KeyType(StrEnum):
    BEARER = "bearer"
    """One token, shown once and stored as a hash."""
    PAIR = "pair"
    """An access key, which is public, and a secret key, which signs; stored encrypted, since signatures are recomputed."""


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What one key may do at most; None is no limit."""

    requests_per_second: float | None = None
    requests_per_day: int | None = None
    concurrent_jobs: int | None = None
    """Jobs of this key that are queued or running."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key without its secret."""

    id: str
    """`key_` and 16 hexadecimal digits; public."""
    account: str
    type: KeyType
    created_at: float
    scopes: frozenset[str] = frozenset()
    """`dialect:NAME`, `model:NAME`, `admin`; empty of a kind means everything of that kind, but never `admin`."""
    limits: KeyLimits = field(default_factory=KeyLimits)
    priority: int = 0
    """Jobs of a higher priority are claimed first, -100..100."""
    access_key: str | None = None
    """The public half of a pair."""
    revoked_at: float | None = None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key and its secret, for the one time that it is shown."""

    key: Key
    secret: str = field(repr=False)
    """The token of a bearer key, the secret key of a pair."""


class PlanUnit(StrEnum):
    IMAGES = "images"
    DEVICE_SECONDS = "device_seconds"
    VIDEO_SECONDS = "video_seconds"
    SECONDS = "seconds"
    """Whole ones, rounded up, at least one for a job: of the engine's time for pictures."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A prepaid amount. An account with any plan is metered: its jobs draw on one that is valid, or are refused."""

    id: int
    account: str
    unit: PlanUnit
    amount: float
    """What was bought, in `unit`."""
    used: float
    reserved: float
    """Set aside by jobs that have not ended."""
    valid_from: float
    valid_until: float
    wallet: str | None = None
    """The wallet address that it was bought with, where a dialect finds plans by address."""

    @property
    def left(self) -> float:
        """What a new job may still reserve."""
        return max(0.0, self.amount - self.used - self.reserved)


@dataclass(frozen=True, slots=True)
class Charge:
    """What a job sets aside on submission. Settled with what it really used, never with more; returned if it fails."""

    plan_id: int
    unit: PlanUnit
    amount: float


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One ended job on its account's bill."""

    job_id: int
    account: str
    key_id: str | None
    dialect: str
    model: str
    status: str
    created_at: float
    finished_at: float
    images: int
    steps: int
    pixels: int
    device_seconds: float
    plan_id: int | None = None
    charged: float = 0.0
    """In the plan's unit."""
