"""Find stars: background mesh, smoothed local maxima above the noise, and what is asked of those that may be stars."""

from typing import NamedTuple

import numpy as np

from masterlight.core.statistics.mesh import mesh
from masterlight.subframes.stars.maxima import beside_hot, bin_by_2, find_maxima, plateau, screen, smooth
from masterlight.subframes.stars.sharp import NO_MOSAIC, SPIKY, despike, spikiness

SMOOTHING = 0.1875
"""Noise of the detection image for white noise of 1 where all pixels are there: 1/2 by binning, 6/16 by smoothing."""
MOSAIC, HEIGHTS = 6, 16
"""Rows in which any mosaic repeats, and at how many heights of a frame so many are looked at."""
CAPACITY = 200_000
NEW_PX = 3.0
"""A star that a hot pixel hid is farther than this from those that are known."""


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
    for `screen`, of which colours repeat every `period` pixels.
    """
    binned, smoothed, level, noise = detection_image(image)
    share, sigma_px = spikiness(image)
    if share > SPIKY:
        image = despike(despike(image, level, sigma_px), level, sigma_px)
        binned, smoothed, level, noise = detection_image(image)
    searched, blur = places_searched(image, period), SMOOTHING * thinned(image)
    floor = np.float32(1e-6) * np.maximum(np.abs(level), np.float32(1e-3))
    noise = np.maximum(noise, floor)
    at = np.empty((CAPACITY, 2), np.int64)
    found, height = CAPACITY + 1, sigma
    while found > CAPACITY:
        found = find_maxima(smoothed, level + np.float32(height) * noise, at)
        height *= 2.0
    rows, peaks = np.empty((found, 7)), np.empty((found, 3), np.float32)

    def candidates_below(saturation):
        judging = level, noise, blur, sigma, saturation, mosaic, searched
        screen(image, smoothed, *judging, at[:found], rows, peaks)
        hidden = np.empty((4 * found, 7))
        hot = at[:found][rows[:, 0] == np.inf]
        more = beside_hot(image, *judging, hot, smoothed.shape, hidden)
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


def thinned(image):
    """How many times noisier the pixels of the binned image are than where none of their four are missing.

    1 for a full image, sqrt 2 for the green pixels of a Bayer mosaic; from strips of whole periods.
    """
    rows, cols = image.shape[0] // 2, image.shape[1] // 2
    strips = np.unique(np.linspace(0, max(0, rows - MOSAIC // 2), HEIGHTS).astype(int))
    y = np.unique(np.add.outer(strips, np.arange(MOSAIC // 2)))
    y = y[y < rows]
    there = sum(np.isfinite(image[2 * y + j, i : 2 * cols : 2]).astype(np.int8) for j in (0, 1) for i in (0, 1))
    there = there[there > 0]
    return float(np.sqrt(np.mean(4.0 / there))) if there.size else 1.0


def places_searched(image, period):
    """At which places of a pattern of so many pixels an image has any: (period, period) bool."""
    out = np.zeros((period, period), bool)
    for j, i in np.ndindex(out.shape):
        own = image[j::period, i::period]
        out[j, i] = np.isfinite(own[:: max(1, len(own) // HEIGHTS)]).any()
    return out


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
