"""Crop, resize, pad."""

from __future__ import annotations

import hashlib

import pytest
from PIL import Image

from diffuserve.core.request import Canvas, InputImage
from diffuserve.media.finish import encode, fit, preview
from support.pictures import encoded, opened, quarters

pytestmark = pytest.mark.unit


def input_image(image: Image.Image) -> InputImage:
    data = encoded(image)
    return InputImage(hashlib.sha256(data).hexdigest(), image.width, image.height, data)


def gradient(width: int, height: int) -> Image.Image:
    image = Image.new("RGB", (width, height))
    image.putdata([(x, y, 0) for y in range(height) for x in range(width)])
    return image


def test_a_drawing_of_the_right_size_is_kept_pixel_by_pixel() -> None:
    drawing = gradient(16, 8)
    image = opened(encode(drawing.tobytes(), Canvas(16, 8, 16, 8), 16, 8))
    assert (image.format, image.mode) == ("PNG", "RGB")
    assert image.tobytes() == drawing.tobytes()


def test_the_centre_of_a_larger_canvas_is_kept() -> None:
    image = opened(encode(gradient(16, 16).tobytes(), Canvas(16, 16, 10, 4), 10, 4))
    assert image.size == (10, 4)
    assert image.getpixel((0, 0)) == (3, 6, 0)


def test_a_small_drawing_is_enlarged_to_the_size_that_was_asked_for() -> None:
    image = opened(encode(quarters(16, 16).tobytes(), Canvas(16, 16, 16, 16), 64, 32))
    assert image.size == (64, 32)
    assert image.getpixel((4, 4)) == (255, 0, 0)


def test_a_source_is_laid_in_the_middle_and_its_edges_are_repeated() -> None:
    image = opened(fit(input_image(gradient(10, 4)), Canvas(16, 8, 10, 4)))
    assert image.size == (16, 8)
    assert image.getpixel((3, 2)) == (0, 0, 0)
    assert image.getpixel((7, 3)) == (4, 1, 0)
    assert image.getpixel((0, 0)) == (0, 0, 0)
    assert image.getpixel((15, 7)) == (9, 3, 0)
    assert image.getpixel((15, 0)) == (9, 0, 0)
    assert image.getpixel((0, 4)) == (0, 2, 0)


def test_fit_and_encode_undo_each_other() -> None:
    source = gradient(13, 7)
    canvas = Canvas(24, 16, 13, 7)
    assert (
        opened(encode(opened(fit(input_image(source), canvas)).tobytes(), canvas, 13, 7)).tobytes() == source.tobytes()
    )


def test_a_source_of_another_size_is_resized_to_the_crop() -> None:
    image = opened(fit(input_image(quarters(64, 64)), Canvas(16, 16, 12, 12)))
    assert image.size == (16, 16)
    assert image.getpixel((0, 0)) == (255, 0, 0)


def test_a_preview_is_a_jpeg_of_its_pixels() -> None:
    image = opened(preview(quarters(16, 8).tobytes(), 16, 8))
    assert (image.format, image.size) == ("JPEG", (16, 8))
