"""Tables and times as commands print and read them. Lines are never cut: scripts and long ids pass through whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from diffuserve.core.errors import ConfigurationError

_AGE = re.compile(r"([0-9]{1,6})([smhdw])")
_END = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines with aligned columns; an empty cell is a hyphen, so that the columns can be counted."""
    cells = [tuple(headings), *(tuple(cell or "-" for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def when(time: float | None) -> str:
    """A time in Unix seconds as RFC 3339, UTC; nothing for None."""
    return (
        "" if time is None else datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    )


def number(value: float | None) -> str:
    """Without a fraction where it has none, and never in powers of ten."""
    return "" if value is None else f"{value:.6f}".rstrip("0").rstrip(".")


def moment(flag: str, text: str, now: float, *, ahead: bool = False) -> float:
    """The Unix seconds that `text` means: a date, a date and time (UTC where it does not say), `now`, or an age such as
    `24h` and `30d`: that long ago, or `ahead` of now.

    Raises ConfigurationError naming the flag.
    """
    if text == "now":
        return now
    time: float | None = None
    if age := _AGE.fullmatch(text):
        seconds = timedelta(**{_UNITS[age[2]]: int(age[1])}).total_seconds()
        time = now + seconds if ahead else now - seconds
    else:
        with suppress(ValueError, OverflowError):
            date = datetime.fromisoformat(text)
            time = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    if time is None or not 0 <= time < _END:
        raise ConfigurationError(
            f"{flag} must be a date (2026-01-31), a time (2026-01-31T12:00, UTC), `now`, or a span (30m, 24h, 30d), "
            f"got {text!r}"
        )
    return time
