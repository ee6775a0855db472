"""Slow, obvious twins of `masterlight.integration.kernels.entropy`."""

import numpy as np


def square_entropy(image, step_dn):
    """Entropy of each square of 21 x 21 px, pixel by pixel."""
    out = np.full((-(-image.shape[0] // 21), -(-image.shape[1] // 21)), np.nan)
    for i, j in np.ndindex(out.shape):
        square = np.rint(image[21 * i : 21 * i + 21, 21 * j : 21 * j + 21] / np.float64(step_dn))
        values = square[np.isfinite(square)]
        if values.size:
            share = np.array([np.mean(values == value) for value in values])
            out[i, j] = np.sum(-share * np.log2(share))
    return out


def pixel_entropy(grid, least, y, x):
    """Entropy at one pixel: own square, the nearest one in x, the nearest one in y, weighed by inverse distance."""
    i, j = y // 21, x // 21
    middle_y, middle_x = 21 * i + 10, 21 * j + 10
    squares = [(i, j), (i, j + np.sign(x - middle_x)), (i + np.sign(y - middle_y), j)]
    values, shares = [], []
    for k, l in dict.fromkeys((int(k), int(l)) for k, l in squares):
        if 0 <= k < grid.shape[0] and 0 <= l < grid.shape[1] and np.isfinite(grid[k, l]):
            distance = np.hypot(y - (21 * k + 10), x - (21 * l + 10))
            if distance == 0:
                return max(grid[k, l], least)
            values.append(grid[k, l])
            shares.append(1 / distance)
    return max(np.average(values, weights=shares), least) if values else least
