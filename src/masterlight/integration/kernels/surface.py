"""Smooth surfaces over an image: levels of its cells, a penalised cubic B-spline through them, the surface applied.

A surface of ny x nx cells has (ny + 3) x (nx + 3) coefficients; cell (j, i) is lifted by coefficients j to j + 3 and
i to i + 3, and pixel (y, x) lies at ((y + 0.5) / pitch_y, (x + 0.5) / pitch_x) in units of cells.
"""

from functools import lru_cache

import numpy as np
from scipy.linalg import eigh, solveh_banded

from masterlight.compiled import njit
from masterlight.core.statistics.cells import quick_level, settled_level
from masterlight.core.statistics.noise import SAFE

STIFFNESS = (0.0, 1e-6, 0.0, 1.0)
"""Weights of a surface's differences against points of weight 1; the first differences settle what no point tells."""
MEMBRANE = (0.001, 0.3, 1.0)
"""Weights of the differences of a surface that is drawn towards 0."""
ENOUGH = 3.0
"""By how much log likelihood a surface must be better than none."""


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def count_outside(values, low, high):
    """How many of the values (n,) float32 are not between the limits; NaN is not."""
    bottom, top, inside = np.float32(low), np.float32(high), 0
    for i in range(values.size):
        inside += (values[i] > bottom) & (values[i] < top)
    return values.size - inside


@njit(nogil=True, cache=True, forceinline=True)
def gather(block, values):
    """Copy the finite samples of a block to `values`: (how many, sum of their x, sum of their y)."""
    n, at_x, at_y, width = 0, 0, 0, block.shape[1]
    for y in range(block.shape[0]):
        line, count = block[y], count_outside(block[y], -np.inf, np.inf)
        if count == 0:
            values[n : n + width] = line
            n += width
            at_x += width * (width - 1) // 2
            at_y += width * y
            continue
        for x in range(width):
            there = abs(line[x]) < np.inf
            values[n] = line[x]
            n += there
            at_x += x * there
            at_y += y * there
    return n, at_x, at_y


@njit(nogil=True, cache=True, forceinline=True)
def blank_outside(strip, low, high, reach, out):
    """Copy a strip of rows without what lies outside the limits of its cells, and without the pixels around that.

    strip, out (h, cols) float32; low, high (cells,) float64. Pixels beyond them become NaN in `out`, and all within
    `reach` pixels of them along either axis. Returns how many lay beyond.
    """
    h, cols = strip.shape
    cells, found = low.size, 0
    out[:] = strip
    for i in range(cells):
        bottom, top, x0, x1 = np.float32(low[i]), np.float32(high[i]), i * cols // cells, (i + 1) * cols // cells
        for y in range(h):
            if count_outside(strip[y, x0:x1], low[i], high[i]) == 0:
                continue
            for x in range(x0, x1):
                if strip[y, x] > top or strip[y, x] < bottom:
                    found += 1
                    out[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1] = np.nan
    return found


