"""What steers the embedded model does what its card says: its ControlNet keeps to edges, each LoRA has its look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from diffuserve.checkpoints import hub
from diffuserve.checkpoints.inspect import describe
from diffuserve.checkpoints.steering import collect_steering
from diffuserve.core.request import Canvas, Control, Lora, ResolvedRequest
from diffuserve.media import edges
from support.studio import Studio, input_image, request

pytestmark = pytest.mark.integration

TOLERANCE = 2
"""Pixels that a drawn edge may lie off the map's."""
PLACES = (
    ("soccer ball", (6, 50, 70, 114)),
    ("red apple", (56, 8, 118, 70)),
    ("balloon", (14, 12, 78, 92)),
    ("egg", (70, 44, 122, 116)),
)
"""Ovals where the model by itself draws nothing of that size: it fills the middle."""
PROMPTS = ("panda", "pizza", "rocket", "a cat")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def studio() -> Studio:
    info = describe(hub.resolve("emoji-mini"), "emoji-mini")
    steering = collect_steering([info])
    return Studio(info, loras=steering.loras, controlnets=steering.controlnets)


def wish(prompt: str, **fields: Any) -> ResolvedRequest:
    defaults: dict[str, Any] = {"num_inference_steps": 12, "guidance_scale": 3.0, "sampler": "ddim", "seed": 7}
    canvas = Canvas(128, 128, 128, 128)
    return request(prompt, **{**defaults, "model": "emoji-mini", "size": 128, "canvas": canvas, **fields})


def oval(box: tuple[int, int, int, int]) -> Image.Image:
    """The map of a filled oval, as the server makes it."""
    image = Image.new("RGB", (128, 128), "white")
    ImageDraw.Draw(image).ellipse(box, fill="gray")
    return edges.canny(image, 100, 200)


def agreement(drawn: np.ndarray, given: Image.Image) -> float:
    """F1 of the drawn edges and the given ones, each within `TOLERANCE` of the other."""
    found = np.asarray(edges.canny(Image.fromarray(drawn), 100, 200).convert("L"))
    wanted, near = np.asarray(given.convert("L")), np.ones((2 * TOLERANCE + 1,) * 2, np.uint8)
    if not found.any():
        return 0.0
    precision = (cv2.dilate(wanted, near) > 0)[found > 0].mean()
    recall = (cv2.dilate(found, near) > 0)[wanted > 0].mean()
    return float(2 * precision * recall / max(precision + recall, 1e-9))


def test_the_controlnet_draws_along_the_given_edges(studio: Studio) -> None:
    maps = [oval(box) for _, box in PLACES]
    scores = {}
    for scale in (0.0, 1.0):
        wishes = [
            wish(prompt, controls=(Control("canny", input_image(given), scale=scale),))
            for (prompt, _), given in zip(PLACES, maps, strict=True)
        ]
        drawn = studio.draw(*wishes)
        scores[scale] = [agreement(one, given) for one, given in zip(drawn, maps, strict=True)]
    assert np.mean(scores[1.0]) > np.mean(scores[0.0]) + 0.2, scores


@pytest.fixture(scope="module")
def plain(studio: Studio) -> list[np.ndarray]:
    return studio.draw(*map(wish, PROMPTS))


def with_lora(studio: Studio, name: str) -> list[np.ndarray]:
    return studio.draw(*(wish(prompt, loras=(Lora(name, 1.0),)) for prompt in PROMPTS))


def test_night_is_dark_and_its_ground_is_blue(studio: Studio, plain: list[np.ndarray]) -> None:
    for lit, dark in zip(plain, with_lora(studio, "night"), strict=True):
        assert dark.mean() < 0.7 * lit.mean()
        red, green, blue = dark[:6].mean(axis=(0, 1))
        assert blue > red + 20
        assert blue > green + 20


def test_pixel_art_is_made_of_blocks(studio: Studio, plain: list[np.ndarray]) -> None:
    smooth, blocks = (np.mean([on_borders(one) for one in drawn]) for drawn in (plain, with_lora(studio, "pixel-art")))
    # An eighth of all columns are borders; the autoencoder's own cells are of that size, too.
    assert blocks > smooth + 0.06


def on_borders(picture: np.ndarray, block: int = 8) -> float:
    """The share of all differences between neighbouring pixels that lies on the borders of blocks."""
    steps = np.abs(np.diff(picture.astype(float), axis=1)).sum(axis=(0, 2))
    return float(steps[block - 1 :: block].sum() / steps.sum())


def test_everything_that_the_model_brings_is_found_by_its_name() -> None:
    info = describe(hub.resolve("emoji-mini"), "emoji-mini")
    steering = collect_steering([info])
    assert [net.name for net in steering.controlnets] == ["canny"]
    assert [lora.name for lora in steering.loras] == ["night", "pixel-art"]
    assert all(one.fits(info) for one in (*steering.controlnets, *steering.loras))
    assert all(Path(one.path).is_relative_to(info.path) for one in (*steering.controlnets, *steering.loras))
