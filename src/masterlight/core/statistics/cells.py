"""The sky under an image in coarse cells, each by a mean that stars, rays and trails do not bend."""

import numpy as np

from masterlight.compiled import njit
from masterlight.core.statistics.noise import SAFE
from masterlight.core.statistics.rounding import dither

QUICK = 256
"""Samples of a cell that the first guess of its level and spread looks at."""
PASSES = 8
SETTLED = 0.003
"""The level of a cell has settled when it moves by less than this part of the sigma of one sample."""
MOST, CELL_PX, FEWEST = 24, 32, 3
"""Cells along the longer side at most, their least width in pixels, and how many there must be along either side."""
SAMPLES = 1 << 19
"""Pixels that are looked at: whole rows, so many apart."""
STARS_SIGMA = 4.0
"""What is so many sigma from the level of its cell has no say in it; nearer ones the less, the farther off they are."""


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def bisquare_mean(values, centre, reach):
    """Mean of the values with Tukey's bisquare weights about `centre`, zero at `reach`; `centre` when all have none."""
    c, inverse, one, zero = np.float32(centre), np.float32(1.0 / reach), np.float32(1.0), np.float32(0.0)
    weight, total = 0.0, 0.0
    for i in range(values.size):
        d = values[i] - c
        u = d * inverse
        w = max(one - u * u, zero)
        w *= w
        weight += w
        total += w * d
    return centre + total / weight if weight > 0.0 else centre


@njit(nogil=True, cache=True)
def quick_level(values):
    """Median of at most QUICK of the values and sigma from their median deviation; NaN for no values.

    values (n,) float32 without NaN.
    """
    if values.size == 0:
        return np.nan, np.nan
    some = values[:: max(1, values.size // QUICK)]
    level = np.float64(np.median(some))
    return level, 1.4826 * np.float64(np.median(np.abs(some - np.float32(level))))


@njit(nogil=True, cache=True, forceinline=True)
def settled_level(values, level, sigma, limit):
    """Mean with Tukey's bisquare weights, zero beyond `limit` sigma (Beaton and Tukey 1974), repeated until it rests.

    values (n,) float32 without NaN; level, sigma: where to begin.
    """
    if not sigma > 0.0:
        return level
    for _ in range(PASSES):
        before = level
        level = bisquare_mean(values, before, limit * sigma)
        if abs(level - before) < SETTLED * sigma:
            break
    return level


@njit(nogil=True, cache=True)
def fill_cells(image, step, limit, out):
    """Fill `out` (ny, nx) float32 with the levels of the cells of an image, from every `step`-th row of each.

    image (rows, cols) float32, NaN where missing; limit in sigma. A cell has NaN of whose samples fewer than half are
    there.
    """
    (rows, cols), (ny, nx) = image.shape, out.shape
    values = np.empty((rows // ny // step + 2) * (cols // nx + 1) + 1, np.float32)
    for j in range(ny):
        top, bottom = j * rows // ny, (j + 1) * rows // ny
        for i in range(nx):
            x0, x1, n, seen = i * cols // nx, (i + 1) * cols // nx, 0, 0
            for y in range(top + min(step, bottom - top) // 2, bottom, step):
                line = image[y]
                seen += x1 - x0
                for x in range(x0, x1):
                    values[n] = line[x]
                    n += abs(line[x]) < np.inf
            out[j, i] = np.nan
            if n and 2 * n >= seen:
                level, sigma = quick_level(values[:n])
                out[j, i] = settled_level(values[:n], level, sigma, limit)


def grid_of(shape: tuple[int, ...], like: tuple[int, ...] | None = None) -> tuple[int, int]:
    """How many cells the sky of an image (..., rows, cols) is told in, down and across; (0, 0) for a small one.

    like: an image whose cells are as large, where these are parts of a larger one.
    """
    rows, cols = shape[-2:]
    pitch = max(max((like or shape)[-2:]) / MOST, CELL_PX)
    if min(rows, cols) < FEWEST * CELL_PX:
        return 0, 0
    return max(FEWEST, round(rows / pitch)), max(FEWEST, round(cols / pitch))


def sky_cells(image: np.ndarray, step: float = 0.0) -> np.ndarray | None:
    """Levels of the sky of an image (rows, cols) in the cells of `grid_of`, float32; None for a small one.

    step: that to which its values were rounded, 0 if that does not matter. A cell of which half is missing has NaN.
    """
    out = np.empty(grid_of(image.shape), np.float32)
    if not out.size:
        return None
    apart = max(1, min(round(image.size / SAMPLES), image.shape[0] // len(out)))
    if step:
        image, apart = image[apart // 2 :: apart], 1
        image = image + dither(image.shape, step)
    fill_cells(image, apart, STARS_SIGMA, out)
    return out


def cells_at(cells: np.ndarray, shape: tuple[int, ...], xy: np.ndarray) -> np.ndarray:
    """Levels between the cells (ny, nx) of an image of this shape, at places (n, 2) px: (n,) float64.

    Bilinear, and on beyond the outer cells' centres to the border; NaN outside, and next to a cell that is missing.
    """
    size, grid = np.array(shape[:-3:-1], float), np.array(cells.shape[::-1])
    at = (np.asarray(xy, float) + 0.5) * grid / size - 0.5
    low = np.clip(np.floor(at).astype(int), 0, grid - 2)
    (i, j), (u, v) = low.T, (at - low).T
    rows = [(1 - u) * cells[j + k, i] + u * cells[j + k, i + 1] for k in (0, 1)]
    inside = ((at > -0.51) & (at < grid - 0.49)).all(axis=1)
    return np.where(inside, (1 - v) * rows[0] + v * rows[1], np.nan)


def centres(grid: tuple[int, int], shape: tuple[int, ...]) -> np.ndarray:
    """Places (ny * nx, 2) px of the middles of the cells of an image of this shape, row by row."""
    (ny, nx), (rows, cols) = grid, shape[-2:]
    y, x = np.mgrid[:ny, :nx]
    return np.stack([((x + 0.5) * cols / nx - 0.5).ravel(), ((y + 0.5) * rows / ny - 0.5).ravel()], axis=-1)
