"""The files of `diffuserve generate`: names, formats, all or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffuserve.cli.pictures import output_paths, write_all
from diffuserve.core.errors import ConfigurationError
from diffuserve.core.request import PictureFormat

pytestmark = pytest.mark.unit


def test_one_picture_has_the_name_that_was_given(tmp_path: Path) -> None:
    assert output_paths(tmp_path / "cat.png", 1) == ([tmp_path / "cat.png"], PictureFormat.PNG)


def test_several_pictures_are_numbered_from_one(tmp_path: Path) -> None:
    assert [path.name for path in output_paths(tmp_path / "cat.v2.JPG", 2)[0]] == ["cat.v2-1.JPG", "cat.v2-2.JPG"]


@pytest.mark.parametrize("name", ["cat", "cat.gif", "cat.png.txt", ".png"])
def test_other_formats_are_refused_with_those_that_are_known(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"must end in \.png, \.jpg, \.jpeg, \.webp"):
        output_paths(tmp_path / name, 1)


def test_a_folder_that_is_not_there_is_told_before_anything_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no folder"):
        output_paths(tmp_path / "absent" / "cat.png", 1)


@pytest.mark.parametrize(("suffix", "form"), [(".png", "png"), (".jpg", "jpeg"), (".JPEG", "jpeg"), (".webp", "webp")])
def test_the_suffix_chooses_the_format(tmp_path: Path, suffix: str, form: str) -> None:
    assert output_paths(tmp_path / f"cat{suffix}", 1)[1] is PictureFormat(form)


def test_a_format_that_was_said_needs_no_suffix_but_may_not_contradict_it(tmp_path: Path) -> None:
    assert output_paths(tmp_path / "cat", 1, PictureFormat.WEBP) == ([tmp_path / "cat"], PictureFormat.WEBP)
    assert output_paths(tmp_path / "cat.jpeg", 1, PictureFormat.JPEG)[1] is PictureFormat.JPEG
    with pytest.raises(ConfigurationError, match=r"--format webp contradicts the name cat\.png"):
        output_paths(tmp_path / "cat.png", 1, PictureFormat.WEBP)


def test_files_are_written_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_all([(tmp_path / "a.png", b"a"), (tmp_path / "b.png", b"b")])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.png": b"a", "b.png": b"b"}


def test_when_one_file_cannot_be_written_none_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot write to"):
        write_all([(tmp_path / "a.png", b"a"), (tmp_path / "absent" / "b.png", b"b")])
    assert list(tmp_path.iterdir()) == []
