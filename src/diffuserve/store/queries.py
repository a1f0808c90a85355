"""Every statement about jobs, and the plain functions that run them on a connection inside somebody else's transaction.

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
from sqlalchemy import Connection, Row, Select, bindparam, func, insert, select, update
from sqlalchemy.sql import ColumnElement

from diffuserve.core.errors import InternalError
from diffuserve.core.job import Artifact, Job, JobError, JobStatus
from diffuserve.core.ports import Outcome
from diffuserve.store import rows
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


def _oldest(condition: ColumnElement[bool]) -> Select[int]:
    oldest_first = select(jobs.c.id).where(condition).order_by(jobs.c.id)
    return oldest_first.limit(bindparam("p_limit")).with_for_update(skip_locked=True)


_ADD = insert(jobs)
_ADD_ARTIFACTS = insert(artifacts)
_GET = select(jobs).where(_this_job)
_GET_ARTIFACT = select(artifacts).where(artifacts.c.id == bindparam("p_id"))
_ARTIFACTS_OF = select(artifacts).where(artifacts.c.job_id == bindparam("p_id")).order_by(artifacts.c.index)
_COUNT_QUEUED = select(func.count()).select_from(jobs).where(jobs.c.status == _QUEUED)
_OLDEST_EXPIRED = _oldest(_expired)
_OLDEST_QUEUED = _oldest(jobs.c.status == _QUEUED)
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
_NOTES_OF_HELD = select(jobs.c.notes).where(_held, _this_job).with_for_update()
_FINISH = (
    update(jobs)
    .where(_held, _this_job)
    .values(
        status=bindparam("p_status"),
        finished_at=bindparam("p_now"),
        usage=bindparam("p_usage"),
        error_code=bindparam("p_error_code"),
        error_message=bindparam("p_error_message"),
        **_nobodys,
    )
)
_FINISH_WITH_NOTES = _FINISH.values(notes=bindparam("p_notes"))
_CANCEL = (
    update(jobs)
    .where(_this_job, jobs.c.status.in_([_QUEUED, _RUNNING]))
    .values(status=JobStatus.CANCELED.value, finished_at=bindparam("p_now"), **_nobodys)
)
_REQUEUE_ALL = (
    update(jobs)
    .where(_held)
    .values(status=_QUEUED, started_at=None, crashes=jobs.c.crashes + bindparam("p_crashes"), **_nobodys)
)
_REQUEUE = _REQUEUE_ALL.where(_these_jobs)


def add(connection: Connection, job: Job) -> None:
    connection.execute(_ADD, rows.job_to_row(job))


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


def claim(connection: Connection, owner: str, limit: int, now: float, lease_until: float) -> list[Job]:
    """Jobs whose lease ran out first (they have waited longest), then queued ones; each group oldest first."""
    ids = list(connection.execute(_OLDEST_EXPIRED, {"p_now": now, "p_limit": limit}).scalars())
    if len(ids) < limit:
        ids += connection.execute(_OLDEST_QUEUED, {"p_limit": limit - len(ids)}).scalars()
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
        except ValidationError:
            _log.exception("job %s is stored in a form that this version cannot read", row.id)
            lost = JobError(InternalError.code, "this version of the server cannot read the stored job")
            finish(connection, row.owner, row.id, Outcome(JobStatus.FAILED, error=lost), now)


def renew(connection: Connection, owner: str, job_ids: Sequence[int], lease_until: float) -> list[int]:
    renewing = {"p_owner": owner, "p_ids": job_ids, "p_lease_until": lease_until}
    return list(connection.execute(_RENEW, renewing).scalars())


def finish(connection: Connection, owner: str, job_id: int, outcome: Outcome, now: float) -> bool:
    held = {"p_owner": owner, "p_id": job_id}
    ending: dict[str, Any] = {
        **held,
        "p_status": outcome.status.value,
        "p_now": now,
        "p_usage": rows.usage_to_text(outcome.usage),
        "p_error_code": outcome.error.code if outcome.error else None,
        "p_error_message": outcome.error.message if outcome.error else None,
    }
    statement = _FINISH
    if outcome.notes:
        before = connection.execute(_NOTES_OF_HELD, held).scalar_one_or_none()
        if before is None:
            return False
        statement = _FINISH_WITH_NOTES
        ending["p_notes"] = rows.notes_to_text(rows.text_to_notes(before) + outcome.notes)
    if connection.execute(statement, ending).rowcount != 1:
        return False
    if outcome.artifacts:
        connection.execute(_ADD_ARTIFACTS, [rows.artifact_to_row(job_id, made) for made in outcome.artifacts])
    return True


def cancel(connection: Connection, job_id: int, now: float) -> Job | None:
    connection.execute(_CANCEL, {"p_id": job_id, "p_now": now})
    return get(connection, job_id)


def requeue(connection: Connection, owner: str, job_ids: Sequence[int] | None, crashed: bool) -> int:
    giving: dict[str, Any] = {"p_owner": owner, "p_crashes": int(crashed)}
    if job_ids is None:
        return connection.execute(_REQUEUE_ALL, giving).rowcount
    return connection.execute(_REQUEUE, {**giving, "p_ids": job_ids}).rowcount
