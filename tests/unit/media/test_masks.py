"""Where to repaint: masks as they come, softened edges, and the part around one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from diffuserve.core.errors import UnreadablePicture
from diffuserve.core.request import InputImage
from diffuserve.media.masks import Reading, bounding_box, crop_box, read_mask, softened
from support.pictures import bomb, encoded, opened, picture

pytestmark = pytest.mark.unit

LIMIT = 1_000_000
SPOT = (4, 2, 9, 6)


def spotted(mode: str, ground: object, spot: object, size: tuple[int, int] = (16, 12)) -> Image.Image:
    image = Image.new(mode, size, ground)  # type: ignore[arg-type]
    image.paste(spot, SPOT)  # type: ignore[arg-type]
    return image


def read(image: Image.Image, kind: str = "PNG", reading: Reading = Reading.LIGHT, invert: bool = False) -> InputImage:
    return read_mask(encoded(image, kind), "mask", LIMIT, reading=reading, invert=invert)


@pytest.mark.parametrize(
    ("image", "reading"),
    [
        (spotted("L", 0, 255), Reading.LIGHT),
        (spotted("1", 0, 1), Reading.LIGHT),
        (spotted("RGB", "black", "white"), Reading.LIGHT),
        (spotted("I;16", 0, 65535), Reading.LIGHT),
        (spotted("RGBA", (0, 0, 0, 0), (255, 255, 255, 255)), Reading.LIGHT),
        (spotted("RGBA", (0, 0, 0, 0), (0, 0, 0, 255)), Reading.OPAQUE),
        (spotted("LA", (0, 0), (9, 255)), Reading.OPAQUE),
        (spotted("RGBA", (0, 0, 0, 255), (255, 255, 255, 255)), Reading.OPAQUE),
        (spotted("L", 0, 255), Reading.OPAQUE),
        (spotted("RGBA", (90, 80, 70, 255), (0, 0, 0, 0)), Reading.TRANSPARENT),
    ],
)
def test_every_way_to_say_where_comes_out_as_white_on_black(image: Image.Image, reading: Reading) -> None:
    mask = opened(read(image, reading=reading).data)
    assert (mask.format, mask.mode) == ("PNG", "L")
    assert mask.tobytes() == spotted("L", 0, 255).tobytes()


def test_an_inverted_mask_repaints_the_rest() -> None:
    assert opened(read(spotted("L", 0, 255), invert=True).data).tobytes() == spotted("L", 255, 0).tobytes()


def test_greys_are_kept_and_what_jpeg_smears_is_not() -> None:
    assert opened(read(spotted("L", 0, 128)).data).getpixel((5, 4)) == 128
    black = Image.new("L", (64, 64))
    ImageDraw.Draw(black).ellipse((14, 14, 42, 42), fill=255)
    smeared = encoded(black, "JPEG", quality=75)
    assert opened(smeared).getbbox() == (8, 8, 48, 48), "JPEG leaves traces in whole blocks"
    box = bounding_box(read_mask(smeared, "mask", LIMIT))
    assert box is not None and min(box[:2]) >= 13 and max(box[2:]) <= 44


def test_a_mask_that_must_be_transparent_and_cannot_be_is_refused() -> None:
    with pytest.raises(UnreadablePicture, match="mask has no transparent part"):
        read(spotted("RGB", "black", "white"), reading=Reading.TRANSPARENT)


def test_masks_go_through_the_same_guards_as_pictures() -> None:
    with pytest.raises(UnreadablePicture, match="mask is too large"):
        read_mask(bomb(30_000, 30_000), "mask", LIMIT)
    with pytest.raises(UnreadablePicture, match="mask is not a picture"):
        read_mask(b"GIF89a", "mask", LIMIT)
    with pytest.raises(UnreadablePicture, match="mask is a damaged"):
        read_mask(picture(64, 64)[:60], "mask", LIMIT)


def test_a_turned_mask_is_read_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    mask = read_mask(encoded(spotted("L", 0, 255), exif=exif), "mask", LIMIT)
    assert (mask.width, mask.height) == (12, 16)
    assert bounding_box(mask) == (6, 4, 10, 9)


def test_the_box_holds_all_that_is_not_black() -> None:
    assert bounding_box(read(spotted("L", 0, 40))) == SPOT
    assert bounding_box(read(Image.new("L", (8, 8)))) is None


def test_a_hard_mask_of_the_right_size_is_left_alone_and_a_softened_one_ends_near_its_edge() -> None:
    mask = Image.new("L", (200, 100))
    mask.paste(255, (80, 30, 120, 70))
    assert softened(mask, (200, 100), 0).tobytes() == mask.tobytes()
    soft = softened(mask, (200, 100), 5)
    assert 100 < soft.getpixel((80, 50)) < 155, "half at the edge"
    assert soft.getpixel((100, 50)) == 255
    left, top, right, bottom = soft.getbbox() or (0, 0, 200, 100)
    assert 60 <= left < 75 and 10 <= top < 25 and 125 < right <= 140 and 75 < bottom <= 90


def test_a_mask_of_another_size_gets_no_rings() -> None:
    mask = Image.new("L", (50, 50))
    mask.paste(255, (20, 20, 30, 30))
    left, top, right, bottom = softened(mask, (400, 400), 0).getbbox() or (0, 0, 0, 0)
    assert min(left, top) >= 152 and max(right, bottom) <= 248


sides = st.integers(1, 300)


@st.composite
def masks_in_pictures(draw: st.DrawFn) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
    width, height = draw(sides), draw(sides)
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return (left, top, draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))), (width, height)


@given(masks_in_pictures(), st.integers(0, 100), st.tuples(sides, sides))
def test_a_crop_box_holds_the_mask_within_the_picture(
    place: tuple[tuple[int, int, int, int], tuple[int, int]], padding: int, shape: tuple[int, int]
) -> None:
    mask, (width, height) = place
    left, top, right, bottom = crop_box(mask, padding, shape, (width, height))
    assert 0 <= left <= max(0, mask[0] - padding) and min(width, mask[2] + padding) <= right <= width
    assert 0 <= top <= max(0, mask[1] - padding) and min(height, mask[3] + padding) <= bottom <= height


@given(masks_in_pictures(), st.integers(0, 100))
def test_a_crop_box_of_the_pictures_shape_has_that_shape(
    place: tuple[tuple[int, int, int, int], tuple[int, int]], padding: int
) -> None:
    mask, (width, height) = place
    left, top, right, bottom = crop_box(mask, padding, (width, height), (width, height))
    wide, high = right - left, bottom - top
    assert abs(wide * height - high * width) < max(width, height), "to within one pixel"


def test_a_crop_box_is_grown_around_the_middle_and_moved_at_the_border() -> None:
    assert crop_box((40, 40, 60, 60), 10, (2, 1), (200, 100)) == (10, 30, 90, 70)
    assert crop_box((0, 40, 20, 60), 10, (2, 1), (200, 100)) == (0, 30, 80, 70)
    assert crop_box((0, 0, 100, 10), 0, (1, 1), (200, 50)) == (0, 0, 100, 50), "as far as the picture goes"
