"""The embedded database as a file: who may read it, what is in it, and what happens when it cannot be used."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from diffuserve.core.errors import ConfigurationError, StorageFailed
from diffuserve.core.job import JobStatus
from diffuserve.store import open_store
from support.models import job

pytestmark = pytest.mark.integration


def _execute(file: Path, statement: str) -> None:
    connection = sqlite3.connect(file)
    with connection:
        connection.execute(statement)
    connection.close()


async def test_only_the_owner_may_read_the_database(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/jobs.sqlite3")
    await store.jobs.add(job(1), now=0.0)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    await store.close()
    assert modes and set(modes.values()) == {0o600}


async def test_jobs_are_there_after_the_store_was_opened_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.sqlite3"
    store = await open_store(url)
    await store.jobs.add(job(1), now=0.0)
    await store.close()
    again = await open_store(url)
    found = await again.jobs.get(1)
    await again.close()
    assert found == job(1)


async def test_a_job_that_cannot_be_read_fails_and_does_not_bar_the_queue(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/jobs.sqlite3")
    await store.jobs.add(job(1), now=0.0)
    await store.jobs.add(job(2), now=0.0)
    _execute(tmp_path / "jobs.sqlite3", "UPDATE jobs SET request = '{}' WHERE id = 1")
    claimed = await store.jobs.claim("me", 5, 0.0, 30.0)
    with pytest.raises(StorageFailed):
        await store.jobs.get(1)
    _execute(tmp_path / "jobs.sqlite3", "UPDATE jobs SET request = (SELECT request FROM jobs WHERE id = 2)")
    failed = await store.jobs.get(1)
    await store.close()
    assert [one.id for one in claimed] == [2]
    assert failed is not None and failed.status is JobStatus.FAILED


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///:memory:", "postgresql+asyncpg://localhost/jobs", "not a url", "mysql://localhost/x"],
)
async def test_a_url_that_it_does_not_speak_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="database_url"):
        await open_store(url)


async def test_a_folder_that_is_missing_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        await open_store(f"sqlite:///{tmp_path}/missing/jobs.sqlite3")


async def test_a_file_that_is_no_database_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite3").write_text("this is a shopping list, not a database" * 100)
    with pytest.raises(ConfigurationError, match="not a database"):
        await open_store(f"sqlite:///{tmp_path}/jobs.sqlite3")


async def test_a_database_of_a_newer_version_is_a_configuration_error(tmp_path: Path) -> None:
    await (await open_store(f"sqlite:///{tmp_path}/jobs.sqlite3")).close()
    _execute(tmp_path / "jobs.sqlite3", "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="newer version"):
        await open_store(f"sqlite:///{tmp_path}/jobs.sqlite3")
