"""Brings a database to the schema of this version, by the steps in `migrations/versions`."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine

from diffuserve.core.errors import ConfigurationError


def migrate(engine: Engine) -> None:
    """Run the migrations that the database lacks, in one transaction.

    Raises ConfigurationError for a database that a newer version has written.
    """
    # Alembic takes longer to import than all the rest of this room.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise ConfigurationError(
                f"the database {engine.url.database} was written by a newer version of diffuserve: {error}"
            ) from None
