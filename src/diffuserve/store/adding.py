"""How a job begins: taken for new only once, counted against its key, reserved from its plan, inserted; all or nothing.

Every refusal comes before the first change, and as a value and not as an exception: it costs the jobs that share the
transaction nothing. The guards are in the statements, so that two servers cannot both take the last picture of a plan.
Rows are locked in the order key, plan.
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, func, select, tuple_, update
from sqlalchemy.dialects import postgresql

from diffuserve.core.account import Charge
from diffuserve.core.errors import IdempotencyConflict, QuotaExhausted, RateLimited
from diffuserve.core.job import Job
from diffuserve.core.ports import IDEMPOTENCY_SECONDS, Idempotency, IdTaken
from diffuserve.store import queries, rows
from diffuserve.store.tables import idempotency, jobs, keys, plans

_OPEN_JOBS_PAUSE = 2.0
"""Seconds after which a caller with too many open jobs may well have one less."""

# PostgreSQL's words for it, which are SQLite's too.
_ADD = postgresql.insert(jobs).on_conflict_do_nothing(index_elements=[jobs.c.id]).returning(jobs.c.id)
_USED_BEFORE = select(idempotency.c.fingerprint, idempotency.c.job_id).where(
    idempotency.c.account == bindparam("p_account"),
    idempotency.c.key == bindparam("p_key"),
    idempotency.c.created_at >= bindparam("p_since"),
)
_FORGOTTEN = (
    select(idempotency.c.account, idempotency.c.key)
    .where(idempotency.c.created_at < bindparam("p_since"))
    .limit(20)
    .with_for_update(skip_locked=True)
)
_FORGET = delete(idempotency).where(tuple_(idempotency.c.account, idempotency.c.key).in_(_FORGOTTEN))
_REMEMBER_ANY = postgresql.insert(idempotency)
_REMEMBER = _REMEMBER_ANY.on_conflict_do_update(
    index_elements=[idempotency.c.account, idempotency.c.key],
    set_={name: _REMEMBER_ANY.excluded[name] for name in ("fingerprint", "job_id", "created_at")},
    where=idempotency.c.created_at < bindparam("p_since"),
).returning(idempotency.c.job_id)
_LOCK_KEY = select(keys.c.id).where(keys.c.id == bindparam("p_key_id")).with_for_update()
_COUNT_OPEN = (
    select(func.count()).select_from(jobs).where(jobs.c.key_id == bindparam("p_key_id"), jobs.c.finished_at.is_(None))
)
_left = plans.c.amount - plans.c.used - plans.c.reserved
_this_plan = plans.c.id == bindparam("p_plan")
_valid = (plans.c.valid_from <= bindparam("p_now")) & (plans.c.valid_until > bindparam("p_now"))
_RESERVE = (
    update(plans)
    .where(_this_plan, _valid, _left >= bindparam("p_amount"))
    .values(reserved=plans.c.reserved + bindparam("p_amount"))
)
_LEFT = select(_left).where(_this_plan, _valid)


class Outrun(Exception):
    """Another server took the idempotency key within the same moment: roll back, and look again."""


Refusal = IdempotencyConflict | RateLimited | QuotaExhausted


def add(
    connection: Connection, job: Job, now: float, promise: Idempotency | None, open_jobs: int | None
) -> Job | Refusal:
    """The job as it stands in the store: `job`, or the one that the same promise added before. Raises Outrun, IdTaken."""
    if promise is not None:
        before = replayed(connection, job.account, promise, now)
        if before is not None:
            return before
    refusal = _too_many(connection, job, open_jobs) or _too_poor(connection, job.charge, now)
    if refusal is not None:
        return refusal
    if connection.execute(_ADD, rows.job_to_row(job)).one_or_none() is None:
        raise IdTaken
    if promise is not None:
        _remember(connection, job, promise, now)
    return job


def replayed(
    connection: Connection, account: str, promise: Idempotency, now: float
) -> Job | IdempotencyConflict | None:
    since = now - IDEMPOTENCY_SECONDS
    used = {"p_account": account, "p_key": promise.key, "p_since": since}
    before = connection.execute(_USED_BEFORE, used).one_or_none()
    if before is None:
        return None
    if before.fingerprint != promise.fingerprint:
        return IdempotencyConflict()
    return queries.get(connection, before.job_id)


def _remember(connection: Connection, job: Job, promise: Idempotency, now: float) -> None:
    since = now - IDEMPOTENCY_SECONDS
    used = {
        "account": job.account,
        "key": promise.key,
        "fingerprint": promise.fingerprint,
        "job_id": job.id,
        "created_at": now,
        "p_since": since,
    }
    if connection.execute(_REMEMBER, used).one_or_none() is None:
        raise Outrun
    connection.execute(_FORGET, {"p_since": since})


def _too_many(connection: Connection, job: Job, open_jobs: int | None) -> RateLimited | None:
    if open_jobs is None or job.key_id is None:
        return None
    # Held to the end of the transaction: jobs of one key are counted one after the other.
    connection.execute(_LOCK_KEY, {"p_key_id": job.key_id})
    if connection.execute(_COUNT_OPEN, {"p_key_id": job.key_id}).scalar_one() < open_jobs:
        return None
    return RateLimited(f"have {open_jobs} unfinished jobs at a time", retry_after=_OPEN_JOBS_PAUSE)


def _too_poor(connection: Connection, charge: Charge | None, now: float) -> QuotaExhausted | None:
    if charge is None:
        return None
    reserving = {"p_plan": charge.plan_id, "p_now": now, "p_amount": charge.amount}
    if connection.execute(_RESERVE, reserving).rowcount == 1:
        return None
    left = connection.execute(_LEFT, reserving).scalar_one_or_none() or 0.0
    return QuotaExhausted(charge.unit.value, charge.amount, max(0.0, left))
