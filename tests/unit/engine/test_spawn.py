"""What an engine process inherits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from diffuserve.engine.spawn import environment, exit_words, find_allocator
from support.engine import config

pytestmark = pytest.mark.unit

TCMALLOC = Path("/lib/libtcmalloc_minimal.so.4")


def test_large_blocks_are_kept_and_no_hub_is_asked() -> None:
    made = environment(config(), {}, None)
    assert made["MALLOC_MMAP_THRESHOLD_"] == "4294967296"
    assert made["MALLOC_TRIM_THRESHOLD_"] == "17179869184"
    assert made["GOMP_SPINCOUNT"] == "10000"
    assert made["HF_HUB_OFFLINE"] == "1"
    assert "LD_PRELOAD" not in made


def test_what_the_user_has_set_stays() -> None:
    made = environment(config(), {"MALLOC_TRIM_THRESHOLD_": "1", "PATH": "/bin"}, None)
    assert (made["MALLOC_TRIM_THRESHOLD_"], made["PATH"]) == ("1", "/bin")


def test_the_allocator_is_preloaded_beside_what_the_user_preloads() -> None:
    assert environment(config(), {"LD_PRELOAD": "/lib/mine.so"}, TCMALLOC)["LD_PRELOAD"] == f"/lib/mine.so {TCMALLOC}"


def test_an_allocator_of_that_kind_that_is_preloaded_already_is_not_added_twice() -> None:
    base = {"LD_PRELOAD": "/opt/libtcmalloc.so"}
    assert environment(config(), base, TCMALLOC)["LD_PRELOAD"] == "/opt/libtcmalloc.so"


def test_compiled_models_are_frozen() -> None:
    assert "TORCHINDUCTOR_FREEZING" not in environment(config(), {}, None)
    assert environment(replace(config(), compile=True), {}, None)["TORCHINDUCTOR_FREEZING"] == "1"


def test_the_small_allocator_is_preferred(tmp_path: Path) -> None:
    for name in ("libtcmalloc.so.4", "libtcmalloc_minimal.so.4"):
        (tmp_path / name).touch()
    assert find_allocator([str(tmp_path)]) == tmp_path / "libtcmalloc_minimal.so.4"


def test_a_system_without_the_allocator_has_none(tmp_path: Path) -> None:
    assert find_allocator([str(tmp_path)]) is None


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, "ended with status 0"), (-9, "was killed by SIGKILL"), (-120, "was killed by signal 120")],
)
def test_an_exit_status_is_put_into_words(status: int, words: str) -> None:
    assert exit_words(status) == words
