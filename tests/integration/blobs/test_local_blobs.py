"""What every `BlobStore` promises, on every one there is."""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from diffuserve.blobs import LocalBlobs, MemoryBlobs, S3Blobs
from diffuserve.core.errors import ArtifactNotFound, ConfigurationError, StorageFailed
from diffuserve.core.ports import BlobStore
from support.s3 import S3Service

pytestmark = pytest.mark.integration

KINDS: dict[str, Callable[[Path, S3Service], BlobStore]] = {
    "local": lambda folder, s3: LocalBlobs(folder / "blobs"),
    "memory": lambda folder, s3: MemoryBlobs(),
    "s3": lambda folder, s3: S3Blobs(s3.bucket(prefix=folder.name)),
}


@pytest.fixture(params=KINDS)
def blobs(request: pytest.FixtureRequest, tmp_path: Path, s3: S3Service) -> BlobStore:
    return KINDS[request.param](tmp_path, s3)


async def test_a_blob_comes_back_as_it_was_put(blobs: BlobStore) -> None:
    await blobs.put("artifacts/2027/01/15/1/abc.png", bytes(range(256)))
    assert await blobs.get("artifacts/2027/01/15/1/abc.png") == bytes(range(256))


async def test_putting_again_replaces(blobs: BlobStore) -> None:
    await blobs.put("a/b.png", b"one")
    await blobs.put("a/b.png", b"")
    assert await blobs.get("a/b.png") == b""


async def test_a_missing_blob_is_not_found(blobs: BlobStore) -> None:
    with pytest.raises(ArtifactNotFound):
        await blobs.get("a/missing.png")


async def test_a_deleted_blob_is_gone_and_deleting_twice_is_no_error(blobs: BlobStore) -> None:
    await blobs.put("a/b.png", b"one")
    await blobs.delete("a/b.png")
    await blobs.delete("a/b.png")
    with pytest.raises(ArtifactNotFound):
        await blobs.get("a/b.png")


@pytest.mark.parametrize("key", ["../secret.key", "/etc/passwd", "a/../../b", "A.png", "a//b", "", "a/", ".hidden"])
async def test_a_key_that_could_lead_elsewhere_is_refused(blobs: BlobStore, key: str) -> None:
    for call in (blobs.put(key, b""), blobs.get(key), blobs.delete(key)):
        with pytest.raises(ValueError, match="not a blob key"):
            await call


async def test_concurrent_puts_of_one_key_leave_one_of_them_whole(blobs: BlobStore) -> None:
    versions = [bytes([n]) * 100_000 for n in range(8)]
    await asyncio.gather(*(blobs.put("a/b.png", version) for version in versions))
    assert await blobs.get("a/b.png") in versions


async def test_blobs_that_are_older_than_a_time_are_found_in_their_folder(blobs: BlobStore) -> None:
    await blobs.put("inputs/aa/one.png", b"one")
    await blobs.put("inputs/bb/two.png", b"two")
    await blobs.put("artifacts/three.png", b"three")
    later = time.time() + 60
    assert sorted(await blobs.older("inputs", later)) == ["inputs/aa/one.png", "inputs/bb/two.png"]
    assert await blobs.older("inputs", later - 120) == []
    assert await blobs.is_older("inputs/aa/one.png", later)
    assert not await blobs.is_older("inputs/aa/one.png", later - 120)
    assert not await blobs.is_older("inputs/aa/missing.png", later)


async def test_a_folder_that_nothing_was_put_into_holds_nothing_old(blobs: BlobStore) -> None:
    assert list(await blobs.older("inputs", time.time() + 60)) == []


async def test_only_the_owner_may_look_into_the_folder(tmp_path: Path) -> None:
    LocalBlobs(tmp_path / "data" / "blobs")
    assert stat.S_IMODE((tmp_path / "data" / "blobs").stat().st_mode) == 0o700


async def test_a_file_in_the_way_is_a_storage_failure(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    (tmp_path / "a").write_text("in the way")
    with pytest.raises(StorageFailed, match="could not be stored"):
        await blobs.put("a/b.png", b"one")
    with pytest.raises(StorageFailed, match="could not be read"):
        await blobs.get("a/b.png")


def test_a_root_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be used"):
        LocalBlobs(tmp_path / "file" / "blobs")
