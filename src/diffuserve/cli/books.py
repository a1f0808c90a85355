"""How the commands that manage accounts, keys and plans reach the store: beside a running server, without its lock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from diffuserve.core.errors import ConfigurationError, InvalidParameter

if TYPE_CHECKING:
    from diffuserve.wiring import Books

T = TypeVar("T")


def with_books(config: Path | None, data_dir: Path | None, work: Callable[[Books], Awaitable[T]]) -> T:
    """What `work` returns. Raises ConfigurationError for settings and values that cannot be."""
    from diffuserve import logs
    from diffuserve.config import load
    from diffuserve.wiring import open_books

    settings = load(config, data_dir=data_dir)
    logs.configure("warning", json=settings.log_json)

    async def opened() -> T:
        async with open_books(settings) as books:
            return await work(books)

    try:
        return asyncio.run(opened())
    except InvalidParameter as error:
        raise ConfigurationError(error.message) from None
