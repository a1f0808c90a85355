"""The data folder of a server: what lies where in it, who may read it, and that only one server uses it at a time."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from pathlib import Path
from typing import IO

from diffuserve.core.errors import ConfigurationError

SECRET_BYTES = 32


class DataFolder:
    """An opened data folder, shared with the server that may run on it: what commands beside a server use.

    `diffuserve.sqlite3` holds jobs and keys, `blobs/` pictures, `secret.key` signs links and seals key secrets, `lock`
    is held while a server runs.
    """

    def __init__(self, root: Path) -> None:
        """Make the folder where it is missing. Raises ConfigurationError if it cannot be used."""
        self.root = root.absolute()
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._prepare()
        except OSError as error:
            where = error.filename or self.root
            raise ConfigurationError(f"the data folder cannot be used: {where}: {error.strerror or error}") from None

    def _prepare(self) -> None:
        self.secret = _secret(self.root / "secret.key")

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.root / 'diffuserve.sqlite3'}"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def owner(self) -> str:
        """The name under which this folder's server claims jobs; it stays, so a restart knows its own again."""
        return hashlib.sha256(b"owner\n" + self.secret).hexdigest()[:16]


class DataDir(DataFolder):
    """A server's data folder, locked until `close`. Raises ConfigurationError if another server uses it, too."""

    def _prepare(self) -> None:
        self._lock = _locked(self.root / "lock")
        super()._prepare()

    def close(self) -> None:
        self._lock.close()


def _locked(path: Path) -> IO[bytes]:
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ConfigurationError(
            f"another server uses the data folder {path.parent}: stop it, or choose another folder with --data-dir"
        ) from None
    return file


def _secret(path: Path) -> bytes:
    try:
        secret = path.read_bytes()
    except FileNotFoundError:
        _write_once(path, secrets.token_bytes(SECRET_BYTES))
        secret = path.read_bytes()
    if len(secret) < SECRET_BYTES:
        raise ConfigurationError(
            f"{path} is damaged: delete it, and the links and key pairs that were given out so far stop working"
        )
    return secret


def _write_once(path: Path, data: bytes) -> None:
    """Whole or not at all, readable by its owner only; what another process wrote meanwhile stays."""
    beside = path.with_name(path.name + ".new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists():
            # This may be the very file, under its new name.
            beside.unlink(missing_ok=True)
            return
        file.truncate()
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        beside.replace(path)
