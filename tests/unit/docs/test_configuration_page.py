"""Every setting is on the page, with its variable and its default."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from diffuserve.config import AdapterEntry, ControlNetEntry, LoraEntry, ModelEntry, RecipeEntry, Settings

pytestmark = pytest.mark.unit

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"
ENTRIES = (ModelEntry, LoraEntry, ControlNetEntry, AdapterEntry, RecipeEntry)
ROW = re.compile(r"^\| `(?P<name>\w+)` \| (?P<rest>.*) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def rows() -> dict[str, str]:
    # Settings come first on the page; a table's field of the same name does not hide them.
    found = list(ROW.finditer(PAGE.read_text(encoding="utf-8")))
    return {match["name"]: match["rest"] for match in reversed(found)}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_each_setting_has_a_row_with_its_variable(rows, name):
    assert rows[name].startswith(f"`DIFFUSERVE_{name.upper()}` | ")


@pytest.mark.parametrize("name", sorted({name for entry in ENTRIES for name in entry.model_fields}))
def test_each_field_of_a_table_has_a_row(rows, name):
    assert name in rows


def test_the_page_names_nothing_that_is_no_setting(rows):
    assert set(rows) == set(Settings.model_fields).union(*(entry.model_fields for entry in ENTRIES))


@pytest.mark.parametrize(
    "name", [name for name, field in Settings.model_fields.items() if field.get_default() is not None]
)
def test_the_default_on_the_page_is_the_one_in_the_code(rows, name):
    default = Settings.model_fields[name].get_default()
    shown = str(default).lower() if isinstance(default, bool) else str(default)
    assert rows[name].split(" | ")[1].startswith(f"`{shown}`")
