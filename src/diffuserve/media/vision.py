"""What looks at pictures rather than only moving pixels: OpenCV's eyes, or stand-ins where it is not installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from diffuserve.media import edges, faces, opencv, texture
from diffuserve.media.prepared import Box


@dataclass(frozen=True, slots=True)
class Vision:
    edges: Callable[[Image.Image, int, int], Image.Image]
    """(RGB, low, high threshold) to white edges on black, RGB."""
    face: Callable[[Image.Image], Box | None]
    smooth: Callable[[Image.Image], Image.Image]
    """RGB without its grain."""


OPENCV = Vision(edges.canny, faces.largest_face, texture.smoothed)
STAND_INS = Vision(edges.outline, faces.middle, texture.evened)
"""Pillow only, so that a server whose engine draws patterns anyway takes every request on a lean install."""


def vision(*, stand_ins: bool) -> Vision:
    """OpenCV's; `stand_ins` allows to do without where it is not installed."""
    return STAND_INS if stand_ins and not opencv.installed() else OPENCV
