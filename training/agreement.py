"""Figures of pictures: how well edges agree, and what each look changes. Pictures are (128, 128, 3) bytes."""

from __future__ import annotations

import cv2
import numpy as np

TOLERANCE = 2
"""Pixels that an edge may lie off."""


def edges(picture: np.ndarray) -> np.ndarray:
    """(H, W) bytes, 255 on edges: the server's own map at its default thresholds."""
    return cv2.Canny(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), 100, 200)


def f1(found: np.ndarray, given: np.ndarray) -> float:
    """Harmonic mean of the share of `found` edges that `given` has nearby, and of `given` ones that `found` has."""
    if not found.any() or not given.any():
        return 0.0
    near = np.ones((2 * TOLERANCE + 1,) * 2, np.uint8)
    precision = (cv2.dilate(given, near) > 0)[found > 0].mean()
    recall = (cv2.dilate(found, near) > 0)[given > 0].mean()
    return float(2 * precision * recall / max(precision + recall, 1e-9))


def luminance(picture: np.ndarray) -> float:
    """Mean, 0..1."""
    return float(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).mean() / 255)


def saturation(picture: np.ndarray) -> float:
    """Mean of HSV's, 0..1."""
    return float(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[..., 1].mean() / 255)


def blockiness(picture: np.ndarray, block: int = 8) -> float:
    """Share of the steps between neighbouring pixels that lies on the borders of blocks: 1/block without blocks, 1 of
    perfect ones."""
    steps = np.abs(np.diff(picture.astype(np.float32), axis=1)).sum(axis=(0, 2))
    return float(steps[block - 1 :: block].sum() / max(steps.sum(), 1e-9))


def colours(picture: np.ndarray) -> float:
    """How many of 4096 colours (16 levels a channel) 95 % of the pixels have."""
    _, counts = np.unique((picture // 16).reshape(-1, 3), axis=0, return_counts=True)
    return float(np.searchsorted(np.cumsum(np.sort(counts)[::-1]), 0.95 * picture.shape[0] * picture.shape[1]) + 1)
