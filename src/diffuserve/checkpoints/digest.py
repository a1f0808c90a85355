"""What a checkpoint is known by in the world: the SHA-256 of its file, whose first ten digits model sites and infotexts print.

A folder in diffusers layout has no such file; its UNet's weights stand in for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from diffuserve.checkpoints.folder import weight_files

_PIECE = 2**20


def digest(path: Path) -> str:
    """SHA-256, hexadecimal. Reads every byte, some seconds for a large one: call it in a thread.

    Raises OSError where it cannot be read, ConfigurationError where the folder holds no weights.
    """
    hashed = hashlib.sha256()
    for file in _files(path):
        with file.open("rb") as opened:
            while piece := opened.read(_PIECE):
                hashed.update(piece)
    return hashed.hexdigest()


def _files(path: Path) -> Sequence[Path]:
    if not path.is_dir():
        return (path,)
    unet = path / "unet"
    return [unet / name for name in weight_files(unet, "diffusion_pytorch_model")]
