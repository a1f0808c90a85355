"""What a blob key may be."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffuserve.blobs.keys import checked

pytestmark = pytest.mark.unit


@given(st.text("ab./\\~-_ \n", max_size=12) | st.text(max_size=6))
def test_a_key_that_passes_stays_below_the_root(key: str) -> None:
    try:
        assert checked(key) == key
    except ValueError:
        return
    path = PurePosixPath(key)
    assert not path.is_absolute()
    assert str(path) == key
    assert not any(part.startswith(".") for part in path.parts)


def test_a_key_longer_than_a_file_system_takes_is_refused() -> None:
    with pytest.raises(ValueError, match="not a blob key"):
        checked("a" * 301)
