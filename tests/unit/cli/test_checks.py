"""What `diffuserve doctor` finds, and what it says to do."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from diffuserve.cli import checks
from diffuserve.cli.checks import GIB, Finding, Level
from diffuserve.config import ControlNetEntry, LoraEntry, ModelEntry, load
from support.checkpoints import controlnet_folder, lora_file, sd15_folder, weights_of

pytestmark = pytest.mark.unit


def fake_torch(cuda: bool = False) -> Any:
    properties = SimpleNamespace(total_memory=24 * GIB)
    return SimpleNamespace(
        cuda=SimpleNamespace(
            is_available=lambda: cuda,
            device_count=lambda: 2,
            get_device_name=lambda index: f"Card {index}",
            get_device_properties=lambda index: properties,
            is_bf16_supported=lambda: True,
        ),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: False)),
        get_num_threads=lambda: 2,
    )


@pytest.mark.parametrize(
    ("version", "level"), [((3, 10, 9), Level.FAIL), ((3, 11, 0), Level.OK), ((3, 14, 1), Level.OK)]
)
def test_python_must_be_new_enough(version: tuple[int, ...], level: Level) -> None:
    assert checks.python_version(version).level is level


def test_a_missing_library_fails_with_the_command_that_installs_it() -> None:
    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    findings = {finding.what: finding for finding in checks.packages(absent)}
    assert findings["torch"] == Finding("torch", Level.FAIL, "not installed", "pip install 'diffuserve[diffusion]'")


def test_a_library_of_another_version_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_pins", lambda: {"torch": "2.13.0", "diffusers": "0.42.1"})
    versions = {"torch": "2.13.0+cu128", "diffusers": "0.40.0"}
    findings = {f.what: f for f in checks.packages(lambda name: versions.get(name, "1"))}
    assert findings["torch"].level is Level.OK
    assert findings["diffusers"].level is Level.WARN
    assert "0.42.1" in findings["diffusers"].mend


def test_torch_that_cannot_be_imported_fails_with_its_reason() -> None:
    def broken() -> Any:
        raise OSError("libcudart.so.12: cannot open shared object file")

    (finding,) = checks.torch_and_devices(broken)
    assert finding.level is Level.FAIL
    assert "libcudart" in finding.found


def test_every_card_is_listed_with_its_memory() -> None:
    findings = list(checks.torch_and_devices(lambda: fake_torch(cuda=True)))
    assert [finding.found for finding in findings] == [
        "cuda:0 Card 0, 24 GiB, bfloat16",
        "cuda:1 Card 1, 24 GiB, bfloat16",
    ]


@pytest.mark.parametrize(("flags", "level"), [({"amx_bf16"}, Level.OK), ({"avx2"}, Level.WARN)])
def test_a_processor_without_bfloat16_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], level: Level
) -> None:
    monkeypatch.setattr(checks, "_cpu_flags", lambda: flags)
    assert [finding.level for finding in checks.torch_and_devices(fake_torch)] == [Level.OK, level]


def test_a_missing_allocator_is_a_warning_with_its_package() -> None:
    assert "libtcmalloc-minimal4" in checks.allocator(None).mend
    assert checks.allocator(Path("/lib/x.so")).level is Level.OK


@pytest.mark.parametrize(("bytes_", "level"), [(GIB, Level.WARN), (8 * GIB, Level.OK), (None, Level.OK)])
def test_little_memory_is_a_warning(bytes_: int | None, level: Level) -> None:
    assert checks.memory(bytes_).level is level


def test_a_data_folder_that_is_not_there_yet_is_judged_by_where_it_would_be(tmp_path: Path) -> None:
    assert checks.data_folder(tmp_path / "a" / "b").level is Level.OK
    assert list(tmp_path.iterdir()) == []


def test_a_data_folder_that_cannot_be_written_fails(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert checks.data_folder(tmp_path / "file").level is Level.FAIL


def test_little_room_on_disk_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    levels = []
    for free in (GIB // 8, GIB, 8 * GIB):
        monkeypatch.setattr(checks.shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        levels.append(checks.disk(tmp_path).level)
    assert levels == [Level.FAIL, Level.WARN, Level.OK]


def test_a_model_that_is_wrong_does_not_hide_the_others(tmp_path: Path) -> None:
    good, bad = sd15_folder(tmp_path / "good"), sd15_folder(tmp_path / "bad")
    weights_of(bad, "unet").unlink()
    listed = [ModelEntry(name="good", path=str(good)), ModelEntry(name="bad", path=str(bad))]
    findings = list(checks.models(load(models=listed)))
    assert [finding.level for finding in findings] == [Level.OK, Level.OK, Level.FAIL]
    assert "unet has no" in findings[2].found


def test_a_default_model_that_is_named_by_an_alias_is_found(tmp_path: Path) -> None:
    listed = [ModelEntry(name="good", path=str(sd15_folder(tmp_path / "good")), aliases=["g"])]
    assert [finding.level for finding in checks.models(load(models=listed, model="G"))] == [Level.OK]


def test_what_steers_is_looked_at_one_by_one_with_the_models_it_fits(tmp_path: Path) -> None:
    loras = [
        LoraEntry(name="own", path=str(lora_file(tmp_path / "own.safetensors", 2048)), models=["emoji-mini"]),
        LoraEntry(name="xl", path=str(lora_file(tmp_path / "xl.safetensors", 2048))),
        LoraEntry(name="gone", path=str(tmp_path / "gone.safetensors")),
    ]
    nets = [ControlNetEntry(name="edges", path=str(controlnet_folder(tmp_path / "edges")), models=["emoji-mini"])]
    _, *findings = checks.models(load(loras=loras, controlnets=nets))
    assert [(one.what, one.level) for one in findings] == [
        ("lora", Level.OK),
        ("lora", Level.WARN),
        ("lora", Level.FAIL),
        ("controlnet", Level.OK),
    ]
    assert findings[0].found.endswith("for emoji-mini")
    assert "2048 wide" in findings[1].mend
    assert "there is no LoRA at" in findings[2].found


def test_a_wrong_setting_is_a_finding_and_not_a_crash(tmp_path: Path) -> None:
    config = tmp_path / "diffuserve.toml"
    config.write_text("port = 'many'")
    last = checks.examine(config, None, None)[-1]
    assert (last.what, last.level) == ("settings", Level.FAIL)
