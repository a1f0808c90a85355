"""Tables and times on the command line."""

from __future__ import annotations

import pytest

from diffuserve.cli.show import moment, number, table, when
from diffuserve.core.errors import ConfigurationError

pytestmark = pytest.mark.unit

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def test_columns_are_as_wide_as_their_widest_cell_and_none_is_empty() -> None:
    assert list(table(("a", "long"), [("wide", ""), ("x", "y")])) == ["a     long", "wide  -", "x     y"]


def test_a_table_without_rows_is_its_headings() -> None:
    assert list(table(("a", "b"), [])) == ["a  b"]


def test_times_are_written_in_utc() -> None:
    assert when(NOW + 0.9) == "2026-01-01T00:00:00Z"
    assert when(None) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(2.0, "2"), (2.5, "2.5"), (1e12, "1000000000000"), (1e-7, "0"), (0, "0"), (None, ""), (100, "100")],
)
def test_numbers_have_no_fraction_and_no_power_that_they_do_not_need(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("now", NOW),
        ("30s", NOW - 30),
        ("90m", NOW - 5400),
        ("24h", NOW - 86400),
        ("1w", NOW - 7 * 86400),
        ("2026-01-02", NOW + 86400),
        ("2026-01-01T08:00+08:00", NOW),
        ("2026-01-01T00:00:00Z", NOW),
        ("2026-01-01 01:00", NOW + 3600),
    ],
)
def test_a_moment_is_a_date_a_time_or_a_span(text: str, time: float) -> None:
    assert moment("--since", text, NOW) == time


def test_a_span_may_lie_ahead() -> None:
    assert moment("--until", "30d", NOW, ahead=True) == NOW + 30 * 86400


@pytest.mark.parametrize(
    "text", ["", "soon", "30", "-1d", "1y", "2026-13-01", "0001-01-01T00:00+23:59", "9999999d", "999999w"]
)
def test_anything_else_is_told_with_the_flag(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--since must be a date"):
        moment("--since", text, NOW)
