"""Edges, faces and grain: OpenCV's, and what stands in for it."""

from __future__ import annotations

import sys

import pytest
from PIL import Image, ImageStat

from diffuserve.media import opencv
from diffuserve.media.edges import canny, outline
from diffuserve.media.faces import cropped, largest_face, middle
from diffuserve.media.texture import evened, smoothed
from diffuserve.media.vision import OPENCV, STAND_INS, vision
from support.scenes import FACE, halves, landscape, portrait

pytestmark = pytest.mark.unit


def step(low: int = 40, high: int = 60) -> Image.Image:
    image = Image.new("RGB", (64, 48), (low,) * 3)
    image.paste((high,) * 3, (32, 0, 64, 48))
    return image


@pytest.mark.parametrize("find", [canny, outline])
def test_an_edge_is_a_white_line_on_black_where_the_colours_meet(find: object) -> None:
    edges = find(step(0, 255), 100, 200)  # type: ignore[operator]
    assert (edges.mode, edges.size) == ("RGB", (64, 48))
    assert sorted(colour for _, colour in edges.getcolors()) == [(0, 0, 0), (255, 255, 255)]
    left, top, right, bottom = edges.crop((2, 2, 62, 46)).getbbox()
    assert (top, bottom) == (0, 44) and 28 <= left < right <= 32


def test_thresholds_say_how_faint_an_edge_may_be() -> None:
    faint = step(40, 60)  # a gradient of 80, as Sobel's operator counts
    assert canny(faint, 100, 200).getbbox() is None
    assert canny(faint, 40, 70).getbbox() is not None
    assert canny(faint, 70, 40).tobytes() == canny(faint, 40, 70).tobytes()


def test_a_low_threshold_lets_a_strong_edge_go_on_where_it_is_faint() -> None:
    image = Image.new("RGB", (64, 64), (100,) * 3)
    image.paste((200,) * 3, (32, 0, 64, 32))
    image.paste((130,) * 3, (32, 32, 64, 64))
    beside = (24, 40, 40, 60)
    assert canny(image, 100, 200).crop(beside).getbbox() is not None
    assert canny(image, 150, 200).crop(beside).getbbox() is None


def test_a_face_is_found_where_it_is_and_a_landscape_has_none() -> None:
    face = largest_face(portrait())
    assert face is not None
    centre = ((face[0] + face[2]) / 2, (face[1] + face[3]) / 2)
    assert centre == pytest.approx(((FACE[0] + FACE[2]) / 2, (FACE[1] + FACE[3]) / 2), abs=12)
    assert largest_face(landscape()) is None


def test_the_largest_of_two_faces_is_taken_and_large_pictures_are_measured_in_their_own_pixels() -> None:
    crowd = Image.new("RGB", (1200, 600), "#7896be")
    crowd.paste(portrait(300), (50, 150))
    crowd.paste(portrait(600), (600, 0))
    face = largest_face(crowd)
    assert face is not None
    assert (face[0] + face[2]) / 2 == pytest.approx(900, abs=25)
    assert 250 < face[2] - face[0] < 450


def test_a_face_is_cropped_to_a_square_with_a_margin_inside_the_picture() -> None:
    image = landscape(300, 200)
    assert cropped(image, (100, 60, 150, 110)).tobytes() == image.crop((80, 40, 170, 130)).tobytes()
    assert cropped(image, (0, 0, 50, 50)).tobytes() == image.crop((0, 0, 90, 90)).tobytes()
    assert cropped(image, (100, 20, 260, 180)).size == (200, 200), "no larger than the picture"


def test_a_portrait_cropped_to_its_face_shows_the_face_again() -> None:
    wide = Image.new("RGB", (900, 320), "#7896be")
    wide.paste(portrait(), (500, 0))
    face = largest_face(wide)
    assert face is not None
    square = cropped(wide, face)
    assert square.width == square.height < 340
    assert largest_face(square) is not None


def grain(image: Image.Image) -> float:
    """The deviation in the flat part of the left half of `halves`."""
    return sum(ImageStat.Stat(image.crop((4, 20, 40, 92))).stddev) / 3


def edge(image: Image.Image) -> float:
    """How far the colours change within two pixels around the middle of `halves`; 120 at most, in red."""
    left = ImageStat.Stat(image.crop((46, 20, 47, 92))).mean[0]
    return ImageStat.Stat(image.crop((49, 20, 50, 92))).mean[0] - left


def line(image: Image.Image) -> float:
    """How light the line of `halves` is; 240 at most, in red."""
    return ImageStat.Stat(image.crop((12, 8, 36, 9))).mean[0]


def test_smoothing_takes_the_grain_and_leaves_edges_and_hairlines() -> None:
    rough = halves(grain=12)
    smooth = smoothed(rough)
    assert grain(rough) > 11
    assert grain(smooth) < grain(rough) / 5
    assert edge(smooth) > 0.95 * edge(halves())
    assert line(smooth) > 0.95 * 240


def test_the_stand_in_takes_grain_too_and_keeps_edges() -> None:
    rough = halves(grain=12)
    assert grain(evened(rough)) < grain(rough) / 2
    assert edge(evened(rough)) > 0.95 * edge(halves())


def test_smoothing_a_flat_picture_changes_nothing() -> None:
    flat = Image.new("RGB", (40, 30), (12, 200, 77))
    assert smoothed(flat).tobytes() == evened(flat).tobytes() == flat.tobytes()


def test_stand_ins_are_taken_only_where_they_are_allowed_and_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert vision(stand_ins=False) is vision(stand_ins=True) is OPENCV
    monkeypatch.setattr(opencv, "installed", lambda: False)
    assert vision(stand_ins=True) is STAND_INS
    assert vision(stand_ins=False) is OPENCV


def test_the_stand_ins_never_import_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.setitem(sys.modules, "numpy", None)
    opencv.cv2.cache_clear()
    image = portrait(64)
    assert STAND_INS.edges(image, 10, 20).size == STAND_INS.smooth(image).size == image.size
    assert STAND_INS.face(image) == middle(image) == (16, 10, 48, 42)
    with pytest.raises(ImportError):
        OPENCV.smooth(image)
