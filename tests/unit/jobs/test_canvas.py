"""The size that is drawn for a size that was asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffuserve.core.model import ModelInfo, NativeRange
from diffuserve.core.request import Canvas
from diffuserve.jobs.canvas import Enlargement, enlarged, enlarging_note, first_pass, plan, plan_detail, resizing_note
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


# Two passes


def second(width: int, height: int, model: ModelInfo, max_pixels: int = 4096 * 4096) -> Enlargement | None:
    return enlarged(plan(width, height, model), width, height, model, max_pixels=max_pixels, max_enlargement=2.0)


@pytest.mark.parametrize(
    ("model", "asked", "first", "drawn"),
    [
        (SD15, (1024, 1024), (768, 768), Canvas(1024, 1024, 1024, 1024)),
        (SD15, (1500, 1000), (768, 512), Canvas(1504, 1000, 1500, 1000)),
        (SD15, (3072, 2048), (768, 512), Canvas(1536, 1024, 1536, 1024)),
        (SD15, (1536, 100), (768, 256), Canvas(1536, 512, 1536, 100)),
        (EMOJI, (256, 256), (128, 128), Canvas(256, 256, 256, 256)),
        (EMOJI, (512, 512), (128, 128), Canvas(256, 256, 256, 256)),
        (EMOJI, (400, 200), (128, 128), Canvas(200, 200, 400, 200)),
    ],
)
def test_a_second_pass_draws_up_to_twice_the_native_size(
    model: ModelInfo, asked: tuple[int, int], first: tuple[int, int], drawn: Canvas
) -> None:
    assert second(*asked, model) == Enlargement(drawn, *first)


@pytest.mark.parametrize("asked", [(512, 512), (768, 768), (100, 100), (300, 20)])
def test_a_picture_within_the_native_range_has_no_second_pass(asked: tuple[int, int]) -> None:
    assert second(*asked, SD15) is None


@given(sides, sides, models, st.integers(64, 4096 * 4096))
def test_both_passes_can_be_drawn_and_hold_the_crop(width: int, height: int, model: ModelInfo, most: int) -> None:
    two = second(width, height, model, most)
    if two is None:
        return
    bound = 2.0 * model.native.max_side
    for first, side, crop in (
        (two.width, two.canvas.width, two.canvas.crop_width),
        (two.height, two.canvas.height, two.canvas.crop_height),
    ):
        assert first % model.multiple == side % model.multiple == 0
        assert model.native.min_side <= first < model.native.max_side + model.multiple
        assert first <= side < bound + model.multiple + 1
        assert 1 <= crop <= side
    pixels = two.canvas.width * two.canvas.height
    rounding = (model.multiple + 1) * (two.canvas.width + two.canvas.height)
    assert two.width * two.height < pixels <= most + rounding


@given(sides, sides, models)
def test_the_second_pass_has_the_shape_of_the_first(width: int, height: int, model: ModelInfo) -> None:
    two = second(width, height, model)
    if two is None:
        return
    factors = two.canvas.width / two.width, two.canvas.height / two.height
    # Rounded to the nearest pixel, then up to the VAE's factor.
    assert abs(factors[0] - factors[1]) <= (model.multiple + 1) / min(two.width, two.height)


@given(sides, sides, models)
def test_what_is_cut_from_the_second_pass_has_the_shape_that_was_asked(
    width: int, height: int, model: ModelInfo
) -> None:
    two = second(width, height, model)
    if two is None:
        return
    scale = max(two.canvas.crop_width / width, two.canvas.crop_height / height)
    assert scale <= 1
    assert abs(two.canvas.crop_width - width * scale) <= max(1.0, width / height)
    assert abs(two.canvas.crop_height - height * scale) <= max(1.0, height / width)


@given(sides, sides, st.integers(8, 64))
def test_a_square_is_enlarged_as_a_square_and_the_shape_is_laid_around_it(width: int, height: int, tiles: int) -> None:
    side = 8 * tiles
    two = second(width, height, model_info(native=NativeRange(side, side)))
    if two is None:
        assert min(width, height) < side + 8
        return
    assert (two.width, two.height) == (side, side)
    assert two.canvas.width == two.canvas.height == min(two.canvas.crop_width, two.canvas.crop_height)
    assert two.canvas.width % 8 == 0


@pytest.mark.parametrize(("first", "drawn"), [((512, 512), Canvas(1024, 1024, 1024, 576)), ((512, 288), None)])
def test_a_first_pass_of_another_shape_is_enlarged_whole_and_cut(first: tuple[int, int], drawn: Canvas | None) -> None:
    two = enlarged(Canvas(*first, *first), 1024, 576, SD15, max_pixels=4096 * 4096, max_enlargement=2.0)
    assert two is not None
    assert two.canvas == (drawn or Canvas(1024, 576, 1024, 576))


def test_a_first_pass_within_the_native_range_has_the_models_own_size() -> None:
    assert first_pass(768, 512, SD15) == Canvas(512, 344, 512, 341)
    assert first_pass(1536, 1024, SD15) == plan(1536, 1024, SD15)
    assert first_pass(400, 400, SD15) == Canvas(400, 400, 400, 400)
    assert first_pass(512, 512, EMOJI) == Canvas(128, 128, 128, 128)


def test_a_part_of_a_picture_is_drawn_at_least_at_the_models_own_size() -> None:
    assert plan_detail(200, 100, SD15) == Canvas(512, 256, 512, 256)
    assert plan_detail(2000, 1000, SD15) == Canvas(768, 384, 768, 384)


def test_the_note_tells_of_both_passes_and_of_what_is_left_to_resizing() -> None:
    for asked, note in (
        ((1024, 1024), "drawn at 768x768, then enlarged and refined at 1024x1024"),
        ((3072, 2048), "drawn at 768x512, then enlarged and refined at 1536x1024, and enlarged to 3072x2048"),
    ):
        two = second(*asked, SD15)
        assert two is not None
        assert enlarging_note(two, *asked) == note
