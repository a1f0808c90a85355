"""`ports.BlobStore` over obstore, which speaks to local folders, memory and S3 in one voice."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, MemoryStore, S3Store

from diffuserve.blobs.keys import checked
from diffuserve.core.errors import ArtifactNotFound, ConfigurationError, StorageFailed

_log = logging.getLogger(__name__)

# What obstore raises: its own tree for stores, Python's for local files.
_FAILURES = (BaseError, OSError)
_ABSENT = (NotFoundError, FileNotFoundError)


class ObjectBlobs:
    """Blobs in any obstore store. Each of its methods raises ValueError for a key that `keys.checked` refuses."""

    def __init__(self, store: LocalStore | MemoryStore | S3Store) -> None:
        self._store = store

    def path(self, key: str) -> str:
        """Where `key` lies in the store."""
        return checked(key)

    def attributes(self, key: str) -> obstore.Attributes | None:
        """What is stored beside the bytes, where the store can."""
        return None

    async def put(self, key: str, data: bytes) -> None:
        """Store whole or not at all: obstore writes beside the key and renames. Raises StorageFailed."""
        try:
            # Multipart uploads are for objects that do not fit in memory; these do, and one write is atomic.
            await obstore.put_async(
                self._store, self.path(key), data, attributes=self.attributes(key), use_multipart=False
            )
        except _FAILURES as error:
            raise _failed("stored", key, error) from error

    async def get(self, key: str) -> bytes:
        """Raises ArtifactNotFound, StorageFailed."""
        try:
            found = await obstore.get_async(self._store, self.path(key))
            return bytes(await found.bytes_async())
        except _ABSENT:
            raise ArtifactNotFound() from None
        except _FAILURES as error:
            raise _failed("read", key, error) from error

    async def delete(self, key: str) -> None:
        """A missing key is no error. Raises StorageFailed."""
        try:
            await obstore.delete_async(self._store, self.path(key))
        except _ABSENT:
            return
        except _FAILURES as error:
            raise _failed("deleted", key, error) from error

    async def older(self, folder: str, before: float) -> Sequence[str]:
        """Keys under `folder` that were last written before a time (Unix seconds). Raises StorageFailed."""
        root = self.path(folder)
        found: list[str] = []
        try:
            async for page in obstore.list(self._store, root):
                old = [entry["path"] for entry in page if entry["last_modified"].timestamp() < before]
                found += [path[len(root) - len(folder) :] for path in old]
        except _ABSENT:
            return ()
        except _FAILURES as error:
            raise _failed("listed", folder, error) from error
        return found

    async def is_older(self, key: str, before: float) -> bool:
        """Whether it is there and was last written before a time (Unix seconds). Raises StorageFailed."""
        try:
            found = await obstore.head_async(self._store, self.path(key))
        except _ABSENT:
            return False
        except _FAILURES as error:
            raise _failed("read", key, error) from error
        return found["last_modified"].timestamp() < before


class LocalBlobs(ObjectBlobs):
    """Blobs as files under `root`, which is made with mode 0700. Raises ConfigurationError where it cannot be."""

    def __init__(self, root: Path) -> None:
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            super().__init__(LocalStore(root))
        except _FAILURES as error:
            raise ConfigurationError(f"the folder {root} for pictures cannot be used: {error}") from None


class MemoryBlobs(ObjectBlobs):
    """Blobs that are gone with the process."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())


def _failed(verb: str, key: str, error: Exception) -> StorageFailed:
    # obstore puts its whole inner state behind the first line.
    _log.error("blob %s could not be %s: %s", key, verb, str(error).partition("\n")[0])
    return StorageFailed(f"a file could not be {verb}; the server's log says more")
