"""The list of what the embedded model can draw."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

FOLDER = Path(__file__).parents[3] / "src" / "diffuserve" / "embedded" / "emoji-mini"


@pytest.fixture(scope="module")
def concepts() -> list[dict[str, str]]:
    return json.loads((FOLDER / "concepts.json").read_text(encoding="utf-8"))


def test_there_are_122_pairs_of_names(concepts):
    assert len(concepts) == 122
    assert all(set(concept) == {"en", "zh"} for concept in concepts)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_name_stands_for_two_things(concepts, language):
    names = [concept[language].casefold() for concept in concepts]
    assert sorted(set(names)) == sorted(names)


def test_every_name_is_written_in_its_own_script(concepts):
    for concept in concepts:
        assert re.fullmatch(r"[A-Za-z][A-Za-z -]*", concept["en"]), concept
        assert re.fullmatch(r"[\u4e00-\u9fff]+", concept["zh"]), concept
