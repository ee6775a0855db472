"""The sky under an image as a coarse mesh: level and noise of tiles, with stars clipped."""

import numpy as np

from masterlight.compiled import njit
from masterlight.core.statistics.noise import SAFE
from masterlight.core.statistics.rounding import dither, step_between, without

TILE = 32
"""Side of a background tile in pixels of the detection image, which has twice the frame's pixel size."""


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def moments(x, low, high):
    """Count, mean and standard deviation of the values in [low, high]; NaN is outside."""
    count, total, squares, base = 0, 0.0, 0.0, 0.0
    for i in range(x.size):
        if x[i] >= low and x[i] <= high:
            base = np.float64(x[i])
            break
    for i in range(x.size):
        inside = (x[i] >= low) & (x[i] <= high)
        v = np.float64(x[i]) - base if inside else 0.0
        count += inside
        total += v
        squares += v * v
    if count == 0:
        return 0, np.nan, np.nan
    mean = total / count
    return count, base + mean, np.sqrt(max(0.0, squares / count - mean * mean))


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def middle(x, low, high, start, end, count):
    """Median of the `count` values in [low, high], known to lie in [start, end], by 12 bisections."""
    for _ in range(12):
        centre = np.float32(0.5 * (start + end))
        below = 0
        for i in range(x.size):
            below += (x[i] >= low) & (x[i] < centre)
        if 2 * below < count:
            start = centre
        else:
            end = centre
    return 0.5 * (start + end)


@njit(nogil=True, cache=True, forceinline=True)
def tile_level(x, width, work):
    """Sky level and noise of one tile's values, stars clipped; (NaN, NaN) when fewer than a quarter are finite.

    x holds whole rows of `width` values, `work` is scratch of its size. The level is the mode 2.5 median - 1.5 mean
    where the mean is near the median, else the median (Bertin & Arnouts 1996). The noise comes from second
    differences of values three apart, so that slopes do not count.
    """
    low, high = np.float32(-3e38), np.float32(3e38)
    count, mean, sd = moments(x, low, high)
    if 4 * count < x.size or count < 4:
        return np.nan, np.nan
    centre = middle(x, low, high, mean - sd, mean + sd, count)
    for i in range(x.size):
        work[i] = abs(x[i] - np.float32(centre))
    _, reach, _ = moments(work, low, high)
    sd = 1.4826 * middle(work, low, high, 0.0, 2.0 * reach, count)
    for _ in range(2):
        low, high = np.float32(centre - 3.0 * sd), np.float32(centre + 3.0 * sd)
        count, mean, sd = moments(x, low, high)
        if count == 0:
            return centre, 0.0
        centre = middle(x, low, high, mean - sd, mean + sd, count)
    if abs(mean - centre) < 0.3 * sd:
        centre = 2.5 * centre - 1.5 * mean
    work[:] = np.nan
    for start in range(0, x.size, width):
        for i in range(start + 3, start + width - 3):
            inside = (x[i] >= low) & (x[i] <= high) & (x[i - 3] >= low) & (x[i - 3] <= high)
            inside &= (x[i + 3] >= low) & (x[i + 3] <= high)
            work[i] = abs(x[i - 3] + x[i + 3] - np.float32(2.0) * x[i]) if inside else np.float32(np.nan)
    count, reach, _ = moments(work, np.float32(0.0), np.float32(3e38))
    if count == 0:
        return centre, 0.0
    return centre, 1.4826 / 6.0**0.5 * middle(work, np.float32(0.0), np.float32(3e38), 0.0, 2.0 * reach, count)


@njit(nogil=True, cache=True)
def mesh_tiles(image):
    """Level and noise of every tile of about TILE x TILE pixels, from every other row: two (tiles_y, tiles_x)."""
    rows, cols = image.shape
    ny, nx = max(1, rows // TILE), max(1, cols // TILE)
    level, noise = np.empty((ny, nx)), np.empty((ny, nx))
    size = (rows // ny + 2) * (cols // nx + 2)
    values, work = np.empty(size, np.float32), np.empty(size, np.float32)
    for j in range(ny):
        for i in range(nx):
            x0, x1, n = i * cols // nx, (i + 1) * cols // nx, 0
            for y in range(j * rows // ny, (j + 1) * rows // ny, 2):
                for x in range(x0, x1):
                    values[n] = image[y, x]
                    n += 1
            level[j, i], noise[j, i] = tile_level(values[:n], x1 - x0, work[:n])
    return level, noise


def mesh(image):
    """The sky under an image as a coarse grid: (level, noise), each (tiles_y, tiles_x) float32, without NaN.

    Each tile is the median of its 3 x 3 neighbourhood, so that a galaxy or a bright star in one tile does not bend the
    sky; tiles without pixels take the median of those that have some. Rounded values count as if they were not.
    """
    step = step_between(image)
    level, noise = mesh_tiles(image + dither(image.shape, step) if step else image)
    noise = without(noise, step) if step else noise
    return neighbourhood(level), neighbourhood(noise)


def neighbourhood(grid):
    """3 x 3 median of a grid, over what is finite and inside it."""
    if not np.isfinite(grid).any():
        return np.zeros(grid.shape, np.float32)
    rows, cols = grid.shape
    padded = np.pad(grid, 1, constant_values=np.nan)
    around = np.sort([padded[y : y + rows, x : x + cols] for y in range(3) for x in range(3)], axis=0)
    count = np.isfinite(around).sum(axis=0)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, 8)
    out = 0.5 * sum(np.take_along_axis(around, k[None], axis=0)[0] for k in (low, high))
    return np.where(count > 0, out, np.median(grid[np.isfinite(grid)])).astype(np.float32)


@njit(nogil=True, cache=True)
def mesh_at(grid, y, x, rows, cols):
    """Bilinear value of a mesh at pixel (y, x) of an image of rows x cols, constant beyond the outer tile centres."""
    ny, nx = grid.shape
    v = min(max((y + 0.5) * ny / rows - 0.5, 0.0), ny - 1.0)
    u = min(max((x + 0.5) * nx / cols - 0.5, 0.0), nx - 1.0)
    j, i = min(int(v), max(ny - 2, 0)), min(int(u), max(nx - 2, 0))
    j1, i1, f, g = min(j + 1, ny - 1), min(i + 1, nx - 1), v - j, u - i
    return (1 - f) * ((1 - g) * grid[j, i] + g * grid[j, i1]) + f * ((1 - g) * grid[j1, i] + g * grid[j1, i1])


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def mesh_row(grid, y, rows, out):
    """One row of the mesh at full width into `out` (cols,), as `mesh_at` gives it."""
    ny, nx = grid.shape
    cols = out.size
    v = min(max((y + 0.5) * ny / rows - 0.5, 0.0), ny - 1.0)
    j = min(int(v), max(ny - 2, 0))
    j1, f = min(j + 1, ny - 1), v - j
    start = 0
    for i in range(nx):
        end = cols if i == nx - 1 else int(np.ceil((i + 1.5) * cols / nx - 0.5))
        i1 = min(i + 1, nx - 1)
        a = (1 - f) * grid[j, i] + f * grid[j1, i]
        slope = (((1 - f) * grid[j, i1] + f * grid[j1, i1]) - a) * nx / cols
        origin = (i + 0.5) * cols / nx - 0.5
        for x in range(start, end):
            out[x] = a + slope * max(x - origin, 0.0)
        start = max(start, end)
