"""Brings a database to the schema of this version, by the steps in `migrations/versions`."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from diffuserve.core.errors import ConfigurationError

HEAD = "0004"
"""The revision that this version reads and writes: the last of `migrations/versions`."""


def revision(connection: Connection) -> str | None:
    """What the database is at; None where it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return found


def migrate(engine: Engine) -> None:
    """Run the migrations that the database lacks, in one transaction.

    Raises ConfigurationError for a database that a newer version has written.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            # Two that begin at the same time would both make the first table.
            connection.execute(text("SELECT pg_advisory_xact_lock(7163417)"))
        if revision(connection) != HEAD:
            _run(connection)


def _run(connection: Connection) -> None:
    # Alembic takes longer to import than all the rest of this room.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise ConfigurationError(
            f"the database {connection.engine.url.database} was written by a newer version of diffuserve: {error}"
        ) from None
