"""Statements about jobs between their beginning (`adding.py`) and their end (`ending.py`), and the plain functions that run
them on a connection inside somebody else's transaction.

The same statements run on SQLite and PostgreSQL. What makes them right on both is the guard: a row changes only WHERE
it still has the status and the owner that the caller believes in. FOR UPDATE SKIP LOCKED, which SQLite leaves out, only
keeps the workers of several servers out of each other's way. The statements are built once, because building one costs
more than SQLite takes to run it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Row, Select, and_, bindparam, func, or_, select, update
from sqlalchemy.sql import ColumnElement

from diffuserve.core.errors import InternalError
from diffuserve.core.job import Artifact, Job, JobError, JobStatus
from diffuserve.core.ports import Backlog, Outcome
from diffuserve.store import ending, rows
from diffuserve.store.tables import artifacts, jobs

_log = logging.getLogger(__name__)

_QUEUED, _RUNNING = JobStatus.QUEUED.value, JobStatus.RUNNING.value

# Names with a leading "p_": SQLAlchemy keeps the bare column names for the values of an UPDATE.
_this_job = jobs.c.id == bindparam("p_id")
_these_jobs = jobs.c.id.in_(bindparam("p_ids", expanding=True))
_held = (jobs.c.status == _RUNNING) & (jobs.c.owner == bindparam("p_owner"))
_expired = (jobs.c.status == _RUNNING) & (jobs.c.lease_until < bindparam("p_now"))
_free = (jobs.c.status == _QUEUED) | _expired
_nobodys: dict[str, Any] = {"owner": None, "lease_until": None}


def _first(condition: ColumnElement[bool]) -> Select[int]:
    others = jobs.c.account.not_in(bindparam("p_full", expanding=True))
    in_order = select(jobs.c.id).where(condition, others).order_by(jobs.c.priority.desc(), jobs.c.id)
    return in_order.limit(bindparam("p_limit")).with_for_update(skip_locked=True)


_GET = select(jobs).where(_this_job)
_GET_ARTIFACT = select(artifacts).where(artifacts.c.id == bindparam("p_id"))
_ARTIFACTS_OF = select(artifacts).where(artifacts.c.job_id == bindparam("p_id")).order_by(artifacts.c.index)
_COUNT_QUEUED = select(func.count()).select_from(jobs).where(jobs.c.status == _QUEUED)
_SUM_QUEUED_PIXELS = select(func.coalesce(func.sum(jobs.c.pixels), 0)).where(jobs.c.status == _QUEUED)
_earlier = or_(
    jobs.c.priority > bindparam("p_priority"),
    and_(jobs.c.priority == bindparam("p_priority"), jobs.c.id < bindparam("p_id")),
)
_AHEAD = (
    select(jobs.c.status, func.count(), func.coalesce(func.sum(jobs.c.steps), 0))
    .where(jobs.c.status.in_((_QUEUED, _RUNNING)), ~_this_job, or_(jobs.c.status == _RUNNING, _earlier))
    .group_by(jobs.c.status)
)
_WAITING_OF = select(jobs.c.id).where(jobs.c.status == _QUEUED, jobs.c.account == bindparam("p_account"))
_COUNT_BY_MODEL_AND_KEY = (
    select(jobs.c.model, jobs.c.key_id, func.count())
    .where(jobs.c.status == _QUEUED)
    .group_by(jobs.c.model, jobs.c.key_id)
)
_FIRST_EXPIRED = _first(_expired)
_FIRST_QUEUED = _first(jobs.c.status == _QUEUED)
_TAKE = (
    update(jobs)
    .where(_these_jobs, _free)
    .values(
        status=_RUNNING,
        owner=bindparam("p_owner"),
        lease_until=bindparam("p_lease_until"),
        started_at=bindparam("p_now"),
        attempts=jobs.c.attempts + 1,
    )
    .returning(jobs)
)
_RENEW = update(jobs).where(_held, _these_jobs).values(lease_until=bindparam("p_lease_until")).returning(jobs.c.id)
_REQUEUE_ALL = (
    update(jobs)
    .where(_held)
    .values(status=_QUEUED, started_at=None, crashes=jobs.c.crashes + bindparam("p_crashes"), **_nobodys)
)
_REQUEUE = _REQUEUE_ALL.where(_these_jobs)


def get(connection: Connection, job_id: int) -> Job | None:
    row = connection.execute(_GET, {"p_id": job_id}).one_or_none()
    if row is None:
        return None
    if not JobStatus(row.status).ended:
        return rows.row_to_job(row)
    # Artifacts are written by the transaction that ends the job: one that goes on has none.
    made = connection.execute(_ARTIFACTS_OF, {"p_id": job_id})
    return rows.row_to_job(row, [rows.row_to_artifact(one) for one in made])


def artifact(connection: Connection, artifact_id: str) -> Artifact | None:
    row = connection.execute(_GET_ARTIFACT, {"p_id": artifact_id}).one_or_none()
    return None if row is None else rows.row_to_artifact(row)


def queued(connection: Connection) -> int:
    return connection.execute(_COUNT_QUEUED).scalar_one()


def queued_pixels(connection: Connection) -> int:
    return int(connection.execute(_SUM_QUEUED_PIXELS).scalar_one())


def ahead(connection: Connection, job_id: int, priority: int) -> Backlog:
    found = {row[0]: row for row in connection.execute(_AHEAD, {"p_id": job_id, "p_priority": priority})}
    _, waiting, waiting_steps = found.get(_QUEUED, (_QUEUED, 0, 0))
    _, running, running_steps = found.get(_RUNNING, (_RUNNING, 0, 0))
    return Backlog(waiting, int(waiting_steps), running, int(running_steps))


def waiting_of(connection: Connection, account: str) -> list[int]:
    return list(connection.execute(_WAITING_OF, {"p_account": account}).scalars())


def queue(connection: Connection) -> dict[tuple[str, str | None], int]:
    return {(model, key_id): count for model, key_id, count in connection.execute(_COUNT_BY_MODEL_AND_KEY)}


def claim(
    connection: Connection, owner: str, limit: int, now: float, lease_until: float, full: Sequence[str] = ()
) -> list[Job]:
    """Jobs whose lease ran out first (they have waited longest), then queued ones; each by priority, then oldest first.

    None of the accounts `full`.
    """
    ids = list(connection.execute(_FIRST_EXPIRED, {"p_now": now, "p_limit": limit, "p_full": full}).scalars())
    if len(ids) < limit:
        ids += connection.execute(_FIRST_QUEUED, {"p_limit": limit - len(ids), "p_full": full}).scalars()
    if not ids:
        return []
    taking = {"p_ids": ids, "p_owner": owner, "p_lease_until": lease_until, "p_now": now}
    taken = connection.execute(_TAKE, taking).all()
    order = {job_id: place for place, job_id in enumerate(ids)}
    return sorted(_readable(connection, taken, now), key=lambda job: order[job.id])


def _readable(connection: Connection, taken: Sequence[Row[Any]], now: float) -> Iterator[Job]:
    """The jobs of `taken`. One that this version cannot read is failed, or it would bar the queue for good."""
    for row in taken:
        try:
            yield rows.row_to_job(row)
        except ValidationError as error:  # whose words would quote the prompt
            _log.error(
                "job %s is stored in a form that this version cannot read (%s)", row.id, error.errors()[0]["type"]
            )
            lost = JobError(InternalError.code, "this version of the server cannot read the stored job")
            ending.finish(connection, row.owner, row.id, Outcome(JobStatus.FAILED, error=lost), now)


def renew(connection: Connection, owner: str, job_ids: Sequence[int], lease_until: float) -> list[int]:
    renewing = {"p_owner": owner, "p_ids": job_ids, "p_lease_until": lease_until}
    return list(connection.execute(_RENEW, renewing).scalars())


def cancel(connection: Connection, job_id: int, now: float) -> Job | None:
    ending.cancel(connection, job_id, now)
    return get(connection, job_id)


def requeue(connection: Connection, owner: str, job_ids: Sequence[int] | None, crashed: bool) -> int:
    giving: dict[str, Any] = {"p_owner": owner, "p_crashes": int(crashed)}
    if job_ids is None:
        return connection.execute(_REQUEUE_ALL, giving).rowcount
    return connection.execute(_REQUEUE, {**giving, "p_ids": job_ids}).rowcount
