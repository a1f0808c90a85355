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


def test_what_steers_the_model_is_small():
    sizes = {path.relative_to(FOLDER).as_posix(): path.stat().st_size for path in FOLDER.rglob("*.safetensors")}
    assert sizes["controlnets/canny/diffusion_pytorch_model.safetensors"] < 12_000_000
    loras = [size for name, size in sizes.items() if name.startswith("loras/")]
    assert loras
    assert max(loras) < 1_000_000


def test_the_card_tells_of_every_lora_and_controlnet():
    section = (
        (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8").split("## ControlNet and LoRAs")[1].split("\n## ")[0]
    )
    names = [path.stem for path in (FOLDER / "loras").iterdir()]
    names += [path.name for path in (FOLDER / "controlnets").iterdir()]
    assert all(f"`{name}`" in section for name in names)
