"""Answers that are kept, so that the same prompt gives the same picture and is asked for once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable

MAX_ANSWERS = 4096


class Kept:
    """Answers under keys; of more than `limit`, those that were used longest ago are forgotten. Failures are not kept."""

    def __init__(self, limit: int = MAX_ANSWERS) -> None:
        self._limit = limit
        self._answers: OrderedDict[tuple[str, ...], str] = OrderedDict()

    async def get(self, key: tuple[str, ...], ask: Callable[[], Awaitable[str]]) -> str:
        """The answer that is kept under `key`, or what `ask` returns. Of two who ask at once, both get the first answer."""
        if key not in self._answers:
            self._answers.setdefault(key, await ask())
        self._answers.move_to_end(key)
        answer = self._answers[key]
        while len(self._answers) > self._limit:
            self._answers.popitem(last=False)
        return answer
