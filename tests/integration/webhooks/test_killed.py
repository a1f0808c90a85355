"""A sender that dies by `kill -9` between a receiver's answer and its note of it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

import pytest

from diffuserve.core.delivery import DeliveryStatus
from support.outbox import outbox
from support.receiver import receiving

pytestmark = pytest.mark.integration


async def test_what_was_sent_but_not_noted_is_sent_again_with_the_same_id(database_url: str) -> None:
    async with receiving() as receiver:
        async with outbox(database_url, now=time.time()) as box:
            delivery = await box.end_job(receiver.url)
        dying = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "support.killed_sender",
            database_url,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        first = await receiver.call()
        assert await dying.wait() == -signal.SIGKILL
        async with outbox(database_url, now=time.time() + 100) as box:
            assert (await box.of(1)).status is DeliveryStatus.PENDING
            await box.started()
            second = await receiver.call()
            assert first.id == second.id == delivery.id
            assert await box.watched.written.get() == ("delivered", delivery.id)
