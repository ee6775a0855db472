"""Slow, obvious twins of `masterlight.integration.kernels.surface`."""

import numpy as np
from scipy.interpolate import BSpline

from masterlight.integration.kernels.surface import MEMBRANE, STIFFNESS
from oracles.cells import quick_level, settled_level


def count_outside(values, low, high):
    return sum(not low < v < high for v in values)


def gather(block):
    y, x = np.nonzero(np.isfinite(block))
    return block[y, x], x.sum(), y.sum()


def cell_levels(reference, target, gain, limit, reach):
    cells, (h, cols) = len(gain), reference.shape
    out = np.empty((cells, 5))
    y, x = np.mgrid[:h, :cols]
    for i in range(cells):
        here = slice(i * cols // cells, (i + 1) * cols // cells)
        d = reference[:, here] - np.float32(gain[i]) * target[:, here]
        level, sigma = quick_level(d[np.isfinite(d)])
        if sigma > 0:
            d = blank_outside(d, [level - limit * sigma], [level + limit * sigma], reach)
        there = np.isfinite(d)
        at = (x[:, here][there].mean(), y[:, here][there].mean()) if there.any() else (x[0, here][0], 0)
        out[i] = settled_level(d[there], level, sigma, limit), sigma, there.sum(), *at
    return out


def blank_outside(strip, low, high, reach):
    h, cols = strip.shape
    cells, out = len(low), strip.copy()
    for y in range(h):
        for x in range(cols):
            cell = max(i for i in range(cells) if i * cols // cells <= x)
            if strip[y, x] > np.float32(high[cell]) or strip[y, x] < np.float32(low[cell]):
                out[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1] = np.nan
    return out


def design(v, u, ny, nx):
    """The value of every B-spline of the surface at every point, (n, p)."""

    def along(x, cells):
        knots = np.arange(-3, cells + 4)
        return np.stack([BSpline(knots, row, 3)(x) for row in np.eye(cells + 3)], axis=-1)

    return (along(v, ny)[:, :, None] * along(u, nx)[:, None, :]).reshape(len(v), -1)


def penalty(ny, nx, weights):
    total = np.zeros(((ny + 3) * (nx + 3),) * 2)
    for order, weight in enumerate(weights):
        for axis in (0, 1):
            each = np.eye(total.shape[0]).reshape(-1, ny + 3, nx + 3)
            d = np.diff(each, order, axis=axis + 1).reshape(len(total), -1)
            total += weight * d @ d.T
    return total


def spline_weights(f):
    return design(np.array([f]), np.array([0.0]), 1, 1).reshape(4, 4).sum(axis=1)


def normal_equations(v, u, values, weights, ny, nx):
    x = design(v, u, ny, nx)
    return x.T @ (weights[:, None] * x), x.T @ (weights * values)


def surface_at(coefficients, v, u):
    ny, nx = np.array(coefficients.shape) - 3
    return design(v, u, ny, nx) @ coefficients.ravel()


def surface_row(coefficients, y, x0, pitch_y, pitch_x, width):
    return surface_at(coefficients, np.full(width, (y + 0.5) / pitch_y), (np.arange(x0, x0 + width) + 0.5) / pitch_x)


def fit_surface(v, u, values, weights, ny, nx):
    """For points without outliers: one weighted, penalised least squares fit."""
    left, right = normal_equations(v, u, values, weights, ny, nx)
    return np.linalg.solve(left + penalty(ny, nx, STIFFNESS), right).reshape(ny + 3, nx + 3)


def fit_shrunk(v, u, values, sigma, ny, nx, tau2):
    """For a given tau^2: the most likely surface of a Gaussian process with that variance."""
    left, right = normal_equations(v, u, values, sigma**-2.0, ny, nx)
    return np.linalg.solve(left + penalty(ny, nx, MEMBRANE) / tau2, right).reshape(ny + 3, nx + 3)


def apply_surface(image, y0, x0, scale, gain, gain_pitch_y, gain_pitch_x, offset, pitch_y, pitch_x):
    h, w = image.shape
    y, x = (a.ravel() for a in np.mgrid[y0 : y0 + h, x0 : x0 + w] + 0.5)
    times = surface_at(gain, y / gain_pitch_y, x / gain_pitch_x).reshape(h, w) if gain.size else 1.0
    return scale * times * image + surface_at(offset, y / pitch_y, x / pitch_x).reshape(h, w)
