"""What a database is to the stores: somebody who runs plain functions of a connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")


class Database(Protocol):
    """An open, migrated database. Every call raises StorageFailed where it does not answer.

    A function may run a second time, after a rollback: it must change nothing but what its connection reaches.
    """

    async def write(self, function: Callable[[Connection], T]) -> T:
        """What `function` returned, once its transaction is committed; alone or together with others."""
        ...

    async def read(self, function: Callable[[Connection], T]) -> T:
        """What `function` returned. It must not write."""
        ...

    async def close(self) -> None: ...
