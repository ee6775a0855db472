"""Find stars: background mesh, smoothed local maxima above the noise, guards against what only looks like a star."""

from typing import NamedTuple

import numpy as np

from masterlight.compiled import njit
from masterlight.core.statistics.mesh import mesh, mesh_at, mesh_row
from masterlight.core.statistics.noise import SAFE
from masterlight.subframes.stars.sharp import NO_MOSAIC, SPIKY, alone, block, despike, lone_in_mosaic, spike, spikiness

SMOOTHING = 0.1875
"""Noise of the detection image for white noise of 1: 1/2 by binning, 6/16 by the smoothing."""
CAPACITY = 200_000
HIGH = 8.0
SHARP = 3.0
"""How much higher than its smoothed maximum a pixel stands that makes it: 16 times if alone, 8 as a pair, 4 as a square
or in a line."""
NEW_PX = 3.0
"""A star that a hot pixel hid is farther than this from those that are known."""
BESIDE, NEAR_HOT = 8, 3
"""Where a hot pixel may hide a star: half a side of the box that is searched again, and how far from it, both in pixels
of the smoothed image."""
RING = np.array(
    [(3, 0), (3, 1), (2, 2), (1, 3), (0, 3), (-1, 3), (-2, 2), (-3, 1)]
    + [(-3, 0), (-3, -1), (-2, -2), (-1, -3), (0, -3), (1, -3), (2, -2), (3, -1)]
)


class Candidates(NamedTuple):
    """What may be stars, strongest first; arrays (n,), positions in pixels of the image that was searched."""

    x: np.ndarray
    y: np.ndarray
    strength: np.ndarray
    """Height of the smoothed maximum above its surroundings, DN."""
    peak: np.ndarray
    level: np.ndarray
    noise: np.ndarray
    """Noise per pixel as it counts at the size of a star, DN."""
    core: np.ndarray
    """Radius of the saturated core in pixels, 0 for none."""


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def bin_by_2(image):
    """Mean of each 2 x 2 block's finite pixels, NaN when it has none; an odd last row or column is left out."""
    rows, cols = image.shape[0] // 2, image.shape[1] // 2
    out = np.empty((rows, cols), np.float32)
    big, zero, one = np.float32(3e38), np.float32(0.0), np.float32(1.0)
    for y in range(rows):
        top, low, into = image[2 * y], image[2 * y + 1], out[y]
        for x in range(cols):
            a, b, c, d = top[2 * x], top[2 * x + 1], low[2 * x], low[2 * x + 1]
            total = (a if abs(a) < big else zero) + (b if abs(b) < big else zero)
            total += (c if abs(c) < big else zero) + (d if abs(d) < big else zero)
            count = (one if abs(a) < big else zero) + (one if abs(b) < big else zero)
            count += (one if abs(c) < big else zero) + (one if abs(d) < big else zero)
            into[x] = total / count if count > zero else np.float32(np.nan)
    return out


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def smooth(image):
    """Smooth by [1, 2, 1] x [1, 2, 1] / 16, the border repeated; NaN spreads to its neighbours."""
    rows, cols = image.shape
    out = np.empty_like(image)
    row = np.empty(cols + 2, np.float32)
    half, quarter = np.float32(0.5), np.float32(0.25)
    for y in range(rows):
        above, here, below, into = image[max(y - 1, 0)], image[y], image[min(y + 1, rows - 1)], out[y]
        for x in range(cols):
            row[x + 1] = quarter * (above[x] + below[x]) + half * here[x]
        row[0], row[cols + 1] = row[1], row[cols]
        left, middle, right = row, row[1:], row[2:]
        for x in range(cols):
            into[x] = quarter * (left[x] + right[x]) + half * middle[x]
    return out


