"""Onto the canvas and back; other proportions; margins to paint; colours spread into holes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from diffuserve.core.errors import UnreadablePicture
from diffuserve.core.request import Canvas
from diffuserve.media.filling import spread
from diffuserve.media.outpaint import extended
from diffuserve.media.placing import central, place, take
from diffuserve.media.resizing import ResizeMode, resized
from support.pictures import opened, quarters
from support.scenes import input_picture, landscape

pytestmark = pytest.mark.unit


def gradient(width: int, height: int) -> Image.Image:
    image = Image.new("RGB", (width, height))
    image.putdata([(x, y, 0) for y in range(height) for x in range(width)])
    return image


def test_a_source_is_laid_in_the_middle_and_its_edges_are_repeated() -> None:
    image = place(gradient(10, 4), Canvas(16, 8, 10, 4))
    assert image.size == (16, 8)
    expected = {(3, 2): (0, 0), (7, 3): (4, 1), (0, 0): (0, 0), (15, 7): (9, 3), (15, 0): (9, 0), (0, 4): (0, 2)}
    assert {point: image.getpixel(point)[:2] for point in expected} == expected


def test_a_source_of_another_size_is_resized_to_the_crop() -> None:
    image = place(quarters(64, 64), Canvas(16, 16, 12, 12))
    assert image.size == (16, 16)
    assert image.getpixel((0, 0)) == (255, 0, 0)


def test_a_part_of_a_picture_can_be_placed_alone() -> None:
    image = place(quarters(64, 64), Canvas(16, 16, 16, 16), (40, 0, 60, 20))
    assert image.getcolors() == [(256, (0, 255, 0))]


@given(st.data(), st.integers(1, 40), st.integers(1, 40))
def test_what_was_placed_is_taken_back_pixel_by_pixel(data: st.DataObject, width: int, height: int) -> None:
    canvas = Canvas(width + data.draw(st.integers(0, 9)), height + data.draw(st.integers(0, 9)), width, height)
    source = gradient(width, height)
    assert take(place(source, canvas), canvas, (width, height)).tobytes() == source.tobytes()


@given(*(st.integers(1, 500) for _ in range(4)))
def test_the_central_part_has_the_shape_and_lies_within(width: int, height: int, wide: int, high: int) -> None:
    left, top, right, bottom = central((width, height), (wide, high))
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    assert (right - left) * high == pytest.approx((bottom - top) * wide)
    assert left + right == pytest.approx(width) and top + bottom == pytest.approx(height)


def test_three_ways_to_another_shape() -> None:
    image = input_picture(quarters(64, 32))
    stretched = opened(resized(image, 32, 32, ResizeMode.STRETCH).data)
    assert [stretched.getpixel(p) for p in ((2, 2), (29, 2))] == [(255, 0, 0), (0, 255, 0)]
    cut = opened(resized(input_picture(gradient(64, 32)), 32, 32, ResizeMode.CROP).data)
    assert (cut.getpixel((0, 0)), cut.getpixel((31, 31))) == ((16, 0, 0), (47, 31, 0))
    filled = opened(resized(image, 64, 64, ResizeMode.FILL).data)
    assert filled.getpixel((2, 0)) == filled.getpixel((2, 20)) == (255, 0, 0)
    assert filled.getpixel((2, 63)) == (0, 0, 255)
    assert filled.crop((0, 16, 64, 48)).tobytes() == quarters(64, 32).tobytes()
    assert resized(image, 64, 32, ResizeMode.CROP) is image


@pytest.mark.parametrize("mode", ResizeMode)
def test_a_mask_is_resized_by_the_same_geometry_and_stays_grey(mode: ResizeMode) -> None:
    black_and_white = Image.new("L", (60, 30))
    black_and_white.paste(255, (20, 10, 40, 20))
    mask = opened(resized(input_picture(black_and_white), 40, 40, mode, mask=True).data)
    picture = opened(resized(input_picture(black_and_white.convert("RGB")), 40, 40, mode).data)
    assert mask.mode == "L" and mask.size == (40, 40)
    difference = ImageChops.difference(
        mask.point(lambda v: 255 * (v > 127)), picture.convert("L").point(lambda v: 255 * (v > 127))
    )
    assert difference.getbbox() is None


def test_wider_margins_are_marked_and_the_picture_is_kept() -> None:
    source = landscape(60, 40)
    wide, mask = extended(input_picture(source), 10, 0, 20, 30, param="image", max_pixels=10_000)
    image, marked = opened(wide.data), opened(mask.data)
    assert (wide.width, wide.height) == (mask.width, mask.height) == image.size == (90, 70)
    assert image.crop((10, 0, 70, 40)).tobytes() == source.tobytes()
    assert marked.mode == "L" and marked.crop((10, 0, 70, 40)).getextrema() == (0, 0)
    assert marked.histogram()[255] == 90 * 70 - 60 * 40


def test_margins_have_the_colours_of_the_edge_that_they_are_at() -> None:
    wide, _ = extended(input_picture(quarters(40, 40)), 16, 16, 16, 16, param="image", max_pixels=10_000)
    image = opened(wide.data)
    near = {(12, 20): (255, 0, 0), (60, 20): (0, 255, 0), (12, 52): (0, 0, 255), (60, 52): (255, 255, 255)}
    for point, colour in near.items():
        assert all(abs(a - b) < 60 for a, b in zip(image.getpixel(point), colour, strict=True)), point


def test_no_margin_changes_nothing() -> None:
    wide, mask = extended(input_picture(quarters()), 0, 0, 0, 0, param="image", max_pixels=10_000)
    assert opened(wide.data).tobytes() == quarters().tobytes()
    assert opened(mask.data).getbbox() is None


def test_margins_beyond_the_limit_are_refused_before_they_cost_memory() -> None:
    with pytest.raises(UnreadablePicture, match="image would be too large: 1000032x16"):
        extended(input_picture(quarters()), 10**6, 0, 0, 0, param="image", max_pixels=10**6)


def test_a_hole_is_filled_from_around_and_nothing_shines_through() -> None:
    image, hole = Image.new("RGB", (96, 64), (200, 40, 40)), Image.new("L", (96, 64))
    image.paste((40, 40, 200), (48, 0, 96, 64))
    image.paste((0, 255, 0), (30, 16, 66, 48))
    hole.paste(255, (30, 16, 66, 48))
    filled = spread(image, hole)
    assert (
        ImageChops.multiply(ImageChops.difference(image, filled).convert("L"), ImageChops.invert(hole)).getbbox()
        is None
    )
    assert max(green for _, (_, green, _) in filled.crop((30, 16, 66, 48)).getcolors(4096)) < 80, "no green is left"
    left, right = filled.getpixel((32, 32)), filled.getpixel((63, 32))
    assert left[0] > left[2] and right[2] > right[0]


def test_a_picture_that_is_all_hole_becomes_grey() -> None:
    filled = spread(quarters(9, 5), Image.new("L", (9, 5), 255))
    assert filled.getcolors() == [(45, (128, 128, 128))]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.binary(min_size=1600, max_size=1600))
def test_filling_leaves_every_pixel_outside_of_the_hole(width: int, height: int, noise: bytes) -> None:
    hole = Image.frombytes("L", (width, height), noise[: width * height])
    image = gradient(width, height)
    kept = hole.point(lambda value: 255 if value < 128 else 0)
    difference = ImageChops.difference(image, spread(image, hole)).convert("L")
    assert ImageChops.multiply(difference, kept).getbbox() is None
