"""The one place that imports OpenCV and numpy, and not before they are used: a lean install has neither."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

from PIL import Image


def installed() -> bool:
    return find_spec("cv2") is not None


@cache
def cv2() -> Any:
    """The library. Its own threads are off: the pictures are small, and the engine needs the cores."""
    import cv2 as library

    library.setNumThreads(1)
    return library


def array(picture: Image.Image) -> Any:
    """The pixels of `picture` as a numpy array: height x width (x 3), uint8."""
    import numpy

    return numpy.asarray(picture)
