"""Rejection that reads the ranks of a pixel's samples: linear fit clipping, generalized ESD, robust Chauvenet.

All work on 64 pixels whose samples are sorted: `lanes` (N, 64) float32 ascending, +inf above the `count` (64,) int64 of
each. They fill `first` and `last` (64,) int64: the survivors of a lane are lanes[first:last]. `floor` (64,) float32 is
the least sigma that a lane is believed to have. Where ends are removed there is no need to sort again.
"""

from functools import lru_cache

import numpy as np
from scipy import special

from masterlight.compiled import njit
from masterlight.integration.kernels import rejection
from masterlight.integration.kernels.spread import CHAUVENET, ESD, FIELD, INFINITY, LANES, LINEAR, modelled_sigma

START, STOP, CENTRE, HEIGHT, SLOPE, NEAR, CAP, AWAY, W, WX, WD, WXX, WXD = (np.uint64(LANES * k) for k in range(13))
"""Where the 64 numbers of each kind lie in the scratch of `linear_fit`: one array, so that nothing overlaps."""
FIT = 5
"""A line needs as many samples."""
ROUNDS, MORE_ROUNDS = 7, 3
"""Reweighted fits in the first and in later passes: the first is least squares, the others approach least absolutes."""
CAPPED, CLOSE = np.float32(4), np.float32(0.05)
"""No sample counts for more than 4 mean distances in their mean, nor weighs more than one at 0.05 of it."""
LINE_SHARE = np.float32(0.15)
"""Mean distance of sorted normal samples from their line, in sigma."""

QUANTILES = np.sqrt(2) * special.erfinv(np.linspace(0, 0.7, 1025))
"""Half-normal quantiles of probabilities from 0 to 0.7; straight lines between them are right to 3e-8."""
SHARE = 0.683
"""The part of normal samples that is within one sigma."""


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"}, forceinline=True)
def distances(lanes, low, high, state):
    """Distances of each lane's survivors from its line, and what the next line is to be drawn from.

    lanes (N, 64), of which rows low:high hold all survivors; state (13 * 64,) float32 tells START and STOP of the
    survivors, a CENTRE near them, and the line: HEIGHT above the centre in the middle rank, SLOPE per rank. Fills AWAY
    with the sum of absolute distances, none above CAP, W... with sums for a fit weighted by 1 / max(distance, NEAR).
    """
    half, one, zero = np.float32(0.5), np.float32(1), np.float32(0)
    for lane in range(LANES):
        k = np.uint64(lane)
        state[k + AWAY] = state[k + W] = state[k + WX] = state[k + WD] = state[k + WXX] = state[k + WXD] = zero
    for r in range(low, high, 2):
        row, other, rank = np.uint64(r), np.uint64(min(r + 1, high - 1)), np.float32(r)
        for lane in range(LANES):
            k = np.uint64(lane)
            start, stop, cap, near = state[k + START], state[k + STOP], state[k + CAP], state[k + NEAR]
            inside, also = (rank >= start) & (rank < stop), (rank + one >= start) & (rank + one < stop)
            x = rank - half * (start + stop - one)
            y = x + one
            d, e = lanes[row, k] - state[k + CENTRE], lanes[other, k] - state[k + CENTRE]
            d, e = d if inside else zero, e if also else zero
            base = state[k + HEIGHT] + state[k + SLOPE] * x
            away, off = abs(d - base), abs(e - base - state[k + SLOPE])
            w, v = one / (away if away > near else near), one / (off if off > near else near)
            w, v = w if inside else zero, v if also else zero
            away, off = away if away < cap else cap, off if off < cap else cap
            away, off = away if inside else zero, off if also else zero
            wx, vy = w * x, v * y
            state[k + AWAY] += away + off
            state[k + W] += w + v
            state[k + WX] += wx + vy
            state[k + WD] += w * d + v * e
            state[k + WXX] += wx * x + vy * y
            state[k + WXD] += wx * d + vy * e


