"""Finding models by name."""

from __future__ import annotations

import pytest

from diffuserve.core.errors import ConfigurationError, UnknownModel
from diffuserve.jobs.catalog import Catalog
from support.models import model_info

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