@njit(nogil=True, cache=True)
def cell_levels(reference, target, gain, limit, reach, out):
    """Level of `reference - gain * target` in each cell of a strip of rows, which outliers do not bend.

    reference, target (h, cols) float32, NaN where missing; gain (cells,) float64. Samples beyond `limit` sigma are left
    out with those within `reach` pixels of them. out (cells, 5) float64 is filled with level, sigma of a sample, number
    of samples, and the mean x and y of the samples in pixels of the strip; a cell without any has NaN and the number 0.
    """
    h, cols = reference.shape
    cells = out.shape[0]
    values, low, high = np.empty(h * (cols // cells + 1) + 1, np.float32), np.empty(1), np.empty(1)
    for i in range(cells):
        x0, x1 = i * cols // cells, (i + 1) * cols // cells
        block = reference[:, x0:x1] - np.float32(gain[i]) * target[:, x0:x1]
        n, at_x, at_y = gather(block, values)
        level, sigma = quick_level(values[:n])
        low[0], high[0] = level - limit * sigma, level + limit * sigma
        clean = np.empty_like(block)
        if sigma > 0.0 and blank_outside(block, low, high, reach, clean):
            n, at_x, at_y = gather(clean, values)
        out[i, 0], out[i, 1] = settled_level(values[:n], level, sigma, limit), sigma
        out[i, 2], out[i, 3], out[i, 4] = n, x0 + at_x / max(n, 1), at_y / max(n, 1)


@njit(nogil=True, cache=True)
def spline_weights(f, out):
    """The four weights of a uniform cubic B-spline at the fraction f, 0 to 1, of a cell."""
    g = 1.0 - f
    out[0], out[3] = g * g * g / 6.0, f * f * f / 6.0
    out[1] = (3.0 * f * f * f - 6.0 * f * f + 4.0) / 6.0
    out[2] = (3.0 * g * g * g - 6.0 * g * g + 4.0) / 6.0


@njit(nogil=True, cache=True)
def normal_equations(v, u, values, weights, ny, nx, band, right):
    """Add points to the normal equations of a surface of ny x nx cells.

    v, u (n,) float64 are places in units of cells; values, weights (n,) float64, points of weight 0 are passed over.
    band (3 (nx + 3) + 4, p) is the lower banded form that `scipy.linalg.solveh_banded` takes, right (p,), with
    p = (ny + 3) (nx + 3) coefficients in row order.
    """
    width = nx + 3
    wy, wx = np.empty(4), np.empty(4)
    index, part = np.empty(16, np.int64), np.empty(16)
    for k in range(v.size):
        w = weights[k]
        if not w > 0.0:
            continue
        j, i = min(max(int(v[k]), 0), ny - 1), min(max(int(u[k]), 0), nx - 1)
        spline_weights(v[k] - j, wy)
        spline_weights(u[k] - i, wx)
        for a in range(16):
            index[a] = (j + a // 4) * width + i + a % 4
            part[a] = wy[a // 4] * wx[a % 4]
        for a in range(16):
            right[index[a]] += w * part[a] * values[k]
            for b in range(a, 16):
                band[index[b] - index[a], index[a]] += w * part[a] * part[b]


@njit(nogil=True, cache=True)
def surface_at(coefficients, v, u, out):
    """Fill out (n,) with the surface at v, u (n,), places in units of cells."""
    ny, nx = coefficients.shape[0] - 3, coefficients.shape[1] - 3
    wy, wx = np.empty(4), np.empty(4)
    for k in range(v.size):
        j, i = min(max(int(v[k]), 0), ny - 1), min(max(int(u[k]), 0), nx - 1)
        spline_weights(v[k] - j, wy)
        spline_weights(u[k] - i, wx)
        total = 0.0
        for a in range(16):
            total += wy[a // 4] * wx[a % 4] * coefficients[j + a // 4, i + a % 4]
        out[k] = total


@njit(nogil=True, cache=True)
def surface_row(coefficients, y, x0, pitch_y, pitch_x, out):
    """Fill out (w,) float32 with the surface along row y of the image, from pixel x0 on.

    A value depends on its place in the image alone, not on where the row begins: every cell is one cubic in float32,
    whose four numbers come from the whole image's coordinates.
    """
    ny, nx = coefficients.shape[0] - 3, coefficients.shape[1] - 3
    wy = np.empty(4)
    v = (y + 0.5) / pitch_y
    j = min(int(v), ny - 1)
    spline_weights(v - j, wy)
    step, start, end = np.float32(1.0 / pitch_x), x0, x0 + out.size
    for i in range(max(min(int((x0 + 0.5) / pitch_x), nx) - 1, 0), nx):
        stop = end if i == nx - 1 else min(end, int(np.ceil((i + 1) * pitch_x - 0.5)))
        if stop <= start:
            continue
        a, b, c, d = 0.0, 0.0, 0.0, 0.0
        for k in range(4):
            row = coefficients[j + k]
            a += wy[k] * row[i]
            b += wy[k] * row[i + 1]
            c += wy[k] * row[i + 2]
            d += wy[k] * row[i + 3]
        p0, p1 = np.float32((a + 4.0 * b + c) / 6.0), np.float32(0.5 * (c - a))
        p2, p3 = np.float32(0.5 * (a - 2.0 * b + c)), np.float32((d - a + 3.0 * (b - c)) / 6.0)
        first = int(np.ceil(i * pitch_x - 0.5))
        f0 = np.float32((first + 0.5) / pitch_x - i)
        part, skipped = out[start - x0 : stop - x0], np.int32(start - first)
        for k in range(np.int32(part.size)):
            f = np.float32(np.int32(k) + skipped) * step + f0
            part[k] = p0 + f * (p1 + f * (p2 + f * p3))
        start = stop
        if start == end:
            return


@njit(nogil=True, cache=True)
def apply_surface(image, y0, x0, scale, gain, gain_pitch_y, gain_pitch_x, offset, pitch_y, pitch_x):
    """Bring a box of an image to another's scale and sky, in place: x becomes scale * gain(x, y) * x + offset(x, y).

    image (h, w) float32 whose first pixel is (y0, x0) of the whole; NaN stays. gain, offset: coefficients of surfaces,
    float64; a gain of no coefficients is 1 everywhere. Any box gives bit-identical values to the whole.
    """
    h, w = image.shape
    add, times = np.empty(w, np.float32), np.full(w, np.float32(scale))
    for y in range(h):
        surface_row(offset, y0 + y, x0, pitch_y, pitch_x, add)
        if gain.size:
            surface_row(gain, y0 + y, x0, gain_pitch_y, gain_pitch_x, times)
            for x in range(w):
                times[x] *= np.float32(scale)
        line = image[y]
        for x in range(w):
            line[x] = line[x] * times[x] + add[x]


@njit(nogil=True, cache=True)
def noise_over(coefficients, y0, x0, pitch_y, pitch_x, sky, level, photon, least, over, flat):
    """Fill a box (h, w) of `over` and `flat` with two surfaces, the first raised by the photons of the sky there.

    coefficients (2, rows, columns); over becomes over + photon * flat * (sky - level), `least` at least; sky (h, w), or
    of size 0 where it does not matter. Any box gives bit-identical values to the whole.
    """
    each, usual, lowest = np.float32(photon), np.float32(level), np.float32(least)
    for y in range(over.shape[0]):
        surface_row(coefficients[0], y0 + y, x0, pitch_y, pitch_x, over[y])
        surface_row(coefficients[1], y0 + y, x0, pitch_y, pitch_x, flat[y])
        line, times = over[y], flat[y]
        if sky.size:
            ground = sky[y]
            for x in range(line.size):
                line[x] += each * times[x] * (ground[x] - usual)
        for x in range(line.size):
            line[x] = max(line[x], lowest)


def differences(n, order):
    """Gram matrix (n, n) of the differences of this order of n numbers."""
    d = np.diff(np.eye(n), order, axis=0)
    return d.T @ d


@lru_cache(maxsize=8)
def stiffness(ny, nx, weights):
    """Penalty on a surface's coefficients, in the lower banded form of `scipy.linalg.solveh_banded`; not to be changed.

    weights: those of the coefficients' differences of order 0, 1, 2 and so on along both axes.
    """
    band = np.zeros((3 * (nx + 3) + 4, ny + 3, nx + 3))
    for order, weight in enumerate(weights):
        down, across = differences(ny + 3, order), differences(nx + 3, order)
        for k in range(order + 1):
            band[k, :, : nx + 3 - k] += weight * np.diagonal(across, -k)
            band[k * (nx + 3), : ny + 3 - k] += weight * np.diagonal(down, -k)[:, None]
    return band.reshape(len(band), -1)


def lower(band):
    """A banded matrix in full, (p, p), its upper half left 0."""
    out = np.zeros((band.shape[1],) * 2)
    for k, row in enumerate(band[: band.shape[1]]):
        np.fill_diagonal(out[k:], row)
    return out


def full(band):
    """A symmetric matrix in full from its lower banded form."""
    below = lower(band)
    return below + np.tril(below, -1).T


def fit_surface(v, u, values, weights, ny, nx, limit, floor):
    """Coefficients of the smooth surface through points, those left out that lie far from the others.

    v, u (n,) places in units of cells; values, weights (n,) float64, weights near 1, 0 for no point. A penalised
    B-spline (Eilers and Marx 1996): third differences, so that a quadratic surface is followed exactly; half of a wave
    of 6 cells passes. Points beyond `limit` sigma of the others' scatter, never taken smaller than `floor`, count
    nothing. Returns (coefficients (ny + 3, nx + 3), number of points that count).
    """
    kept, fitted = np.ones(len(values)), np.empty(len(values))
    for step in range(6):
        band = stiffness(ny, nx, STIFFNESS).copy()
        right = np.zeros(band.shape[1])
        normal_equations(v, u, values, weights * kept, ny, nx, band, right)
        coefficients = solveh_banded(band, right, overwrite_ab=True, lower=True).reshape(ny + 3, nx + 3)
        surface_at(coefficients, v, u, fitted)
        off = np.abs(values - fitted) * np.sqrt(weights)
        sigma = max(1.4826 * float(np.median(off[weights > 0])), floor)
        if not sigma > 0:
            break
        before, off = kept, off / sigma
        kept = 1 / np.maximum(1, off / 1.5) if step < 2 else np.maximum(1 - (off / limit) ** 2, 0) ** 2
        if np.abs(kept - before).max() < 0.01:
            break
    return coefficients, int(np.count_nonzero(kept * weights > 0))


def fit_shrunk(v, u, values, sigma, ny, nx):
    """Coefficients of the surface through noisy points that is as far from 0 as they make likely.

    v, u (n,) places in units of cells; values, sigma (n,) float64. The surface is taken as one of many that lie around
    0 with a variance tau^2, and bend as little as a membrane; tau^2 is the one under which the points are most likely
    (type II maximum likelihood, MacKay 1992), and none when that is no better than 0. Points far off count less.
    Returns (ny + 3, nx + 3), or an empty array for a surface of 0.
    """
    prior = lower(stiffness(ny, nx, MEMBRANE))
    kept, fitted, best = np.ones(len(values)), np.empty(len(values)), None
    for _ in range(4):
        band, right = np.zeros((3 * (nx + 3) + 4, prior.shape[0])), np.zeros(prior.shape[0])
        normal_equations(v, u, values, kept / sigma**2, ny, nx, band, right)
        strength, modes = eigh(lower(band), prior)
        strength, pull = np.maximum(strength, 0.0), modes.T @ right
        tau2 = np.logspace(-8, 2, 41)[:, None]
        evidence = 0.5 * (tau2 * pull**2 / (1 + tau2 * strength) - np.log1p(tau2 * strength)).sum(axis=1)
        best = int(np.argmax(evidence))
        if not evidence[best] > ENOUGH:
            return np.empty((0, 0))
        coefficients = (modes @ (tau2[best] * pull / (1 + tau2[best] * strength))).reshape(ny + 3, nx + 3)
        surface_at(coefficients, v, u, fitted)
        off = np.abs(values - fitted) / sigma
        kept = np.clip(1 - (off / (4 * max(1.4826 * float(np.median(off)), 1.0))) ** 2, 0, 1) ** 2
    return coefficients
