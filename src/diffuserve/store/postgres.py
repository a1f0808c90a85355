"""One database for several servers: PostgreSQL through psycopg 3, on a few threads.

Each call is a transaction of its own; PostgreSQL writes the commits of several connections in one go by itself. A server
that is restarted costs the calls that were under way (StorageFailed, and the caller tries again), and no others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from diffuserve.core.errors import ConfigurationError
from diffuserve.store.lane import Lane
from diffuserve.store.migrate import HEAD, migrate, revision

T = TypeVar("T")

_WRITERS, _READERS = 6, 4

# Seconds, but for the last: a machine that vanished is noticed, instead of waited for.
_MANNERS = {
    "application_name": "diffuserve",
    "connect_timeout": 5,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
# SQLSTATE of serialization_failure and deadlock_detected: the transaction was undone, and may be tried again.
_UNDONE = ("40001", "40P01")


class PostgresDatabase:
    """An open database of this version's schema. `write` and `read` run plain functions of a connection."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = Lane(engine, "store-writer", threads=_WRITERS, group=1, passing=_is_passing)
        # A single statement needs no transaction around it, which would cost two more trips.
        reading = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._reading = Lane(reading, "store-reader", threads=_READERS, group=1, passing=_is_passing)

    async def write(self, function: Callable[[Connection], T]) -> T:
        return await self._writing.run(function)

    async def read(self, function: Callable[[Connection], T]) -> T:
        return await self._reading.run(function)

    async def close(self) -> None:
        await self._writing.close()
        await self._reading.close()
        self._engine.dispose()


async def open_postgres(url: URL) -> PostgresDatabase:
    """Raises ConfigurationError where it cannot be reached, or has another version's schema."""
    return PostgresDatabase(await asyncio.to_thread(_checked, url))


async def upgrade_postgres(url: URL) -> None:
    """Bring the schema up to date. Raises ConfigurationError."""
    await asyncio.to_thread(_upgrade, url)


def _checked(url: URL) -> Engine:
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            found = revision(connection)
    except SQLAlchemyError as error:
        raise _unusable(url, error) from None
    if found == HEAD:
        return engine
    engine.dispose()
    if found is None or found < HEAD:
        state = "has no tables yet" if found is None else "was made by an older version of diffuserve"
        raise ConfigurationError(f"the database {url.database} {state}: run `diffuserve db upgrade`")
    raise ConfigurationError(f"the database {url.database} was written by a newer version of diffuserve")


def _upgrade(url: URL) -> None:
    engine = _engine(url)
    try:
        migrate(engine)
    except SQLAlchemyError as error:
        raise _unusable(url, error) from None
    finally:
        engine.dispose()


def _engine(url: URL) -> Engine:
    manners = {name: value for name, value in _MANNERS.items() if name not in url.query}
    try:
        return create_engine(
            url, pool_size=_WRITERS + _READERS, max_overflow=0, hide_parameters=True, connect_args=manners
        )
    except ImportError:
        raise ConfigurationError("PostgreSQL needs psycopg: pip install 'diffuserve[postgres]'") from None


def _unusable(url: URL, error: SQLAlchemyError) -> ConfigurationError:
    reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    return ConfigurationError(f"the database {url.render_as_string(hide_password=True)} cannot be used: {reason}")


def _is_passing(error: SQLAlchemyError) -> bool:
    """A connection that died while it lay idle, and what PostgreSQL asks to repeat."""
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _UNDONE
