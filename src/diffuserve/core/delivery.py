"""Telling a caller that a job ended: what was wished (`Callback`) and one notification on its way (`Delivery`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Callback:
    """Where to notify, and in whose words."""

    url: str
    dialect: str
    """Renders the body when it is sent."""
    secret: str | None = field(default=None, repr=False)
    """Signs the body where the dialect signs; the account's own signing secret otherwise."""
    track_id: str | None = None
    """The caller's own name for the job, given back to it."""
    base_url: str = ""
    """The address that the caller used, which links in the body stand on unless `public_url` is set."""


class DeliveryStatus(StrEnum):
    PENDING = "pending"
    """To be sent at `next_at`; while a sender has it, that lies in the future."""
    DELIVERED = "delivered"
    DEAD = "dead"
    """Given up; it can be replayed."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notification. Inserted by the transaction that ended its job, so that none is lost and none comes early."""

    id: str
    """`msg_` and 32 hexadecimal digits: the same at every attempt, so that a receiver can tell a repetition."""
    job_id: int
    callback: Callback
    status: DeliveryStatus
    created_at: float
    next_at: float
    attempts: int = 0
    delivered_at: float | None = None
    last_error: str | None = None
