"""A throwaway PostgreSQL from the system's package (Debian's `postgresql`), for as long as a test session."""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REQUIRE = "DIFFUSERVE_REQUIRE_POSTGRES"
"""Set to 1 where a missing PostgreSQL is a failure and no reason to skip."""


def programs() -> Path | None:
    """Where `initdb` and its friends lie; the newest version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    elsewhere = shutil.which("initdb")
    return Path(elsewhere).resolve().parent if elsewhere else None


class Cluster:
    """A running server that listens on a socket in its own folder."""

    def __init__(self, programs: Path, folder: Path, *, durable: bool) -> None:
        self._programs = programs
        self._folder = folder
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            account = pwd.getpwnam("postgres")
            os.chown(folder, account.pw_uid, account.pw_gid)
        self._run("initdb", "--pgdata", str(self._data), "--auth", "trust", "--username", "postgres", "--no-sync")
        options = ["listen_addresses=''", f"unix_socket_directories='{folder}'", "max_connections=100"]
        if not durable:
            options += ["fsync=off", "full_page_writes=off"]
        with (self._data / "postgresql.conf").open("a") as file:
            file.write("\n".join(options) + "\n")
        self.start()

    def start(self) -> None:
        log = str(self._folder / "log")
        self._run("pg_ctl", "start", "--wait", "--silent", "--pgdata", str(self._data), "--log", log)

    def stop(self, mode: str = "fast") -> None:
        """`mode`: fast (connections are cut) or immediate (as by a power cut)."""
        self._run("pg_ctl", "stop", "--wait", "--silent", "--pgdata", str(self._data), "--mode", mode)

    def database(self, template: str = "template0") -> str:
        """The URL of a new database."""
        name = f"t_{uuid.uuid4().hex}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self._folder}"

    def sql(self, statement: str, database: str = "postgres") -> str:
        """What psql prints."""
        return self._run("psql", "-h", str(self._folder), "-U", "postgres", "-d", database, "-At", "-c", statement)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _run(self, program: str, *arguments: str) -> str:
        as_owner = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        done = subprocess.run(
            [*as_owner, str(self._programs / program), *arguments],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program == "psql" else subprocess.DEVNULL,
            # pg_ctl's child keeps this open: a pipe would never end.
            stderr=subprocess.DEVNULL if program == "pg_ctl" else subprocess.PIPE,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{program} failed: {done.stderr}"
        return done.stdout or ""


@contextmanager
def cluster(*, durable: bool = False) -> Iterator[Cluster]:
    """A cluster that is gone afterwards. `durable`: as slow as a real one."""
    found = programs()
    assert found is not None
    folder = Path(tempfile.mkdtemp(prefix="diffuserve-pg-"))
    try:
        started = Cluster(found, folder, durable=durable)
        try:
            yield started
        finally:
            started.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def why_not() -> str | None:
    """Why there is no PostgreSQL here; None where there is. Raises where there must be one."""
    missing = None if programs() else "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    if missing and os.environ.get(REQUIRE) == "1":
        raise AssertionError(f"{missing}, and {REQUIRE}=1 asks for it")
    return missing
