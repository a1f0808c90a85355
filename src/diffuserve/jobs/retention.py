"""What is old goes: jobs and their pictures after the days that the operator chose, input pictures once no job needs them.

Blobs go before the rows that name them, so that whatever stops the sweeper halfway, the next sweep finds the rest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from diffuserve.core.errors import StorageFailed
from diffuserve.core.ports import BlobStore, Clock, RetentionStore
from diffuserve.jobs import ids

_log = logging.getLogger(__name__)

DAY = 86400.0
INPUT_GRACE = 3600.0
"""Seconds for which an input picture is let alone after it was last sent: its job's row comes a moment after it."""

_LONGEST_PAUSE = 3600.0
_BATCH = 100
_DELETES_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep deleted."""

    jobs: int = 0
    inputs: int = 0


class Sweeper:
    """Sweeps at the start and then every so often. Several servers on one database may sweep at the same time."""

    def __init__(self, *, store: RetentionStore, blobs: BlobStore, clock: Clock, days: float | None) -> None:
        """`days`: how long ended jobs are kept; None is for ever."""
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._seconds = None if days is None else days * DAY
        self._deleting = asyncio.Semaphore(_DELETES_AT_ONCE)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="sweeper")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    @property
    def pause(self) -> float:
        """Seconds between sweeps: an hour, or less where jobs are kept for hours only."""
        return _LONGEST_PAUSE if self._seconds is None else min(_LONGEST_PAUSE, self._seconds / 4)

    async def sweep(self) -> Swept:
        """Once, now. Raises StorageFailed where something could not be deleted; it is tried again by the next sweep."""
        jobs = 0 if self._seconds is None else await self._sweep_jobs(self._clock.now() - self._seconds)
        return Swept(jobs, await self._sweep_inputs())

    async def _run(self) -> None:
        while True:
            try:
                swept = await self.sweep()
                if swept != Swept():
                    _log.info("%s old jobs and %s input pictures were deleted", swept.jobs, swept.inputs)
            except StorageFailed:
                _log.warning("old pictures could not all be deleted; the next sweep tries again")
            except Exception:  # noqa: BLE001 - the server goes on with a full disk sooner than not at all
                _log.exception("the sweep for old jobs failed; trying again")
            await self._clock.sleep(self.pause)

    async def _sweep_jobs(self, ended_before: float) -> int:
        count = 0
        while batch := await self._store.expired(ended_before, ids.first_id(ended_before), _BATCH):
            await self._delete(key for job in batch for key in job.blob_keys)
            await self._store.forget([job.job_id for job in batch])
            count += len(batch)
        return count

    async def _sweep_inputs(self) -> int:
        before = self._clock.now() - INPUT_GRACE
        old = await self._blobs.older(ids.INPUTS, before)
        if not old:
            return 0
        # Asked after the listing: a job that was submitted before it is in the answer.
        needed = {ids.input_key(digest) for digest in await self._store.inputs_in_use()}
        count = 0
        for key in old:
            # Asked again for each: meanwhile somebody may have sent the same picture once more.
            if key not in needed and await self._blobs.is_older(key, before):
                await self._blobs.delete(key)
                count += 1
        return count

    async def _delete(self, keys: Iterable[str]) -> None:
        async def delete(key: str) -> None:
            async with self._deleting:
                await self._blobs.delete(key)

        results = await asyncio.gather(*(delete(key) for key in keys), return_exceptions=True)
        for failure in results:
            if failure is not None:
                raise failure
