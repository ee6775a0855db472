"""Nebulosity beneath stars: whether a frame shows so much of it that stars hide in it, and the frame without it."""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import maximum_filter, uniform_filter

from masterlight.compiled import njit
from masterlight.core.statistics.noise import SAFE

STRIPS, SIDE, APART = 8, 8, 3
"""Rows of tiles that are looked at, their side in pixels of the binned frame, and how many tiles apart they are
compared."""
STRUCTURED = 0.3
"""Nebulous is a frame whose sky changes by this part of a pixel's noise from tile to tile, beyond any slope."""
TILE_FWHM, TILE_PX = 4.0, (10, 48)
"""Side of the tiles by which nebulosity is told, in widths of stars, and its limits."""
FIELD, CALM = 7, 0.7
"""Sky is calm where more than this part of so many tiles square has no structure."""
BISECTIONS = 22
"""Steps by which medians of tiles are found, each to 2 ** -22 of the standard deviation of its tile."""
BEYOND = 2
"""Nodes that a mesh needs on all sides to be read as a surface."""


class Flattened(NamedTuple):
    """A frame without its nebulosity."""

    image: np.ndarray
    beneath: np.ndarray
    """What was taken off, as a mesh (tiles_y, tiles_x) float32."""
    rough: np.ndarray
    """Around which tiles the nebulosity has structure."""

    def at(self, x, y) -> np.ndarray:
        """What was taken off at positions (n,)."""
        return surface_at(widened(self.beneath), np.asarray(x, float), np.asarray(y, float), self.image.shape)

    def rough_at(self, x, y) -> np.ndarray:
        """Whether the nebulosity has structure around positions (n,)."""
        where = zip((y, x), self.rough.shape, self.image.shape, strict=True)
        return self.rough[*(np.clip((at + 0.5) * n / size, 0, n - 1).astype(int) for at, n, size in where)]


