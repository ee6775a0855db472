"""What is sharper than any star, or as sharp as most: hot pixels and cosmic rays, and the width that stars share."""

import numpy as np

from masterlight.compiled import njit
from masterlight.core.statistics.mesh import mesh_at
from masterlight.core.statistics.scale import deviation

SPIKY = 0.002
"""Share of hot pixels from which they are taken out before stars are searched."""
NO_MOSAIC = np.empty((0, 0), np.float32)
OTHER_COLOURS, CERTAIN = 0.2, 10.0
"""What the neighbours of a hot pixel of a mosaic hold of it at most, and how many sigma it is high: fainter ones do not
show as stars, and faint stars may lie in one pixel by chance."""
MOST, STRONG, NEAR, ALIKE, ENOUGH = 200, 50.0, 0.2, 0.3, 0.5
"""How many widths are looked at, those of most evidence; evidence beyond which a width counts no more; how far apart,
in natural logarithms, widths support each other, and belong together; part of the most support from which narrower
ones are the stars."""


@njit(nogil=True, cache=True, forceinline=True)
def around(image, x, y, level):
    """(brightest, second, sum, number) of those of the eight neighbours of a pixel that are there, above the level."""
    first, second, total, n = -np.inf, -np.inf, 0.0, 0
    for j in range(max(0, y - 1), min(image.shape[0], y + 2)):
        for i in range(max(0, x - 1), min(image.shape[1], x + 2)):
            v = image[j, i] - level
            if (i == x and j == y) or not abs(v) < np.inf:
                continue
            total, n = total + v, n + 1
            if v > first:
                first, second = v, first
            elif v > second:
                second = v
    return first, second, total, n


@njit(nogil=True, cache=True)
def spike(image, x, y, level, noise, share=0.4):
    """Whether a maximum stands alone, as hot pixels and cosmic rays do, where a star would light its neighbours too.

    The two brightest of the eight neighbours are left out, so that pairs and triples are caught; the other six of a
    star of FWHM 1.3 px hold 0.85 of its peak together wherever its centre falls in the pixel. share: what they hold of
    it at most where it is none.
    """
    first, second, total, n = around(image, x, y, level)
    if n < 6:
        return False
    return total - first - second < share * (image[y, x] - level) - 1.5 * noise


@njit(nogil=True, cache=True)
def alone(image, x, y, level, noise):
    """Whether any pixel, not only a maximum, stands out of a star as `spike` tells; in a mosaic by those there are.

    Where but three to five neighbours are there, one of them is left out, and the others hold the same share each.
    """
    first, second, total, n = around(image, x, y, level)
    if n < 3:
        return False
    left = n - 2 if n >= 6 else n - 1
    rest = total - first - second if n >= 6 else total - first
    return rest < left / 6.0 * (0.4 * (image[y, x] - level) - 1.5 * noise)


def spikiness(image):
    """Share of pixels that stand 15 sigma above their four neighbours, and sigma, both from 64 rows."""
    if min(image.shape) < 3:
        return 0.0, 0.0
    at = np.unique(np.linspace(1, image.shape[0] - 2, 64).astype(int))
    rows = image[at]
    differences = rows[:, 2:] - rows[:, :-2]
    differences = differences[np.isfinite(differences)]
    if not differences.size:
        return 0.0, 0.0
    sigma = float(1.0484 * np.float32(deviation(differences, 0.0)))
    around = np.fmax(np.fmax(rows[:, 2:], rows[:, :-2]), np.fmax(image[at - 1, 1:-1], image[at + 1, 1:-1]))
    return float(np.mean(rows[:, 1:-1] > around + np.float32(15.0 * sigma))), sigma


@njit(nogil=True, cache=True)
def despike(image, level, sigma):
    """A copy with NaN for the spikes that rise 10 sigma above the sky mesh."""
    rows, cols = image.shape
    out = image.copy()
    lowest = level.min() + 10.0 * sigma
    for y in range(rows):
        for x in range(cols):
            if image[y, x] > lowest:
                sky = mesh_at(level, y, x, rows, cols)
                if image[y, x] > sky + 10.0 * sigma and spike(image, x, y, sky, sigma):
                    out[y, x] = np.nan
    return out


@njit(nogil=True, cache=True)
def block(image, x, y, level, noise):
    """Whether a maximum is a square of 2 x 2 pixels that nothing surrounds, as clusters of hot pixels are.

    The twelve pixels around it hold a seventh of what a star of FWHM 1.3 px has in the square, where that is least.
    """
    best, left, top = -np.inf, x, y
    for j in range(max(0, y - 1), min(image.shape[0] - 2, y) + 1):
        for i in range(max(0, x - 1), min(image.shape[1] - 2, x) + 1):
            total = image[j, i] + image[j, i + 1] + image[j + 1, i] + image[j + 1, i + 1] - 4.0 * level
            if total > best:
                best, left, top = total, i, j
    around, n = 0.0, 0
    for j in range(max(0, top - 1), min(image.shape[0], top + 3)):
        for i in range(max(0, left - 1), min(image.shape[1], left + 3)):
            inside = top <= j <= top + 1 and left <= i <= left + 1
            if not inside and abs(image[j, i]) < np.inf:
                around, n = around + image[j, i] - level, n + 1
    return best > -np.inf and n >= 8 and around < 0.07 * best - 2.5 * noise


