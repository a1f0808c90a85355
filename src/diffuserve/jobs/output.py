"""Finished drawings become artifacts: cropped, enlarged and encoded in a thread, then stored as blobs."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from diffuserve.core.errors import StorageFailed
from diffuserve.core.events import ArtifactReady
from diffuserve.core.job import Artifact, Job
from diffuserve.core.ports import BlobStore, Clock
from diffuserve.core.request import Canvas, InputImage
from diffuserve.jobs import ids

_log = logging.getLogger(__name__)

RETRY_PAUSES = (0.2, 1.0, 3.0)
"""Seconds before each further try of something that storage refused."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """What `media` does for the worker; both are slow enough to run in a thread."""

    encode: Callable[[bytes, Canvas, int, int], bytes]
    """RGB pixels of canvas size to a PNG of width x height."""
    fit: Callable[[InputImage, Canvas], bytes]
    """An input picture to a PNG of canvas size."""


class Output:
    def __init__(self, blobs: BlobStore, clock: Clock, pictures: Pictures) -> None:
        self._blobs = blobs
        self._clock = clock
        self._pictures = pictures

    async def store(self, job: Job, drawn: ArtifactReady) -> Artifact:
        """The artifact, its bytes safely stored. Raises StorageFailed when trying again did not help."""
        data, digest = await asyncio.to_thread(self._encode, job, drawn)
        name = ids.artifact_id()
        artifact = Artifact(
            id=name,
            index=drawn.index,
            blob_key=ids.artifact_key(self._clock.now(), job.id, name),
            media_type="image/png",
            size=len(data),
            width=job.request.width,
            height=job.request.height,
            seed=drawn.seed,
            digest=digest,
        )
        await self._put(artifact.blob_key, data)
        return artifact

    async def discard(self, artifacts: Iterable[Artifact]) -> None:
        """Delete blobs that no row will ever name."""
        for artifact in artifacts:
            try:
                await self._blobs.delete(artifact.blob_key)
            except StorageFailed:
                _log.warning("blob %s is left behind", artifact.blob_key)

    def _encode(self, job: Job, drawn: ArtifactReady) -> tuple[bytes, str]:
        data = self._pictures.encode(drawn.pixels, job.request.canvas, job.request.width, job.request.height)
        return data, hashlib.sha256(data).hexdigest()

    async def _put(self, key: str, data: bytes) -> None:
        for pause in RETRY_PAUSES:
            try:
                return await self._blobs.put(key, data)
            except StorageFailed:
                await self._clock.sleep(pause)
        await self._blobs.put(key, data)
