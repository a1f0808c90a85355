"""From a drawing to a file: cut, pasted back, marked, in the format that was asked for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from diffuserve.core.request import Canvas, PictureFormat, ResolvedRequest, Watermark
from diffuserve.media.finish import finish, preview
from diffuserve.media.prepared import Underlay
from diffuserve.media.watermark import set_line
from support.models import resolved
from support.pictures import encoded, opened, quarters
from support.scenes import landscape

pytestmark = pytest.mark.unit


def asked(canvas: Canvas, width: int, height: int, **changes: Any) -> ResolvedRequest:
    return resolved(canvas=canvas, width=width, height=height, **changes)


def gradient(width: int, height: int) -> Image.Image:
    image = Image.new("RGB", (width, height))
    image.putdata([(x, y, 0) for y in range(height) for x in range(width)])
    return image


def test_a_drawing_of_the_right_size_is_kept_pixel_by_pixel() -> None:
    drawing = gradient(16, 8)
    image = opened(finish(drawing.tobytes(), asked(Canvas(16, 8, 16, 8), 16, 8)))
    assert (image.format, image.mode) == ("PNG", "RGB")
    assert image.tobytes() == drawing.tobytes()


def test_the_centre_of_a_larger_canvas_is_kept() -> None:
    image = opened(finish(gradient(16, 16).tobytes(), asked(Canvas(16, 16, 10, 4), 10, 4)))
    assert image.size == (10, 4)
    assert image.getpixel((0, 0)) == (3, 6, 0)


def test_a_small_drawing_is_enlarged_to_the_size_that_was_asked_for() -> None:
    image = opened(finish(quarters(16, 16).tobytes(), asked(Canvas(16, 16, 16, 16), 64, 32)))
    assert image.size == (64, 32)
    assert image.getpixel((4, 4)) == (255, 0, 0)


@pytest.mark.parametrize("form", PictureFormat)
def test_every_format_is_what_it_says_and_shows_the_drawing(form: PictureFormat) -> None:
    drawing = landscape(128, 96)
    image = opened(finish(drawing.tobytes(), asked(Canvas(128, 96, 128, 96), 128, 96, format=form)))
    assert (image.get_format_mimetype(), image.size, image.mode) == (form.media_type, (128, 96), "RGB")
    difference = ImageChops.difference(image, drawing).convert("L")
    assert sum(value * count for value, count in enumerate(difference.histogram())) / (128 * 96) < 3


@pytest.mark.parametrize("form", [PictureFormat.JPEG, PictureFormat.WEBP])
def test_quality_is_traded_for_size(form: PictureFormat) -> None:
    drawing = landscape(256, 192).tobytes()
    sizes = [
        len(finish(drawing, asked(Canvas(256, 192, 256, 192), 256, 192, format=form, quality=quality)))
        for quality in (1, 50, 90, 100)
    ]
    assert sizes == sorted(set(sizes))


def test_jpeg_does_not_halve_colours() -> None:
    stripes = Image.new("RGB", (32, 32), "red")
    for x in range(0, 32, 2):
        stripes.paste((0, 0, 255), (x, 0, x + 1, 32))
    image = opened(
        finish(stripes.tobytes(), asked(Canvas(32, 32, 32, 32), 32, 32, format=PictureFormat.JPEG, quality=95))
    )
    assert image.getpixel((10, 10))[2] > 200 > 60 > image.getpixel((11, 10))[2]


def test_a_watermark_changes_nothing_but_its_box() -> None:
    drawing, mark = landscape(200, 120), Watermark("水印 mark", opacity=0.8, size=0.1)
    plain = asked(Canvas(200, 120, 200, 120), 200, 120)
    marked = asked(Canvas(200, 120, 200, 120), 200, 120, watermark=mark)
    one, two = (opened(finish(drawing.tobytes(), request)) for request in (plain, marked))
    line = set_line((200, 120), mark)
    changed = ImageChops.difference(one, two).getbbox()
    assert line is not None and changed is not None
    outside = Image.new("L", (200, 120), 255)
    outside.paste(0, line.box)
    assert ImageChops.multiply(ImageChops.difference(one, two).convert("L"), outside).getbbox() is None


def under(picture: Image.Image, mask: Image.Image, box: tuple[int, int, int, int] | None = None) -> Underlay:
    return Underlay(encoded(picture), encoded(mask), box)


def test_the_drawing_shows_where_the_mask_is_white_and_mixes_where_it_is_grey() -> None:
    original, mask = Image.new("RGB", (30, 10), (0, 0, 0)), Image.new("L", (30, 10))
    mask.paste(255, (10, 0, 20, 10))
    mask.paste(128, (20, 0, 30, 10))
    drawing = Image.new("RGB", (30, 10), (200, 100, 50))
    image = opened(finish(drawing.tobytes(), asked(Canvas(30, 10, 30, 10), 30, 10), under(original, mask)))
    assert [image.getpixel((x, 5)) for x in (5, 15, 25)] == [(0, 0, 0), (200, 100, 50), (100, 50, 25)]


def test_a_part_that_was_drawn_large_is_pasted_small_where_it_was() -> None:
    original, mask = landscape(100, 80), Image.new("L", (100, 80))
    mask.paste(255, (42, 34, 58, 46))
    request = asked(Canvas(104, 88, 100, 80), 100, 80)
    drawing = Image.new("RGB", (104, 88), "black")
    drawing.paste(quarters(100, 80), (2, 4))
    image = opened(finish(drawing.tobytes(), request, under(original, mask, (40, 32, 60, 48))))
    assert [image.getpixel(p) for p in ((44, 36), (56, 36), (44, 44), (56, 44))] == [
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (255, 255, 255),
    ]
    image.paste(original.crop((42, 34, 58, 46)), (42, 34))
    assert image.tobytes() == original.tobytes()


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 24), st.integers(1, 24))
def test_where_the_mask_is_black_every_pixel_comes_back_exactly(data: st.DataObject, width: int, height: int) -> None:
    def noise(mode: str, count: int) -> Image.Image:
        seed = data.draw(st.binary(min_size=8, max_size=32))
        return Image.frombytes(mode, (width, height), (seed * count)[:count])

    original, mask = noise("RGB", width * height * 3), noise("L", width * height)
    mask = mask.point(lambda value: 0 if value < 128 else value)
    box = None
    if data.draw(st.booleans()):
        left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
        box = (left, top, data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height)))
    drawing = Image.new("RGB", (32, 32), "magenta")
    request = asked(Canvas(32, 32, data.draw(st.integers(1, 32)), data.draw(st.integers(1, 32))), width, height)
    image = opened(finish(drawing.tobytes(), request, under(original, mask, box)))
    kept = mask.point(lambda value: 255 if value == 0 else 0)
    if box is not None:
        kept = Image.new("L", (width, height), 255)
        kept.paste(mask.crop(box).point(lambda value: 255 if value == 0 else 0), box[:2])
    assert ImageChops.multiply(ImageChops.difference(image, original).convert("L"), kept).getbbox() is None


def test_a_preview_is_a_jpeg_of_its_pixels() -> None:
    image = opened(preview(quarters(16, 8).tobytes(), 16, 8))
    assert (image.format, image.size) == ("JPEG", (16, 8))
