"""How far the samples of a pixel spread: the estimators of sigma, for one of 64 sorted pixels at a time.

`glance` looks at all 64 together for those whose sigma must be large enough to keep all samples.
"""

from typing import NamedTuple

import numpy as np

from masterlight.compiled import njit

LANES = 64
NONE, MINMAX, PERCENTILE, SIGMA, WINSORIZED, MAD, NOISE, AUTO, LINEAR, ESD, CHAUVENET = range(11)
CENTRE, NEED, LIMIT, TOTAL, SQUARE, DRAWN, DRAWN_SQUARE = (np.uint64(LANES * k) for k in range(7))
"""Where the 64 numbers of each kind lie in `state`: one array, so that the compiler sees they do not overlap."""
INFINITY = np.float32(np.inf)
FIELD, FLAT = np.uint64(LANES), np.uint64(2 * LANES)
"""Where in the ground of 64 pixels, behind the level of the sky, lie how many times the usual variance the sky has
there, and the factor of the flat there."""
INNER_PASSES = 100
"""Winsorization that has not settled by then shrinks for ever: most of the samples are equal."""


class Rule(NamedTuple):
    """What rejection needs to know, as numbers; values of samples are on the scale of rejection."""

    algorithm: int
    low: float
    """Threshold below the median in sigma, as a fraction (PERCENTILE) or a count (MINMAX)."""
    high: float
    clip_low: bool
    """Whether samples that are too faint go at all."""
    clip_high: bool
    passes: int
    keep_fraction: float
    """Of the samples of a pixel at least this part, and at least two, survive."""
    range_low: float
    """Raw samples at or below are excluded before anything else; -inf for none."""
    range_high: float
    few: int
    """AUTO uses the noise model for pixels with fewer samples than this."""
    noise_variance: float
    """Noise model: noise_variance + noise_slope * s + (noise_fraction * s)^2 with s the light above the sky."""
    noise_slope: float
    noise_fraction: float
    floor: float
    """Sigma is never believed smaller than that of the noise model with floor^2 for noise_variance; 0 for no floor."""
    esd_fraction: float
    """At most this part of a pixel's samples can be outliers for ESD."""
    esd_relaxation: float
    """ESD takes sigma so many times wider for faint outliers."""
    ease_low: float = 1.0
    """AUTO allows samples so many times `low` where the noise model judges few of them."""
    ease_high: float = 1.0
    pairs: bool = False
    """AUTO judges two samples, too."""


@njit(nogil=True, cache=True, error_model="numpy")
def rule_at(rule, over):
    """The rule for a pixel whose sky has `over` times the usual variance."""
    clip = rule.low, rule.high, rule.clip_low, rule.clip_high, rule.passes, rule.keep_fraction
    model = over * rule.noise_variance, rule.noise_slope, rule.noise_fraction, np.sqrt(over) * rule.floor
    more = rule.range_low, rule.range_high, rule.few
    esd = rule.esd_fraction, rule.esd_relaxation
    return Rule(rule.algorithm, *clip, *more, *model, *esd, rule.ease_low, rule.ease_high, rule.pairs)


@njit(nogil=True, cache=True, error_model="numpy")
def is_modelled(rule, n):
    """Whether the noise model tells sigma, and not the `n` samples of a pixel themselves."""
    return rule.algorithm == NOISE or (rule.algorithm == AUTO and rule.noise_variance > 0 and n < rule.few)


@njit(nogil=True, cache=True, error_model="numpy")
def is_few(rule, n):
    """Whether AUTO leaves the `n` samples of a pixel to the noise model."""
    return rule.algorithm == AUTO and is_modelled(rule, n)


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"}, forceinline=True)
def look(lanes, rows, state):
    """Sums over the first `rows` of 64 lanes: TOTAL of the distances from CENTRE and SQUARE of their squares.

    DRAWN and DRAWN_SQUARE are the same of the distances drawn in to +-LIMIT. Infinite samples count as none.
    """
    zero = np.float32(0)
    for lane in range(LANES):
        k = np.uint64(lane)
        state[k + TOTAL] = state[k + SQUARE] = state[k + DRAWN] = state[k + DRAWN_SQUARE] = zero
    for r in range(rows):
        for lane in range(LANES):
            k = np.uint64(lane)
            x, t = lanes[np.uint64(r), k], state[k + LIMIT]
            d = x - state[k + CENTRE] if x < INFINITY else zero
            c = t if d > t else d
            c = -t if c < -t else c
            state[k + TOTAL] += d
            state[k + SQUARE] += d * d
            state[k + DRAWN] += c
            state[k + DRAWN_SQUARE] += c * c


