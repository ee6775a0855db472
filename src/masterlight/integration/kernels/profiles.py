"""What other programs would have rejected: their rules to the letter, one pixel at a time, weaknesses included.

PI19 and PI24 are PixInsight's ImageIntegration as published in 2019 and 2024, SIRIL is Siril of 2026, DSS is
DeepSkyStacker (its scalar path). Values are on their scale, black 0 and white 1; only `NOISE`, the slope and by a hair
`LINEAR` of PI24 depend on that.
"""

from math import erf
from typing import NamedTuple

import numpy as np
from numba import njit

from masterlight.integration.kernels.ranked import least_absolute_line, middle_and_sigma

PI19, PI24, SIRIL, DSS = range(1, 5)
NONE, MINMAX, PERCENTILE, SIGMA, WINSORIZED, MAD, NOISE, AUTO, LINEAR, ESD, CHAUVENET = range(11)
AVERAGED, MEDIAN_SIGMA, KAPPA, MEDIAN_KAPPA = range(11, 15)
OFFERED = {
    "PI19": (NONE, MINMAX, PERCENTILE, SIGMA, WINSORIZED, AVERAGED, LINEAR, NOISE),
    "PI24": (NONE, MINMAX, PERCENTILE, SIGMA, WINSORIZED, AVERAGED, LINEAR, NOISE, ESD, CHAUVENET),
    "SIRIL": (NONE, PERCENTILE, SIGMA, MAD, MEDIAN_SIGMA, WINSORIZED, LINEAR, ESD),
    "DSS": (NONE, KAPPA, MEDIAN_KAPPA),
}
"""The algorithms that each program has."""
KEPT, LOW, HIGH, EMPTY = (np.uint8(k) for k in range(4))
NEVER_SETTLED = 1000
"""The programs would go on for ever; after so many rounds we stop."""
WHITE = 65535.0


class Params(NamedTuple):
    """The knobs of the programs, in their terms."""

    low: float
    """Limit below the centre in sigma; DSS's kappa."""
    high: float
    passes: int
    """Iterations of DSS; the others go on until nothing changes."""
    cutoff: float
    """PI24: Winsorization cutoff in sigma."""
    fraction: float
    """ESD: the part of the samples that may be outliers."""
    alpha: float
    """ESD: significance, which the table of critical values is made for."""
    relaxation: float
    """PI24 ESD: how many times wider sigma is for low samples."""
    limit: float
    """CHAUVENET: samples of which fewer than this are expected go."""
    read_noise: float
    """NOISE: electrons."""
    gain: float
    """NOISE: electrons per DN."""
    scale_noise: float
    clip_low: bool
    """PI: whether low samples are rejected at all."""
    clip_high: bool
    minmax_low: int
    minmax_high: int
    percentile_low: float
    percentile_high: float


@njit(nogil=True, cache=True, error_model="numpy")
def negligible(x):
    return 1.0 + x == 1.0


@njit(nogil=True, cache=True, error_model="numpy")
def deviation(x):
    """Standard deviation, n - 1."""
    mean, squares = x.mean(), 0.0
    for v in x:
        squares += (v - mean) ** 2
    return np.sqrt(squares / (x.size - 1))


@njit(nogil=True, cache=True, error_model="numpy")
def median(x):
    """Median of sorted `x`."""
    return 0.5 * (x[(x.size - 1) >> 1] + x[x.size >> 1])


@njit(nogil=True, cache=True, error_model="numpy")
def median_of(x):
    """Median of `x` in any order."""
    return median(np.sort(x))


@njit(nogil=True, cache=True, error_model="numpy")
def ranking(x):
    """Indices that sort `x`, equal ones in their order: by insertion, as that compiles in a moment."""
    order = np.arange(x.size)
    for i in range(1, x.size):
        j = i
        while j > 0 and x[order[j - 1]] > x[i]:
            order[j] = order[j - 1]
            j -= 1
        order[j] = i
    return order


