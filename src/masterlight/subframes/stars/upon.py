"""Stars upon knots of galaxies, which are wider: told by the profile that stars share, beside smooth light."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from masterlight.subframes.stars import psf

REACH_FWHM, SHIFT_FWHM, DEGREE = 2.0, 0.4, 4
"""Radius of the pixels that are looked at and how far from its maximum the star may lie, in widths of stars; degree of
the polynomial that stands for what lies beneath, which follows knots twice as wide as stars."""
LEAST = 6.0
"""How many times its error the height of such a star is at least; knots make up to 5."""


def disc(radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Offsets x, y (n,) of the pixels of a disc from its middle."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    inside = x**2 + y**2 <= radius**2
    return x[inside].astype(float), y[inside].astype(float)


def design(dx, dy, x: float, y: float, shared: np.ndarray, beta: float | None) -> np.ndarray:
    """What pixels at dx, dy (n,) are made of: a star of height 1 at (x, y), as `psf.fit_stars` has it, and all terms of
    the polynomial, (n, terms)."""
    model = np.empty((7, dx.size))
    star = np.array([x, y, 1.0, 0.0, *shared[psf.A : psf.C + 1]])
    psf.model(star, dx, dy, dx.size, psf.profile(beta), model)
    scale = max(1.0, np.abs(dx).max())
    powers = [(dx / scale) ** i * (dy / scale) ** j for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)]
    return np.stack([model[2], *powers], axis=-1)


def upon_knots(image, fits, chosen, good, beta, ceiling) -> tuple[np.ndarray, np.ndarray]:
    """Which candidates are stars after all, and their fits (n, 16) with the shape that those of `good` share.

    Least squares of a star and of a polynomial: near the maximum of each candidate where the star is highest beside its
    error. Such stars tell nothing of the shape.
    """
    shared = np.median(fits[good], axis=0)
    fwhm = float(psf.shape(shared[None], beta)[0][0])
    reach, shift = int(REACH_FWHM * fwhm), max(1, round(SHIFT_FWHM * fwhm))
    x, y = disc(reach)
    weights = np.zeros((2 * reach + 1, 2 * reach + 1))
    weights[y.astype(int) + reach, x.astype(int) + reach] = np.linalg.pinv(design(x, y, 0.0, 0.0, shared, beta))[0]
    error = np.sqrt(np.sum(weights**2))
    which, rows = [], []
    for k in np.setdiff1d(np.flatnonzero(chosen.core == 0), good):
        place = highest(image, round(chosen.x[k]), round(chosen.y[k]), shift, weights, ceiling)
        if not place[2] > LEAST * error * chosen.noise[k]:
            continue
        if np.hypot(fits[good, psf.X] - place[0], fits[good, psf.Y] - place[1]).min() < max(1.5, 0.5 * fwhm):
            continue
        row = solved(image, place[0], place[1], shared, beta, reach)
        row[psf.SNR] = place[2] / (error * chosen.noise[k])
        row[psf.VAR_X] = row[psf.VAR_Y] = (0.6 * fwhm / row[psf.SNR]) ** 2
        which.append(k)
        rows.append(row)
    return np.array(which, int), np.array(rows).reshape(-1, fits.shape[1])


def highest(image, x: int, y: int, shift: int, weights: np.ndarray, ceiling: float) -> tuple[float, float, float]:
    """(x, y, height) where the weighted sum of the pixels around is highest, less than `shift` off (x, y); height 0
    where it is not, or where pixels are missing or saturated."""
    side = len(weights) + 2 * shift
    box = image[max(0, y - side // 2) : y + side // 2 + 1, max(0, x - side // 2) : x + side // 2 + 1]
    if box.shape != (side, side) or not (box < ceiling).all():
        return x, y, 0.0
    height = np.einsum("abij,ij->ab", sliding_window_view(box.astype(float), weights.shape), weights)
    b, a = divmod(int(np.argmax(height)), height.shape[1])
    if not (0 < a < 2 * shift and 0 < b < 2 * shift):
        return x, y, 0.0
    dx, dy = peak_of(*height[b, a - 1 : a + 2]), peak_of(*height[b - 1 : b + 2, a])
    return x + a - shift + dx, y + b - shift + dy, float(height[b, a])


def peak_of(left: float, here: float, right: float) -> float:
    """Where between its neighbours a parabola through three values has its maximum."""
    return float(np.clip(0.5 * (left - right) / min(left - 2 * here + right, -1e-30), -0.5, 0.5))


def solved(image, x: float, y: float, shared: np.ndarray, beta: float | None, reach: int) -> np.ndarray:
    """The fit (16,) of a star of this shape at (x, y), beside a polynomial."""
    i, j = round(x), round(y)
    dx, dy = disc(reach)
    value = image[j + dy.astype(int), i + dx.astype(int)].astype(float)
    parts = design(dx, dy, x - i, y - j, shared, beta)
    terms = np.linalg.lstsq(parts, value, rcond=None)[0]
    row = shared.copy()
    row[[psf.X, psf.Y, psf.PEAK, psf.LEVEL]] = x, y, terms[0], terms[1]
    row[psf.RESIDUAL] = np.mean(np.abs(value - parts @ terms)) / abs(terms[0])
    row[psf.CHI2], row[psf.PIXELS], row[psf.VAR_SHAPE] = 0.0, dx.size, 1.0
    return row
