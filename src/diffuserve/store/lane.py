"""A thread with one connection, and a queue before it: plain functions of a `Connection` go in, results come out.

All that waits when the thread is free runs in one transaction (group commit), so that under load many jobs share the
cost of a commit and of the hop between threads, and an idle store adds no delay. A function may therefore run a second
time, after a rollback: it must change nothing but what its connection reaches.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from diffuserve.core.errors import StorageFailed

_log = logging.getLogger(__name__)

T = TypeVar("T")

_MOST_IN_A_GROUP = 256


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    function: Callable[[Connection], Any]
    future: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Result:
    call: _Call
    value: Any = None
    error: BaseException | None = None

    def deliver(self) -> None:
        future = self.call.future
        if future.done():  # whoever asked was cancelled meanwhile
            return
        if self.error is not None:
            future.set_exception(self.error)
        else:
            future.set_result(self.value)


class Lane:
    """Runs functions one after the other on a thread of its own, over one connection of `engine`."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def run(self, function: Callable[[Connection], T]) -> T:
        """What `function` returned, after its transaction was committed.

        Raises StorageFailed for any error of the database and for rows that do not parse; the log says which.
        """
        if self._closed:
            raise StorageFailed("the job store is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._calls.put(_Call(function, future))
        try:
            return await future
        except (SQLAlchemyError, ValidationError) as error:
            _log.error("the job store failed: %s", error)
            raise StorageFailed("the job store failed; the server's log says more") from error

    async def close(self) -> None:
        """Finish what was asked before, then end the thread."""
        if not self._closed:
            self._closed = True
            self._calls.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        going = True
        while going:
            group, going = self._next_group()
            if group:
                results = self._commit_together(group)
                try:
                    self._loop.call_soon_threadsafe(_deliver, results)
                except RuntimeError:  # the event loop is gone, and everybody who asked with it
                    return

    def _next_group(self) -> tuple[list[_Call], bool]:
        """All calls that wait (at least one), and whether there will be more."""
        group: list[_Call] = []
        while len(group) < _MOST_IN_A_GROUP:
            try:
                call = self._calls.get(block=not group)
            except queue.Empty:
                break
            if call is None:
                return group, False
            group.append(call)
        return group, True

    def _commit_together(self, group: Sequence[_Call]) -> list[_Result]:
        try:
            with self._engine.begin() as connection:
                return [_Result(call, call.function(connection)) for call in group]
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to whoever asked
            if len(group) == 1:
                return [_Result(group[0], error=error)]
        # One bad call must not fail its neighbours: everything was rolled back, so each runs again on its own.
        return [result for call in group for result in self._commit_together([call])]


def _deliver(results: Sequence[_Result]) -> None:
    for result in results:
        result.deliver()