@njit(nogil=True, cache=True)
def find_maxima(image, threshold, out):
    """Every pixel above the threshold mesh and its eight neighbours, in raster order: fills out (n, 2) with x, y.

    image (rows, cols) float32; a NaN neighbour counts as lower, of equal neighbours the last one wins. Returns how many
    there are, also when `out` holds fewer.
    """
    rows, cols = image.shape
    limit, found = np.empty(cols, np.float32), 0
    for y in range(1, rows - 1):
        mesh_row(threshold, y, rows, limit)
        above, here, below = image[y - 1], image[y], image[y + 1]
        for start in range(0, cols, 64):
            end = min(start + 64, cols)
            if not any_above(here, limit, start, end):
                continue
            for x in range(max(start, 1), min(end, cols - 1)):
                v = here[x]
                if not v > limit[x]:
                    continue
                if above[x - 1] > v or above[x] > v or above[x + 1] > v or here[x - 1] > v:
                    continue
                if here[x + 1] >= v or below[x - 1] >= v or below[x] >= v or below[x + 1] >= v:
                    continue
                if found < out.shape[0]:
                    out[found, 0], out[found, 1] = x, y
                found += 1
    return found


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def any_above(x, limit, start, end):
    count = 0
    for i in range(start, end):
        count += x[i] > limit[i]
    return count > 0