@njit(nogil=True, cache=True, error_model="numpy")
def draw_lines(state, capped):
    """The next line of each lane, from what `distances` found; sets NEAR, and CAP where so told."""
    for lane in range(LANES):
        k = np.uint64(lane)
        away = state[k + AWAY] / (state[k + STOP] - state[k + START])
        state[k + NEAR] = CLOSE * away if away > np.float32(0) else np.float32(1)
        state[k + CAP] = CAPPED * away if capped and away > np.float32(0) else INFINITY
        x, d = state[k + WX] / state[k + W], state[k + WD] / state[k + W]
        slope = (state[k + WXD] - x * state[k + WD]) / (state[k + WXX] - x * state[k + WX])
        state[k + SLOPE] = slope
        state[k + HEIGHT] = d - slope * x


@njit(nogil=True, cache=True, error_model="numpy")
def begin_lines(lanes, count, first, last, slope, active, state):
    """All samples survive, and lanes that have enough for a line are active; a flat line stands for none."""
    for lane in range(LANES):
        k, n = np.uint64(lane), count[lane]
        first[lane], last[lane], slope[lane], active[lane] = 0, n, np.float32(0), n >= FIT
        state[k + START], state[k + STOP], state[k + CAP] = np.float32(0), np.float32(n), INFINITY
        state[k + HEIGHT] = state[k + SLOPE] = state[k + CENTRE] = np.float32(0)
        state[k + NEAR] = np.float32(1)
        if active[lane]:
            state[k + CENTRE] = lanes[np.uint64(n >> 1), k]
            reach = lanes[np.uint64(n - 1), k] - lanes[np.uint64(0), k]
            state[k + NEAR] = reach if reach > np.float32(0) else np.float32(1)


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def linear_fit(lanes, count, first, last, slope, low, high, passes, keep_fraction, floor, work):
    """Linear fit clipping: samples put in their order should lie along a line; those at the ends that do not, go.

    The line of samples against their rank is that of least absolute distances, nearly: one outlier of 15 draws a least
    squares line so near that it is never 4 sigma off. Sigma is (1 + 0.6 ln n) times the mean distance of n samples from
    it, each counted up to 4 means: 2.6 times for 15 samples. Normal samples bend away from a line at their ends, the
    farther the more there are; so 0.1 to 0.3 % of good samples go at 5 below and 4 above, for any n. The mean distance
    is never taken smaller than that of normal samples of sigma `floor`. It repeats up to `passes` times while at least
    5 samples are left. At least max(2, keep_fraction of `count`) survive. Lanes of fewer than 5 keep all. slope (64,)
    float32 gets 4/pi atan(b) of the last line, b in data units per rank, 0 where it does not rise. work float32 is
    scratch, flat or (N, 64).
    """
    flat, active = work.reshape(-1), np.empty(LANES, np.bool_)
    state = flat if flat.size >= 13 * LANES else np.empty(13 * LANES, np.float32)
    begin_lines(lanes, count, first, last, slope, active, state)
    for p in range(passes):
        bottom, top = lanes.shape[0], 0
        for lane in range(LANES):
            if active[lane]:
                bottom, top = min(bottom, first[lane]), max(top, last[lane])
        if top == 0:
            break
        for k in range(MORE_ROUNDS if p else ROUNDS):
            distances(lanes, bottom, top, state)
            draw_lines(state, p > 0 or k > 0)
        distances(lanes, bottom, top, state)
        for lane in range(LANES):
            if active[lane]:
                k, n = np.uint64(lane), last[lane] - first[lane]
                away, b = state[k + AWAY] / np.float32(n), state[k + SLOPE]
                sigma = np.float32(1 + 0.6 * np.log(n)) * max(away, LINE_SHARE * floor[lane])
                slope[lane] = b if b > 0 else np.float32(0)
                least = max(2, int(np.ceil(keep_fraction * count[lane])))
                height = state[k + CENTRE] + state[k + HEIGHT]
                below, above = np.float32(low) * sigma, np.float32(high) * sigma
                base = height - np.float32(0.5) * b * np.float32(n - 1)
                if sigma > 0:
                    ends = rejection.trim(lanes, lane, first[lane], last[lane], base, b, below, above, least)
                    first[lane], last[lane] = ends
                active[lane] = FIT <= last[lane] - first[lane] < n
                shift = np.float32(0.5) * (np.float32(first[lane] + last[lane]) - state[k + START] - state[k + STOP])
                state[k + HEIGHT] += b * shift
                state[k + START], state[k + STOP] = np.float32(first[lane]), np.float32(last[lane])
    for lane in range(LANES):
        slope[lane] = np.float32(np.arctan(slope[lane]) * (4 / np.pi))


