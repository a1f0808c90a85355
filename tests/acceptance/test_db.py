"""`diffuserve db upgrade`, and a server on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.postgres import Cluster, cluster, why_not
from support.server import command, serving

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def postgres() -> Iterator[Cluster]:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with cluster() as started:
        yield started


def test_the_embedded_database_is_made_and_brought_up_to_date(tmp_path: Path) -> None:
    done = command("db", "upgrade", "--data-dir", tmp_path / "data", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "at revision" in done.stdout
    assert (tmp_path / "data" / "diffuserve.sqlite3").exists()


def test_a_server_on_postgresql_asks_for_the_upgrade_and_then_serves(postgres: Cluster, tmp_path: Path) -> None:
    url = postgres.database()
    refused = command("serve", "--engine", "fake", "--port", "0", cwd=tmp_path, database_url=url)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1 and "run `diffuserve db upgrade`" in refused.stderr
    assert command("db", "upgrade", cwd=tmp_path, database_url=url).returncode == 0
    with serving(tmp_path / "data", "--engine", "fake", database_url=url) as server:
        job = server.post("/diffuserve/v1/jobs?wait=30", {"prompt": "an apple"})
    assert job["status"] == "succeeded"
    assert not (tmp_path / "data" / "diffuserve.sqlite3").exists()
