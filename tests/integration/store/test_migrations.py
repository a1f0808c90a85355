"""How a database gets its tables, and what is said to one that has others."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, make_url

import diffuserve.store
from diffuserve.core.errors import ConfigurationError
from diffuserve.store import open_store, upgrade
from diffuserve.store.migrate import HEAD
from diffuserve.store.tables import metadata
from support.models import job, resolved
from support.postgres import Cluster

pytestmark = pytest.mark.integration

MIGRATIONS = Path(diffuserve.store.__file__).with_name("migrations")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def _move(url: str, revision: str) -> None:
    """Take a database to any revision."""
    engine = create_engine(make_url(url).set(drivername="sqlite" if url.startswith("sqlite") else "postgresql+psycopg"))
    config = _config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if revision < HEAD else command.upgrade)(config, revision)
    engine.dispose()


async def test_the_migrations_build_what_the_queries_expect(database_url: str) -> None:
    await (await open_store(database_url)).close()
    drivername = "sqlite" if database_url.startswith("sqlite") else "postgresql+psycopg"
    engine = create_engine(make_url(database_url).set(drivername=drivername))
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()
    assert differences == []


def test_the_last_migration_is_the_one_that_this_version_asks_for() -> None:
    assert ScriptDirectory.from_config(_config()).get_current_head() == HEAD


async def test_every_migration_can_be_undone_and_done_again(database_url: str) -> None:
    await (await open_store(database_url)).close()
    await asyncio.to_thread(_move, database_url, "0001")
    await asyncio.to_thread(_move, database_url, HEAD)
    stores = await open_store(database_url)
    assert await stores.jobs.add(job(1), now=0.0) == job(1)
    await stores.close()


async def test_jobs_of_the_first_version_are_there_after_the_upgrade(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.sqlite3"
    stores = await open_store(url)
    await stores.jobs.add(job(1, request=resolved(model="tiny")), now=0.0)
    await stores.close()
    await asyncio.to_thread(_move, url, "0001")
    again = await open_store(url)
    assert await again.jobs.get(1) == job(1, request=resolved(model="tiny"))
    await again.close()
    with sqlite3.connect(tmp_path / "jobs.sqlite3") as connection:
        assert connection.execute("SELECT model FROM jobs").fetchall() == [("tiny",)]
    connection.close()


async def test_an_empty_postgresql_is_not_touched_until_told(postgres: Cluster) -> None:
    url = postgres.database()
    with pytest.raises(ConfigurationError, match="no tables yet: run `diffuserve db upgrade`"):
        await open_store(url)
    assert await upgrade(url) == HEAD
    await (await open_store(url)).close()


async def test_an_older_postgresql_is_not_touched_until_told(postgres: Cluster) -> None:
    url = postgres.database(template="current")
    await asyncio.to_thread(_move, url, "0001")
    with pytest.raises(ConfigurationError, match="older version of diffuserve: run `diffuserve db upgrade`"):
        await open_store(url)


async def test_a_newer_postgresql_is_a_configuration_error(postgres: Cluster) -> None:
    url = postgres.database(template="current")
    postgres.sql("UPDATE alembic_version SET version_num = '9999'", str(make_url(url).database))
    with pytest.raises(ConfigurationError, match="newer version"):
        await open_store(url)
    with pytest.raises(ConfigurationError, match="newer version"):
        await upgrade(url)


async def test_several_servers_may_upgrade_at_the_same_time(postgres: Cluster) -> None:
    url = postgres.database()
    assert await asyncio.gather(*(upgrade(url) for _ in range(3))) == [HEAD] * 3


async def test_a_postgresql_that_does_not_answer_is_one_sentence_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be used") as caught:
        await open_store(f"postgresql://me:sesame@/jobs?host={tmp_path}")
    assert "sesame" not in caught.value.message and "\n" not in caught.value.message
