"""The embedded default: one SQLite file, one writing and one reading thread.

Write-ahead logging lets the reader go on while the writer commits, and a commit survives the death of the process
(`synchronous=NORMAL`; the last commits before a power cut may be lost, the file stays whole).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from diffuserve.core.errors import ConfigurationError
from diffuserve.store.lane import Lane
from diffuserve.store.migrate import migrate

T = TypeVar("T")

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA busy_timeout=10000",
    "PRAGMA foreign_keys=ON",
)


class SqliteDatabase:
    """An open, migrated file. `write` and `read` run plain functions of a connection, each inside a transaction."""

    def __init__(self, writer: Engine, reader: Engine) -> None:
        self._engines = (writer, reader)
        self._writing = Lane(writer, "store-writer")
        self._reading = Lane(reader, "store-reader")

    async def write(self, function: Callable[[Connection], T]) -> T:
        return await self._writing.run(function)

    async def read(self, function: Callable[[Connection], T]) -> T:
        return await self._reading.run(function)

    async def close(self) -> None:
        await self._writing.close()
        await self._reading.close()
        for engine in self._engines:
            engine.dispose()


async def open_sqlite(path: Path) -> SqliteDatabase:
    """Raises ConfigurationError where the file cannot be made, read or brought up to date."""
    writer, reader = await asyncio.to_thread(_prepare, path)
    return SqliteDatabase(writer, reader)


def _prepare(path: Path) -> tuple[Engine, Engine]:
    try:
        # Made before SQLite opens it: the -wal and -shm files inherit its mode. It holds people's prompts.
        path.touch(mode=0o600)
        path.chmod(0o600)
    except OSError as error:
        raise ConfigurationError(f"the database {path} cannot be opened: {error.strerror}") from None
    # The writer takes its lock at once: a transaction that reads first and writes later could be refused halfway.
    writer, reader = _engine(path, "BEGIN IMMEDIATE"), _engine(path, "BEGIN")
    try:
        migrate(writer)
    except SQLAlchemyError as error:
        reason = getattr(error, "orig", None) or error
        raise ConfigurationError(f"the database {path} cannot be used: {reason}") from None
    return writer, reader


def _engine(path: Path, begin: str) -> Engine:
    engine = create_engine(f"sqlite:///{path}", pool_size=1, max_overflow=1, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def set_up(connection: SqliteConnection, _record: object) -> None:
        # The driver's own, late BEGIN is switched off; SQLAlchemy's "begin" below takes its place.
        connection.isolation_level = None
        for pragma in _PRAGMAS:
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