@lru_cache(maxsize=16)
def esd_table(n_max, alpha):
    """Critical values of the generalized ESD test: number m, of (n_max + 1,) float32, is for m samples left.

    Rosner's (1983) lambda depends on the number of samples and the step only through the number of samples still there,
    so one row serves every pixel and step; infinite below 3 samples.
    """
    m = np.arange(3, n_max + 1, dtype=float)
    t = special.stdtrit(m - 2, 1 - alpha / (2 * m))
    table = np.full(n_max + 1, np.inf, np.float32)
    table[3:] = t * (m - 1) / np.sqrt((m - 2 + t * t) * m)
    return table


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"}, forceinline=True)
def moments(lanes, count, centre, total, square):
    """Sums of each lane's distances from its middle sample, and of their squares, into float64 (64,)."""
    bottom = 0
    for lane in range(LANES):
        k = np.uint64(lane)
        bottom = max(bottom, count[lane])
        centre[k] = lanes[np.uint64(count[lane] >> 1), k] if count[lane] > 2 else np.float32(0)
        total[k] = square[k] = 0.0
    for r in range(bottom):
        row = np.uint64(r)
        for lane in range(LANES):
            k = np.uint64(lane)
            v = lanes[row, k]
            d = np.float64(v - centre[k]) if v < INFINITY else 0.0
            total[k] += d
            square[k] += d * d


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def esd(lanes, count, first, last, critical, fraction, low_relaxation, floor, clip_low, clip_high):
    """Generalized extreme Studentized deviate test (Rosner 1983) for up to `fraction` of a lane's samples.

    One after the other the sample farthest from the mean is taken away, and its distance R in standard deviations of
    those still there noted; outliers are all up to the last whose R exceeds `critical`, from `esd_table`, so that two
    that hide each other are found. Distances below the mean are divided by `low_relaxation` (1 for none). A side that
    is not clipped keeps its samples, and they are no candidates. Lanes of fewer than 3 samples keep all.
    """
    centre = np.empty(LANES, np.float32)
    total, square = np.empty(LANES), np.empty(LANES)
    moments(lanes, count, centre, total, square)
    ease = 1.0 / low_relaxation if clip_low else 0.0
    reach = 1.0 if clip_high else 0.0
    for lane in range(LANES):
        k, n = np.uint64(lane), count[lane]
        first[lane], last[lane] = 0, n
        a, b, s, q, c = 0, n, total[k], square[k], np.float64(centre[k])
        least = np.float64(floor[lane]) ** 2
        for i in range(min(max(1, int(fraction * n)), n - 2)):
            m = np.float64(n - i)
            mean = s / m
            variance = max((q - s * mean) / (m - 1.0), least)
            x, y = np.float64(lanes[np.uint64(a), k]) - c, np.float64(lanes[np.uint64(b - 1), k]) - c
            low, high = (mean - x) * ease, (y - mean) * reach
            far, limit = max(low, high), np.float64(critical[np.uint64(n - i)])
            if high > low:
                b, x = b - 1, y
            else:
                a += 1
            s, q = s - x, q - x * x
            if far * far > limit * limit * variance:
                first[lane], last[lane] = a, b


