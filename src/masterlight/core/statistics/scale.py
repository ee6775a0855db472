"""How far values spread about their middle: the estimators of scale by which frames are compared, by name.

None is multiplied by the constant that would make it the sigma of Gaussian noise, since constants cancel where frames
are compared. Location and scale come in the unit of the sample; what is not finite is left out.
"""

from functools import wraps

import numpy as np

from masterlight.compiled import njit
from masterlight.core.statistics.mesh import mesh, mesh_row
from masterlight.core.statistics.noise import biweight_sides, deviations, finite, mad_about, midvariance
from masterlight.core.statistics.rounding import (
    COARSE_ORDER,
    coarse_step,
    dither,
    spread_of,
    step_between,
    without,
)

IKSS_LIMIT, IKSS_CONVERGED = 4.0, 1e-6
GAUSSIAN_BIWEIGHT = 0.991
"""Makes the root of the biweight midvariance the sigma of Gaussian noise."""
COARSE_SQUARES = 1.5
"""Steps of rounded values below which their sigma is told by squares and not by order."""
QN_SAMPLES = 50_000
"""Values that Qn looks at; it takes 30 ms for them, and is sure to 0.4 %."""


def madn(x):
    """Robust standard deviation: 1.4826 times the median absolute deviation from the median, over what is finite.

    x: array of any shape; returns a float in the unit of x, 0 when nothing is finite.
    """
    x = x[np.isfinite(x)]
    return float(1.4826 * x.dtype.type(deviation(x))) if x.size else 0.0


def deviation(x, centre=None):
    """Median deviation of finite values (n,) from `centre`, their median if left out; of rounded ones see `rounding`.

    Where sigma is about a step, squares tell it: half a photon a pixel scatters as 0, 1 and 2, and order tells little.
    """

    def by_order(x):
        middle = np.median(x) if centre is None else centre
        return float(middle), 2 * (float(np.median(np.abs(x - middle))),)

    def by_squares(x):
        middle, (away, _) = by_order(x)
        return middle, 2 * (GAUSSIAN_BIWEIGHT / 1.4826 * float(midvariance(x, middle, away)) ** 0.5,)

    step = coarse_step(x, COARSE_ORDER)
    few = step and coarse_step(x, COARSE_SQUARES)
    return spread_of(x, by_squares if few else by_order, COARSE_ORDER, step)[1][0]


@njit(nogil=True, cache=True)
def sn(x):
    """Scale of a sample by the typical distance of its values from each other; 1 for Gaussian noise of sigma 1.

    x (n,) without NaN, n >= 2. Sn = c lomed_i himed_j |x_i - x_j| with the factors for small samples (Rousseeuw &
    Croux 1993; Croux & Rousseeuw 1992). Half of the values may be wrong. No centre is needed. 0 for fewer than two.
    """
    return sn_of_sorted(np.sort(x))


