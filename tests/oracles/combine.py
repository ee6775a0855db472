"""Slow, obvious twins of `masterlight.integration.kernels.combine`."""

import numpy as np


def fill_holes(image, radius, share):
    """A copy in which missing pixels among enough others are the median of their square, and how many they are."""
    out, filled = image.copy(), 0
    for y, x in np.argwhere(np.isnan(image)):
        square = image[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        there = square[np.isfinite(square)]
        if there.size >= share * (2 * radius + 1) ** 2:
            out[y, x], filled = np.median(there), filled + 1
    return out, filled
