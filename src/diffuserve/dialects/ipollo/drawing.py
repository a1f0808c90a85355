"""From a wish to an ended job: accepted, charged to the right plan, waited for."""

from __future__ import annotations

import logging

from starlette.requests import Request

from diffuserve.core.errors import DeadlineExceeded, QuotaExhausted
from diffuserve.core.job import Job
from diffuserve.dialects.base import Rooms
from diffuserve.dialects.endpoint import attend
from diffuserve.dialects.hashes import ModelHashes
from diffuserve.dialects.ipollo import tasks, wallets
from diffuserve.dialects.ipollo.operations import NAME
from diffuserve.dialects.ipollo.parse import Wish
from diffuserve.dialects.ipollo.wallets import Payer
from diffuserve.jobs.service import ended_or_raise

log = logging.getLogger(__name__)


class Drawing:
    """Draws pictures for callers who hold the line."""

    def __init__(self, rooms: Rooms, wait_seconds: float) -> None:
        self._rooms = rooms
        self._wait_seconds = wait_seconds
        self._hashes = ModelHashes()

    async def draw(self, request: Request, wish: Wish, payer: Payer) -> Job:
        """The job, which succeeded. Raises what `JobService.submit` and `ended_or_raise` do, and DeadlineExceeded."""
        jobs = self._rooms.jobs
        try:
            job = await jobs.submit(payer.principal, NAME, wish.request, memo=tasks.new_memo(), wallet=payer.wallet)
        except QuotaExhausted as refusal:
            raise await wallets.explained(self._rooms, payer, refusal) from None
        self._hashes.begin(jobs.catalog.find(job.request.model))
        try:
            ended = await attend(self._rooms, request, job, self._wait_seconds)
        except DeadlineExceeded as error:
            # It is paid for if it is drawn, so it must be possible to fetch it.
            error.message += f", and can be asked for as taskID={tasks.task_id(job)}"
            raise
        if ended.notes:
            log.info("job %s: %s", ended.id, "; ".join(ended.notes))
        return ended_or_raise(ended)

    async def model_hash(self, job: Job) -> str:
        """SHA-256 of the model that drew; it is reckoned while the first picture is drawn."""
        return await self._hashes.of(self._rooms.jobs.catalog.find(job.request.model))
