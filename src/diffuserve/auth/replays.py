"""A signature serves once: whoever records a signed request cannot send it again.

Clocks of signing schemes tick in seconds, so a client that asks for the same thing twice within a second signs the same
twice. Such twins arrive together; a recording arrives later. That is how the two are told apart.
"""

from __future__ import annotations

MAX_REMEMBERED = 65_536


class Replays:
    """The signatures that were used, in memory: each of several servers remembers its own, and a restart forgets."""

    def __init__(self, grace: float, most: int = MAX_REMEMBERED) -> None:
        """`grace` is for how many seconds after its first use a signature may be used again; 0 is never. Of more than
        `most` signatures the oldest is forgotten."""
        self._grace = grace
        self._most = most
        self._used: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._used)

    def use(self, signature: str, now: float, until: float) -> bool:
        """Whether a verified signature may be used `now`. It is remembered until it expires by itself; all in Unix seconds."""
        known = self._used.get(signature)
        if known is not None:
            return self._grace > 0 and 0 <= now - known[0] <= self._grace
        self._forget(now)
        self._used[signature] = (now, until)
        return True

    def _forget(self, now: float) -> None:
        """What has expired, as far as it stands in front, and one more where there is no room."""
        while self._used:
            oldest = next(iter(self._used))
            if len(self._used) < self._most and self._used[oldest][1] >= now:
                return
            del self._used[oldest]
