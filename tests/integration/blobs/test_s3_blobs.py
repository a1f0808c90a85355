"""Pictures in a bucket, against a real S3 service that checks signatures."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx2
import pytest

from diffuserve.blobs import Bucket, S3Blobs
from diffuserve.core.errors import ConfigurationError, StorageFailed
from support.s3 import BUCKET, SECRET_KEY, S3Service, s3_service

pytestmark = pytest.mark.integration

KEY = "artifacts/2027/01/15/1/abc.png"


@pytest.fixture
def blobs(s3: S3Service, tmp_path: Path) -> S3Blobs:
    return S3Blobs(s3.bucket(prefix=tmp_path.name))


async def _get(url: str) -> httpx2.Response:
    async with httpx2.AsyncClient(trust_env=False) as client:
        return await client.get(url)


async def test_an_object_lies_under_its_key_below_the_prefix(s3: S3Service) -> None:
    await S3Blobs(s3.bucket(prefix="/Team-1/diffuserve/")).put(KEY, b"picture")
    assert (s3.root / BUCKET / "Team-1/diffuserve" / KEY).read_bytes() == b"picture"


async def test_a_presigned_link_opens_and_says_what_the_object_is(blobs: S3Blobs) -> None:
    await blobs.put(KEY, b"picture")
    answer = await _get(await blobs.link(KEY, 60))
    assert (answer.status_code, answer.content) == (200, b"picture")
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == 'inline; filename="abc.png"'


async def test_a_presigned_link_for_another_object_does_not_open(blobs: S3Blobs) -> None:
    await blobs.put(KEY, b"picture")
    await blobs.put("artifacts/other.png", b"another")
    link = await blobs.link(KEY, 60)
    assert (await _get(link.replace(KEY, "artifacts/other.png"))).status_code == 403


async def test_an_object_does_not_open_without_a_signature(blobs: S3Blobs) -> None:
    await blobs.put(KEY, b"picture")
    assert (await _get((await blobs.link(KEY, 60)).partition("?")[0])).status_code in (400, 403)


async def test_a_presigned_link_stops_to_open(blobs: S3Blobs) -> None:
    await blobs.put(KEY, b"picture")
    link = await blobs.link(KEY, 2)
    assert (await _get(link)).status_code == 200
    async with asyncio.timeout(20):
        while (await _get(link)).status_code == 200:  # noqa: ASYNC110 - only the service's own clock can end it
            await asyncio.sleep(0.2)
    assert b"AccessDenied" in (await _get(link)).content


async def test_a_link_on_a_public_base_url_is_that_and_the_key(s3: S3Service) -> None:
    blobs = S3Blobs(s3.bucket(prefix="team", public_base_url="https://cdn.example.org/x/"))
    assert await blobs.link(KEY, 60) == f"https://cdn.example.org/x/team/{KEY}"


async def test_the_probe_passes_and_leaves_nothing_behind(s3: S3Service) -> None:
    await S3Blobs(s3.bucket(prefix="probed")).probe()
    assert not [key for key in s3.objects() if key.startswith("probed/")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "missing"}, "there is no such bucket"),
        ({"secret_key": "wrong"}, "access is denied (SignatureDoesNotMatch); check s3_access_key"),
    ],
)
async def test_the_probe_says_what_is_wrong_and_never_the_secret(
    s3: S3Service, changes: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await S3Blobs(s3.bucket(**changes)).probe()
    assert words in caught.value.message
    assert "wrong" not in caught.value.message
    assert SECRET_KEY not in caught.value.message


async def test_a_service_that_is_not_there_is_a_configuration_error_at_the_start() -> None:
    nowhere = Bucket("b", endpoint="http://127.0.0.1:1", access_key="a", secret_key="b", path_style=True)
    with pytest.raises(ConfigurationError, match=r"the bucket b at http://127\.0\.0\.1:1 cannot be written to"):
        await S3Blobs(nowhere).probe()


async def test_a_service_that_went_away_is_a_storage_failure_and_works_again_when_it_is_back(tmp_path: Path) -> None:
    with s3_service(tmp_path) as service:
        blobs = S3Blobs(service.bucket())
        await blobs.put(KEY, b"one")
        port = service.port
    for call in (blobs.put(KEY, b"two"), blobs.get(KEY), blobs.delete(KEY), blobs.older("artifacts", 0)):
        with pytest.raises(StorageFailed):
            await call
    with s3_service(tmp_path, port):
        assert await blobs.get(KEY) == b"one"
