"""Drawings become artifacts: finished and encoded by `media` in a thread, then stored as blobs."""

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
from diffuserve.core.request import ResolvedRequest
from diffuserve.jobs import ids
from diffuserve.media.prepared import Prepared, Underlay

_log = logging.getLogger(__name__)

RETRY_PAUSES = (0.2, 1.0, 3.0)
"""Seconds before each further try of something that storage refused."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """What `media` does for the worker; both are slow enough to run in a thread."""

    prepare: Callable[[ResolvedRequest], Prepared]
    """A request whose pictures have their data to one whose pictures an engine can use."""
    finish: Callable[[bytes, ResolvedRequest, Underlay | None], bytes]
    """RGB pixels of canvas size to the file of the request's size and format."""


class Output:
    def __init__(self, blobs: BlobStore, clock: Clock, pictures: Pictures) -> None:
        self._blobs = blobs
        self._clock = clock
        self._pictures = pictures

    async def store(self, job: Job, drawn: ArtifactReady, underlay: Underlay | None = None) -> Artifact:
        """The artifact, its bytes safely stored. Raises StorageFailed when trying again did not help."""
        data, digest = await asyncio.to_thread(self._finish, job.request, drawn, underlay)
        name, form = ids.artifact_id(), job.request.format
        artifact = Artifact(
            id=name,
            index=drawn.index,
            blob_key=ids.artifact_key(self._clock.now(), job.id, name, form.value),
            media_type=form.media_type,
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

    def _finish(self, request: ResolvedRequest, drawn: ArtifactReady, underlay: Underlay | None) -> tuple[bytes, str]:
        data = self._pictures.finish(drawn.pixels, request, underlay)
        return data, hashlib.sha256(data).hexdigest()

    async def _put(self, key: str, data: bytes) -> None:
        for pause in RETRY_PAUSES:
            try:
                return await self._blobs.put(key, data)
            except StorageFailed:
                await self._clock.sleep(pause)
        await self._blobs.put(key, data)