@njit(nogil=True, cache=True)
def ring_contrast(image, x, y):
    """Height of a pixel above the median of a ring of radius 3 around it, and the ring's quartile distance.

    The distance is that of the pixels or of the means of opposite ones, to which a slope adds nothing, whichever is
    less: a neighbour on one side counts in all means.
    """
    rows, cols = image.shape
    ring, pairs, n, m = np.empty(16), np.empty(8), 0, 0
    for k in range(16):
        i, j = x + RING[k, 0], y + RING[k, 1]
        if 0 <= i < cols and 0 <= j < rows and abs(image[j, i]) < np.inf:
            insert(ring, n, image[j, i])
            n += 1
            p, q = x - RING[k, 0], y - RING[k, 1]
            if k < 8 and 0 <= p < cols and 0 <= q < rows and abs(image[q, p]) < np.inf:
                insert(pairs, m, 0.5 * (image[j, i] + image[q, p]))
                m += 1
    if n < 6:
        return 0.0, 0.0
    spread = ring[(3 * n) // 4] - ring[n // 4]
    if m == 8:
        spread = min(spread, 2.0**0.5 * (pairs[6] - pairs[2]))
    return image[y, x] - 0.5 * (ring[(n - 1) // 2] + ring[n // 2]), spread


@njit(nogil=True, cache=True, forceinline=True)
def insert(ordered, n, value):
    """Put a value into its place among the first n of an array, which are in order."""
    while n > 0 and ordered[n - 1] > value:
        ordered[n] = ordered[n - 1]
        n -= 1
    ordered[n] = value


@njit(nogil=True, cache=True)
def brightest(image, x, y):
    """Position and value of the highest pixel in the 6 x 6 pixels around a detection pixel (x, y) of twice the size."""
    best, bx, by = -np.inf, 2 * x, 2 * y
    for j in range(max(0, 2 * y - 2), min(image.shape[0], 2 * y + 4)):
        for i in range(max(0, 2 * x - 2), min(image.shape[1], 2 * x + 4)):
            if image[j, i] > best:
                best, bx, by = image[j, i], i, j
    return best, bx, by


@njit(nogil=True, cache=True)
def saturated_core(image, x, y, saturation):
    """Centroid and radius of the saturated pixels around (x, y), in a window that grows until they end."""
    cx, cy, count = float(x), float(y), 0
    for reach in (4, 8, 16, 32, 64):
        sx, sy, count, border = 0.0, 0.0, 0, 0
        for j in range(max(0, y - reach), min(image.shape[0], y + reach + 1)):
            for i in range(max(0, x - reach), min(image.shape[1], x + reach + 1)):
                if image[j, i] >= saturation:
                    sx, sy, count = sx + i, sy + j, count + 1
                    border += abs(i - x) == reach or abs(j - y) == reach
        cx, cy = sx / max(1, count), sy / max(1, count)
        if border == 0:
            break
    return cx, cy, np.sqrt(count / np.pi)


@njit(nogil=True, cache=True)
def screen(image, smoothed, level, noise, sigma, saturation, mosaic, period, at, out, peaks):
    """Judge each local maximum: out (n, 7) gets x, y, strength, peak, level, noise, core; NaN where it is no star.

    at (n, 2) are x, y in `smoothed`, whose pixels are two of `image`; level and noise are meshes of `smoothed`. mosaic
    (rows, cols), of which colours repeat every `period` pixels, is what `image` was made of; empty for none. peaks
    (n, 3) as in `Found`, the last of 0 where it is not HIGH enough. Infinity in the first column of `out` is a hot
    pixel.
    """
    rows, cols = smoothed.shape
    for k in range(at.shape[0]):
        x, y = at[k, 0], at[k, 1]
        sky, sd = mesh_at(level, y, x, rows, cols), mesh_at(noise, y, x, rows, cols)
        judge(image, smoothed, x, y, sky, sd, sigma, saturation, mosaic, period, 0, 0, out[k], peaks[k])


@njit(nogil=True, cache=True)
def judge(image, smoothed, x, y, sky, sd, sigma, saturation, mosaic, period, left, top, row, high):
    """One maximum, as `screen` does; `image` and `smoothed` begin at pixel (left, top) of the mosaic."""
    row[:] = np.nan
    contrast, ring = ring_contrast(smoothed, x, y)
    peak, px, py = brightest(image, x, y)
    height = peak - smoothed[y, x] + contrast
    ratio = height / contrast if contrast > 0 and height > HIGH * sd / SMOOTHING else 0.0
    high[0], high[1], high[2] = px + left, py + top, ratio
    beneath = smoothed[y, x] - contrast
    if not peak >= saturation and (contrast < 0.7 * sigma * sd or contrast < 2.0 * ring):
        return
    sharp = height > SHARP * contrast  # else noise upon a wide, faint star
    if sharp and (spike(image, px, py, beneath, sd / SMOOTHING) or block(image, px, py, beneath, sd / SMOOTHING)):
        row[0] = np.inf
        return
    if mosaic.size > 0 and lone_in_mosaic(mosaic, px + left, py + top, period):
        row[0] = np.inf
        return
    if peak >= saturation:
        cx, cy, core = saturated_core(image, px, py, saturation)
        contrast = max(contrast, smoothed[y, x] - sky)
    else:
        core = 0.0
        cx, cy = 2.0 * x + 0.5, 2.0 * y + 0.5
        cx += 2.0 * vertex(smoothed[y, x - 1], smoothed[y, x], smoothed[y, x + 1])
        cy += 2.0 * vertex(smoothed[y - 1, x], smoothed[y, x], smoothed[y + 1, x])
    row[0], row[1], row[2], row[3] = cx + left, cy + top, contrast, peak
    row[4], row[5], row[6] = sky, sd / SMOOTHING, core


@njit(nogil=True, cache=True)
def beside_hot(image, level, noise, sigma, saturation, mosaic, period, hot, shape, out):
    """What stars are found where hot pixels hid them: fills out (n, 7) as `screen` does, returns how many.

    hot (n, 2) are x, y of such maxima in the smoothed image, of this shape. The square around each is searched again,
    all that stands alone in it left out.
    """
    rows, cols, found = shape[0], shape[1], 0
    row, high = np.empty(7), np.empty(3, np.float32)
    for k in range(hot.shape[0]):
        x, y = hot[k, 0], hot[k, 1]
        if not (BESIDE <= x < cols - BESIDE and BESIDE <= y < rows - BESIDE):
            continue
        left, top = 2 * (x - BESIDE), 2 * (y - BESIDE)
        box = image[top : top + 4 * BESIDE + 2, left : left + 4 * BESIDE + 2].copy()
        sky, sd = mesh_at(level, y, x, rows, cols), mesh_at(noise, y, x, rows, cols)
        for _ in range(2):
            leave_out_hot(box, sky, sd / SMOOTHING, mosaic, period, left, top)
        smoothed = smooth(bin_by_2(box))
        for j in range(BESIDE - NEAR_HOT, BESIDE + NEAR_HOT + 1):
            for i in range(BESIDE - NEAR_HOT, BESIDE + NEAR_HOT + 1):
                v = smoothed[j, i]
                if not v > sky + sigma * sd or v < smoothed[j - 1 : j + 2, i - 1 : i + 2].max():
                    continue
                judge(box, smoothed, i, j, sky, sd, sigma, saturation, mosaic, period, left, top, row, high)
                if abs(row[0]) < np.inf and found < out.shape[0]:
                    out[found] = row
                    found += 1
    return found


@njit(nogil=True, cache=True)
def leave_out_hot(box, sky, noise, mosaic, period, left, top):
    """NaN for the pixels of a box that stand 10 sigma above the sky, alone."""
    clean = box.copy()
    for j in range(1, box.shape[0] - 1):
        for i in range(1, box.shape[1] - 1):
            if clean[j, i] > sky + 10.0 * noise:
                lone = alone(clean, i, j, sky, noise)
                if not lone and mosaic.size > 0:
                    lone = lone_in_mosaic(mosaic, i + left, j + top, period)
                if lone:
                    box[j, i] = np.nan


@njit(nogil=True, cache=True)
def vertex(left, here, right):
    """Where between its neighbours a parabola through three values has its maximum, in [-0.5, 0.5]."""
    bend = left - 2.0 * here + right
    if not bend < 0.0:
        return 0.0
    return min(0.5, max(-0.5, 0.5 * (left - right) / bend))


class Found(NamedTuple):
    """What `detect` gives: the image it searched, candidates, sky mesh, binned image, what counts as saturated."""

    image: np.ndarray
    candidates: Candidates
    level: np.ndarray
    binned: np.ndarray
    saturation_dn: float
    peaks: np.ndarray
    """(n, 3) float32 of all maxima whose brightest pixel is 8 sigma high, stars or not: its x, y, and how many times
    the height it has when it is smoothed."""
    noise: np.ndarray
    """Of the smoothed image, on the mesh of the sky."""


def detect(image, sigma=5.0, saturation_dn=None, mosaic=NO_MOSAIC, period=1):
    """Find what may be stars.

    image (rows, cols) float32 DN, NaN where missing; sigma is the height of a maximum above the sky in units of the
    noise of the smoothed image; flat-topped stars tell of saturation below `saturation_dn`. Hot pixels by the
    thousand become NaN. A frame with more than 200,000 maxima is searched again with a doubled threshold. mosaic: as
    for `screen`.
    """
    binned, smoothed, level, noise = detection_image(image)
    share, sigma_px = spikiness(image)
    if share > SPIKY:
        image = despike(despike(image, level, sigma_px), level, sigma_px)
        binned, smoothed, level, noise = detection_image(image)
    floor = np.float32(1e-6) * np.maximum(np.abs(level), np.float32(1e-3))
    noise = np.maximum(noise, floor)
    at = np.empty((CAPACITY, 2), np.int64)
    found, height = CAPACITY + 1, sigma
    while found > CAPACITY:
        found = find_maxima(smoothed, level + np.float32(height) * noise, at)
        height *= 2.0
    rows, peaks = np.empty((found, 7)), np.empty((found, 3), np.float32)

    def candidates_below(saturation):
        screen(image, smoothed, level, noise, sigma, saturation, mosaic, period, at[:found], rows, peaks)
        hidden = np.empty((4 * found, 7))
        hot = at[:found][rows[:, 0] == np.inf]
        meshes = level, noise, sigma, saturation, mosaic, period
        more = beside_hot(image, *meshes, hot, smoothed.shape, hidden)
        return by_strength(rows[np.isfinite(rows[:, 0])], hidden[:more])

    saturation_dn = np.inf if saturation_dn is None else saturation_dn
    candidates = candidates_below(saturation_dn)
    flat = ceiling(image, candidates)
    if flat < saturation_dn:
        saturation_dn, candidates = flat, candidates_below(flat)
    return Found(image, candidates, level, binned, saturation_dn, peaks[peaks[:, 2] > 0], noise)


def detection_image(image):
    """(binned image, detection image, level and noise of its mesh)."""
    binned = bin_by_2(image)
    smoothed = smooth(binned)
    return binned, smoothed, *mesh(smoothed)


def by_strength(rows, hidden):
    """Rows of `screen` as Candidates, strongest first, each saturated star once; of those that were hidden the new."""
    if len(hidden) and len(rows):
        from scipy.spatial import cKDTree

        hidden = hidden[cKDTree(rows[:, :2]).query(hidden[:, :2])[0] > NEW_PX]
    if len(hidden):
        hidden = hidden[np.lexsort((hidden[:, 0], hidden[:, 1], -hidden[:, 2]))]
        rows = np.concatenate([rows, np.delete(hidden, fainter_of_pairs(hidden[:, 0], hidden[:, 1], NEW_PX), axis=0)])
    rows = rows[np.lexsort((rows[:, 0], rows[:, 1], -rows[:, 2]))]
    cores = np.flatnonzero(rows[:, 6] > 0)
    if cores.size > 1:
        rows = np.delete(rows, cores[fainter_of_pairs(rows[cores, 0], rows[cores, 1], 2.0)], axis=0)
    return Candidates(*rows.T.copy())


def fainter_of_pairs(x, y, apart):
    """Which stars of a list, brightest first, lie within this distance of a brighter one: numbers, each once."""
    from scipy.spatial import cKDTree

    pairs = cKDTree(np.stack([x, y], axis=-1)).query_pairs(apart, output_type="ndarray")
    return np.unique(pairs.max(axis=1)) if len(pairs) else np.empty(0, int)


@njit(nogil=True, cache=True)
def plateau(image, x, y, peak, level):
    """Whether the top of a star is flat, as saturation makes it.

    6 pixels or more within 7 % of its height, and these at least 40 % of those above half of it, which are 10 % for an
    unsaturated star and fewer for a galaxy.
    """
    ix, iy = int(round(x)), int(round(y))
    box = image[max(0, iy - 16) : iy + 17, max(0, ix - 16) : ix + 17]
    high, half = (box > level + 0.93 * (peak - level)).sum(), (box > level + 0.5 * (peak - level)).sum()
    return high >= 6 and high >= 0.4 * half


def ceiling(image, candidates):
    """The value from which pixels saturate, told by flat tops among the brightest stars not known to; else infinite."""
    free = np.flatnonzero(candidates.core == 0)
    for k in free[np.argsort(-candidates.peak[free], kind="stable")][:20]:
        peak, level = candidates.peak[k], candidates.level[k]
        tall = peak > 0.8 * candidates.peak[free].max()
        if tall and plateau(image, candidates.x[k], candidates.y[k], peak, level):
            return float(level + 0.93 * (peak - level))
    return np.inf


def choose_evenly(x, y, shape, budget, grid=(6, 8)):
    """Which of the stars, given brightest first, to keep so that none of 8 x 6 cells holds over 3 times its fair share.

    Returns indices in the order given, at most `budget`; nebulae and clusters do not eat it up.
    """
    if len(x) <= budget // (grid[0] * grid[1]):
        return np.arange(len(x))
    row, col = (np.clip((at * grid[k] / shape[k]).astype(int), 0, grid[k] - 1) for k, at in enumerate((y, x)))
    cell = row * grid[1] + col
    order = np.argsort(cell, kind="stable")
    starts = np.searchsorted(cell[order], np.arange(grid[0] * grid[1]))
    rank = np.empty(len(x), int)
    rank[order] = np.arange(len(x)) - starts[cell[order]]
    return np.flatnonzero(rank < max(1, 3 * budget // (grid[0] * grid[1])))[:budget]


def neighbours(x, y, among_x, among_y, count=3, own=True):
    """The nearest other positions of each star: (n, count, 2), infinity where there are no more; own: they are among
    them themselves."""
    from scipy.spatial import cKDTree

    among = np.stack([among_x, among_y], axis=-1)
    _, at = cKDTree(among).query(np.stack([x, y], axis=-1), k=np.arange(1 + own, count + 1 + own))
    return np.vstack([among, [[np.inf, np.inf]]])[np.minimum(at, len(among))]
