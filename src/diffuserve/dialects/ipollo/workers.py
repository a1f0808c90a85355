"""Who takes on tasks. Nobody does yet: a worker for video is given to `dialect(workers=...)`, and nothing else changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from diffuserve.core.job import Job
from diffuserve.dialects.base import Rooms
from diffuserve.dialects.ipollo.errors import NoWorker
from diffuserve.dialects.ipollo.operations import Kind
from diffuserve.dialects.ipollo.parse import Assignment
from diffuserve.dialects.ipollo.wallets import Payer

SPEECH = "speech"


class Worker(Protocol):
    """Takes on tasks of one kind."""

    async def submit(self, rooms: Rooms, payer: Payer, assignment: Assignment, memo: str) -> Job:
        """Accept a task. The job belongs to `payer.principal`, is charged to plans of `payer.wallet` and keeps `memo`.

        Raises UnreadablePicture for a source that cannot be fetched or is not what it should be.
        """
        ...


def worker_for(workers: Mapping[Kind, Worker], kind: Kind) -> Worker:
    """Raises NoWorker: an installation says honestly what it cannot do."""
    if kind not in workers:
        raise NoWorker(kind.value)
    return workers[kind]