@lru_cache(maxsize=16)
def chauvenet_table(n_max, limit):
    """How many sigma away a sample may be expected less than `limit` times on its side of n: (n_max + 1,) float32."""
    n = np.maximum(np.arange(n_max + 1.0), 1)
    return -special.ndtri(np.minimum(limit / n, 0.5)).astype(np.float32)


@njit(nogil=True, cache=True, error_model="numpy")
def weighted_median(values, weights, n):
    """The value that has half of the weight of the first `n` on either side; values and weights are shuffled."""
    half, start, stop, below = 0.5 * weights[:n].sum(), 0, n, 0.0
    while stop - start > 1:
        pivot = values[(start + stop) >> 1]
        i, j, k, under, same = start, start, stop, 0.0, 0.0
        while j < k:
            v, w = values[j], weights[j]
            if v < pivot:
                values[j], weights[j], values[i], weights[i] = values[i], weights[i], v, w
                i, j, under = i + 1, j + 1, under + w
            elif v > pivot:
                k -= 1
                values[j], weights[j], values[k], weights[k] = values[k], weights[k], v, w
            else:
                j, same = j + 1, same + w
        if below + under >= half and i > start:
            stop = i
        elif below + under + same >= half or k == stop:
            return pivot
        else:
            start, below = k, below + under + same
    return values[start]


@njit(nogil=True, cache=True, error_model="numpy")
def line_through_point(x, y, n, p, values, weights):
    """Slope of the line through point `p` with the least sum of absolute distances from `n` points, and that sum."""
    m = 0
    for i in range(n):
        if x[i] != x[p]:
            values[m], weights[m] = (y[i] - y[p]) / (x[i] - x[p]), abs(x[i] - x[p])
            m += 1
    slope = weighted_median(values, weights, m)
    total = 0.0
    for i in range(n):
        total += abs(y[i] - y[p] - slope * (x[i] - x[p]))
    return slope, total


@njit(nogil=True, cache=True, error_model="numpy")
def least_absolute_line(x, y, n, values, weights, p):
    """Intercept and slope of the line that minimises the sum of absolute distances from the first `n` points.

    An L1 line passes through two points: from the best line through one, `p`, go on to the best through another that
    lies on it, until none is better (Wesolowsky 1981); also gives the last such point. x ascends; values, weights (n,)
    are scratch.
    """
    slope, best = line_through_point(x, y, n, p, values, weights)
    base = y[p] - slope * x[p]
    better = True
    while better:
        better = False
        tiny = 1e-12 * (abs(base) + abs(slope * x[n - 1])) + 1e-300
        for i in range(n):
            if i != p and abs(y[i] - base - slope * x[i]) <= tiny:
                trial, total = line_through_point(x, y, n, i, values, weights)
                if total < best * (1 - 1e-12):
                    p, best, slope, base = i, total, trial, y[i] - trial * x[i]
                    better = True
                    break
    return base, slope, p


@njit(nogil=True, cache=True, error_model="numpy")
def nearest_first(x, start, stop, centre, count, out):
    """The `count` smallest distances of sorted x[start:stop] from `centre`, ascending, into `out`."""
    right = start
    while right < stop and x[right] < centre:
        right += 1
    left = right - 1
    for i in range(count):
        if right >= stop or (left >= start and centre - x[left] <= x[right] - centre):
            out[i] = centre - x[left]
            left -= 1
        else:
            out[i] = x[right] - centre
            right += 1


@njit(nogil=True, cache=True, error_model="numpy")
def widen(n):
    """What a 68.3 % deviation of `n` samples has to be multiplied by (Maples et al. 2018)."""
    return 1.0 / (1.0 - 2.9442 * n**-1.073)


