"""The three looks that LoRAs learn, as filters on a drawing (RGBA, cropped): what is asked of a LoRA, exactly."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from training.placing import FRAME, centred

GRID = 16
"""Pixels of pixel art, across and down: blocks of 8 by 8, one for each place of a latent. The autoencoder has no sharp
corners for smaller ones: of a grid of 32 it makes the smooth drawing again."""
PALETTE = 8
"""Colours of it."""
NIGHT = (30, 42, 100)
"""Of the sky. The autoencoder, which learnt from drawings on white, makes spots of anything darker, and of stars."""
MOONLIGHT = (0.60, 0.66, 0.85)
"""What is left of red, green and blue at night."""


def pixel_art(drawing: Image.Image) -> Image.Image:
    small = centred(drawing).resize((GRID, GRID), Image.Resampling.BOX)
    few = small.quantize(PALETTE, dither=Image.Dither.NONE).convert("RGB")
    return few.resize((FRAME, FRAME), Image.Resampling.NEAREST)


def line_art(drawing: Image.Image) -> Image.Image:
    """Black lines on white, about 2.5 pixels wide, where colour or brightness change."""
    large = centred(drawing).resize((4 * FRAME, 4 * FRAME), Image.Resampling.BICUBIC)
    smooth = cv2.bilateralFilter(cv2.GaussianBlur(np.asarray(large), (0, 0), 3), 9, 40, 9)
    lines = np.zeros(smooth.shape[:2], np.uint8)
    for channel in cv2.split(smooth):
        lines |= cv2.Canny(channel, 30, 70)
    thick = cv2.dilate(lines, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (11, 11)))
    return Image.fromarray(255 - thick).resize((FRAME, FRAME), Image.Resampling.BOX).convert("RGB")


def night(drawing: Image.Image) -> Image.Image:
    """In moonlight, on dark blue."""
    colours = [channel.point(lambda v, k=k: v * k) for channel, k in zip(drawing.split()[:3], MOONLIGHT, strict=True)]
    dim = Image.merge("RGBA", (*colours, drawing.getchannel("A")))
    mask = centred(Image.merge("RGBA", (*(Image.new("L", dim.size, 0),) * 3, dim.getchannel("A")))).convert("L")
    placed = np.asarray(centred(dim), np.float32)
    # `centred` laid it on white: take the white out again, and put the sky there.
    share = np.asarray(mask, np.float32)[..., None] / 255
    return Image.fromarray((placed - share * (255 - np.array(NIGHT))).clip(0, 255).astype(np.uint8))


LOOKS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "pixel-art": pixel_art,
    "line-art": line_art,
    "night": night,
}
