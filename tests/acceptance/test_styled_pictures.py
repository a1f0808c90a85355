"""Volcengine's and Qianfan's calls on the embedded model: the parameters do to the picture what they promise.

Measured, not looked at: how far a picture is from its source, how many of the source's edges it keeps, how colourful it is.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from PIL import Image, ImageDraw

from support.pictures import opened
from support.server import PATIENCE, Server, serving

pytest.importorskip("torch")
np = pytest.importorskip("numpy")
cv2 = pytest.importorskip("cv2")

pytestmark = pytest.mark.acceptance

SOURCE_SIZE = (768, 1024)
LONG_SIDE = 256


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("styled") / "data") as running:
        yield running


def source() -> Image.Image:
    """A large round thing with a stalk, off the middle."""
    picture = Image.new("RGB", SOURCE_SIZE, "white")
    pen = ImageDraw.Draw(picture)
    pen.ellipse((120, 300, 640, 860), fill=(40, 150, 60))
    pen.rectangle((370, 180, 410, 320), fill=(110, 70, 40))
    return picture


def asked(server: Server, path: str, wish: dict[str, Any]) -> dict[str, Any]:
    answer = httpx2.post(server.url + path, json=wish, timeout=PATIENCE, trust_env=False)
    shown: dict[str, Any] = answer.json()
    return shown


def stylised(server: Server, **changes: Any) -> Image.Image:
    data = io.BytesIO()
    source().save(data, "PNG")
    wish = {
        "req_key": "img2img_pastel_boys_style_usage",
        "binary_data_base64": [base64.b64encode(data.getvalue()).decode()],
        "prompt": "a red apple",
        "seed": 7,
        "scale": 3,
        "ddim_steps": 20,
        "long_resolution": LONG_SIDE,
        "canny_weight": 0,
        **changes,
    }
    answer = asked(server, "/?Action=CVProcess&Version=2022-08-31", wish)
    assert answer["code"] == 10000, answer["message"]
    return opened(base64.b64decode(answer["data"]["binary_data_base64"][0])).convert("RGB")


def drawn(server: Server, **changes: Any) -> Image.Image:
    wish = {"prompt": "a red apple", "seed": 7, "cfg_scale": 3, "steps": 20, "size": "768x768", **changes}
    answer = asked(server, "/rpc/2.0/ai_custom/v1/wenxinworkshop/text2image/sd_xl?access_token=any", wish)
    assert "data" in answer, answer
    return opened(base64.b64decode(answer["data"][0]["b64_image"])).convert("RGB")


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean over all pixels and channels, of 255."""
    other = other.resize(one.size, Image.Resampling.LANCZOS)
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).mean())


def edges(picture: Image.Image) -> Any:
    grey = np.asarray(picture.resize((144, 192), Image.Resampling.LANCZOS).convert("L"))
    return cv2.Canny(grey, 100, 200) > 0


def kept_edges(picture: Image.Image) -> float:
    """The share of the source's edges that the picture has too, within two pixels."""
    wide = cv2.dilate(edges(picture).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    wanted = edges(source())
    return float((wanted & wide).sum() / wanted.sum())


def saturation(picture: Image.Image) -> float:
    return float(np.asarray(picture.convert("HSV"))[..., 1].mean())


def test_a_stylised_picture_has_the_long_side_that_was_asked_and_shows_the_prompt_in_the_sources_place(server) -> None:
    picture = stylised(server, strength=0.9)
    assert picture.size == (192, 256)
    inside = np.asarray(picture, float)[100:190, 60:140].reshape(-1, 3).mean(axis=0)
    assert inside[0] > inside[1], "the green thing became a red apple"
    drawn, given = (np.asarray(one.resize((48, 64)).convert("L")) < 230 for one in (picture, source()))
    assert (drawn & given).sum() / (drawn | given).sum() > 0.4, "it stands where the green thing stood"


def test_little_strength_stays_closer_to_the_source_than_much(server) -> None:
    little, much = (difference(stylised(server, strength=strength), source()) for strength in (0.2, 0.9))
    assert little < 0.7 * much


def test_canny_weight_holds_the_edges_of_the_source(server) -> None:
    held, free = (
        [kept_edges(stylised(server, strength=1.0, canny_weight=weight, seed=seed)) for seed in (1, 2, 3)]
        for weight in (1, 0)
    )
    assert sum(held) / 3 > sum(free) / 3 + 0.15, (held, free)


def test_the_same_request_gives_the_same_picture_and_the_logo_changes_its_corner_only(server) -> None:
    plain, again = stylised(server, strength=0.6), stylised(server, strength=0.6)
    assert difference(plain, again) == 0
    marked = stylised(server, strength=0.6, logo_info={"add_logo": True, "position": 0, "language": 1, "opacity": 1})
    changed = np.abs(np.asarray(marked, int) - np.asarray(plain, int)).max(axis=2) > 0
    rows, columns = np.nonzero(changed)
    assert len(rows) > 20
    assert rows.min() > plain.height * 0.85
    assert columns.min() > plain.width * 0.2


def test_line_art_differs_from_a_3d_model(server) -> None:
    line, solid = drawn(server, style="Line Art"), drawn(server, style="3D Model")
    assert difference(line, solid) > 5
    assert saturation(line) < saturation(solid)


def test_styles_leave_the_seed_alone(server) -> None:
    assert difference(drawn(server, style="Base"), drawn(server, style="Base")) == 0
