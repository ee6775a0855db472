"""Nebulosity beneath stars: whether a frame shows so much of it that stars hide in it, and the frame without it."""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import maximum_filter, uniform_filter

from masterlight.compiled import njit
from masterlight.core.statistics.mesh import mesh_at, mesh_row, middle, moments

STRIPS, SIDE, APART = 8, 8, 3
"""Rows of tiles that are looked at, their side in pixels of the binned frame, and how many tiles apart they are
compared."""
STRUCTURED = 0.3
"""Nebulous is a frame whose sky changes by this part of a pixel's noise from tile to tile, beyond any slope."""
TILE_FWHM, TILE_PX = 4.0, (8, 48)
"""Side of the tiles by which nebulosity is told, in widths of stars, and its limits."""


class Flattened(NamedTuple):
    """A frame without its nebulosity."""

    image: np.ndarray
    beneath: np.ndarray
    """What was taken off, as a mesh (tiles_y, tiles_x) float32."""
    rough_dn: np.ndarray
    """How far that lies at most from the mean of its neighbours, around each tile."""

    def at(self, x, y) -> np.ndarray:
        """What was taken off at positions (n,)."""
        return values_at(self.beneath, np.asarray(x, float), np.asarray(y, float), self.image.shape)

    def rough(self, x, y, noise_dn: float) -> np.ndarray:
        """Whether the nebulosity around positions (n,) has structure beside this noise of a pixel."""
        around = values_at(self.rough_dn, np.asarray(x, float), np.asarray(y, float), self.image.shape)
        return around > STRUCTURED * noise_dn


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


def flattened(image: np.ndarray, fwhm_px: float, saturation_dn: float) -> Flattened:
    """The frame (rows, cols), which has pixels, without what is wider than its stars.

    The darkest tile keeps its level, so that what is saturated stays above all else.
    """
    side = int(np.clip(TILE_FWHM * fwhm_px, *TILE_PX))
    beneath = tile_medians(image, max(1, image.shape[0] // side), max(1, image.shape[1] // side))
    beneath[np.isnan(beneath)] = np.nanmedian(beneath)
    beneath -= beneath.min()
    away = np.abs(beneath - uniform_filter(beneath, 3, mode="nearest"))
    return Flattened(without(image, beneath, saturation_dn), beneath, maximum_filter(away, 3, mode="nearest"))


@njit(nogil=True, cache=True)
def tile_medians(image, ny, nx):
    """Median of each of (ny, nx) tiles that divide an image evenly, float32; NaN where less than a quarter is there."""
    rows, cols = image.shape
    out = np.empty((ny, nx), np.float32)
    values = np.empty((rows // ny + 2) * (cols // nx + 2), np.float32)
    for j in range(ny):
        for i in range(nx):
            n = 0
            for y in range(j * rows // ny, (j + 1) * rows // ny):
                for x in range(i * cols // nx, (i + 1) * cols // nx):
                    values[n] = image[y, x]
                    n += 1
            low, high = np.float32(-3e38), np.float32(3e38)
            count, mean, sd = moments(values[:n], low, high)
            out[j, i] = np.nan
            if 4 * count >= n:
                near = middle(values[:n], low, high, mean - sd, mean + sd, count)  # to sd / 4096
                out[j, i] = middle(values[:n], low, high, near - sd / 2000.0, near + sd / 2000.0, count)
    return out


@njit(nogil=True, cache=True)
def without(image, beneath, saturation):
    """The image less a mesh; what is saturated stays as it is."""
    rows, cols = image.shape
    out, row = np.empty((rows, cols), np.float32), np.empty(cols, np.float32)
    for y in range(rows):
        mesh_row(beneath, y, rows, row)
        for x in range(cols):
            v = image[y, x]
            out[y, x] = v if v >= saturation else v - row[x]
    return out


@njit(nogil=True, cache=True)
def values_at(mesh, x, y, shape):
    """The mesh at positions (n,) of an image of this shape."""
    out = np.empty(x.size)
    for k in range(x.size):
        out[k] = mesh_at(mesh, y[k], x[k], shape[0], shape[1])
    return out
