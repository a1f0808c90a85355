"""The size that is drawn for a size that was asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffuserve.core.model import ModelInfo, NativeRange
from diffuserve.core.request import Canvas
from diffuserve.jobs.canvas import plan, resizing_note
from support.models import model_info

pytestmark = pytest.mark.unit

EMOJI = model_info(native=NativeRange(128, 128), size=128)
SD15 = model_info(native=NativeRange(256, 768), size=512)


@pytest.mark.parametrize(
    ("model", "asked", "drawn"),
    [
        (SD15, (512, 512), Canvas(512, 512, 512, 512)),
        (SD15, (500, 333), Canvas(504, 336, 500, 333)),
        (EMOJI, (512, 512), Canvas(128, 128, 128, 128)),
        (EMOJI, (64, 64), Canvas(128, 128, 128, 128)),
        (EMOJI, (512, 256), Canvas(128, 128, 256, 128)),
        (EMOJI, (100, 300), Canvas(128, 128, 128, 384)),
        (SD15, (1536, 1024), Canvas(768, 512, 768, 512)),
        (SD15, (128, 192), Canvas(256, 384, 256, 384)),
        (SD15, (100, 1000), Canvas(256, 768, 77, 768)),
        (SD15, (16_000_000, 1), Canvas(768, 256, 768, 1)),
    ],
)
def test_a_size_is_drawn_at_the_nearest_native_size_of_its_shape(
    model: ModelInfo, asked: tuple[int, int], drawn: Canvas
) -> None:
    assert plan(*asked, model) == drawn


models = st.builds(
    lambda low, more, multiple: model_info(native=NativeRange(low, low + more), multiple=multiple),
    st.integers(8, 1024),
    st.integers(1, 2048),
    st.sampled_from([1, 4, 8, 16, 32, 64]),
)
sides = st.integers(1, 20_000)


@given(sides, sides, models)
def test_a_canvas_can_be_drawn_and_holds_the_crop(width: int, height: int, model: ModelInfo) -> None:
    canvas = plan(width, height, model)
    for side, crop in ((canvas.width, canvas.crop_width), (canvas.height, canvas.crop_height)):
        assert side % model.multiple == 0
        assert 1 <= crop <= side
        assert model.native.min_side <= side < model.native.max_side + model.multiple
        # No more is drawn than rounding up asks for.
        assert side - max(crop, model.native.min_side) < model.multiple


@given(sides, sides, models)
def test_the_crop_has_the_shape_that_was_asked(width: int, height: int, model: ModelInfo) -> None:
    canvas = plan(width, height, model)
    scale = max(canvas.crop_width / width, canvas.crop_height / height)
    assert abs(canvas.crop_width - width * scale) <= max(1.0, width / height)
    assert abs(canvas.crop_height - height * scale) <= max(1.0, height / width)


@given(sides, sides, models)
def test_a_size_within_the_native_range_is_drawn_exactly(width: int, height: int, model: ModelInfo) -> None:
    canvas = plan(width, height, model)
    native = all(model.native.min_side <= side <= model.native.max_side for side in (width, height))
    if native:
        assert (canvas.crop_width, canvas.crop_height) == (width, height)
    assert (resizing_note(canvas, width, height) is None) == (
        (canvas.crop_width, canvas.crop_height) == (width, height)
    )


@given(sides, sides, st.integers(8, 1024))
def test_a_model_of_one_size_draws_its_square_and_the_shape_is_laid_around_it(
    width: int, height: int, side: int
) -> None:
    canvas = plan(width, height, model_info(native=NativeRange(side, side), multiple=8))
    assert (canvas.width, canvas.height) == (side, side)
    assert min(canvas.crop_width, canvas.crop_height) == side
    assert abs(canvas.crop_width / canvas.crop_height - width / height) <= width / height * 0.1


@given(sides, sides)
def test_an_input_picture_lets_a_model_of_one_size_draw_other_shapes(width: int, height: int) -> None:
    canvas = plan(width, height, EMOJI, from_image=True)
    assert canvas.crop_width <= canvas.width <= 192
    assert canvas.crop_height <= canvas.height <= 192


def test_the_note_tells_of_an_extension() -> None:
    note = resizing_note(plan(512, 256, EMOJI), 512, 256)
    assert note == "drawn at 128x128, the model's native size, and extended at its sides and enlarged to 512x256"


def test_the_note_tells_what_was_drawn_and_what_became_of_it() -> None:
    enlarged = resizing_note(plan(512, 512, EMOJI), 512, 512)
    assert enlarged == "drawn at 128x128, the model's native size, and enlarged to 512x512"
    reduced = resizing_note(plan(64, 64, EMOJI), 64, 64)
    assert reduced == "drawn at 128x128, the model's native size, and reduced to 64x64"
