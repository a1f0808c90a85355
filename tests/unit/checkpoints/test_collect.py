"""Which models a server has, and which is its default."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffuserve.checkpoints.card import Overrides
from diffuserve.checkpoints.collect import Entry, collect
from diffuserve.core.errors import ConfigurationError
from support.checkpoints import sd15_file, sd15_folder

pytestmark = pytest.mark.unit


def test_the_embedded_model_is_always_there() -> None:
    models, default = collect([], "emoji-mini")
    assert [model.name for model in models] == ["emoji-mini"]
    assert default == "emoji-mini"


def test_a_listed_model_can_be_the_default_by_alias_in_any_case(tmp_path: Path) -> None:
    entry = Entry("Painter", str(sd15_folder(tmp_path / "m")), Overrides(aliases=("p",)))
    models, default = collect([entry], "P")
    assert [model.name for model in models] == ["Painter", "emoji-mini"]
    assert default == "Painter"


def test_a_folder_as_default_is_named_by_its_last_part(tmp_path: Path) -> None:
    models, default = collect([], str(sd15_folder(tmp_path / "My model")))
    assert default == "My-model"
    assert [model.name for model in models] == ["emoji-mini", "My-model"]


def test_a_file_as_default_is_named_without_its_suffix(tmp_path: Path) -> None:
    assert collect([], str(sd15_file(tmp_path / "v1-5.pruned.safetensors")))[1] == "v1-5.pruned"


def test_a_default_whose_name_is_taken_gets_another(tmp_path: Path) -> None:
    assert collect([], str(sd15_folder(tmp_path / "emoji-mini")))[1] == "emoji-mini-2"


def test_a_listed_model_may_take_the_place_of_the_embedded_one(tmp_path: Path) -> None:
    folder = sd15_folder(tmp_path / "m")
    models, _ = collect([Entry("emoji-mini", str(folder))], "emoji-mini")
    assert [model.path for model in models] == [str(folder)]


def test_an_embedded_model_may_be_listed_with_other_defaults() -> None:
    entry = Entry("quick", "embedded:emoji-mini", Overrides(num_inference_steps=8))
    models, default = collect([entry], "quick")
    assert {model.name: model.num_inference_steps for model in models} == {"quick": 8, "emoji-mini": 20}
    assert default == "quick"


def test_a_default_that_is_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no model nothing"):
        collect([], "nothing")


def test_a_listed_model_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no model at"):
        collect([Entry("m", str(tmp_path / "absent"))], "emoji-mini")
