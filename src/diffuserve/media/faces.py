"""Where a face is: for references of which only the face counts."""

from __future__ import annotations

from functools import partial
from typing import Any

from PIL import Image

from diffuserve.media import opencv
from diffuserve.media.prepared import Box

# Faces are looked for in a picture of at most this side: larger ones take seconds and find nothing more.
_SIDE = 640
# Smaller ones, as a share of the shorter side, are passers-by or mistakes.
_SMALLEST = 0.08
_MARGIN = 0.4
# `alt` finds as many frontal faces as the default cascade and sees far fewer where there are none. Next: how many
# overlapping finds make a face, and whether it is looked for in the mirror (the profile cascade knows the left one only).
_CASCADES = (
    ("haarcascade_frontalface_alt.xml", 5, False),
    ("haarcascade_profileface.xml", 6, False),
    ("haarcascade_profileface.xml", 6, True),
)


def largest_face(picture: Image.Image) -> Box | None:
    """The largest face that OpenCV's Haar cascades see in `picture`; frontal ones first. None where they see none.

    P. Viola and M. Jones, "Rapid Object Detection using a Boosted Cascade of Simple Features", 2001.
    """
    cv2 = opencv.cv2()
    small = picture.convert("L")
    small.thumbnail((_SIDE, _SIDE))
    grey = cv2.equalizeHist(opencv.array(small))
    for name, neighbours, in_mirror in _CASCADES:
        # Loaded anew (5 ms), because a classifier must not be used by two threads.
        cascade = cv2.CascadeClassifier(cv2.data.haarcascades + name)
        found = _found(cascade, cv2.flip(grey, 1) if in_mirror else grey, neighbours)
        if found:
            x, y, width, height = max(found, key=lambda face: face[2] * face[3])
            left = small.width - x - width if in_mirror else x
            scale = picture.width / small.width
            box = (left, y, left + width, y + height)
            return _within(picture, *(round(side * scale) for side in box))
    return None


def middle(picture: Image.Image) -> Box:
    """A stand-in for `largest_face` without OpenCV: the middle of the upper half, where portraits have theirs."""
    side = max(1, min(picture.size) // 2)
    left, top = (picture.width - side) // 2, (picture.height - side) // 3
    return left, top, left + side, top + side


def cropped(picture: Image.Image, face: Box) -> Image.Image:
    """A square around `face` with some of the hair and neck; smaller at the border of the picture."""
    side = max(face[2] - face[0], face[3] - face[1])
    wanted = min(round(side * (1 + 2 * _MARGIN)), *picture.size)
    left = _placed((face[0] + face[2]) / 2, wanted, picture.width)
    top = _placed((face[1] + face[3]) / 2, wanted, picture.height)
    return picture.crop((left, top, left + wanted, top + wanted))


def _found(cascade: Any, grey: Any, neighbours: int) -> list[tuple[int, int, int, int]]:
    smallest = max(20, round(min(grey.shape) * _SMALLEST))
    look = partial(cascade.detectMultiScale, grey, scaleFactor=1.1, minSize=(smallest, smallest))
    return [(int(x), int(y), int(w), int(h)) for x, y, w, h in look(minNeighbors=neighbours)]


def _within(picture: Image.Image, left: int, top: int, right: int, bottom: int) -> Box:
    return max(0, left), max(0, top), min(picture.width, right), min(picture.height, bottom)


def _placed(centre: float, side: int, limit: int) -> int:
    return min(max(0, round(centre - side / 2)), limit - side)
