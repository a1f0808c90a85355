"""The header of a `.safetensors` file: which tensors it holds and whether all their bytes are there.

The layout is eight bytes of length (little-endian), that many bytes of JSON, then the tensors. Nothing else is read,
so looking at a checkpoint of many gigabytes costs a millisecond. Read `inspect.py` next.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffuserve.core.errors import ConfigurationError

MAX_HEADER = 100_000_000
"""Bytes; the limit of the format's own reader."""

PICKLES = frozenset({".ckpt", ".bin", ".pt", ".pth", ".pkl"})

_GIT_LFS = b"version https://git-lfs"


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor as its header describes it."""

    dtype: str
    shape: tuple[int, ...]
    end: int
    """Where its bytes end, counted from the end of the header."""


def read_file(path: Path, what: str) -> Mapping[str, TensorEntry]:
    """The tensors of the one file that somebody named as their `what` ("model", "LoRA").

    Raises ConfigurationError as `read_header`, and for a pickle and other kinds of files.
    """
    if path.suffix.lower() in PICKLES:
        raise ConfigurationError(
            f"{path} is a pickle, which could run any code when it is opened: convert it to safetensors"
        )
    if not path.exists():
        raise ConfigurationError(f"there is no {what} at {path}")
    if path.suffix.lower() != ".safetensors" or path.is_dir():
        wanted = "neither a folder nor a .safetensors file" if what == "model" else "not a .safetensors file"
        raise ConfigurationError(f"{path} is {wanted}")
    return read_header(path)


def read_header(path: Path) -> Mapping[str, TensorEntry]:
    """The tensors of `path` by name.

    Raises ConfigurationError if the file cannot be read, is no safetensors file, or is cut off.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            if prefix + file.read(len(_GIT_LFS) - 8) == _GIT_LFS:
                raise ConfigurationError(f"{path} is only a Git LFS pointer: run `git lfs pull` where it was cloned")
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else None
            if length is None or length > MAX_HEADER:
                raise _broken(path)
            if 8 + length > size:
                raise _cut(path)
            file.seek(8)
            tensors = _parse(path, file.read(length))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}") from None
    if 8 + length + max((tensor.end for tensor in tensors.values()), default=0) > size:
        raise _cut(path)
    return tensors


def _parse(path: Path, text: bytes) -> dict[str, TensorEntry]:
    try:
        header = json.loads(text)
        return {name: _entry(value) for name, value in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _broken(path) from None


def _entry(value: Mapping[str, Any]) -> TensorEntry:
    begin, end = (int(offset) for offset in value["data_offsets"])
    shape = tuple(int(side) for side in value["shape"])
    if not 0 <= begin <= end or any(side < 0 for side in shape):
        raise ValueError("offsets out of order")
    return TensorEntry(str(value["dtype"]), shape, end)


def _broken(path: Path) -> ConfigurationError:
    return ConfigurationError(f"{path} is not a safetensors file")


def _cut(path: Path) -> ConfigurationError:
    return ConfigurationError(f"{path} is cut off: download or copy it again")
