"""`ports.RetentionStore`: which ended jobs are old enough to be forgotten, and which input pictures are still needed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, bindparam, delete, exists, select

from diffuserve.core.delivery import DeliveryStatus
from diffuserve.core.job import JobStatus
from diffuserve.core.ports import Expired
from diffuserve.core.request import pictures
from diffuserve.store import rows
from diffuserve.store.database import Database
from diffuserve.store.tables import artifacts, deliveries, jobs

_UNENDED = (JobStatus.QUEUED.value, JobStatus.RUNNING.value)
_ENDED = (JobStatus.SUCCEEDED.value, JobStatus.FAILED.value, JobStatus.CANCELED.value)

_these_jobs = jobs.c.id.in_(bindparam("p_ids", expanding=True))

# By id, which grows with time: the search begins at the oldest job and meets few that stay.
_EXPIRED = (
    select(jobs.c.id)
    .where(
        jobs.c.id < bindparam("p_id_below"),
        jobs.c.status.in_(_ENDED),
        jobs.c.finished_at < bindparam("p_ended_before"),
        ~exists().where(deliveries.c.job_id == jobs.c.id, deliveries.c.status == DeliveryStatus.PENDING.value),
    )
    .order_by(jobs.c.id)
    .limit(bindparam("p_limit"))
)
_BLOBS = select(artifacts.c.job_id, artifacts.c.blob_key).where(
    artifacts.c.job_id.in_(bindparam("p_ids", expanding=True))
)
# Artifacts, deliveries and idempotency keys go with their job: ON DELETE CASCADE.
_FORGET = delete(jobs).where(_these_jobs, jobs.c.status.in_(_ENDED))
# Those without an input picture are left out by what their JSON holds; the rest is read.
_WITH_INPUT = select(jobs.c.request).where(jobs.c.status.in_(_UNENDED), jobs.c.request.contains('"digest"'))


def expired(connection: Connection, ended_before: float, id_below: int, limit: int) -> list[Expired]:
    searching: dict[str, Any] = {"p_ended_before": ended_before, "p_id_below": id_below, "p_limit": limit}
    ids = list(connection.execute(_EXPIRED, searching).scalars())
    if not ids:
        return []
    keys: dict[int, list[str]] = defaultdict(list)
    for job_id, key in connection.execute(_BLOBS, {"p_ids": ids}):
        keys[job_id].append(key)
    return [Expired(job_id, tuple(keys[job_id])) for job_id in ids]


def forget(connection: Connection, job_ids: Sequence[int]) -> None:
    connection.execute(_FORGET, {"p_ids": job_ids})


def inputs_in_use(connection: Connection) -> frozenset[str]:
    requests = map(rows.text_to_request, connection.execute(_WITH_INPUT).scalars())
    return frozenset(picture.digest for request in requests for picture in pictures(request))


class SqlRetentionStore:
    """Over the same database as the jobs. Every method raises StorageFailed where it does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def expired(self, ended_before: float, id_below: int, limit: int) -> Sequence[Expired]:
        search = partial(expired, ended_before=ended_before, id_below=id_below, limit=limit)
        return await self._database.read(search)

    async def forget(self, job_ids: Sequence[int]) -> None:
        await self._database.write(partial(forget, job_ids=job_ids))

    async def inputs_in_use(self) -> frozenset[str]:
        return await self._database.read(inputs_in_use)