@njit(nogil=True, cache=True, error_model="numpy")
def beyond(lanes, rows, state):
    """How many of the `rows` of 64 lanes are LIMIT or more from CENTRE, into DRAWN; infinite ones are not counted."""
    one, zero = np.float32(1), np.float32(0)
    for lane in range(LANES):
        state[np.uint64(lane) + DRAWN] = zero
    for r in range(rows):
        for lane in range(LANES):
            k, x = np.uint64(lane), lanes[np.uint64(r), np.uint64(lane)]
            state[k + DRAWN] += one if (abs(x - state[k + CENTRE]) >= state[k + LIMIT]) & (x < INFINITY) else zero


@njit(nogil=True, cache=True, error_model="numpy")
def glance(rule, lanes, rows, zero, count, state, safe):
    """Tell the lanes, safe (64,) 1 and else 0, that cannot lose a sample, as sigma is at least NEED of `state`.

    Winsorization: with f(t) 1.134 times the deviation of samples drawn in to +-t, which cannot fall where t grows,
    sigma starts from the ordinary deviation and goes on as f(1.5 sigma). So if f(1.5 NEED) and the ordinary deviation
    are at least NEED, sigma never comes below it. Sums of n float32 are right to n eps = 6e-8 n: NEED must be met
    with that to spare; the others are looked at one by one, in float64. MAD: a median is at least what more than half
    of all distances are.
    """
    summed = rule.algorithm == SIGMA or rule.algorithm == WINSORIZED or rule.algorithm == AUTO
    ease, one = np.float32(1.134 if rule.algorithm != SIGMA else 1), np.float32(1)
    share = np.float32(1.00001 / 1.4826 if rule.algorithm == MAD else 1.5)
    for lane in range(LANES):
        limit = share * state[np.uint64(lane) + NEED]
        state[np.uint64(lane) + LIMIT] = INFINITY if rule.algorithm == SIGMA else limit
    if summed:
        look(lanes, rows, state)
    elif rule.algorithm == MAD:
        beyond(lanes, rows, state)
    for lane in range(LANES):
        k, n, sigma = np.uint64(lane), np.float32(count[lane]), np.float32(0)
        light = state[k + CENTRE] - zero[lane]
        modelled = is_modelled(rule, n)
        if rule.algorithm == PERCENTILE:
            sigma = state[k + CENTRE]
        elif modelled:
            sigma = modelled_sigma(rule, zero[k + FIELD] * rule.noise_variance, light)
        elif rule.algorithm == MAD:
            sigma = state[k + NEED] if state[k + DRAWN] > np.float32(0.5) * n else sigma
        elif summed:
            free, share = one / (n - one), one / n
            plain = (state[k + SQUARE] - state[k + TOTAL] * state[k + TOTAL] * share) * free
            drawn = (state[k + DRAWN_SQUARE] - state[k + DRAWN] * state[k + DRAWN] * share) * free
            drawn *= ease * ease
            sigma = np.sqrt(plain if plain < drawn else drawn) * (one - np.float32(1e-5) - np.float32(1e-7) * n)
        if rule.floor > 0 and not modelled and rule.algorithm != PERCENTILE:
            sigma = max(sigma, modelled_sigma(rule, zero[k + FIELD] * rule.floor * rule.floor, light))
        pair = rule.pairs and n == 2 and is_few(rule, n)
        safe[lane] = one if (state[k + NEED] <= sigma or n < 3) and not pair else np.float32(0)


@njit(nogil=True, cache=True, error_model="numpy")
def add_up(lanes, lane, n, sums):
    """Sums of the `n` samples of a sorted lane from its middle one on outwards, of their distances from it and squares.

    sums (2, N + 1) float64: those of the samples a to b are sums[:, b] - sums[:, a]. What is far out is not in the sums
    of what is near, so that nothing is lost by subtracting.
    """
    k, middle = np.uint64(lane), n >> 1
    base = np.float64(lanes[np.uint64(middle), k])
    total = square = 0.0
    sums[0, middle] = sums[1, middle] = 0.0
    for i in range(middle, n):
        d = np.float64(lanes[np.uint64(i), k]) - base
        total, square = total + d, square + d * d
        sums[0, i + 1], sums[1, i + 1] = total, square
    total = square = 0.0
    for i in range(middle - 1, -1, -1):
        d = np.float64(lanes[np.uint64(i), k]) - base
        total, square = total - d, square - d * d
        sums[0, i], sums[1, i] = total, square


