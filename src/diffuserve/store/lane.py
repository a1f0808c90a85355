"""Threads with a connection each, and a queue before them: plain functions of a `Connection` go in, results come out.

All that waits when a thread is free may run in one transaction (group commit), so that under load many jobs share the
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

_TRIES = 5
"""How often a call is made that the database itself asks to repeat."""


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
    """Runs functions on threads of its own, over connections of `engine`."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        *,
        threads: int = 1,
        group: int = 256,
        passing: Callable[[SQLAlchemyError], bool] = lambda error: False,
    ) -> None:
        """`group`: how many calls share a transaction at most. More than one thread must not group: two transactions
        that each change many rows would wait for each other in a circle.

        `passing`: whether an error, raised before anything was committed, is gone at the next try.
        """
        self._engine = engine
        self._group = group
        self._passing = passing
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._threads = [threading.Thread(target=self._work, name=f"{name}-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

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
            _log.error("the job store failed: %s", _described(error))
            raise StorageFailed("the job store failed; the server's log says more") from None

    async def close(self) -> None:
        """Finish what was asked before, then end the threads."""
        if not self._closed:
            self._closed = True
            for _ in self._threads:
                self._calls.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

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
        while len(group) < self._group:
            try:
                call = self._calls.get(block=not group)
            except queue.Empty:
                break
            if call is None:
                return group, False
            group.append(call)
        return group, True

    def _commit_together(self, group: Sequence[_Call]) -> list[_Result]:
        error: Exception
        for _ in range(_TRIES):
            ran = False
            try:
                with self._engine.begin() as connection:
                    results = [_Result(call, call.function(connection)) for call in group]
                    ran = True
                return results
            except SQLAlchemyError as failure:
                error = failure
                # After a commit that failed nobody knows what was written.
                if ran or not self._passing(failure):
                    break
            except Exception as failure:  # noqa: BLE001 - whatever it is belongs to whoever asked
                error = failure
                break
        if len(group) == 1:
            return [_Result(group[0], error=error)]
        # One bad call must not fail its neighbours: everything was rolled back, so each runs again on its own.
        return [result for call in group for result in self._commit_together([call])]


def _deliver(results: Sequence[_Result]) -> None:
    for result in results:
        result.deliver()


def _described(error: Exception) -> str:
    """What happened, without the values that it happened to: they may be prompts and secrets."""
    if isinstance(error, ValidationError):
        return f"a row does not parse: {error.errors(include_input=False, include_context=False)}"
    lines = str(getattr(error, "orig", None) or error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