@njit(nogil=True, cache=True, error_model="numpy")
def fitted_deviation(away, n, quantile, values, weights, pivot):
    """Sigma from the nearest 68.3 % of `n` samples: the L1 line of their distances against normal quantiles, at one.

    Looks for the line from point `pivot` on, and gives the point that it passes through as well.
    """
    q = int(SHARE * n + 1 - SHARE)
    if q < 8:
        return widen(n) * away[int(SHARE * n)], pivot
    for i in range(q):
        at = (i + SHARE) / n * ((QUANTILES.size - 1) / 0.7)
        j = int(at)
        quantile[i] = QUANTILES[j] + (at - j) * (QUANTILES[j + 1] - QUANTILES[j])
    base, slope, pivot = least_absolute_line(quantile, away, q, values, weights, min(pivot, q - 1))
    return widen(n) * (base + slope), pivot


@njit(nogil=True, cache=True, error_model="numpy")
def middle_and_sigma(phase, x, a, b, room, pivot):
    """Centre and sigma of sorted x[a:b] as the three phases of robust Chauvenet rejection take them.

    0: median, line fitted to the distances; 1: median, 68.3 % distance; 2: mean, standard deviation. room (4, N) is
    scratch; pivot is where the line was found last, and given back.
    """
    n = b - a
    if phase == 2:
        mean = x[a:b].mean()
        return mean, np.sqrt(((x[a:b] - mean) ** 2).sum() / (n - 1)), pivot
    centre = 0.5 * (x[(a + b - 1) >> 1] + x[(a + b) >> 1])
    nearest_first(x, a, b, centre, int(SHARE * n) + 1, room[0])
    if phase == 1:
        return centre, widen(n) * room[0, int(SHARE * n)], pivot
    sigma, pivot = fitted_deviation(room[0], n, room[1], room[2], room[3], pivot)
    return centre, sigma, pivot


@njit(nogil=True, cache=True, error_model="numpy")
def chauvenet(lanes, count, first, last, limit_z, keep_fraction, clip_low, clip_high, floor):
    """Robust Chauvenet rejection (Maples et al. 2018): the most unlikely sample goes, one at a time, in three phases.

    Phases go from robust to precise, see `middle_and_sigma`. A sample goes when it is more than limit_z[n] sigma, from
    `chauvenet_table`, from the centre of the n samples left; the one with more sigma before the other. At least
    max(2, keep_fraction of `count`) survive. Lanes of fewer than 3 samples keep all.
    """
    n = lanes.shape[0]
    x, room = np.empty(n), np.empty((4, n + 1))
    for lane in range(LANES):
        a, b, pivot = 0, count[lane], count[lane] // 3
        least = max(2, int(np.ceil(keep_fraction * b)))
        for r in range(b):
            x[r] = lanes[np.uint64(r), np.uint64(lane)]
        for phase in range(3):
            while b - a >= 3 and b - a > least:
                centre, sigma, pivot = middle_and_sigma(phase, x, a, b, room, pivot)
                sigma = max(sigma, np.float64(floor[lane]))
                low = centre - x[a] if clip_low else 0.0
                high = x[b - 1] - centre if clip_high else 0.0
                if not (sigma > 0 and max(low, high) > np.float64(limit_z[b - a]) * sigma):
                    break
                if high > low:
                    b -= 1
                else:
                    a += 1
        first[lane], last[lane] = a, b


