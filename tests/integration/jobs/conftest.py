from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.jobs import House, house


@pytest.fixture
async def quick(tmp_path: Path) -> AsyncIterator[House]:
    """A house whose engine takes no time."""
    async with house(tmp_path) as built:
        yield built


@pytest.fixture
async def slow(tmp_path: Path) -> AsyncIterator[House]:
    """A house whose engine takes a second a step, by a clock that the test moves."""
    async with house(tmp_path, step_seconds=1.0) as built:
        yield built


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[House]:
    """A house whose worker has not begun."""
    async with house(tmp_path, started=False) as built:
        yield built
