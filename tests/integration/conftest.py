from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffuserve.store import upgrade
from support.postgres import Cluster, cluster, why_not


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL server with an up-to-date database named `current` to copy."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with cluster() as started:
        started.sql("CREATE DATABASE current")
        asyncio.run(upgrade(started.url("current")))
        yield started


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty, up-to-date database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.sqlite3"
    running: Cluster = request.getfixturevalue("postgres")
    return running.database(template="current")
