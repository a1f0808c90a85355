"""The digest by which a checkpoint is known."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from diffuserve.checkpoints.digest import digest
from diffuserve.core.errors import ConfigurationError
from support.checkpoints import sd15_folder, weights_of

pytestmark = pytest.mark.unit


def sha256(*files: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def test_a_file_has_its_own(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(bytes(range(256)) * 10_000)
    assert digest(file) == sha256(file)


def test_a_folder_has_its_unets(tmp_path: Path) -> None:
    folder = sd15_folder(tmp_path / "model")
    assert digest(folder) == sha256(weights_of(folder, "unet"))


def test_a_folder_without_weights_has_none(tmp_path: Path) -> None:
    folder = sd15_folder(tmp_path / "model")
    weights_of(folder, "unet").unlink()
    with pytest.raises(ConfigurationError):
        digest(folder)
    with pytest.raises(OSError):
        digest(tmp_path / "gone.safetensors")
