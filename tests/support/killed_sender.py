"""A program: sends what is due in the database `argv[1]`, and is killed after a receiver answered, before it notes that."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import Any

from diffuserve.core.delivery import Delivery
from diffuserve.core.job import Job
from diffuserve.store import open_store
from diffuserve.webhooks.client import Client
from diffuserve.webhooks.rendered import Rendered
from diffuserve.webhooks.sender import Sender


class RealClock:
    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Deadly:
    """A delivery store on which noting a success is the last that this process does."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def delivered(self, delivery_id: str, now: float) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


async def render(job: Job, delivery: Delivery) -> Rendered:
    return Rendered(b"{}", headers={"webhook-id": delivery.id})


async def main(url: str) -> None:
    stores = await open_store(url)
    sender = Sender(
        deliveries=Deadly(stores.deliveries),
        job=stores.jobs.get,
        render=render,
        client=Client(allow_private=True),
        clock=RealClock(),
    )
    await sender.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
