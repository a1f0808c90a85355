"""`ports.JobStore` on SQL: each method is one query function, run in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from diffuserve.core.errors import DiffuserveError, StorageFailed
from diffuserve.core.job import Artifact, Job
from diffuserve.core.ports import Backlog, Idempotency, Outcome
from diffuserve.store import adding, ending, queries
from diffuserve.store.database import Database

_LOOKS = 3
"""How often an idempotency key is looked up whose first user is not done yet."""


class SqlJobStore:
    """The jobs of one database. Every method raises StorageFailed where the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, job: Job, *, now: float, idempotency: Idempotency | None = None, open_jobs: int | None = None
    ) -> Job:
        add = partial(adding.add, job=job, now=now, promise=idempotency, open_jobs=open_jobs)
        for _ in range(_LOOKS):
            try:
                added = await self._database.write(add)
            except adding.Outrun:
                continue
            if isinstance(added, DiffuserveError):
                raise added
            return added
        raise StorageFailed("another request with the same idempotency key is under way")

    async def replayed(self, account: str, idempotency: Idempotency, now: float) -> Job | None:
        look = partial(adding.replayed, account=account, promise=idempotency, now=now)
        found = await self._database.read(look)
        if isinstance(found, DiffuserveError):
            raise found
        return found

    async def get(self, job_id: int) -> Job | None:
        return await self._database.read(partial(queries.get, job_id=job_id))

    async def artifact(self, artifact_id: str) -> Artifact | None:
        return await self._database.read(partial(queries.artifact, artifact_id=artifact_id))

    async def claim(
        self, owner: str, limit: int, now: float, lease_until: float, full: Sequence[str] = ()
    ) -> Sequence[Job]:
        if limit < 1:
            return ()
        claim = partial(queries.claim, owner=owner, limit=limit, now=now, lease_until=lease_until, full=full)
        return await self._database.write(claim)

    async def renew(self, owner: str, job_ids: Sequence[int], lease_until: float) -> Sequence[int]:
        if not job_ids:
            return ()
        renew = partial(queries.renew, owner=owner, job_ids=job_ids, lease_until=lease_until)
        return await self._database.write(renew)

    async def finish(self, owner: str, job_id: int, outcome: Outcome, now: float) -> bool:
        finish = partial(ending.finish, owner=owner, job_id=job_id, outcome=outcome, now=now)
        return await self._database.write(finish)

    async def cancel(self, job_id: int, now: float) -> Job | None:
        return await self._database.write(partial(queries.cancel, job_id=job_id, now=now))

    async def requeue(self, owner: str, job_ids: Sequence[int] | None = None, *, crashed: bool = False) -> int:
        requeue = partial(queries.requeue, owner=owner, job_ids=job_ids, crashed=crashed)
        return await self._database.write(requeue)

    async def queued(self) -> int:
        return await self._database.read(queries.queued)

    async def queued_pixels(self) -> int:
        return await self._database.read(queries.queued_pixels)

    async def ahead(self, job_id: int, priority: int) -> Backlog:
        return await self._database.read(partial(queries.ahead, job_id=job_id, priority=priority))

    async def waiting_of(self, account: str) -> Sequence[int]:
        return await self._database.read(partial(queries.waiting_of, account=account))

    async def queue(self) -> Mapping[tuple[str, str | None], int]:
        return await self._database.read(queries.queue)

    async def close(self) -> None:
        await self._database.close()
