"""The command line's manners: quick help, clear refusals, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from diffuserve import __version__
from diffuserve.cli import main
from support.checkpoints import controlnet_folder, lora_file
from support.pictures import opened, picture

pytestmark = pytest.mark.unit

HEAVY = ("torch", "diffusers", "transformers", "numpy", "sqlalchemy", "fastapi", "uvicorn", "PIL", "cryptography")


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    code = caught.value.code
    assert code is None or isinstance(code, int)
    return code or 0


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No diffuserve.toml of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["serve", "--help"],
        ["generate", "--help"],
        ["keys", "create", "--help"],
        ["usage", "--help"],
        ["--version"],
    ],
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from diffuserve.cli import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "except SystemExit:\n"
        f"    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", program, *arguments]
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.strip() == "[]"
    assert done.stdout


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"diffuserve {__version__}\n"


@pytest.mark.parametrize(
    "command", ["serve", "generate", "models", "samplers", "doctor", "accounts", "keys", "plans", "usage"]
)
def test_every_command_is_in_the_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    run("--help")
    assert command in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["serve", "--host", "0.0.0.0"], "refusing to listen on 0.0.0.0"),
        (["serve", "--model", "./absent"], "there is no model at"),
        (["serve", "--config", "absent.toml"], "there is no configuration file"),
        (["generate", "x", "-o", "x.bmp"], "-o must end in .png"),
        (["generate", "x", "-o", "x.png", "--steps", "0"], "--steps must be a whole number between 1 and"),
        (["generate", "x", "-o", "x.png", "--seed", "-1"], "--seed must be a whole number between 0 and"),
        (["generate", "x", "-o", "x.png", "--num-images", "0"], "--num-images must be"),
        (["generate", "x", "-o", "x.png", "--sampler", "Magic"], "--sampler must be one of Euler"),
        (["generate", "x", "-o", "x.png", "--strength", "0.5"], "--strength must be absent without"),
        (["generate", " ", "-o", "x.png"], "prompt is required"),
        (
            ["generate", "x", "-o", "x.png", "--lora", "ink:0.5"],
            "--lora must be ",
        ),
        (["generate", "x", "-o", "x.png", "--style", "cubism"], "--style must be one of Base, 3D Model"),
        (["generate", "x", "-o", "x.png", "--quality", "0"], "--quality must be a whole number between 1 and 100"),
        (["generate", "x", "-o", "x.png", "--format", "webp"], "--format webp contradicts the name x.png"),
        (
            ["generate", "x", "-o", "x.png", "--variation-strength", "2"],
            "--variation-strength must be a number between",
        ),
    ],
)
def test_what_is_set_up_or_asked_wrongly_is_one_sentence_and_exit_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert run(*arguments) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("diffuserve: ")
    assert sentence in complaint
    assert complaint.count("\n") == 1


def test_an_input_picture_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], in_an_empty_folder: Path) -> None:
    (in_an_empty_folder / "x.txt").write_text("no picture")
    assert run("generate", "x", "-o", "x.png", "--init-image", "x.txt") == 2
    assert "--init-image is not a picture" in capsys.readouterr().err


def test_models_are_listed_with_the_default_marked(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models") == 0
    assert "*  emoji-mini" in capsys.readouterr().out


def test_one_model_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "show", "EMOJI-MINI") == 0
    assert "128 to 128 pixels, in steps of 8" in capsys.readouterr().out


def test_what_steers_is_listed_with_the_models_it_fits(
    capsys: pytest.CaptureFixture[str], in_an_empty_folder: Path
) -> None:
    lora_file(in_an_empty_folder / "ink.safetensors")
    controlnet_folder(in_an_empty_folder / "edges", cross_attention_dim=2048, addition_embed_type="text_time")
    (in_an_empty_folder / "diffuserve.toml").write_text(
        '[[loras]]\nname = "ink"\npath = "ink.safetensors"\nmodels = ["emoji-mini"]\n'
        '[[controlnets]]\nname = "edges"\npath = "edges"\n'
    )
    assert run("models") == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "LoRA ink sd15 emoji-mini" in lines
    assert "ControlNet (canny) edges sdxl no model here" in lines
    assert run("models", "show", "emoji-mini") == 0
    shown = capsys.readouterr().out
    assert "LoRAs           ink" in shown and "edges" not in shown


def test_a_picture_is_drawn_with_everything_that_can_be_said(
    capsys: pytest.CaptureFixture[str], in_an_empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFUSERVE_ENGINE", "fake")
    lora_file(in_an_empty_folder / "ink.safetensors")
    (in_an_empty_folder / "diffuserve.toml").write_text(
        '[[loras]]\nname = "ink"\npath = "ink.safetensors"\nmodels = ["emoji-mini"]\n'
    )
    (in_an_empty_folder / "red.png").write_bytes(picture(128, 128, "red"))
    (in_an_empty_folder / "half.png").write_bytes(picture(8, 8, "white"))
    flags = ["--init-image", "red.png", "--mask", "half.png", "--lora", "ink:0.5", "--style", "anime"]
    varied = ["--variation-strength", "0.1", "--variation-seed", "3", "--format", "webp", "--quality", "80"]
    assert run("generate", "a cat", "-o", "cat", "--seed", "1", *flags, *varied) == 0
    assert capsys.readouterr().out == "cat  128x128  seed 1\n"
    assert opened((in_an_empty_folder / "cat").read_bytes()).format == "WEBP"


def test_a_model_that_is_not_there_cannot_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "show", "absent") == 1
    assert "no such model: absent; known models: emoji-mini" in capsys.readouterr().err


def test_samplers_are_listed_with_their_substitutes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("samplers") == 0
    listed = capsys.readouterr().out
    assert "DPM++ 2M SDE" in listed
    assert "KarrasVeScheduler" in listed


def test_the_doctor_speaks_json_and_fails_where_something_must_be_mended(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffuserve.cli import checks

    monkeypatch.setattr(checks, "torch_and_devices", lambda _: [])
    assert run("doctor", "--json", "--model", "absent") == 1
    findings = json.loads(capsys.readouterr().out)
    assert findings[-1]["level"] == "fail"
    assert set(findings[0]) == {"what", "level", "found", "mend"}