@njit(nogil=True, cache=True, error_model="numpy")
def sn(x):
    """Scale of sorted `x` by the low median of the high medians of distances (Rousseeuw & Croux 1993), times c_n."""
    n = x.size
    h, medians = n // 2 + 1, np.empty(n)
    for i in range(n):
        start, stop = max(0, i - h + 1), min(i, n - h)
        while start < stop:
            middle = (start + stop) >> 1
            if x[i] - x[middle] > x[middle + h - 1] - x[i]:
                start = middle + 1
            else:
                stop = middle
        medians[i] = max(x[i] - x[start], x[start + h - 1] - x[i])
        if start > max(0, i - h + 1):
            medians[i] = min(medians[i], max(x[i] - x[start - 1], x[start + h - 2] - x[i]))
    medians.sort()
    factor = 1.0 if n % 2 == 0 else n / (n - 0.9)
    if n <= 9:
        factor = (0.743, 1.851, 0.954, 1.351, 0.993, 1.198, 1.005, 1.131)[n - 2]
    return factor * medians[(n + 1) // 2 - 1]


@njit(nogil=True, cache=True, error_model="numpy")
def winsorized(x, two_passes):
    """Median and sigma of `x`, drawn in to 1.5 sigma until sigma settles; at least twice where so told."""
    centre, sigma, w = median_of(x), deviation(x), x.copy()
    for k in range(NEVER_SETTLED):
        if negligible(sigma):
            break
        limit, before = 1.5 * sigma, sigma
        for i in range(w.size):
            w[i] = min(max(w[i], centre - limit), centre + limit)
        sigma = 1.134 * deviation(w)
        if (k >= 1 or not two_passes) and abs(before - sigma) <= 0.0005 * before:
            break
    return centre, sigma


@njit(nogil=True, cache=True, error_model="numpy")
def winsorized_2024(x, cutoff):
    """Centre and sigma of sorted `x`, begun with Sn, the far tails set to the centre, which moves to the mean."""
    centre, sigma, w = median(x), 1.1926 * sn(x), x.copy()
    for k in range(NEVER_SETTLED):
        limit, far, before = 1.5 * sigma, cutoff * sigma, sigma
        for i in range(w.size):
            if w[i] < centre - limit:
                w[i] = centre - limit if w[i] > centre - far else centre
            elif w[i] > centre + limit:
                w[i] = centre + limit if w[i] < centre + far else centre
        sigma = 1.134 * deviation(w)
        centre = w.mean()
        if negligible(sigma) or (k >= 1 and abs(before - sigma) < 0.0005 * before):
            break
    return centre, sigma


@njit(nogil=True, cache=True, error_model="numpy")
def pi_spread(profile, algorithm, x, gain, params):
    """Centre and sigma of sorted `x` as PixInsight's algorithm takes them; gain is that of AVERAGED."""
    if algorithm == WINSORIZED:
        return winsorized(x, True) if profile == PI19 else winsorized_2024(x, params.cutoff)
    centre = median(x)
    if algorithm == SIGMA:
        return centre, deviation(x)
    if algorithm == AVERAGED:
        return centre, gain * np.sqrt(centre)
    read = params.read_noise / params.gain
    return centre, np.sqrt((read * read + centre / params.gain + (params.scale_noise * centre) ** 2) / WHITE)


@njit(nogil=True, cache=True, error_model="numpy")
def pi_clip(profile, algorithm, x, params):
    """Bounds of the survivors of sorted `x` for the algorithms that clip at so many sigma until nothing goes."""
    a, b, gain = 0, x.size, 0.0
    if algorithm == AVERAGED and x.size >= 3:
        centre = median(x)
        if negligible(centre):
            return b, b
        for v in x:
            gain += (v - centre) ** 2 / centre
        gain = np.sqrt(gain / (x.size - 1))
    while b - a >= (2 if algorithm == NOISE else 3):
        centre, sigma = pi_spread(profile, algorithm, x[a:b], gain, params)
        if negligible(sigma):
            break
        start, stop = a, b
        while params.clip_low and a < b and (centre - x[a]) / sigma > params.low:
            a += 1
        while params.clip_high and b > a and (x[b - 1] - centre) / sigma > params.high:
            b -= 1
        if a == start and b == stop:
            break
    return a, b


@njit(nogil=True, cache=True, error_model="numpy")
def pi_once(algorithm, x, params):
    """Bounds of the survivors of sorted `x` for min/max and percentile clipping."""
    a, b = 0, x.size
    if algorithm == MINMAX:
        if params.clip_low:
            a = min(params.minmax_low, b)
        if params.clip_high:
            b = max(b - params.minmax_high, a)
        return a, b
    centre = median(x)
    if b < 2 or negligible(centre):
        return a, b
    while params.clip_low and a < b and (centre - x[a]) / centre > params.percentile_low:
        a += 1
    while params.clip_high and b > a and (x[b - 1] - centre) / centre > params.percentile_high:
        b -= 1
    return a, b


@njit(nogil=True, cache=True, error_model="numpy")
def pi_esd(x, params, critical):
    """Bounds that ESD of PI24 finds in sorted `x`: from trimmed means, and it ends at the first step that fails."""
    a, b, n = 0, x.size, x.size
    for i in range(min(max(1, int(params.fraction * n)), n - 2)):
        m = b - a
        above = max(1, int(params.fraction * m) - i)
        below = max(1, int(params.fraction / params.relaxation * m) - i)
        centre = x[a + below : b - above].mean() if above + below < m - 2 else median(x[a:b])
        sigma = deviation(x[a:b])
        low, high = (centre - x[a]) / (params.relaxation * sigma), (x[b - 1] - centre) / sigma
        if negligible(sigma) or max(low, high) < critical[m]:
            break
        if high > low:
            b -= 1
        else:
            a += 1
    return a, b


@njit(nogil=True, cache=True, error_model="numpy")
def pi_chauvenet(x, params):
    """Bounds that robust Chauvenet rejection of PI24 finds in sorted `x`; beyond 8 sigma both ends tie, low first."""
    a, b, room, pivot = 0, x.size, np.empty((4, x.size + 1)), x.size // 3
    for phase in range(3):
        while b - a >= 3:
            n = b - a
            centre, sigma, pivot = middle_and_sigma(phase, x, a, b, room, pivot)
            if negligible(sigma):
                return a, b
            low = 0.5 * n * (1.0 - erf((centre - x[a]) / sigma / np.sqrt(2.0))) if params.clip_low else np.inf
            high = 0.5 * n * (1.0 - erf((x[b - 1] - centre) / sigma / np.sqrt(2.0))) if params.clip_high else np.inf
            if not min(low, high) < params.limit:
                break
            if high < low:
                b -= 1
            else:
                a += 1
    return a, b


@njit(nogil=True, cache=True, error_model="numpy")
def pi_linear(profile, x, order, params, verdict):
    """Linear fit clipping of PixInsight: samples of any rank go; fills `verdict`, gives the slope map's value.

    The line of least absolute deviations is found exactly where the program's bisection ends 1 % of an error off.
    """
    n = x.size
    rank, y, frame = np.arange(n).astype(np.float64), x.copy(), order.copy()
    values, weights = np.empty(n), np.empty(n)
    while n >= 3:
        a, b, _ = least_absolute_line(rank, y, n, values, weights, n >> 1)
        sigma = 2.0 * np.abs(y[:n] - a - b * rank[:n]).mean()
        if profile == PI24:
            sigma *= np.sqrt(1.0 + b * b)
        if negligible(sigma):
            return 0.0
        kept = 0
        for j in range(n):
            away = (y[j] - a - b * j) / sigma
            if away < 0 and -away >= params.low and params.clip_low:
                verdict[frame[j]] = LOW
            elif away >= params.high and params.clip_high:
                verdict[frame[j]] = HIGH
            else:
                y[kept], frame[kept] = y[j], frame[j]
                kept += 1
        if kept == n:
            return 0.0 if b <= 0 else (np.arctan(b) / (np.pi / 4) if b < 1e7 else 1.0)
        n = kept
    return 0.0


@njit(nogil=True, cache=True, error_model="numpy")
def pixinsight(profile, algorithm, values, params, critical, verdict):
    """Fill `verdict` as PixInsight would; gives the slope map's value."""
    order = ranking(values)
    x = values[order]
    if algorithm == LINEAR:
        return pi_linear(profile, x, order, params, verdict) if x.size >= 5 else 0.0
    if algorithm == MINMAX or algorithm == PERCENTILE:
        a, b = pi_once(algorithm, x, params)
    elif algorithm == ESD:
        a, b = pi_esd(x, params, critical)
    elif algorithm == CHAUVENET:
        a, b = pi_chauvenet(x, params)
    else:
        a, b = pi_clip(profile, algorithm, x, params)
    middle = median(x)
    for i in range(x.size):
        if i < a or i >= b:
            below = x[i] < middle if algorithm == ESD else i < a
            if params.clip_low and below:
                verdict[order[i]] = LOW
            elif params.clip_high and not below:
                verdict[order[i]] = HIGH
    return 0.0


@njit(nogil=True, cache=True, error_model="numpy")
def siril_line(y, total):
    """Intercept and slope of Siril's line through sorted `y`, with mean and variance of ranks of `total` samples."""
    centre = 0.5 * (total - 1)
    slope = 0.0
    for j in range(y.size):
        slope += y[j] * (j - 0.5 * (y.size - 1)) / y.size
    slope *= 12.0 / (total * total - 1.0)
    return y.mean() - centre * slope, slope


@njit(nogil=True, cache=True, error_model="numpy")
def siril_clip(algorithm, x, index, total, params, verdict):
    """Siril's clipping of samples `x` in frame order (LINEAR: by rank) until nothing goes or 3 are left.

    In each pass nothing more is rejected once the samples at its start less all that have gone in this or earlier
    passes are 4, so that those of earlier passes count twice. MAD is not scaled to sigma, and taken about the median
    of the pass before.
    """
    y, frame, n, gone, old = x.copy(), index.copy(), x.size, 0, median_of(x)
    slope = 0.0
    while True:
        base = old
        if algorithm == LINEAR:
            order, before, whose = ranking(y[:n]), y.copy(), frame.copy()
            for j in range(n):
                y[j], frame[j] = before[order[j]], whose[order[j]]
            base, slope = siril_line(y[:n], total)
            sigma = 0.0
            for j in range(n):
                sigma += abs(y[j] - base - slope * j) / n
        elif algorithm == WINSORIZED:
            base, sigma = winsorized(y[:n], False)
        elif algorithm == MAD:
            sigma = median_of(np.abs(y[:n] - old))
            base = old = median_of(y[:n])
        else:
            base, sigma = median_of(y[:n]), deviation(y[:n])
        kept = 0
        for j in range(n):
            away = y[j] - base - slope * j
            low, high = -away > params.low * sigma, away > params.high * sigma
            if (low or high) and n - gone > 4:
                verdict[frame[j]] = LOW if low else HIGH
                gone += 1
            else:
                y[kept], frame[kept] = y[j], frame[j]
                kept += 1
        if kept == n or kept <= 3:
            return
        n = kept


@njit(nogil=True, cache=True, error_model="numpy")
def siril_esd(x, index, total, params, critical, verdict):
    """Siril's ESD: two samples go however clean the pixel, and after a low one the wrong high ones."""
    order = ranking(x)
    y, middle = x[order], median_of(x)
    steps = min(int(total * params.fraction) - (total - x.size), x.size)
    at, value = np.empty(max(steps, 0), np.int64), np.empty(max(steps, 0))
    a, b, outliers = 0, x.size, 2
    for i in range(steps):
        mean = y[a:b].mean()
        high = y[b - 1] - mean > mean - y[a]
        far = max(y[b - 1] - mean, mean - y[a]) / deviation(y[a:b])
        value[i], at[i] = (y[b - 1], b - 1 - a) if high else (y[a], a)
        if far > critical[b - a]:
            outliers = max(outliers, i + 1)
        a, b = (a, b - 1) if high else (a + 1, b)
    for i in range(min(outliers, steps) - 1, -1, -1):
        verdict[index[order[at[i]]]] = HIGH if value[i] >= middle else LOW


@njit(nogil=True, cache=True, error_model="numpy")
def replace(algorithm, x, index, params, verdict):
    """Clipping that puts the median in the place of outliers; gives the mean of what was put in, NaN where nothing was.

    MEDIAN_SIGMA of Siril about the median, n - 1, until nothing goes; MEDIAN_KAPPA of DSS about the mean, n.
    """
    y, replaced = x.copy(), np.zeros(x.size, np.bool_)
    for _ in range(params.passes if algorithm == MEDIAN_KAPPA else NEVER_SETTLED):
        middle = median_of(y)
        centre, sigma = (y.mean(), np.std(y)) if algorithm == MEDIAN_KAPPA else (middle, deviation(y))
        changed = False
        for j in range(y.size):
            low, high = y[j] < centre - params.low * sigma, y[j] > centre + params.high * sigma
            if low or high:
                y[j], replaced[j], changed = middle, True, True
                verdict[index[j]] = LOW if low else HIGH
        if not changed:
            break
    return y[replaced].mean() if replaced.any() else np.nan


@njit(nogil=True, cache=True, error_model="numpy")
def kappa(x, index, params, verdict):
    """DSS's kappa-sigma: about the mean, n, for so many iterations, unless all would go."""
    y, frame = x.copy(), index.copy()
    for _ in range(params.passes):
        centre, sigma = y.mean(), np.std(y)
        low, high = y < centre - params.low * sigma, y > centre + params.high * sigma
        inside = ~(low | high)
        if inside.all() or not inside.any():
            break
        verdict[frame[low]] = LOW
        verdict[frame[high]] = HIGH
        y, frame = y[inside], frame[inside]


@njit(nogil=True, cache=True, error_model="numpy")
def siril(algorithm, x, index, total, params, critical, verdict):
    """Fill `verdict` as Siril would from its samples `x` that are not zero; gives what took the place of outliers."""
    if x.size <= 1:
        return np.nan
    middle = median_of(x)
    if middle == 0:
        verdict[:] = EMPTY
    elif algorithm == PERCENTILE:
        for j in range(x.size):
            if (middle - x[j]) / middle > params.percentile_low:
                verdict[index[j]] = LOW
            elif (x[j] - middle) / middle > params.percentile_high:
                verdict[index[j]] = HIGH
    elif algorithm == ESD:
        siril_esd(x, index, total, params, critical, verdict)
    elif algorithm == MEDIAN_SIGMA:
        return replace(algorithm, x, index, params, verdict)
    else:
        siril_clip(algorithm, x, index, total, params, verdict)
    return np.nan


@njit(nogil=True, cache=True, error_model="numpy")
def offered(profile, algorithm):
    """Whether the program has the algorithm; as `OFFERED`, in numbers."""
    if algorithm == NONE:
        return PI19 <= profile <= DSS
    if profile == PI19 or profile == PI24:
        newer = algorithm == ESD or algorithm == CHAUVENET
        older = MINMAX <= algorithm <= WINSORIZED or algorithm in (NOISE, LINEAR, AVERAGED)
        return older or (newer and profile == PI24)
    if profile == SIRIL:
        return algorithm in (PERCENTILE, SIGMA, MAD, MEDIAN_SIGMA, WINSORIZED, LINEAR, ESD)
    return profile == DSS and algorithm in (KAPPA, MEDIAN_KAPPA)


@njit(nogil=True, cache=True, error_model="numpy")
def judge(profile, algorithm, values, params, verdict, critical):
    """Which samples of one pixel another program would reject.

    values (n,) float64, normalised, in the order of frames, those that are there and in range; verdict (n,) uint8 gets
    0 for kept, 1 low, 2 high, 3 no sample: Siril and DSS take an exact zero for none (n counts it), and Siril a pixel
    whose median is zero for empty. PixInsight knows no such zeros: it leaves them out by range rejection.
    critical: `ranked.esd_table` for `params.alpha` and at least n samples, read by ESD only.
    Returns (slope, replacement): the slope map's value of PixInsight's linear fit, else 0; and for MEDIAN_SIGMA and
    MEDIAN_KAPPA the mean of the medians that took the place of the samples marked low and high, so that the program's
    result is the mean of the kept samples and as many of these as are marked; else NaN. A slope of -1 tells that the
    program has no such algorithm; nothing is rejected then.
    """
    slope, replacement, zeros = 0.0, np.nan, profile == SIRIL or profile == DSS
    for i in range(values.size):
        verdict[i] = EMPTY if zeros and values[i] == 0 else KEPT
    if not offered(profile, algorithm):
        verdict[:] = KEPT
        return -1.0, replacement
    if values.size == 0 or algorithm == NONE:
        return slope, replacement
    if not zeros:
        return pixinsight(profile, algorithm, values, params, critical, verdict), replacement
    index = np.flatnonzero(values)
    if index.size > 0:
        x = values[index]
        if profile == SIRIL:
            replacement = siril(algorithm, x, index, values.size, params, critical, verdict)
        elif algorithm == KAPPA:
            kappa(x, index, params, verdict)
        else:
            replacement = replace(algorithm, x, index, params, verdict)
    return slope, replacement
