"""Safetensors headers: whole files are read, everything else is refused in a sentence."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffuserve.checkpoints.header import MAX_HEADER, read_header
from diffuserve.core.errors import ConfigurationError
from support.checkpoints import safetensors

pytestmark = pytest.mark.unit


def written(folder: Path, data: bytes) -> Path:
    path = folder / "weights.safetensors"
    path.write_bytes(data)
    return path


def test_the_names_and_shapes_of_all_tensors_are_read(tmp_path: Path) -> None:
    header = read_header(written(tmp_path, safetensors({"a": (2, 3), "b": ()})))
    assert {name: entry.shape for name, entry in header.items()} == {"a": (2, 3), "b": ()}


def test_a_file_that_ends_early_is_cut_off(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cut off"):
        read_header(written(tmp_path, safetensors({"a": (2, 3)})[:-1]))


def test_a_file_that_ends_within_its_header_is_cut_off(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cut off"):
        read_header(written(tmp_path, safetensors({"a": (2, 3)})[:20]))


def test_a_header_that_claims_to_be_huge_is_never_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not a safetensors file"):
        read_header(written(tmp_path, struct.pack("<Q", MAX_HEADER + 1) + b"{}"))


def test_a_git_lfs_pointer_says_what_to_do(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    with pytest.raises(ConfigurationError, match="git lfs pull"):
        read_header(written(tmp_path, pointer))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_header(tmp_path / "absent.safetensors")


@pytest.mark.parametrize(
    "text",
    [
        b"[]",
        b"not json",
        b'{"a": 1}',
        b'{"a": {"dtype": "F16", "shape": [1]}}',
        b'{"a": {"dtype": "F16", "shape": [1], "data_offsets": [4, 2]}}',
        b'{"a": {"dtype": "F16", "shape": [-1], "data_offsets": [0, 2]}}',
        b"[" * 5000,
    ],
)
def test_a_header_of_another_shape_is_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(ConfigurationError, match="not a safetensors file"):
        read_header(written(tmp_path, struct.pack("<Q", len(text)) + text + bytes(8)))


@given(data=st.binary(max_size=64))
def test_any_bytes_are_either_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = written(tmp_path_factory.mktemp("bytes"), data)
    try:
        assert read_header(path) == {}
    except ConfigurationError as error:
        assert str(path) in error.message
