"""Drawn pictures with something to find in them: a face, a landscape without one, grain, smooth colours."""

from __future__ import annotations

import hashlib
import random

from PIL import Image, ImageDraw, ImageFilter

from diffuserve.core.request import InputImage
from support.pictures import encoded


def input_picture(image: Image.Image) -> InputImage:
    data = encoded(image)
    return InputImage(hashlib.sha256(data).hexdigest(), image.width, image.height, data)


FACE = (100, 60, 220, 260)
"""Where the face of `portrait` is, of 320 pixels."""

# What Haar cascades look for is the play of light: dark brows and sockets, a bright nose between them, a dark mouth.
_FEATURES: tuple[tuple[str, tuple[int, int, int, int], str], ...] = (
    ("ellipse", (90, 40, 230, 250), "#3c281e"),  # hair
    ("ellipse", FACE, "#e1b496"),
    ("ellipse", (115, 120, 155, 150), "#aa7864"),  # sockets
    ("ellipse", (165, 120, 205, 150), "#aa7864"),
    ("ellipse", (122, 127, 150, 145), "#f5f5f5"),  # eyes
    ("ellipse", (170, 127, 198, 145), "#f5f5f5"),
    ("ellipse", (130, 128, 143, 144), "#1e1414"),
    ("ellipse", (178, 128, 191, 144), "#1e1414"),
    ("rectangle", (118, 112, 152, 118), "#462d23"),  # brows
    ("rectangle", (168, 112, 202, 118), "#462d23"),
    ("ellipse", (150, 140, 170, 195), "#f0c8aa"),  # nose
    ("ellipse", (146, 182, 174, 197), "#be8c73"),
    ("ellipse", (132, 208, 188, 228), "#963c3c"),  # mouth
    ("rectangle", (134, 216, 186, 219), "#5a1e1e"),
)


def portrait(side: int = 320) -> Image.Image:
    """A face, full front, on a plain ground."""
    image = Image.new("RGB", (320, 320), "#7896be")
    pen = ImageDraw.Draw(image)
    for shape, box, colour in _FEATURES:
        getattr(pen, shape)(box, fill=colour)
    return image.filter(ImageFilter.GaussianBlur(2.5)).resize((side, side), Image.Resampling.LANCZOS)


def landscape(width: int = 320, height: int = 240) -> Image.Image:
    """Sky, sun, hills and trees."""
    image = Image.linear_gradient("L").resize((width, height))
    image = Image.merge("RGB", (image.point(lambda v: 90 + v // 3), image.point(lambda v: 140 + v // 4), image))
    pen = ImageDraw.Draw(image)
    pen.ellipse((width * 0.7, height * 0.1, width * 0.82, height * 0.26), fill="#ffe9a0")
    pen.polygon([(0, height), (0, height * 0.6), (width * 0.4, height * 0.4), (width, height)], fill="#4a7a4f")
    pen.polygon([(width, height), (width, height * 0.5), (width * 0.2, height)], fill="#3a6340")
    for tree in range(7):
        x, y = width * (0.08 + tree * 0.13), height * (0.75 + tree % 3 * 0.07)
        pen.polygon([(x, y - 40), (x - 10, y), (x + 10, y)], fill="#1f3d25")
    return image


def halves(width: int = 96, height: int = 96, grain: float = 0.0, seed: int = 1) -> Image.Image:
    """Blue left, ochre right, and a light line of one pixel across the left half; `grain` is a deviation in levels."""
    image = Image.new("RGB", (width, height), (70, 110, 160))
    image.paste((190, 150, 90), (width // 2, 0, width, height))
    image.paste((240, 240, 240), (8, 8, width // 2 - 8, 9))
    if grain:
        dice = random.Random(seed)
        noisy = bytes(min(255, max(0, round(dice.gauss(value, grain)))) for value in image.tobytes())
        image = Image.frombytes("RGB", image.size, noisy)
    return image
