"""`diffuserve generate` with the fake engine: files appear whole or not at all."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from support.server import COMMAND, PATIENCE, command, environment

pytestmark = pytest.mark.acceptance


def test_a_picture_is_written_and_its_seed_told(tmp_path: Path) -> None:
    done = command("generate", "a rocket", "-o", "rocket.png", "--seed", "5", cwd=tmp_path, engine="fake")
    assert (done.returncode, done.stdout) == (0, "rocket.png  128x128  seed 5\n"), done.stderr
    with Image.open(tmp_path / "rocket.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (128, 128))


def test_several_pictures_are_numbered_and_have_the_size_that_was_asked(tmp_path: Path) -> None:
    flags = ["-o", "r.webp", "--num-images", "2", "--seed", "5", "--width", "200", "--height", "100"]
    done = command("generate", "a rocket", *flags, cwd=tmp_path, engine="fake")
    assert done.returncode == 0, done.stderr
    assert "note: drawn at 128x128" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r-1.webp", "r-2.webp"]
    with Image.open(tmp_path / "r-2.webp") as picture:
        assert (picture.format, picture.size) == ("WEBP", (200, 100))


def test_a_picture_can_begin_with_another(tmp_path: Path) -> None:
    Image.new("RGB", (64, 32), "red").save(tmp_path / "red.png")
    flags = ["-o", "r.jpg", "--init-image", "red.png", "--strength", "0.3"]
    done = command("generate", "a rocket", *flags, cwd=tmp_path, engine="fake")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "r.jpg") as picture:
        assert (picture.format, picture.size) == ("JPEG", (64, 32))


def test_a_failure_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    done = command("generate", "fail:error", "-o", "r.png", cwd=tmp_path, engine="fake")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("diffuserve: ")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "generate", "fail:hang", "-o", "r.png"],
        cwd=tmp_path,
        env={**environment(engine="fake"), "FORCE_COLOR": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    shown = ""
    while "drawing" not in shown:
        shown += process.stderr.read(1)
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130
    assert "stopped; nothing was written" in rest
    assert list(tmp_path.iterdir()) == []
