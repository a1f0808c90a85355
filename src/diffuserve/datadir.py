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


class DataDir:
    """An opened data folder, locked until `close`.

    `diffuserve.sqlite3` holds jobs, `blobs/` pictures, `secret.key` signs links, `lock` is held while a server runs.
    """

    def __init__(self, root: Path) -> None:
        """Make the folder where it is missing. Raises ConfigurationError if it cannot be used, or another server
        does."""
        self.root = root.absolute()
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _locked(self.root / "lock")
            self.secret = _secret(self.root / "secret.key")
        except OSError as error:
            where = error.filename or self.root
            raise ConfigurationError(f"the data folder cannot be used: {where}: {error.strerror or error}") from None

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
        secret = secrets.token_bytes(SECRET_BYTES)
        _write_once(path, secret)
    if len(secret) < SECRET_BYTES:
        raise ConfigurationError(f"{path} is damaged: delete it, and links that were given out so far stop working")
    return secret


def _write_once(path: Path, data: bytes) -> None:
    """Whole or not at all, and readable by its owner only."""
    beside = path.with_name(path.name + ".new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
