"""Loose types: every spelling of every kind of value that the vendor's pages and clients write."""

from __future__ import annotations

from typing import Any

import pytest

from diffuserve.core.errors import InvalidParameter
from diffuserve.dialects.bodies import parse_json
from diffuserve.dialects.modelslab.loose import Fields

pytestmark = pytest.mark.unit


def fields(json_value: str) -> Fields:
    return Fields(parse_json(f'{{"x": {json_value}}}'.encode()))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("512", 512),
        ('"512"', 512),
        ("512.0", 512),
        ('" 512 "', 512),
        ('"512."', 512),
        ('"+7"', 7),
        ("null", None),
        ('""', None),
        ('"  "', None),
    ],
)
def test_whole_numbers(written: str, meant: int | None) -> None:
    assert fields(written).whole("x", 1, 1000) == meant


@pytest.mark.parametrize("written", ["7.5", '"7,5"', '"many"', "true", '"1e2"', "{}", '"0x10"', "NaN"])
def test_what_is_no_whole_number(written: str) -> None:
    with pytest.raises(InvalidParameter, match="x must be an integer"):
        fields(written).whole("x", 1, 9)


@pytest.mark.parametrize(("written", "meant"), [("7.5", 7.5), ('"7.5"', 7.5), ("7", 7.0), ('".5"', 0.5), ("1e0", 1.0)])
def test_numbers(written: str, meant: float) -> None:
    assert fields(written).number("x", 0, 10) == meant


@pytest.mark.parametrize("written", ['"Infinity"', "NaN", "Infinity", "false", '"1_0"', '"' + "9" * 50 + '"'])
def test_what_is_no_number(written: str) -> None:
    with pytest.raises(InvalidParameter, match="x must be"):
        fields(written).number("x", 0, 10)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *((text, True) for text in ("true", '"yes"', '"YES"', '"Yes"', '"true"', '"True"', "1", '"1"')),
        *((text, False) for text in ("false", '"no"', '"NO"', '"No"', '"false"', '"False"', "0", '"0"')),
    ],
)
def test_booleans(written: str, meant: bool) -> None:
    assert fields(written).flag("x", not meant) is meant


@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize("written", ["null", '""'])
def test_an_absent_boolean_is_its_default(written: str, default: bool) -> None:
    assert fields(written).flag("x", default) is default
    assert Fields({}).flag("x", default) is default


@pytest.mark.parametrize("written", ['"maybe"', "2", "[true]"])
def test_what_is_neither_yes_nor_no(written: str) -> None:
    with pytest.raises(InvalidParameter, match='x must be "yes" or "no"'):
        fields(written).flag("x", False)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('"a,b"', ["a", "b"]),
        ('" a , b ,"', ["a", "b"]),
        ('["a", "b"]', ["a", "b"]),
        ('"a"', ["a"]),
        ("null", []),
        ('""', []),
        ("[]", []),
    ],
)
def test_lists(written: str, meant: list[str]) -> None:
    assert fields(written).items("x") == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [('"0.5,1"', [0.5, 1.0]), ("0.5", [0.5]), ("[0.5, 1]", [0.5, 1.0]), ('["0.5"]', [0.5]), ("null", [])],
)
def test_lists_of_numbers(written: str, meant: list[float]) -> None:
    assert fields(written).numbers("x", 0, 2) == meant


@pytest.mark.parametrize("written", ['{"a": 1}', "[{}]", "true"])
def test_what_is_no_list(written: str) -> None:
    with pytest.raises(InvalidParameter, match="x must be a string or an array of strings"):
        fields(written).items("x")


def test_ranges_are_said_in_the_vendors_words() -> None:
    with pytest.raises(InvalidParameter, match=r"^x must be between 1 and 20, got 99$"):
        fields("99").number("x", 1, 20)
    with pytest.raises(InvalidParameter, match=r"^x must be between 1 and 4, got 5$"):
        fields('"5"').whole("x", 1, 4)


def test_what_is_clamped_is_clamped_above_only() -> None:
    assert fields("99").whole("x", 1, 50, clamp=True) == 50
    with pytest.raises(InvalidParameter, match="between 1 and 50"):
        fields("0").whole("x", 1, 50, clamp=True)


@pytest.mark.parametrize("value", [b"", None, ""])
def test_no_picture(value: Any) -> None:
    assert Fields({"x": value}).picture("x") is None
