"""`ports.JobStore` on SQL: each method is one query function, run in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from sqlalchemy import Connection, make_url
from sqlalchemy.exc import ArgumentError

from diffuserve.core.errors import ConfigurationError
from diffuserve.core.job import Artifact, Job
from diffuserve.core.ports import Outcome
from diffuserve.store import queries
from diffuserve.store.sqlite import open_sqlite

T = TypeVar("T")


class Database(Protocol):
    """Whoever runs query functions; each call is a transaction, alone or together with others."""

    async def write(self, function: Callable[[Connection], T]) -> T: ...

    async def read(self, function: Callable[[Connection], T]) -> T: ...

    async def close(self) -> None: ...


class SqlJobStore:
    """The jobs of one database. Every method raises StorageFailed where the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, job: Job) -> None:
        await self._database.write(partial(queries.add, job=job))

    async def get(self, job_id: int) -> Job | None:
        return await self._database.read(partial(queries.get, job_id=job_id))

    async def artifact(self, artifact_id: str) -> Artifact | None:
        return await self._database.read(partial(queries.artifact, artifact_id=artifact_id))

    async def claim(self, owner: str, limit: int, now: float, lease_until: float) -> Sequence[Job]:
        if limit < 1:
            return ()
        claim = partial(queries.claim, owner=owner, limit=limit, now=now, lease_until=lease_until)
        return await self._database.write(claim)

    async def renew(self, owner: str, job_ids: Sequence[int], lease_until: float) -> Sequence[int]:
        if not job_ids:
            return ()
        renew = partial(queries.renew, owner=owner, job_ids=job_ids, lease_until=lease_until)
        return await self._database.write(renew)

    async def finish(self, owner: str, job_id: int, outcome: Outcome, now: float) -> bool:
        finish = partial(queries.finish, owner=owner, job_id=job_id, outcome=outcome, now=now)
        return await self._database.write(finish)

    async def cancel(self, job_id: int, now: float) -> Job | None:
        return await self._database.write(partial(queries.cancel, job_id=job_id, now=now))

    async def requeue(self, owner: str, job_ids: Sequence[int] | None = None, *, crashed: bool = False) -> int:
        requeue = partial(queries.requeue, owner=owner, job_ids=job_ids, crashed=crashed)
        return await self._database.write(requeue)

    async def queued(self) -> int:
        return await self._database.read(queries.queued)

    async def close(self) -> None:
        await self._database.close()


async def open_store(url: str) -> SqlJobStore:
    """The store at a SQLAlchemy URL (`sqlite:////absolute/path.sqlite3`), made and migrated where needed.

    Raises ConfigurationError for a URL that it does not speak and a database that it cannot use.
    """
    try:
        parts = make_url(url)
    except ArgumentError:
        raise ConfigurationError("database_url is not an SQLAlchemy URL such as sqlite:////path/jobs.sqlite3") from None
    if parts.drivername not in ("sqlite", "sqlite+pysqlite") or parts.database in (None, "", ":memory:"):
        raise ConfigurationError(
            f"database_url must be a SQLite file such as sqlite:////path/jobs.sqlite3, got {parts.drivername}"
        )
    return SqlJobStore(await open_sqlite(Path(str(parts.database))))
