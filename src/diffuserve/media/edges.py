"""What a ControlNet for edges reads: white lines on black."""

from __future__ import annotations

from PIL import Image, ImageFilter

from diffuserve.media import opencv


def canny(picture: Image.Image, low: int, high: int) -> Image.Image:
    """The edges of `picture` (RGB) as white on black, RGB, of the same size.

    J. Canny's detector on the grey picture, as the ControlNets were trained with: gradients above `high` (0..255, L1
    norm of Sobel's) are edges, and those above `low` that touch one. Thresholds the wrong way round are swapped.
    """
    found = opencv.cv2().Canny(opencv.array(picture.convert("L")), min(low, high), max(low, high))
    return Image.frombytes("L", picture.size, found.tobytes()).convert("RGB")


def outline(picture: Image.Image, low: int, high: int) -> Image.Image:
    """A stand-in for `canny` without OpenCV: about the same edges, thicker, and `low` does not count."""
    edges = picture.convert("L").filter(ImageFilter.FIND_EDGES)
    return edges.point(lambda value: 255 if value >= max(low, high) else 0).convert("RGB")
