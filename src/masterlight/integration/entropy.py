"""Weights of the entropy weighted average: in each place those frames count that are not saturated or noisy there."""

import numpy as np

from masterlight.core.errors import ParameterError
from masterlight.core.frame import Frame
from masterlight.integration.kernels import entropy
from masterlight.integration.kernels.entropy import SIZE

BAND = 12 * SIZE
"""Rows that are read at once."""
LEAST = np.float32(1e-6)
"""The least weight: where all frames have an entropy of 0, as in the middle of saturated stars, all count alike."""
SHARES = entropy.distances()


def entropy_grid(frame: Frame, plane: int = 0, step_dn: float = 1.0) -> np.ndarray:
    """Entropy of one plane of a frame, for each square of 21 x 21 px: a small float32 array, squares from (0, 0) on.

    It is the sum of -q log2 q over the pixels of a square, q the share of its pixels that have the same value when
    rounded to `step_dn`: 1 for 16-bit DN, 1/65535 for data from 0 to 1. As the sum is over pixels, not over values, it
    is 0 where all are alike, as in saturated cores, highest where few values share the square, and falls to
    log2(441) = 8.8 where noise makes all different. Missing pixels do not count; a square without any is NaN. The frame
    is read once, in bands. Raises ParameterError for a plane that is not there.
    """
    planes = frame.shape[0] if len(frame.shape) == 3 else 1
    if not 0 <= plane < planes:
        raise ParameterError(f"plane={plane}: {frame.source} has {planes}, counted from 0")
    if not step_dn > 0:
        raise ParameterError(f"step_dn={step_dn:g} must be above 0")
    rows, cols = frame.shape[-2:]
    grid = np.empty(grid_shape(frame.shape), np.float32)
    for y in range(0, rows, BAND):
        pixels = frame.pixels(y, min(rows, y + BAND), 0, cols)
        band = np.ascontiguousarray(pixels[plane] if pixels.ndim == 3 else pixels)
        entropy.square_entropy(band, step_dn, grid[y // SIZE : (y + BAND) // SIZE])
    return grid


def entropy_weights(grid: np.ndarray, shape: tuple[int, ...], y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
    """What a frame counts for at each pixel of a box, from its `entropy_grid`: (y1 - y0, x1 - x0) float32, above 0.

    shape: that of the frame. The mean of a pixel's square and of its nearest neighbours in x and in y, by inverse
    distance from their middles; the same whichever box the pixel is asked for in.
    """
    if grid.shape != grid_shape(shape):
        raise ParameterError(f"a grid of {grid.shape} squares is not that of a frame of {tuple(shape)}")
    out = np.empty((y1 - y0, x1 - x0), np.float32)
    entropy.pixel_entropy(grid, SHARES, LEAST, y0, x0, out)
    return out


def grid_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Squares from top to bottom and across that cover an image."""
    return -(-shape[-2] // SIZE), -(-shape[-1] // SIZE)
