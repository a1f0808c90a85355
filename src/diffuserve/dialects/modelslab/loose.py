"""Fields as this API's callers write them: numbers as text, yes and no in ten spellings, lists with commas, three ways to
be absent. Parsed once, here; refusals are in the vendor's words ("samples must be between 1 and 4").

What comes in are the fields of `dialects.bodies`, in which numbers are text already.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from diffuserve.core.errors import InvalidParameter
from diffuserve.dialects.base import unknown_value

_WHOLE = re.compile(r"[+-]?[0-9]{1,40}(\.0*)?")
_NUMBER = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,60})?|\.[0-9]{1,60})([eE][+-]?[0-9]{1,3})?")
FLAGS = {"yes": True, "true": True, "1": True, "on": True, "no": False, "false": False, "0": False, "off": False}


class Fields:
    """The fields of one call, read by name and checked one by one. Missing, null and the empty text all mean absent."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def names(self) -> Iterable[str]:
        """Of everything that is not absent."""
        return [name for name in self._values if self.given(name)]

    def given(self, name: str) -> bool:
        value = self._values.get(name)
        return not (value is None or value == [] or (isinstance(value, str) and not value.strip()))

    def raw(self, name: str) -> Any:
        return self._values.get(name) if self.given(name) else None

    def text(self, name: str, default: str = "") -> str:
        """As it came, blanks included."""
        value = self.raw(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise InvalidParameter(name, "a string", _shown(value))
        return value

    def whole(self, name: str, low: int, high: int, default: int | None = None, *, clamp: bool = False) -> int | None:
        """`clamp`: what is above `high` counts as `high`."""
        value = self._number(name, _WHOLE, "an integer")
        if value is None:
            return default
        number = int(value.partition(".")[0])
        if clamp and number > high:
            return high
        if not low <= number <= high:
            raise InvalidParameter(name, f"between {low} and {high}", value)
        return number

    def number(self, name: str, low: float, high: float, default: float | None = None) -> float | None:
        value = self._number(name, _NUMBER, "a number")
        if value is None:
            return default
        return _within(name, float(value), low, high, value)

    def numbers(self, name: str, low: float, high: float) -> list[float]:
        """A number or several."""
        found = []
        for item in self.items(name):
            if not _NUMBER.fullmatch(item):
                raise InvalidParameter(name, "a number", item)
            found.append(_within(name, float(item), low, high, item))
        return found

    def flag(self, name: str, default: bool) -> bool:
        value = self.raw(name)
        if value is None:
            return default
        known = value if isinstance(value, bool) else FLAGS.get(value.strip().lower()) if _is_text(value) else None
        if known is None:
            raise InvalidParameter(name, '"yes" or "no"', _shown(value))
        return known

    def items(self, name: str) -> list[str]:
        """Text with commas between the items, or a JSON array; absent items are left out."""
        value = self.raw(name)
        if value is None:
            return []
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise InvalidParameter(name, "a string or an array of strings", _shown(value))
        return [part.strip() for part in parts if part.strip()]

    def choice(self, name: str, accepted: Sequence[str], default: str) -> str:
        value = self.text(name).strip()
        if not value:
            return default
        if value.lower() not in accepted:
            raise unknown_value(name, list(accepted), value)
        return value.lower()

    def picture(self, name: str) -> str | bytes | None:
        """A link, a data URL or base64; the bytes of a file part."""
        value = self.raw(name)
        if isinstance(value, bytes):
            return value or None
        return self.text(name).strip() or None

    def _number(self, name: str, form: re.Pattern[str], what: str) -> str | None:
        value = self.raw(name)
        if value is None:
            return None
        if not _is_text(value) or not form.fullmatch(value.strip()):
            raise InvalidParameter(name, what, _shown(value))
        return str(value.strip())


def _within(name: str, number: float, low: float, high: float, shown: str) -> float:
    if not low <= number <= high:
        raise InvalidParameter(name, f"between {low:g} and {high:g}", shown)
    return number


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _shown(value: object) -> object:
    return None if isinstance(value, bytes) else value