@njit(nogil=True, cache=True, error_model="numpy")
def deviation(n, total, square):
    """Standard deviation (n - 1) from sums of distances from anywhere near and of their squares."""
    return np.sqrt(max(square - total * total / n, 0.0) / (n - 1.0))


@njit(nogil=True, cache=True, error_model="numpy")
def drawn_deviation(lanes, lane, first, last, a, b, base, middle, limit, sums):
    """1.134 times the deviation of the samples first:last, drawn in to `middle` +-limit; and those not drawn in, a:b.

    Values are counted from `base`, and a:b holds at least what is within the limit.
    """
    k, n, low, high = np.uint64(lane), np.float64(last - first), middle - limit, middle + limit
    while a < b and np.float64(lanes[np.uint64(a), k]) - base < low:
        a += 1
    while b > a and np.float64(lanes[np.uint64(b - 1), k]) - base > high:
        b -= 1
    under, over = np.float64(a - first), np.float64(last - b)
    total = sums[0, b] - sums[0, a] + under * low + over * high
    square = sums[1, b] - sums[1, a] + under * low * low + over * high * high
    return 1.134 * deviation(n, total, square), a, b


@njit(nogil=True, cache=True, error_model="numpy")
def winsorized(lanes, lane, first, last, base, centre, sums, floor):
    """Standard deviation told robustly: outliers are drawn in to 1.5 sigma until it settles.

    As in PixInsight 1.8.6: start from the ordinary standard deviation, clip to median +-1.5 sigma, sigma = 1.134 sd, at
    least twice, until it changes by less than 0.05 %; `floor` where it falls to that or does not settle. As limits
    close in, samples go from the middle, whose sums `add_up` left with the middle sample `base`, to those drawn in.
    """
    a, b, limit, middle = first, last, np.inf, np.float64(centre) - base
    sigma = deviation(np.float64(last - first), sums[0, b] - sums[0, a], sums[1, b] - sums[1, a])
    for i in range(INNER_PASSES):
        if sigma <= floor:
            return np.float64(floor)
        limit = min(limit, 1.5 * sigma)
        new, a, b = drawn_deviation(lanes, lane, first, last, a, b, base, middle, limit, sums)
        if i > 0 and abs(sigma - new) < 0.0005 * sigma:
            return max(new, floor)
        sigma = new
    return np.float64(floor)


@njit(nogil=True, cache=True, error_model="numpy")
def suffices(lanes, lane, first, last, base, centre, sums, need):
    """Whether `winsorized` comes to at least `need`: as in `glance`, for one lane."""
    least = need * 1.000001
    if deviation(np.float64(last - first), sums[0, last] - sums[0, first], sums[1, last] - sums[1, first]) < least:
        return False
    middle = np.float64(centre) - base
    limit = 1.5 * np.float64(need)
    return drawn_deviation(lanes, lane, first, last, first, last, base, middle, limit, sums)[0] >= least


@njit(nogil=True, cache=True, error_model="numpy")
def near(lanes, lane, first, last, centre, rank):
    """The `rank`-th smallest distance, counted from 1, of the sorted samples of a lane from `centre`.

    The nearest `rank` samples lie side by side, and move up together as the lower end gets farther than the upper.
    """
    k, a, b = np.uint64(lane), first, last - rank + 1
    while a < b:
        i = (a + b) >> 1
        if lanes[np.uint64(i + rank - 1), k] - centre < centre - lanes[np.uint64(i), k]:
            a = i + 1
        else:
            b = i
    above = lanes[np.uint64(a + rank - 1), k] - centre if a + rank <= last else INFINITY
    below = centre - lanes[np.uint64(a - 1), k] if a > first else INFINITY
    return min(above, below)


@njit(nogil=True, cache=True, error_model="numpy")
def median_deviation(lanes, lane, first, last, centre):
    """1.4826 times the median of |x - centre| of the sorted samples of a lane."""
    n = last - first
    lower = upper = near(lanes, lane, first, last, centre, (n + 1) >> 1)
    if n % 2 == 0:
        upper = near(lanes, lane, first, last, centre, (n >> 1) + 1)
    return np.float32(0.7413) * (lower + upper)


@njit(nogil=True, cache=True, error_model="numpy")
def modelled_sigma(rule, variance, light):
    """Sigma that the noise model expects where the median is `light` above the sky, whose `variance` is given."""
    s = max(np.float32(0), light)
    slope, fraction = np.float32(rule.noise_slope), np.float32(rule.noise_fraction)
    return np.sqrt(np.float32(variance) + slope * s + (fraction * s) * (fraction * s))
