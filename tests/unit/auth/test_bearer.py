"""Where a token is looked for, and what is none."""

from __future__ import annotations

import pytest

from diffuserve.auth import bearer

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ({"authorization": "Bearer dsk_1"}, "dsk_1"),
        ({"authorization": "bearer   dsk_1  "}, "dsk_1"),
        ({"x-api-key": " dsk_2 "}, "dsk_2"),
        ({"authorization": "Bearer dsk_1", "x-api-key": "dsk_2"}, "dsk_1"),
        ({"authorization": "Basic dTpw", "x-api-key": "dsk_2"}, "dsk_2"),
        ({"authorization": "Bearer", "x-api-key": "dsk_2"}, None),
        ({"authorization": "dsk_1"}, None),
        ({"authorization": "Bearer " + "x" * 513}, None),
        ({"authorization": ""}, None),
        ({}, None),
    ],
)
def test_a_token_stands_in_one_of_two_headers(headers: dict[str, str], token: str | None) -> None:
    assert bearer.in_headers(headers) == token


@pytest.mark.parametrize(
    ("fields", "token"),
    [({"key": "dsk_1"}, "dsk_1"), ({"key": ""}, None), ({"key": b"file"}, None), ({"key": ["x"]}, None), ({}, None)],
)
def test_a_token_is_the_text_of_the_field_key(fields: dict[str, object], token: str | None) -> None:
    assert bearer.in_fields(fields) == token
