"""Slow, obvious twins of `masterlight.core.statistics.cells`."""

import numpy as np

from masterlight.core.statistics.cells import PASSES, QUICK, SETTLED


def bisquare_mean(values, centre, reach):
    weight = np.clip(1 - ((np.asarray(values, float) - centre) / reach) ** 2, 0, None) ** 2
    return np.average(values, weights=weight) if weight.sum() else centre


def quick_level(values):
    if not len(values):
        return np.nan, np.nan
    some = np.asarray(values, float)[:: max(1, len(values) // QUICK)]
    level = np.median(some)
    return level, 1.4826 * np.median(np.abs(some - level))


def settled_level(values, level, sigma, limit):
    if not sigma > 0:
        return level
    values = np.asarray(values, float)
    for _ in range(PASSES):
        before = level
        level = bisquare_mean(values, before, limit * sigma)
        if abs(level - before) < SETTLED * sigma:
            break
    return level


def fill_cells(image, step, limit, grid):
    (rows, cols), (ny, nx) = image.shape, grid
    out = np.full(grid, np.nan)
    for j, i in np.ndindex(*grid):
        top, bottom = j * rows // ny, (j + 1) * rows // ny
        cell = image[top + min(step, bottom - top) // 2 : bottom : step, i * cols // nx : (i + 1) * cols // nx]
        there = cell[np.isfinite(cell)]
        if there.size and 2 * there.size >= cell.size:
            out[j, i] = settled_level(there, *quick_level(there), limit)
    return out
