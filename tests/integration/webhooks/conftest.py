from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from support.outbox import Outbox, outbox


@pytest.fixture
async def box(database_url: str) -> AsyncIterator[Outbox]:
    async with outbox(database_url) as opened:
        yield opened
