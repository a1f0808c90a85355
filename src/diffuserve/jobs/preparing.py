"""A job's input pictures, from their blobs to what the engine gets."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from diffuserve.core.errors import ArtifactNotFound, StorageFailed
from diffuserve.core.ports import BlobStore
from diffuserve.core.request import ResolvedRequest, map_pictures, pictures
from diffuserve.jobs import ids
from diffuserve.jobs.output import Pictures
from diffuserve.media.prepared import Prepared

# Jobs at once whose pictures are in memory in full size; the others wait with empty hands.
_AT_ONCE = 4


class Preparing:
    def __init__(self, blobs: BlobStore, pictures: Pictures) -> None:
        self._blobs = blobs
        self._pictures = pictures
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def prepare(self, request: ResolvedRequest) -> Prepared:
        """`request` ready for an engine. Raises StorageFailed, also where a picture is gone."""
        if not pictures(request) and request.watermark is None:
            return Prepared(request)
        async with self._room:
            return await asyncio.to_thread(self._pictures.prepare, await self._loaded(request))

    async def _loaded(self, request: ResolvedRequest) -> ResolvedRequest:
        """The request with the data of its pictures; one that serves twice is read once."""
        data: dict[str, bytes] = {}
        for image in pictures(request):
            if image.digest not in data:
                data[image.digest] = await self._read(image.digest)
        return map_pictures(request, lambda image: replace(image, data=data[image.digest]))

    async def _read(self, digest: str) -> bytes:
        try:
            return await self._blobs.get(ids.input_key(digest))
        except ArtifactNotFound:
            raise StorageFailed("an input picture of the job is gone") from None
