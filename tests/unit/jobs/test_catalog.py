"""Finding models, and what fits them, by name."""

from __future__ import annotations

import pytest

from diffuserve.core.errors import ConfigurationError, InvalidParameter, UnknownModel
from diffuserve.core.model import Family
from diffuserve.jobs.catalog import Catalog
from support.models import adapter, catalog, controlnet, lora, model_info

pytestmark = pytest.mark.unit

ONE = model_info(name="One", aliases=("first", "one"))
TWO = model_info(name="two")


def test_no_name_is_the_default_model() -> None:
    assert Catalog([ONE, TWO], "two").find(None) is TWO


@pytest.mark.parametrize("name", ["One", "ONE", " first ", "First"])
def test_names_and_aliases_are_found_in_any_case(name: str) -> None:
    assert Catalog([ONE, TWO], "two").find(name) is ONE


@pytest.mark.parametrize("name", ["", "three"])
def test_a_name_that_nobody_has_is_unknown(name: str) -> None:
    with pytest.raises(UnknownModel):
        Catalog([ONE, TWO], "two").find(name)


def test_two_models_of_one_name_are_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="One and FIRST"):
        Catalog([ONE, model_info(name="FIRST")], "One")


def test_a_default_that_is_not_in_the_catalog_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="default"):
        Catalog([ONE], "two")


XL = model_info(name="big", family=Family.SDXL)
EVERYTHING = catalog(
    ONE,
    TWO,
    XL,
    loras=[lora("Ink", aliases=("pen",)), lora("glow", models=("two",)), lora("ink-xl", Family.SDXL)],
    controlnets=[
        controlnet("edges", kind="canny"),
        controlnet("edges-xl", Family.SDXL, kind="canny"),
        controlnet("canny", models=("two",), kind="depth"),
    ],
    adapters=[adapter("plus"), adapter("face", aliases=("f",))],
)


@pytest.mark.parametrize("name", ["Ink", " INK ", "pen"])
def test_a_lora_is_found_by_its_name_or_alias_in_any_case(name: str) -> None:
    assert EVERYTHING.find_lora(name, ONE).name == "Ink"


@pytest.mark.parametrize("name", ["nothing", "ink-xl", "glow"])
def test_a_lora_that_does_not_fit_is_refused_with_those_that_do(name: str) -> None:
    with pytest.raises(InvalidParameter, match=rf"^loras must be one of Ink, got {name}") as caught:
        EVERYTHING.find_lora(name, ONE)
    assert caught.value.param == "loras"


def test_a_lora_that_names_its_models_fits_no_other() -> None:
    assert EVERYTHING.find_lora("glow", TWO).name == "glow"


def test_where_no_lora_fits_the_refusal_says_so() -> None:
    with pytest.raises(InvalidParameter, match="this server has no LoRA for the model One"):
        catalog(ONE).find_lora("ink", ONE)


def test_a_lora_of_another_width_does_not_fit_and_one_of_unknown_width_does() -> None:
    model = model_info(context_width=768)
    mixed = catalog(model, loras=[lora("second", context_width=1024), lora("old"), lora("own", context_width=768)])
    assert [one.name for one in mixed.loras if one.fits(model)] == ["old", "own"]


def test_a_controlnet_is_found_by_its_kind_and_a_name_wins_over_a_kind() -> None:
    assert EVERYTHING.find_controlnet("canny", ONE).name == "edges"
    assert EVERYTHING.find_controlnet("canny", XL).name == "edges-xl"
    assert EVERYTHING.find_controlnet("Canny", TWO).name == "canny"


def test_a_controlnet_that_does_not_fit_is_refused_with_those_that_do() -> None:
    with pytest.raises(InvalidParameter, match=r"^controls must be one of edges, got depth"):
        EVERYTHING.find_controlnet("depth", ONE)


def test_the_first_adapter_that_fits_is_taken_where_none_is_named() -> None:
    assert EVERYTHING.find_adapter(None, ONE).name == "plus"
    assert EVERYTHING.find_adapter("F", ONE).name == "face"


@pytest.mark.parametrize("name", [None, "plus"])
def test_a_model_without_adapters_refuses_a_reference(name: str | None) -> None:
    with pytest.raises(InvalidParameter, match=r"^reference must be absent: this server has no IP-Adapter") as caught:
        EVERYTHING.find_adapter(name, XL)
    assert caught.value.param == "reference"


@pytest.mark.parametrize(
    "twice",
    [
        {"loras": [lora("a"), lora("A", Family.SDXL)]},
        {"controlnets": [controlnet("a"), controlnet("b", aliases=("A",))]},
        {"adapters": [adapter("b", aliases=("a",)), adapter("a")]},
    ],
)
def test_two_of_one_kind_and_name_are_a_configuration_error(twice: dict[str, list[object]]) -> None:
    with pytest.raises(ConfigurationError, match="are both called a: rename one of them"):
        catalog(**twice)


def test_a_lora_for_a_model_that_is_not_there_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="ink is said to fit the model absent, which is not there"):
        catalog(ONE, loras=[lora("ink", models=("absent",))])
