"""What an engine gets: pictures at canvas size, finished maps, faces; and what is kept for the way back."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat

from diffuserve.core.request import (
    Canvas,
    Control,
    Fill,
    Inpaint,
    Preprocessor,
    Reference,
    ResolvedRequest,
    Watermark,
    pictures,
)
from diffuserve.media.edges import canny
from diffuserve.media.finish import finish
from diffuserve.media.prepare import EMPTY_MASK, NO_FACE, prepare
from diffuserve.media.prepared import Prepared
from diffuserve.media.vision import OPENCV
from support.models import resolved
from support.pictures import opened, quarters
from support.scenes import halves, input_picture, landscape, portrait

pytestmark = pytest.mark.unit

CANVAS = Canvas(64, 48, 60, 45)


def ready(**changes: object) -> Prepared:
    values: dict[str, object] = {"canvas": CANVAS, "width": 120, "height": 90}
    return prepare(resolved(**{**values, **changes}), OPENCV)


def spot(size: tuple[int, int], box: tuple[int, int, int, int], value: int = 255) -> Image.Image:
    mask = Image.new("L", size)
    mask.paste(value, box)
    return mask


def shown(image: object) -> Image.Image:
    return opened(image.data)  # type: ignore[attr-defined]


def test_a_request_without_pictures_is_left_as_it_is() -> None:
    request = resolved(watermark=Watermark("mark"))
    assert prepare(request, OPENCV) == Prepared(request)


def test_every_picture_says_its_own_size_and_digest() -> None:
    source = input_picture(landscape())
    request = ready(
        init_image=source,
        inpaint=Inpaint(input_picture(spot((32, 24), (8, 8, 16, 16)))),
        controls=(Control("canny", preprocessor=Preprocessor.CANNY), Control("tile", source)),
        reference=Reference(source),
    ).request
    found = pictures(request)
    assert len(found) == 5
    for image in found:
        assert image.digest == hashlib.sha256(image.data).hexdigest()
        assert shown(image).size == (image.width, image.height)
    assert [(image.width, image.height) for image in found] == [(64, 48)] * 4 + [(320, 240)]


def test_a_control_reads_the_edges_of_the_picture_at_canvas_size() -> None:
    source = landscape()
    control = Control("canny", input_picture(source), Preprocessor.CANNY, low_threshold=50, high_threshold=120)
    made = ready(controls=(control,), canvas=Canvas(160, 120, 160, 120)).request.controls[0]
    expected = canny(source.resize((160, 120), Image.Resampling.LANCZOS), 50, 120)
    assert made.image is not None and shown(made.image).tobytes() == expected.tobytes()
    assert replace(made, image=control.image) == control, "nothing else of it changes"


def test_a_map_that_is_one_already_is_taken_as_it_is() -> None:
    made = ready(controls=(Control("depth", input_picture(landscape(64, 48))),), canvas=Canvas(64, 48, 64, 48))
    image = made.request.controls[0].image
    assert image is not None and shown(image).tobytes() == landscape(64, 48).tobytes()


def test_a_control_without_a_picture_reads_the_init_image_with_its_texture() -> None:
    source = input_picture(halves(96, 96, grain=30))
    canvas = Canvas(96, 96, 96, 96)
    request = ready(
        init_image=source, controls=(Control("tile"),), keep_texture=False, canvas=canvas, width=96, height=96
    ).request
    assert request.controls[0].image is not None and request.init_image is not None
    assert shown(request.controls[0].image).tobytes() == halves(96, 96, grain=30).tobytes()
    assert shown(request.init_image).tobytes() != halves(96, 96, grain=30).tobytes()


def test_a_controls_own_picture_is_cut_to_the_shape_but_lies_on_the_init_image_where_there_is_one() -> None:
    wide, canvas = input_picture(quarters(128, 32)), Canvas(32, 32, 32, 32)
    alone = ready(controls=(Control("tile", wide),), canvas=canvas).request.controls[0].image
    both = ready(controls=(Control("tile", wide),), init_image=wide, canvas=canvas).request
    assert alone is not None and both.controls[0].image is not None and both.init_image is not None
    assert shown(both.controls[0].image).tobytes() == shown(both.init_image).tobytes()
    assert ImageChops.difference(shown(alone), quarters(32, 32)).getextrema()[0][1] < 90
    circle = Image.new("RGB", (128, 32))
    circle.paste((255, 255, 255), (56, 8, 72, 24))
    square = ready(controls=(Control("tile", input_picture(circle)),), canvas=canvas).request.controls[0].image
    assert square is not None
    box = shown(square).convert("L").point(lambda value: 255 * (value > 127)).getbbox()
    assert box == (8, 8, 24, 24), "undistorted"


def test_a_reference_of_a_face_is_cropped_to_it() -> None:
    wide = Image.new("RGB", (900, 320), "#7896be")
    wide.paste(portrait(), (500, 0))
    prepared = ready(reference=Reference(input_picture(wide), face=True))
    assert prepared.notes == () and prepared.request.reference is not None
    image = prepared.request.reference.image
    assert image.width == image.height < 340
    assert prepared.request.reference.face


def test_a_reference_without_the_face_that_it_is_for_is_dropped_and_it_is_said() -> None:
    prepared = ready(reference=Reference(input_picture(landscape()), face=True))
    assert prepared.request.reference is None
    assert prepared.notes == (NO_FACE,)


def test_a_reference_that_counts_as_a_whole_is_passed_on_and_made_smaller_where_it_is_huge() -> None:
    small, large = (
        ready(reference=Reference(input_picture(landscape(*size)))).request.reference
        for size in ((320, 240), (2048, 512))
    )
    assert small is not None and shown(small.image).tobytes() == landscape().tobytes()
    assert large is not None and (large.image.width, large.image.height) == (1024, 256)


def test_grain_is_smoothed_only_where_it_is_not_to_be_kept() -> None:
    source = input_picture(halves(96, 96, grain=12))
    kept, smooth = (
        ready(init_image=source, keep_texture=keep, canvas=Canvas(96, 96, 96, 96)).request.init_image
        for keep in (True, False)
    )
    assert kept is not None and shown(kept).tobytes() == halves(96, 96, grain=12).tobytes()
    assert smooth is not None and shown(smooth).tobytes() == OPENCV.smooth(halves(96, 96, grain=12)).tobytes()


def test_colours_are_spread_into_the_mask_where_that_is_asked_for() -> None:
    source = Image.new("RGB", (64, 48), "red")
    source.paste((0, 255, 0), (20, 20, 40, 30))
    mask = input_picture(spot((64, 48), (18, 18, 42, 32)))
    canvas = Canvas(64, 48, 64, 48)
    filled, original = (
        ready(init_image=input_picture(source), inpaint=Inpaint(mask, fill=fill), canvas=canvas).request.init_image
        for fill in (Fill.FILL, Fill.ORIGINAL)
    )
    assert filled is not None and shown(filled).getextrema() == ((255, 255), (0, 0), (0, 0))
    assert original is not None and shown(original).tobytes() == source.tobytes()


def test_characters_that_the_font_lacks_are_named() -> None:
    assert ready(watermark=Watermark("苹果🍎")).notes == ("the watermark's font has no 🍎: left out",)


# Inpainting: there and back again


def repainted(prepared: Prepared, request: ResolvedRequest, colour: str = "magenta") -> Image.Image:
    drawing = Image.new("RGB", (request.canvas.width, request.canvas.height), colour)
    return opened(finish(drawing.tobytes(), request, prepared.underlay))


@pytest.mark.parametrize("padding", [None, 0, 8])
def test_what_the_mask_leaves_out_comes_back_bit_for_bit(padding: int | None) -> None:
    source = landscape(120, 90)
    mask = input_picture(spot((240, 180), (60, 40, 100, 80)))
    request = resolved(
        canvas=CANVAS, width=120, height=90, init_image=input_picture(source), inpaint=Inpaint(mask, 3, padding=padding)
    )
    image = repainted(prepare(request, OPENCV), request)
    changed = ImageChops.difference(image, source).getbbox()
    assert changed is not None
    assert changed[0] >= 30 - 12 and changed[1] >= 20 - 12 and changed[2] <= 50 + 12 and changed[3] <= 40 + 12
    assert image.getpixel((40, 30)) == (255, 0, 255)


def test_only_the_surroundings_of_the_mask_are_drawn_at_full_size() -> None:
    source = landscape(128, 96)
    mask = input_picture(spot((128, 96), (40, 40, 56, 52)))
    canvas = Canvas(64, 48, 64, 48)
    prepared = ready(
        init_image=input_picture(source), inpaint=Inpaint(mask, 0, padding=4), canvas=canvas, width=128, height=96
    )
    assert prepared.underlay is not None and prepared.underlay.box is not None
    left, top, right, bottom = prepared.underlay.box
    assert left <= 36 and top <= 36 and right >= 60 and bottom >= 56
    assert (right - left) * 96 == pytest.approx((bottom - top) * 128, abs=128)
    assert prepared.request.init_image is not None and prepared.request.inpaint is not None
    part = source.resize((64, 48), Image.Resampling.LANCZOS, box=(left, top, right, bottom))
    assert shown(prepared.request.init_image).tobytes() == part.tobytes()
    across, down = 64 / (right - left), 48 / (bottom - top)
    box = shown(prepared.request.inpaint.mask).point(lambda value: 255 * (value > 127)).getbbox()
    expected = ((40 - left) * across, (40 - top) * down, (56 - left) * across, (52 - top) * down)
    assert box == pytest.approx(expected, abs=1.5)


def test_a_drawn_part_lands_where_it_was_taken_from() -> None:
    """An engine that draws what it is given changes nothing but what two resizings do; a pixel beside is far worse."""
    source = landscape(128, 96)
    mask = input_picture(spot((128, 96), (30, 30, 70, 60)))
    request = resolved(
        canvas=Canvas(136, 104, 128, 96),
        width=128,
        height=96,
        init_image=input_picture(source),
        inpaint=Inpaint(mask, 2, padding=6),
    )
    prepared = prepare(request, OPENCV)
    assert prepared.request.init_image is not None
    image = opened(finish(shown(prepared.request.init_image).tobytes(), request, prepared.underlay))
    part = (30, 30, 70, 60)
    beside = ImageChops.offset(source, 1, 0)
    assert 4 * rms(image.crop(part), source.crop(part)) < rms(beside.crop(part), source.crop(part))


def rms(one: Image.Image, two: Image.Image) -> float:
    return max(ImageStat.Stat(ImageChops.difference(one, two)).rms)


def test_a_control_follows_to_the_part_that_is_drawn() -> None:
    source, other = landscape(128, 96), portrait(160)
    prepared = ready(
        init_image=input_picture(source),
        inpaint=Inpaint(input_picture(spot((128, 96), (30, 30, 50, 45))), padding=0),
        controls=(Control("tile"), Control("tile", input_picture(source)), Control("tile", input_picture(other))),
        canvas=Canvas(64, 48, 64, 48),
        width=128,
        height=96,
    )
    request = prepared.request
    assert request.init_image is not None and prepared.underlay is not None and prepared.underlay.box is not None
    left, top, right, bottom = prepared.underlay.box
    part = (left * 160 / 128, top * 160 / 96, right * 160 / 128, bottom * 160 / 96)
    expected = other.resize((64, 48), Image.Resampling.LANCZOS, box=part)
    own = shown(request.init_image).tobytes()
    assert [shown(control.image).tobytes() for control in request.controls] == [own, own, expected.tobytes()]


@pytest.mark.parametrize("padding", [None, 16])
def test_an_empty_mask_gives_the_picture_back_and_says_so(padding: int | None) -> None:
    source, mask = landscape(120, 90), input_picture(Image.new("L", (12, 9)))
    request = resolved(
        canvas=CANVAS, width=120, height=90, init_image=input_picture(source), inpaint=Inpaint(mask, padding=padding)
    )
    prepared = prepare(request, OPENCV)
    assert prepared.notes == (EMPTY_MASK,)
    assert repainted(prepared, request).tobytes() == source.tobytes()


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(8, 80), st.integers(8, 80))
def test_any_mask_leaves_the_pixels_that_it_does_not_touch(data: st.DataObject, width: int, height: int) -> None:
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = (left, top, data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height)))
    inpaint = Inpaint(
        input_picture(spot((width, height), box)),
        data.draw(st.integers(0, 6)),
        padding=data.draw(st.none() | st.integers(0, 40)),
    )
    source = landscape(width, height)
    request = resolved(
        canvas=Canvas(64, 64, 60, 52), width=width, height=height, init_image=input_picture(source), inpaint=inpaint
    )
    prepared = prepare(request, OPENCV)
    image = repainted(prepared, request)
    reach = 4 * inpaint.blur + 1 if inpaint.blur else 0
    outside = Image.new("L", (width, height), 255)
    outside.paste(0, (max(0, left - reach), max(0, top - reach), box[2] + reach, box[3] + reach))
    assert ImageChops.multiply(ImageChops.difference(image, source).convert("L"), outside).getbbox() is None
    if inpaint.blur == 0:
        assert set(image.crop(box).getcolors(9999) or ()) == {((box[2] - left) * (box[3] - top), (255, 0, 255))}