@njit(nogil=True, cache=True)
def same_colour(mosaic, x, y, period, values):
    """Fill `values` (24,) with the pixels of the same colour around one, in order; returns how many there are."""
    n = 0
    for j in range(y - 2 * period, y + 2 * period + 1, period):
        for i in range(x - 2 * period, x + 2 * period + 1, period):
            if (i == x and j == y) or not (0 <= i < mosaic.shape[1] and 0 <= j < mosaic.shape[0]):
                continue
            if abs(mosaic[j, i]) < np.inf:
                values[n] = mosaic[j, i]
                n += 1
    values[:n].sort()
    return n


@njit(nogil=True, cache=True)
def lone_in_mosaic(mosaic, x, y, searched):
    """Whether a maximum of an image is one hot pixel of its mosaic, which debayering made as wide as a star.

    searched (period, period) bool: which pixels of the mosaic's pattern the image was made of. Each of these is taken
    above the median of those of its own colour; then it is judged as by `spike`, with half its share: the neighbours
    see other colours, in which the star may be faint.
    """
    period = searched.shape[0]
    values, above, best, px, py = np.empty(24), np.zeros((3, 3)), -np.inf, x, y
    for j in range(max(0, y - 1), min(mosaic.shape[0], y + 2)):
        for i in range(max(0, x - 1), min(mosaic.shape[1], x + 2)):
            n = same_colour(mosaic, i, j, period, values) if searched[j % period, i % period] else 0
            if n >= 8 and mosaic[j, i] - values[n // 2] > best:
                best, px, py = mosaic[j, i] - values[n // 2], i, j
    if not (0 < px < mosaic.shape[1] - 1 and 0 < py < mosaic.shape[0] - 1):
        return False
    noise = 0.0
    for j in range(3):
        for i in range(3):
            n = same_colour(mosaic, px + i - 1, py + j - 1, period, values)
            above[j, i] = mosaic[py + j - 1, px + i - 1] - values[n // 2] if n >= 8 else np.nan
            if i == 1 and j == 1 and n >= 8:
                noise = (values[3 * n // 4] - values[n // 4]) / 1.349
    return above[1, 1] > CERTAIN * noise and spike(above, 1, 1, 0.0, noise, OTHER_COLOURS)


@njit(nogil=True, cache=True)
def half_maximum(image, x, y, peak, level):
    """Width of a star at half its peak: mean of four walks from (x, y) outwards over NaN, NaN when one does not end."""
    rows, cols = image.shape
    half, total = 0.5 * (peak + level), 0.0
    for k in range(4):
        dx, dy = (1, -1, 0, 0)[k], (0, 0, 1, -1)[k]
        before, at = peak, 0
        for step in range(1, 42):
            i, j = x + step * dx, y + step * dy
            if step > 40 or not (0 <= i < cols and 0 <= j < rows):
                return np.nan
            v = image[j, i]
            if v <= half:
                total += at + (step - at) * (before - half) / max(before - v, 1e-12)
                break
            if v > half:
                before, at = v, step
    return 0.5 * total


def typical_fwhm(image, candidates, count=60):
    """The width at half maximum that a frame's brightest unsaturated candidates share, in pixels; NaN without any."""
    widths, evidence = [], []
    for k in np.flatnonzero(candidates.core == 0)[:count]:
        x, y = int(round(candidates.x[k])), int(round(candidates.y[k]))
        if not (1 <= x < image.shape[1] - 1 and 1 <= y < image.shape[0] - 1):
            continue
        box = image[y - 1 : y + 2, x - 1 : x + 2]
        if np.isfinite(box).any():
            j, i = divmod(int(np.nanargmax(box)), 3)
            widths.append(half_maximum(image, x + i - 1, y + j - 1, float(box[j, i]), candidates.level[k]))
            evidence.append(candidates.strength[k] / candidates.noise[k])
    return shared_width(np.array(widths), np.array(evidence))


def shared_width(widths: np.ndarray, evidence: np.ndarray) -> float:
    """The width (n,) that stars share: the narrowest of those that many support; NaN without any.

    Stars of a frame are alike, and the sharpest thing in it that comes again and again. Knots of a galaxy, nebulae and
    pairs are wider, and no two alike. evidence (n,): signal to noise of each.
    """
    good = np.isfinite(widths) & (widths > 0) & (evidence > 0)
    if not good.any():
        return np.nan
    good = np.flatnonzero(good)
    good = good[np.argsort(-evidence[good], kind="stable")[:MOST]]
    width, weight = np.log(widths[good]), np.minimum(evidence[good], STRONG)
    apart = np.abs(width[:, None] - width)
    support = np.clip(1.0 - apart / NEAR, 0.0, None) @ weight
    at = int(np.argmin(np.where(support >= ENOUGH * support.max(), width, np.inf)))
    while True:
        near = np.flatnonzero(apart[at] < NEAR)
        best = int(near[np.argmax(support[near])])
        if best == at or not support[best] > support[at]:
            break
        at = best
    return float(np.median(widths[good][apart[at] < ALIKE]))
