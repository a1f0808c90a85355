"""What the embedded model's card says about its files is so."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

FOLDER = Path(__file__).parents[3] / "src" / "diffuserve" / "embedded" / "emoji-mini"


def test_the_card_names_every_weight_file_with_its_hash():
    card = (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(\S+\.safetensors)` \| `([0-9a-f]{64})` \|$", card, re.MULTILINE))
    found = {
        path.relative_to(FOLDER).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in FOLDER.rglob("*.safetensors")
    }
    assert found
    assert listed == found


def test_no_pickle_lies_beside_the_weights():
    pickles = {".bin", ".ckpt", ".pt", ".pth", ".pkl"}
    assert [path for path in FOLDER.rglob("*") if path.suffix in pickles] == []
