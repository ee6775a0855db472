"""The entropy of squares of an image, and that of each pixel from the squares around it."""

import numpy as np
from numba import njit

SIZE = 21
"""Pixels of a square in each direction."""
SLOTS = 1024
FARTHEST = 2.0**53


def distances():
    """What three squares count for at each pixel of a square: by one over the distance to their middles.

    (3, 21, 21) float32: the square itself, the nearest one in x, the nearest one in y, which is none for pixels on the
    middle line between two; the pixel in the very middle has its own square alone.
    """
    dy, dx = np.abs(np.indices((SIZE, SIZE)) - SIZE // 2).astype(float)
    shares = np.empty((3, SIZE, SIZE), np.float32)
    shares[0] = 1 / np.maximum(np.hypot(dx, dy), 1e-9)
    shares[1] = np.where(dx > 0, 1 / np.hypot(SIZE - dx, dy), 0)
    shares[2] = np.where(dy > 0, 1 / np.hypot(dx, SIZE - dy), 0)
    return shares


@njit(nogil=True, cache=True)
def square_entropy(image, step_dn, out):
    """Entropy of each square of 21 x 21 px: the sum of -q log2 q over its pixels, q the share of pixels like it.

    image (rows, cols) float32, starting at a square's corner, NaN and infinities left out; values are alike that round
    to the same multiple of `step_dn`. out (rows / 21, cols / 21, rounded up) float32 is filled, NaN where a square has
    no pixel. With h pixels of a value among n that is the sum over values of h^2 / n log2(n / h), by a hash table.
    """
    rows, cols = image.shape
    log2 = np.log2(np.maximum(np.arange(SIZE * SIZE + 1), 1).astype(np.float64))
    keys, held = np.empty(SLOTS, np.float64), np.empty(SLOTS, np.int64)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            held[:] = 0
            n = 0
            for y in range(i * SIZE, min(rows, (i + 1) * SIZE)):
                for x in range(j * SIZE, min(cols, (j + 1) * SIZE)):
                    value = np.rint(image[y, x] / step_dn)
                    if abs(value) < np.inf:
                        value = min(max(value, -FARTHEST), FARTHEST)
                        slot = (np.int64(value) * 40503 >> 4) & (SLOTS - 1)
                        while held[slot] > 0 and keys[slot] != value:
                            slot = (slot + 1) & (SLOTS - 1)
                        keys[slot] = value
                        held[slot] += 1
                        n += 1
            total = 0.0
            for slot in range(SLOTS):
                h = held[slot]
                total += h * h * (log2[n] - log2[h])
            out[i, j] = total / n if n > 0 else np.nan


@njit(nogil=True, cache=True)
def told(grid, i, j):
    """The entropy of a square and 1, or 0 and 0 where it is outside of the grid or empty."""
    if not (0 <= i < grid.shape[0] and 0 <= j < grid.shape[1]) or grid[i, j] != grid[i, j]:
        return np.float32(0), np.float32(0)
    return grid[i, j], np.float32(1)


@njit(nogil=True, cache=True, error_model="numpy")
def pixel_entropy(grid, shares, least, y0, x0, out):
    """Entropy at each pixel of a box: the mean of its square and of the nearest one in x and in y, by inverse distance.

    grid: entropies of squares, float32, NaN where one is empty; shares (3, 21, 21) float32 are those of `distances`;
    the first pixel of `out` (h, w) float32 is (y0, x0). Never below `least`.
    """
    h, w = out.shape
    half = SIZE // 2
    entropies, there = np.empty((3, w), np.float32), np.empty((3, w), np.float32)
    wide = np.empty((3, SIZE, w), np.float32)
    x = 0
    while x < w:
        dx = (x0 + x) % SIZE
        run = min(SIZE - dx, w - x)
        wide[:, :, x : x + run] = shares[:, :, dx : dx + run]
        x += run
    for y in range(h):
        i, dy = (y0 + y) // SIZE, (y0 + y) % SIZE
        if y == 0 or dy == 0 or dy == half + 1:
            for x in range(w):
                j, dx = (x0 + x) // SIZE, (x0 + x) % SIZE
                entropies[0, x], there[0, x] = told(grid, i, j)
                entropies[1, x], there[1, x] = told(grid, i, j + (1 if dx > half else -1))
                entropies[2, x], there[2, x] = told(grid, i + (1 if dy > half else -1), j)
        for x in range(w):
            a, b, c = wide[0, dy, x], wide[1, dy, x], wide[2, dy, x]
            whole = a * there[0, x] + b * there[1, x] + c * there[2, x]
            value = (a * entropies[0, x] + b * entropies[1, x] + c * entropies[2, x]) / whole
            out[y, x] = max(value, least) if whole > 0 else least
