from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from diffuserve.core.ports import JobStore
from diffuserve.store import Stores, open_store


@pytest.fixture
async def stores(database_url: str) -> AsyncIterator[Stores]:
    opened = await open_store(database_url)
    yield opened
    await opened.close()


@pytest.fixture
def store(stores: Stores) -> JobStore:
    return stores.jobs
