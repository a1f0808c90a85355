"""Base64 as clients really send it."""

from __future__ import annotations

import base64

import pytest

from diffuserve.core.errors import UnreadablePicture
from diffuserve.media.textual import is_link, picture_bytes

pytestmark = pytest.mark.unit

DATA = bytes(range(256)) + b"\xfb\xef\xbe\xff"
TEXT = base64.b64encode(DATA).decode()


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"  {TEXT}\n",
        TEXT.rstrip("="),
        f"data:image/png;base64,{TEXT}",
        f"DATA:IMAGE/JPEG;BASE64,{TEXT}",
        f"data:,{TEXT}",
        TEXT.replace("+", " "),
        TEXT.replace("+", "-").replace("/", "_"),
        "\r\n".join(TEXT[i : i + 76] for i in range(0, len(TEXT), 76)),
        TEXT + "==",
    ],
)
def test_every_way_of_writing_base64_gives_the_bytes(text: str) -> None:
    assert picture_bytes(text, "init_image") == DATA


@pytest.mark.parametrize("text", ["!!!!", TEXT[:20] + "*" + TEXT[20:], "A", "红苹果", TEXT[:8] + "=" + TEXT[8:]])
def test_a_foreign_character_is_an_error_and_not_skipped(text: str) -> None:
    with pytest.raises(UnreadablePicture, match="init_image is not valid base64"):
        picture_bytes(text, "init_image")


@pytest.mark.parametrize("text", ["", "  ", "data:image/png;base64,"])
def test_nothing_is_no_picture(text: str) -> None:
    with pytest.raises(UnreadablePicture, match="init_image is not a picture"):
        picture_bytes(text, "init_image")


def test_links_are_told_from_pictures() -> None:
    assert is_link(" HTTPS://example.org/a.png")
    assert not is_link("file:///etc/passwd")
    assert not is_link(TEXT)