@njit(nogil=True, cache=True)
def sn_of_sorted(v):
    """Sn of values in ascending order: the half of all values that is nearest to one is a window that moves with it."""
    n = v.size
    if n < 2:
        return 0.0
    near = n // 2 + 1
    distance = np.empty(n)
    low = 0
    for i in range(n):
        while low + near < n and v[low + near] - v[i] < v[i] - v[low]:
            low += 1
        distance[i] = max(v[i] - v[low], v[low + near - 1] - v[i])
    distance.sort()
    small = (0.743, 1.851, 0.954, 1.351, 0.993, 1.198, 1.005, 1.131)
    factor = small[n - 2] if n < 10 else n / (n - 0.9) if n % 2 else 1.0
    return 1.1926 * factor * distance[(n + 1) // 2 - 1]


@njit(nogil=True, cache=True)
def qn(x):
    """Scale of a sample by the first quartile of the distances between its values; 1 for Gaussian noise of sigma 1.

    x (n,) without NaN, n >= 2. Qn = d {|x_i - x_j|, i < j}_(k), k = h (h - 1) / 2 with h = n // 2 + 1, and the
    factors for small samples (Rousseeuw & Croux 1993). The k-th distance is found by bisection on its value.
    """
    n = x.size
    if n < 2:
        return 0.0
    v = np.sort(x.astype(np.float64))
    wanted = (n // 2 + 1) * (n // 2) // 2
    low, high = -1.0, v[n - 1] - v[0]
    while True:
        middle = 0.5 * (low + high)
        if middle <= low or middle >= high:
            break
        count, j = 0, 1
        for i in range(n):
            j = max(j, i + 1)
            while j < n and v[j] - v[i] <= middle:
                j += 1
            count += j - i - 1
        if count >= wanted:
            high = middle
        else:
            low = middle
    small = (0.399, 0.994, 0.512, 0.844, 0.611, 0.857, 0.669, 0.872)
    factor = small[n - 2] if n < 10 else n / (n + 1.4) if n % 2 else n / (n + 3.8)
    return 2.21914 * factor * max(0.0, high)


def with_quartiles(x):
    """A sample with its quartiles at their places: medians of it and its halves come quickly."""
    return np.partition(x, [x.size // 4, (x.size - 1) // 2, x.size // 2, 3 * x.size // 4])


def estimator(coarse):
    """Make what tells the sides of finite values about their median an estimator of any sample.

    It gives (location, (low, high)), all NaN for a sample without finite values; where sigma is below `coarse` steps
    of rounded values, by what `core.statistics.rounding` adds to them.
    """

    def of_sides(sides):
        def about(x):
            centre = float(np.median(x))
            return centre, sides(x, centre)

        @wraps(sides)
        def of_sample(sample):
            x = finite(sample)
            return spread_of(x, about, coarse) if x.size else (np.nan, (np.nan, np.nan))

        return of_sample

    return of_sides


@estimator(COARSE_ORDER)
def average_deviation(x, centre):
    """Median, and average absolute deviation from it below and above."""
    high = x[x > centre]
    below = float(np.mean(np.abs(x[x <= centre] - centre), dtype=np.float64))
    return below, float(np.mean(high - centre, dtype=np.float64)) if high.size else 0.0


@estimator(COARSE_ORDER)
def median_deviation(x, centre):
    """Median, and median absolute deviation from it below and above.

    Where half of the values on one side are the median itself, both sides get the deviation of all together.
    """
    x = with_quartiles(x)
    return deviations(x[x <= centre], x[x > centre], centre, x)


@estimator(COARSE_ORDER)
def biweight(x, centre):
    """Median, and root of the biweight midvariance below and above it (Beers, Flynn & Gebhardt 1990)."""
    return biweight_sides(with_quartiles(x), centre)


@estimator(COARSE_ORDER)
def percentage_bend(x, centre):
    """Median, and root of the percentage bend midvariance about it, a fifth of the values bent (Wilcox 2012)."""
    at = min(int(0.8 * x.size + 0.5), x.size - 1)
    width = float(np.partition(np.abs(x - centre), at)[at])
    if width <= 0.0:
        return 0.0, 0.0
    y = (x - centre) / width
    inside = int(np.count_nonzero(np.abs(y) < 1.0))
    bent = float(np.sum(np.clip(y, -1.0, 1.0) ** 2, dtype=np.float64))
    return 2 * (width * np.sqrt(x.size * bent) / inside if inside else 0.0,)


@estimator(COARSE_ORDER)
def typical_distance(x, centre):
    """Median, and Sn, the typical distance of the values from each other (Rousseeuw & Croux 1993)."""
    return 2 * (float(sn(x)) / 1.1926,)


@estimator(COARSE_ORDER)
def first_distances(x, centre):
    """Median, and Qn, the first quartile of the distances of `QN_SAMPLES` values at most (Rousseeuw & Croux 1993)."""
    return 2 * (float(qn(x[:: -(-x.size // QN_SAMPLES)])) / 2.21914,)


def ikss(sample):
    """Middle and scale of what remains when values beyond 4 sigma are left out until nothing changes.

    k-sigma with the median and the biweight midvariance as sigma; the location is the last median.
    """
    x = finite(sample)
    return spread_of(x, clipped_biweight) if x.size else (np.nan, (np.nan, np.nan))


def clipped_biweight(x):
    """`ikss` of finite values, as they are."""
    x, before = np.sort(x), np.inf
    while True:
        centre = float(np.median(x))
        sigma = float(midvariance(x, centre, mad_about(x, centre))) ** 0.5
        if sigma <= 1e-12 * abs(centre):
            return centre, (0.0, 0.0)
        if before - sigma < IKSS_CONVERGED * before and before < np.inf:
            return centre, 2 * (GAUSSIAN_BIWEIGHT * sigma,)
        before = sigma
        low, high = np.searchsorted(x, [centre - IKSS_LIMIT * sigma, centre + IKSS_LIMIT * sigma])
        x = x[low : max(high, np.searchsorted(x, centre + IKSS_LIMIT * sigma, "right"))]


SCALES = {
    "bwmv": biweight, "avgdev": average_deviation, "mad": median_deviation, "pbmv": percentage_bend,
    "sn": typical_distance, "qn": first_distances, "ikss": ikss,
}  # fmt: skip
"""Estimators by name: each takes a sample of any shape and gives (location, (low, high)), all NaN for an empty one.

The first three tell the spread below the median apart from that above it, where nebulae are; the others are alike on
both sides."""


def noise_sides(sample):
    """How far an image's pixels spread below and above their median near it: (low, high), the signal of its SNR.

    Standard deviation of each side about its own mean, twice limited to 4 of it from the median; 0.53 sigma on each
    side for Gaussian noise. 0 for a side with fewer than two values.
    """
    x = finite(sample)
    return spread_of(x, limited_sides, COARSE_ORDER)[1] if x.size else (np.nan, np.nan)


def limited_sides(x):
    """Median, and `noise_sides`, of finite values as they are."""
    centre, found = float(np.median(x)), []
    away = (x - centre).astype(np.float64)
    for side in (-away[away < 0], away[away > 0]):
        sigma = np.inf
        for _ in range(3):
            side = side[side < 4.0 * sigma]
            sigma = float(np.std(side)) if side.size > 1 else 0.0
        found.append(sigma)
    return centre, tuple(found)


def background_fluctuation(image):
    """How the pixels fluctuate below the large-scale background, where neither stars nor nebulae are: (M*, N*).

    image (rows, cols) float32, NaN where missing, every fourth row and column of a frame. The background is the median
    of tiles of 64 x 64 pixels of it, smoothed by the median of 3 x 3 tiles, between them bilinear. M* is the median of
    background minus pixel over the pixels below it, 0.67 sigma for Gaussian noise and more where it varies on scales
    below 256 px of the frame; N*, 2.48308 times its median absolute deviation, is the noise. NaN where nothing is.
    """
    image, step = np.ascontiguousarray(image, np.float32), step_between(image)
    added = dither(image.shape, step) if step else None
    if added is None:
        return below_mesh(image)
    pairs = zip(below_mesh(image + added), below_mesh(added), strict=True)
    return tuple(float(without(told, alone)) for told, alone in pairs)


def below_mesh(image):
    """As `background_fluctuation`, of an image as it is."""
    level, _ = mesh(image)
    row, below = np.empty(image.shape[1]), []
    for y in range(image.shape[0]):
        mesh_row(level, y, image.shape[0], row)
        away = row - image[y]
        below.append(away[away > 0])
    below = np.concatenate(below)
    if not below.size:
        return np.nan, np.nan
    middle = float(np.median(below))
    return middle, 2.48308 * mad_about(below, middle)