def nebulous(binned: np.ndarray, noise_dn: float) -> bool:
    """Whether the sky of a frame, binned by 2, changes on the scale of its stars; noise_dn of one pixel of the frame.

    Told by the second differences of medians of tiles in a row about their usual one, which vignetting and gradients
    leave alone.
    """
    rows, cols = binned.shape
    if rows < SIDE or cols < 3 * APART * SIDE or not noise_dn > 0:
        return False
    starts = np.unique(np.linspace(0, rows - SIDE, STRIPS).astype(int))
    tiles = np.concatenate([tile_medians(binned[y : y + SIDE], 1, cols // SIDE) for y in starts])
    steps = (tiles[:, 2 * APART :] - 2 * tiles[:, APART:-APART] + tiles[:, : -2 * APART]) / 6**0.5
    steps = steps[np.isfinite(steps)]
    return bool(steps.size and np.median(np.abs(steps - np.median(steps))) > STRUCTURED * noise_dn)


def flattened(image, binned, fwhm_px: float, noise_dn: float, saturation_dn: float, partly: bool = False) -> Flattened:
    """The frame (rows, cols), which has pixels, without what is wider than its stars, told by the frame binned by 2.

    The darkest tile keeps its level, so that what is saturated stays above all else. What the tiles miss of a hollow or
    a ridge, which the mean over them fills or lowers, shows in what is left, and is taken off as well. noise_dn of a
    pixel tells where there is structure; partly: elsewhere tiles that stand out are stars, which keep their wings.
    """
    side = int(np.clip(TILE_FWHM * fwhm_px, *TILE_PX)) // 2
    tiles = [max(1, n // side) for n in binned.shape]
    beneath = tile_medians(binned, *tiles)
    beneath[np.isnan(beneath)] = np.nanmedian(beneath)
    if not partly:  # knots are no larger than tiles, and what these leave of them looks like stars either way
        beneath += np.nan_to_num(tile_medians(without(binned, beneath, np.inf), *tiles))
    rough = np.abs(beneath - uniform_filter(beneath, 3, mode="nearest")) > STRUCTURED * noise_dn
    around = maximum_filter(rough, 3)
    if partly:
        beneath, calm = calmed(beneath, rough)
        around &= ~calm
    beneath -= beneath.min()
    return Flattened(without(image, beneath, saturation_dn), beneath, around)


def calmed(mesh: np.ndarray, rough: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A mesh with the mean of what is not rough around where most is not, and which nodes these are."""
    even = np.float32(~rough)
    share = uniform_filter(even, FIELD, mode="nearest")
    usual = uniform_filter(even * mesh, FIELD, mode="nearest") / np.maximum(share, np.float32(1e-3))
    return np.where(share > CALM, usual, mesh), share > CALM


def widened(mesh: np.ndarray) -> np.ndarray:
    """A mesh with the nodes beyond its borders that a surface through it needs, in line with those within."""
    return np.pad(mesh, BEYOND, "reflect", reflect_type="odd")


@njit(nogil=True, cache=True)
def tile_medians(image, ny, nx):
    """Median of each of (ny, nx) tiles of one size, evenly set over an image, float32; NaN where less than a quarter
    is there."""
    rows, cols = image.shape
    height, width = rows // ny, cols // nx
    out, values = np.empty((ny, nx), np.float32), np.empty((height * width, nx), np.float32)
    left = np.arange(nx) * cols // nx
    for j in range(ny):
        top = j * rows // ny
        for y in range(height):
            for x in range(width):
                line, into = image[top + y], values[y * width + x]
                for i in range(nx):
                    into[i] = line[left[i] + x]
        medians_of_columns(values, out[j])
    return out


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def medians_of_columns(values, out):
    """Median of each column of values (n, m) into out (m,), all at once: by bisection from one standard deviation
    around the mean, within which every median lies in `BISECTIONS` steps."""
    n, m = values.shape
    count, mean, square = np.zeros(m, np.float32), np.zeros(m), np.zeros(m)
    low, high = np.full(m, np.inf, np.float32), np.full(m, -np.inf, np.float32)
    for k in range(n):
        for i in range(m):
            v = values[k, i]
            there = abs(v) < np.float32(3e38)
            count[i] += np.float32(1.0) if there else np.float32(0.0)
            mean[i] += v if there else 0.0
    for i in range(m):
        mean[i] /= max(count[i], np.float32(1.0))
    for k in range(n):
        for i in range(m):
            v = values[k, i]
            away = v - mean[i] if abs(v) < np.float32(3e38) else 0.0
            square[i] += away * away
    for i in range(m):
        sd = np.sqrt(square[i] / max(count[i], np.float32(1.0)))
        low[i], high[i] = mean[i] - sd, mean[i] + sd
    below, half = np.empty(m, np.float32), np.empty(m, np.float32)
    for _ in range(BISECTIONS):
        for i in range(m):
            below[i], half[i] = np.float32(0.0), np.float32(0.5) * (low[i] + high[i])
        for k in range(n):
            for i in range(m):
                below[i] += np.float32(1.0) if values[k, i] < half[i] else np.float32(0.0)
        for i in range(m):
            under = np.float32(2.0) * below[i] < count[i]
            low[i], high[i] = half[i] if under else low[i], high[i] if under else half[i]
    for i in range(m):
        out[i] = np.float32(0.5) * (low[i] + high[i]) if 4 * count[i] >= n else np.float32(np.nan)


def without(image: np.ndarray, beneath: np.ndarray, saturation_dn: float) -> np.ndarray:
    """The image less the surface through a mesh; what is saturated stays as it is."""
    out = np.empty(image.shape, np.float32)  # NumPy asks for huge pages, which halves the time
    take_off_surface(image, widened(beneath), saturation_dn, out)
    return out


@njit(nogil=True, cache=True)
def take_off_surface(image, mesh, saturation, out):
    """Fill `out` with the image less the surface through a mesh, `widened`, but for what is saturated."""
    rows, cols = image.shape
    lines = lines_of(mesh, cols)
    for y in range(rows):
        v = (y + 0.5) * (len(mesh) - 2 * BEYOND) / rows + BEYOND - 0.5
        j = int(v)
        a, b, c, d = shares(v - j)
        first, second, third, fourth, here, into = lines[j - 1], lines[j], lines[j + 1], lines[j + 2], image[y], out[y]
        for x in range(cols):
            beneath = a * first[x] + b * second[x] + c * third[x] + d * fourth[x]
            into[x] = here[x] - (np.float32(0.0) if here[x] >= saturation else beneath)


@njit(nogil=True, cache=True, forceinline=True)
def shares(t):
    """What each of four nodes adds to a surface at t between the middle two, without kinks (Keys 1981), float32."""
    a, b = ((1.0 - 0.5 * t) * t - 0.5) * t, (1.5 * t - 2.5) * t * t + 1.0
    c, d = ((2.0 - 1.5 * t) * t + 0.5) * t, (0.5 * t - 0.5) * t * t
    return np.float32(a), np.float32(b), np.float32(c), np.float32(d)


@njit(nogil=True, cache=True)
def lines_of(mesh, cols):
    """The surface through a mesh, `widened`, along each of its rows of nodes: (rows of the mesh, cols) float32."""
    out, nx = np.empty((mesh.shape[0], cols), np.float32), mesh.shape[1] - 2 * BEYOND
    first, share = np.empty(cols, np.int64), np.empty((cols, 4), np.float32)
    for x in range(cols):
        u = (x + 0.5) * nx / cols + BEYOND - 0.5
        first[x] = int(u) - 1
        share[x, 0], share[x, 1], share[x, 2], share[x, 3] = shares(u - int(u))
    for j in range(mesh.shape[0]):
        for x in range(cols):
            i = first[x]
            nodes, part = mesh[j, i : i + 4], share[x]
            out[j, x] = part[0] * nodes[0] + part[1] * nodes[1] + part[2] * nodes[2] + part[3] * nodes[3]
    return out


@njit(nogil=True, cache=True)
def surface_at(mesh, x, y, shape):
    """The surface through a mesh, `widened`, at positions (n,) of an image of this shape."""
    ny, nx, out = mesh.shape[0] - 2 * BEYOND, mesh.shape[1] - 2 * BEYOND, np.zeros(x.size)
    for k in range(x.size):
        v = min(max((y[k] + 0.5) * ny / shape[0], 0.0), ny - 1e-6) + BEYOND - 0.5
        u = min(max((x[k] + 0.5) * nx / shape[1], 0.0), nx - 1e-6) + BEYOND - 0.5
        down, across = shares(v - int(v)), shares(u - int(u))
        for j in range(4):
            for i in range(4):
                out[k] += down[j] * across[i] * mesh[int(v) - 1 + j, int(u) - 1 + i]
    return out
