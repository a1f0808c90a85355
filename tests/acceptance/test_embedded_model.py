"""The embedded model behind the real command line: what it draws is what the prompt says."""

from __future__ import annotations

import io
import os
import shutil
import signal
from pathlib import Path

import pytest
from PIL import Image, ImageStat

from diffuserve.checkpoints.hub import resolve
from support.checkpoints import edit_json
from support.server import Server, call, command, serving

pytest.importorskip("torch")
pytestmark = pytest.mark.acceptance


def mean_colour(picture: Image.Image) -> tuple[float, float, float]:
    red, green, blue = ImageStat.Stat(picture.convert("RGB")).mean
    return red, green, blue


def engine_process(server: Server) -> int:
    """The process id of the server's engine: its only child."""
    pid = server.process.pid
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def test_generate_draws_what_the_prompt_says(tmp_path: Path) -> None:
    done = command("generate", "a red apple", "-o", "apple.png", "--seed", "7", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "apple.png  128x128  seed 7\n"), done.stderr
    with Image.open(tmp_path / "apple.png") as picture:
        red, green, blue = mean_colour(picture)
    assert red > green + 20
    assert red > blue + 20


def test_the_server_draws_in_chinese_and_draws_on_after_its_engine_was_killed(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        first = server.post("/txt2img", {"prompt": "红苹果", "seed": 7})
        with Image.open(io.BytesIO(call(first["images"][0]["image_url"]))) as picture:
            assert picture.size == (512, 512)
            red, green, blue = mean_colour(picture)
        assert red > green + 20
        assert red > blue + 20

        job = server.post("/diffuserve/v1/jobs", {"prompt": "a cat", "seed": 1, "num_inference_steps": 200})
        happenings = server.events(job["id"])
        assert next(happenings)[0] == "started"
        os.kill(engine_process(server), signal.SIGKILL)
        name, ended = list(happenings)[-1]
        assert (name, ended["status"]) == ("succeeded", "succeeded")
        assert b"diffuserve_engine_restarts_total 1.0" in server.get("/metrics")
        assert server.stop() == 0


def test_a_model_that_only_torch_finds_wrong_is_one_sentence_and_exit_2(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(resolve("emoji-mini"), folder)
    edit_json(folder / "unet" / "config.json", block_out_channels=[32, 64, 96])
    done = command("serve", "--model", folder, "--port", "0", cwd=tmp_path)
    assert done.returncode == 2
    complaint = done.stderr.strip().splitlines()[-1]
    assert complaint.startswith("diffuserve: model model at ")
    assert "could not be loaded" in complaint
