"""Names become paths: embedded models, folders, files, and hub models that lie in the cache. No network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from diffuserve.checkpoints.hub import embedded_names, resolve, resolve_file, resolve_folder
from diffuserve.core.errors import ConfigurationError
from support.checkpoints import sd15_folder

pytestmark = pytest.mark.unit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def cached_model(cache: Path, name: str) -> Path:
    """A model in the layout of the hub's cache, as a download leaves it."""
    root = cache / ("models--" + name.replace("/", "--"))
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    return sd15_folder(root / "snapshots" / COMMIT)


def resolved_elsewhere(cache: Path, name: str, call: str = "resolve(name)") -> subprocess.CompletedProcess[str]:
    """The hub's library reads its variables when it is imported, so each look at a cache is a process of its own."""
    program = (
        "import sys\n"
        "from diffuserve.checkpoints.hub import resolve, resolve_file, resolve_folder\n"
        "from diffuserve.core.errors import ConfigurationError\n"
        "name = sys.argv[1]\n"
        "try:\n"
        f"    print({call})\n"
        "except ConfigurationError as error:\n"
        "    sys.exit(error.message)\n"
    )
    environment = {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ":".join(sys.path), "PATH": ""}
    command = [sys.executable, "-c", program, name]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_an_embedded_model_is_found_by_its_bare_name_and_with_the_prefix() -> None:
    assert "emoji-mini" in embedded_names()
    assert resolve("emoji-mini") == resolve("embedded:emoji-mini")
    assert (resolve("emoji-mini") / "model_index.json").is_file()


def test_an_embedded_model_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigurationError, match=r"no embedded model \.\./x; embedded: .*emoji-mini"):
        resolve("embedded:../x")


def test_a_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve("m") == tmp_path / "m"


def test_a_path_may_begin_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("~/m") == tmp_path / "m"


def test_an_embedded_name_wins_over_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "emoji-mini").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve("emoji-mini") != tmp_path / "emoji-mini"
    assert resolve("./emoji-mini") == tmp_path / "emoji-mini"


@pytest.mark.parametrize("name", ["/nowhere/at/all", "./models/x", "models/x.safetensors", "x.ckpt", "a/b/c"])
def test_a_path_that_leads_nowhere_is_refused_without_asking_the_hub(name: str) -> None:
    with pytest.raises(ConfigurationError, match="there is no model at /"):
        resolve(name)


def test_a_word_that_is_nothing_is_refused_with_what_it_could_be() -> None:
    with pytest.raises(ConfigurationError, match="a hub id"):
        resolve("nothing-of-that-name")


def test_a_hub_model_in_the_cache_is_found_without_a_network(tmp_path: Path) -> None:
    snapshot = cached_model(tmp_path, "someone/some-model")
    done = resolved_elsewhere(tmp_path, "someone/some-model")
    assert (done.returncode, done.stdout.strip()) == (0, str(snapshot)), done.stderr


def test_a_hub_model_that_is_not_in_the_cache_is_refused_in_one_sentence(tmp_path: Path) -> None:
    done = resolved_elsewhere(tmp_path, "someone/another-model")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("there is no folder or file someone/another-model here")


@pytest.mark.parametrize("name", ["absent.safetensors", "./absent/x.safetensors", "a/../b.safetensors", "/no/such/x"])
def test_a_file_that_is_neither_here_nor_a_name_of_the_hub_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="there is no LoRA at /"):
        resolve_file(name, "LoRA")


def test_files_and_folders_that_are_here_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    assert resolve_file("x.safetensors", "LoRA") == tmp_path / "x.safetensors"
    assert resolve_folder("./", "ControlNet", "model") == tmp_path


def test_a_file_of_the_hub_is_found_in_the_cache(tmp_path: Path) -> None:
    file = cached_model(tmp_path, "someone/some-model") / "unet" / "diffusion_pytorch_model.safetensors"
    name = "someone/some-model/unet/diffusion_pytorch_model.safetensors"
    done = resolved_elsewhere(tmp_path, name, "resolve_file(name, 'LoRA')")
    assert (done.returncode, done.stdout.strip()) == (0, str(file)), done.stderr


def test_a_folder_of_the_hub_is_found_in_the_cache(tmp_path: Path) -> None:
    folder = cached_model(tmp_path, "someone/some-model") / "unet"
    call = "resolve_folder(name, 'ControlNet', 'diffusion_pytorch_model')"
    done = resolved_elsewhere(tmp_path, "someone/some-model/unet", call)
    assert (done.returncode, done.stdout.strip()) == (0, str(folder)), done.stderr


def test_a_file_that_is_not_in_the_cache_is_refused_in_one_sentence(tmp_path: Path) -> None:
    done = resolved_elsewhere(tmp_path, "someone/others/x.safetensors", "resolve_file(name, 'LoRA')")
    assert done.returncode == 1
    assert (
        done.stderr.strip().splitlines()[-1].startswith("there is no folder or file someone/others/x.safetensors here")
    )
