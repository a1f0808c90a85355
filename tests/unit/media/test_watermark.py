"""Letters over a picture, and nothing else of it touched."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageFont, ImageStat

from diffuserve.core.request import Corner, Watermark
from diffuserve.media import watermark
from diffuserve.media.watermark import laid, missing, set_line
from support.scenes import landscape

pytestmark = pytest.mark.unit

TEXT = "由 AI 生成 diffuserve"


def box_of(size: tuple[int, int], mark: Watermark) -> tuple[int, int, int, int]:
    line = set_line(size, mark)
    assert line is not None
    return line.box


@pytest.mark.parametrize("corner", Corner)
@pytest.mark.parametrize("opacity", [0.3, 1.0])
def test_outside_of_its_box_the_picture_is_the_same_bit_for_bit(corner: Corner, opacity: float) -> None:
    picture = landscape(320, 240)
    mark = Watermark(TEXT, corner, opacity, 0.06)
    marked = laid(picture, mark)
    changed = ImageChops.difference(picture, marked).getbbox()
    box = box_of(picture.size, mark)
    assert changed is not None
    assert box[0] <= changed[0] and box[1] <= changed[1] and changed[2] <= box[2] and changed[3] <= box[3]
    assert picture.tobytes() == landscape(320, 240).tobytes(), "the picture that was given is not drawn on"


@pytest.mark.parametrize(
    ("corner", "left", "top"),
    [
        (Corner.TOP_LEFT, True, True),
        (Corner.TOP_RIGHT, False, True),
        (Corner.BOTTOM_LEFT, True, False),
        (Corner.BOTTOM_RIGHT, False, False),
    ],
)
def test_it_stands_in_the_corner_that_was_asked_for(corner: Corner, left: bool, top: bool) -> None:
    box = box_of((400, 300), Watermark("AI", corner))
    assert (box[2] < 60) is left and (box[0] > 340) is not left
    assert (box[3] < 40) is top and (box[1] > 260) is not top
    assert box[0] >= 2 and box[1] >= 2 and box[2] <= 398 and box[3] <= 298, "with a margin"


@pytest.mark.parametrize("ground", ["white", "black", "grey", "red", "#7896be"])
def test_it_can_be_read_on_any_ground(ground: str) -> None:
    picture = Image.new("RGB", (400, 300), ground)
    mark = Watermark("水印 mark", opacity=0.3)
    difference = ImageChops.difference(picture, laid(picture, mark)).convert("L")
    assert difference.getextrema()[1] >= 30
    assert sum(difference.crop(box_of(picture.size, mark)).histogram()[20:]) > 60, "and not in a few pixels only"


def test_opacity_goes_from_nothing_to_pure_white() -> None:
    picture = Image.new("RGB", (200, 100), (10, 60, 120))

    def strength(opacity: float) -> float:
        return sum(ImageStat.Stat(ImageChops.difference(picture, laid(picture, Watermark("AI", opacity=opacity)))).sum)

    assert strength(0.0) == 0
    assert 0 < strength(0.2) < strength(0.5) < strength(1.0)
    assert laid(picture, Watermark("AI", opacity=1.0, size=0.2)).getextrema()[0][1] == 255


def test_letters_are_as_high_as_a_share_of_the_shorter_side() -> None:
    def height(size: tuple[int, int], share: float) -> int:
        box = box_of(size, Watermark("国", size=share))
        return box[3] - box[1]

    assert height((1000, 500), 0.1) == height((500, 1000), 0.1) == pytest.approx(50, abs=8)
    assert height((1000, 1000), 0.2) == pytest.approx(200, abs=20)


def test_text_that_is_too_long_gets_smaller_and_then_ends_in_dots() -> None:
    smaller = set_line((400, 400), Watermark("国" * 30))
    assert smaller is not None and smaller.text == "国" * 30
    assert smaller.box[0] >= 0 and smaller.box[2] <= 400 and smaller.font.size < 16
    shortened = set_line((100, 400), Watermark("国" * 100))
    assert shortened is not None and shortened.text.endswith("国…") and len(shortened.text) < 20
    assert shortened.box[0] >= 0 and shortened.box[2] <= 100


def test_what_the_font_lacks_is_left_out_and_named() -> None:
    text = "🍎 苹果 龘 ё🍎\x00\n end"
    assert missing(text) == "🍎龘ё"
    line = set_line((400, 300), Watermark(text))
    assert line is not None and line.text == "苹果 end"
    assert missing(TEXT) == ""
    picture = landscape()
    assert laid(picture, Watermark("🍎🍎")).tobytes() == picture.tobytes()


def test_the_font_has_latin_and_all_the_chinese_of_gb_2312() -> None:
    chinese = [bytes((row, cell)).decode("gb2312", "ignore") for row in range(0xB0, 0xF8) for cell in range(0xA1, 0xFF)]
    assert sum(map(len, chinese)) == 6763
    latin = [chr(point) for point in range(0x21, 0x100) if unicodedata.category(chr(point)) not in ("Cc", "Cf", "Zs")]
    assert missing("".join([*chinese, *latin, "，。！？、；：“”‘’（）《》…—·￥％ＡＢＣ０１２"])) == ""


def test_the_font_is_small_is_renamed_and_has_its_licence_beside_it() -> None:
    folder = Path(watermark.__file__).parent / "fonts"
    assert watermark.FONT.stat().st_size < 1_500_000
    family, _ = ImageFont.truetype(watermark.FONT, 10).getname()
    assert family is not None and "Noto" not in family, "the licence reserves that name"
    assert "SIL OPEN FONT LICENSE Version 1.1" in (folder / "OFL.txt").read_text()


@settings(max_examples=60, deadline=None)
@given(
    st.text(min_size=1, max_size=100),
    st.sampled_from(Corner),
    st.floats(0.01, 0.2),
    st.tuples(st.integers(1, 120), st.integers(1, 120)),
)
def test_any_text_on_any_picture_keeps_to_its_box(
    text: str, corner: Corner, share: float, size: tuple[int, int]
) -> None:
    picture = Image.new("RGB", size, (90, 120, 200))
    mark = Watermark(text, corner, 1.0, share)
    line = set_line(size, mark)
    changed = ImageChops.difference(picture, laid(picture, mark)).getbbox()
    if line is None:
        assert changed is None
    elif changed is not None:
        box = line.box
        assert box[0] <= changed[0] and box[1] <= changed[1] and changed[2] <= box[2] and changed[3] <= box[3]