def table_for(algorithm: int, n: int, significance: float = 0.05, limit: float = 0.1) -> np.ndarray:
    """The table that an algorithm needs for up to n samples, float32 (n + 1,); of size 1 where it needs none.

    significance is that of ESD, limit that of CHAUVENET.
    """
    if algorithm == ESD:
        return esd_table(n, significance)
    return chauvenet_table(n, limit) if algorithm == CHAUVENET else np.full(1, np.inf, np.float32)


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def judge_ranks(rule, table, lanes, zero, count, first, last, work, slope, limits, apart):
    """Find the survivors lanes[first:last] of 64 sorted lanes by the algorithms of `ranked`; limits as for `judge`.

    Loose frames are judged by 3 sigma of the survivors about their median after a linear fit, and else not at all;
    limits are told only where `apart` (64,) says that there are some.
    """
    floor, low, high = np.zeros(LANES, np.float32), np.float32(rule.low), np.float32(rule.high)
    low, high = low if rule.clip_low else INFINITY, high if rule.clip_high else INFINITY
    for lane in range(LANES if rule.floor > 0 else 0):
        if count[lane] > 0:
            centre = np.float32(0.5) * (lanes[(count[lane] - 1) >> 1, lane] + lanes[count[lane] >> 1, lane])
            variance = zero[np.uint64(lane) + FIELD] * rule.floor * rule.floor
            floor[lane] = modelled_sigma(rule, variance, centre - zero[lane])
    if rule.algorithm == LINEAR:
        linear_fit(lanes, count, first, last, slope, low, high, rule.passes, rule.keep_fraction, floor, work)
    elif rule.algorithm == ESD:
        fraction, relaxation = rule.esd_fraction, rule.esd_relaxation
        esd(lanes, count, first, last, table, fraction, relaxation, floor, rule.clip_low, rule.clip_high)
    else:
        chauvenet(lanes, count, first, last, table, rule.keep_fraction, rule.clip_low, rule.clip_high, floor)
    for lane in range(LANES):
        a, b = first[lane], last[lane]
        if b - a > 2 and apart[lane] > 0:
            left = lanes[a:b, lane]
            far = np.float32(3) if rule.algorithm == LINEAR else INFINITY
            sigma = max(np.float32(np.std(left) * np.sqrt((b - a) / (b - a - 1.0))), floor[lane])
            limits[0, lane] = np.float32(0.5) * (left[(b - a - 1) >> 1] + left[(b - a) >> 1])
            limits[1, lane] = far * sigma if rule.clip_low else INFINITY
            limits[2, lane] = far * sigma if rule.clip_high else INFINITY


@njit(nogil=True, cache=True, error_model="numpy")
def by_rank(judged, zero, columns, rule, table, code, slope):
    """Fill code (N, pixels) uint8 with KEPT, LOW, HIGH or MISSING for each sample, by linear fit, ESD or Chauvenet.

    judged (N, pixels) float32, zero (3, pixels) and columns as for `combine.integrate`; slope (pixels,) float32, or of
    size 0, gets the slope of the fitted lines.
    """
    n, pixels = judged.shape
    scratch, steep, ground = rejection.make_scratch(n), np.zeros(LANES, np.float32), np.ones(3 * LANES, np.float32)
    lanes, bounds, index = scratch.lanes, scratch.bounds, scratch.index
    count, first, last = index[0], index[1], index[2]
    looked, found = np.full((n, LANES), np.float32(np.nan)), np.empty((n, LANES), np.uint8)
    work = np.zeros(max(n, 8) * LANES, np.float32)
    loosest = np.float32(columns.loose.max() > rejection.LOOSE)
    for start in range(0, pixels, LANES):
        stop = min(start + LANES, pixels)
        looked[:, : stop - start] = judged[:, start:stop]
        for row in range(3):
            ground[row * LANES : row * LANES + stop - start] = zero[row, start:stop]
        looked[:, stop - start :] = np.nan
        rejection.load(looked, columns, rule, scratch)
        apart = bounds[5] * loosest
        judge_ranks(rule, table, lanes, ground, count, first, last, work, steep, bounds[2:5], apart)
        rejection.bound(lanes, first, last, bounds)
        rejection.mark(looked, columns, rule, bounds, found)
        code[:, start:stop] = found[:, : stop - start]
        if slope.size:
            slope[start:stop] = steep[: stop - start]
