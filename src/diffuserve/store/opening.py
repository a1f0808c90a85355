"""From a URL to the stores of a database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from diffuserve.core.errors import ConfigurationError
from diffuserve.store.accounts import SqlAccountStore
from diffuserve.store.database import Database
from diffuserve.store.deliveries import SqlDeliveryStore
from diffuserve.store.jobs import SqlJobStore
from diffuserve.store.retention import SqlRetentionStore
from diffuserve.store.sqlite import open_sqlite

_EXAMPLES = "sqlite:////path/jobs.sqlite3 or postgresql://user:password@host/name"


@dataclass(frozen=True, slots=True)
class Stores:
    """Everything that one database keeps."""

    database: Database
    jobs: SqlJobStore
    accounts: SqlAccountStore
    deliveries: SqlDeliveryStore
    retention: SqlRetentionStore

    async def close(self) -> None:
        await self.database.close()


async def open_store(url: str) -> Stores:
    """The stores at a URL. A SQLite file is made and brought up to date; a PostgreSQL database must be (`upgrade`).

    Raises ConfigurationError for a URL that it does not speak and a database that it cannot use.
    """
    parts = _parse(url)
    if parts.get_backend_name() == "sqlite":
        database: Database = await open_sqlite(Path(str(parts.database)))
    else:
        from diffuserve.store.postgres import open_postgres

        database = await open_postgres(parts)
    return Stores(
        database,
        SqlJobStore(database),
        SqlAccountStore(database),
        SqlDeliveryStore(database),
        SqlRetentionStore(database),
    )


async def upgrade(url: str) -> str:
    """Bring the database at a URL to the schema of this version; returns that schema's revision.

    Servers of this version may run meanwhile; older ones should not. Raises ConfigurationError.
    """
    from diffuserve.store.migrate import HEAD

    parts = _parse(url)
    if parts.get_backend_name() == "sqlite":
        await (await open_sqlite(Path(str(parts.database)))).close()
    else:
        from diffuserve.store.postgres import upgrade_postgres

        await upgrade_postgres(parts)
    return HEAD


def _parse(url: str) -> URL:
    try:
        # A name of PostgreSQL that other programs understand, and SQLAlchemy does not.
        parts = make_url(url.replace("postgres://", "postgresql://", 1) if url.startswith("postgres://") else url)
    except ArgumentError:
        raise ConfigurationError(f"database_url is not a URL such as {_EXAMPLES}") from None
    if parts.drivername in ("sqlite", "sqlite+pysqlite") and parts.database not in (None, "", ":memory:"):
        return parts
    if parts.drivername in ("postgresql", "postgresql+psycopg"):
        return parts.set(drivername="postgresql+psycopg")
    raise ConfigurationError(f"database_url must be such as {_EXAMPLES}, got {parts.drivername}")
