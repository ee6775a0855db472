"""How far the samples of a pixel spread: the estimators of sigma, for 32 sorted pixels at a time.

An algorithm is a function that tells the sigma of 32 lanes from their sorted samples, and a line in `spread`.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

LANES = 64
GROUP = 32
ROW = np.uint64(GROUP)
KINDS = 12
LIMIT, NUMBER, TOTAL, SQUARE, DEVIATION, SIGMA_OF, SETTLED, CENTRE, FLOOR, CORE, CORE_SQUARE, CORE_REACH = (
    np.uint64(GROUP * k) for k in range(KINDS)
)
"""Where the 32 numbers of each kind lie in `state`: one array, so that the compiler sees they do not overlap."""
NONE, MINMAX, PERCENTILE, SIGMA, WINSORIZED, MAD, NOISE, AUTO, LINEAR, ESD, CHAUVENET, AVERAGED = range(12)
INFINITY = np.float32(np.inf)
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
    profile: int
    """0 for our own algorithms, or the number of another program's in `kernels.profiles`."""


@njit(nogil=True, cache=True, error_model="numpy")
def gather(lanes, who, adjacent, first, last, work, centre):
    """Copy the survivors of 32 sorted lanes into `work`, their medians taken off and zero elsewhere.

    who (32,) names the lanes, `adjacent` tells that they are neighbours; first, last (64,) bound the
    survivors; centre (32,) gets the medians.
    """
    rows = lanes.shape[0]
    top, bottom = 0, rows
    for j in range(GROUP):
        a, b = first[who[j]], last[who[j]]
        top, bottom = max(top, a), min(bottom, b)
        centre[j] = np.float32(0)
        if b > a:
            left, right, lane = np.uint64((a + b - 1) >> 1), np.uint64((a + b) >> 1), np.uint64(who[j])
            centre[j] = np.float32(0.5) * (lanes[left, lane] + lanes[right, lane])
    for r in range(rows):
        row = np.uint64(r)
        if adjacent and top <= r < bottom:
            for j in range(GROUP):
                work[row * ROW + np.uint64(j)] = lanes[row, np.uint64(who[0] + j)] - centre[j]
        else:
            for j in range(GROUP):
                inside = (r >= first[who[j]]) & (r < last[who[j]])
                v = lanes[row, np.uint64(who[j])] - centre[j]
                work[row * ROW + np.uint64(j)] = v if inside else np.float32(0)


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def clipped_sums(work, start, stop, state):
    """Add the values work[start:stop] of each lane, clipped to +-LIMIT, to its TOTAL, and their squares to SQUARE."""
    for r in range(start, stop, 4 * GROUP):
        for lane in range(GROUP):
            j, k = np.uint64(lane), np.uint64(r) + np.uint64(lane)
            t = state[j + LIMIT]
            a, b, c, d = work[k], work[k + ROW], work[k + ROW + ROW], work[k + ROW + ROW + ROW]
            a = t if a > t else a
            b = t if b > t else b
            c = t if c > t else c
            d = t if d > t else d
            a = -t if a < -t else a
            b = -t if b < -t else b
            c = -t if c < -t else c
            d = -t if d < -t else d
            state[j + TOTAL] += (a + b) + (c + d)
            state[j + SQUARE] += (a * a + b * b) + (c * c + d * d)


@njit(nogil=True, cache=True, error_model="numpy")
def clipped_core(work, start, stop, state, again):
    """TOTAL and SQUARE of the middle work[start:stop] of each lane, clipped to +-LIMIT.

    Clipping seldom touches the middle: unless a LIMIT is below its farthest value, CORE_REACH, its sums are those found
    at first; to the bit what they would be found again, so that lanes do not depend on their neighbours.
    """
    touched = not again
    for lane in range(GROUP):
        j = np.uint64(lane)
        touched |= again and state[j + LIMIT] < state[j + CORE_REACH]
    if not touched:
        for lane in range(GROUP):
            j = np.uint64(lane)
            state[j + TOTAL], state[j + SQUARE] = state[j + CORE], state[j + CORE_SQUARE]
        return
    for lane in range(GROUP):
        j = np.uint64(lane)
        state[j + TOTAL] = state[j + SQUARE] = np.float32(0)
    clipped_sums(work, start, stop, state)
    if again:
        return
    for lane in range(GROUP):
        j = np.uint64(lane)
        state[j + CORE], state[j + CORE_SQUARE], state[j + CORE_REACH] = state[j + TOTAL], state[j + SQUARE], 0
    for r in range(start, stop, GROUP):
        for lane in range(GROUP):
            j, k = np.uint64(lane), np.uint64(r) + np.uint64(lane)
            far = abs(work[k])
            state[j + CORE_REACH] = far if far > state[j + CORE_REACH] else state[j + CORE_REACH]


@njit(nogil=True, cache=True, error_model="numpy")
def clipped_deviation(work, state, again):
    """Standard deviation (n - 1) of each lane of `work` with its values clipped to +-LIMIT.

    work (4 m * 32,) float32, rows of 32 lanes about zero, zero where there is no sample. Reads LIMIT, infinite unless
    `again`, and NUMBER of `state`, fills DEVIATION.
    """
    edge = (work.size // (4 * GROUP) + 3) // 6 * (4 * GROUP)
    clipped_core(work, edge, work.size - edge, state, again)
    clipped_sums(work, 0, edge, state)
    clipped_sums(work, work.size - edge, work.size, state)
    for lane in range(GROUP):
        j = np.uint64(lane)
        n, total = state[j + NUMBER], state[j + TOTAL]
        variance = (state[j + SQUARE] - total * total / n) / (n - np.float32(1))
        state[j + DEVIATION] = np.sqrt(variance if variance > np.float32(0) else np.float32(0))


@njit(nogil=True, cache=True, error_model="numpy")
def draw_in(state, tolerance):
    """One step of `winsorized`: the new sigma and limit after a pass; True while lanes are unsettled."""
    for lane in range(GROUP):
        j = np.uint64(lane)
        old, new = state[j + SIGMA_OF], np.float32(1.134) * state[j + DEVIATION]
        change = old - new if old > new else new - old
        done = state[j + SETTLED]
        sigma = old if done > np.float32(0) else new
        limit = np.float32(1.5) * sigma
        close = np.float32(1) if change < tolerance * old else np.float32(0)
        small = np.float32(1) if new <= state[j + FLOOR] else np.float32(0)
        state[j + SIGMA_OF] = sigma
        state[j + LIMIT] = limit if limit < state[j + LIMIT] else state[j + LIMIT]
        state[j + SETTLED] = done + close + small
    for lane in range(GROUP):
        if state[np.uint64(lane) + SETTLED] == np.float32(0):
            return True
    return False


@njit(nogil=True, cache=True, error_model="numpy")
def winsorized(work, state):
    """Standard deviation told robustly: outliers are drawn in to 1.5 sigma until it settles.

    The core of Winsorized sigma clipping as PixInsight 1.8.6 has it: start from the ordinary
    standard deviation, clip to median +-1.5 sigma, sigma = 1.134 sd, at least twice, until it
    changes by less than 0.05 %. FLOOR where it falls to that or does not settle.
    work and state as for `clipped_deviation`; fills SIGMA_OF.
    """
    clipped_deviation(work, state, False)
    for lane in range(GROUP):
        j = np.uint64(lane)
        sigma = state[j + DEVIATION]
        state[j + SIGMA_OF], state[j + LIMIT] = sigma, np.float32(1.5) * sigma
        state[j + SETTLED] = np.float32(1) if sigma <= state[j + FLOOR] else np.float32(0)
    for k in range(INNER_PASSES):
        clipped_deviation(work, state, True)
        if not draw_in(state, np.float32(0.0005 if k else -1)):
            break
    for lane in range(GROUP):
        j = np.uint64(lane)
        sigma, floor = state[j + SIGMA_OF], state[j + FLOOR]
        state[j + SIGMA_OF] = sigma if state[j + SETTLED] > 0 and sigma > floor else floor


@njit(nogil=True, cache=True, error_model="numpy")
def median_deviation(work, begin, state):
    """1.4826 times the median of |x - median|, into SIGMA_OF: a walk outwards from the middle of each sorted lane."""
    for j in range(GROUP):
        n, start = int(state[np.uint64(j) + NUMBER]), begin[j]
        left, right = start + (n - 1) // 2, start + (n - 1) // 2 + 1
        near, far = np.float32(0), np.float32(0)
        for _ in range(n // 2 + 1 if n else 0):
            near = far
            if right >= start + n or (left >= start and -work[left * GROUP + j] <= work[right * GROUP + j]):
                far, left = -work[left * GROUP + j], left - 1
            else:
                far, right = work[right * GROUP + j], right + 1
        middle = far if n % 2 else np.float32(0.5) * (near + far)
        state[np.uint64(j) + SIGMA_OF] = max(np.float32(1.4826) * middle, state[np.uint64(j) + FLOOR])


@njit(nogil=True, cache=True, error_model="numpy")
def averaged(work, centre, gain, state):
    """Sigma that grows with the root of a lane's brightness, into SIGMA_OF.

    gain (32,) float32 is told by all samples of a lane, sum (x - median)^2 / median over n - 1, and kept from then on;
    where it is negative it is found here. Lanes that are not brighter than 0 have sigma 0: nothing is rejected.
    """
    for lane in range(GROUP):
        j = np.uint64(lane)
        state[j + SQUARE] = np.float32(0)
    for r in range(0, work.size, GROUP):
        for lane in range(GROUP):
            j, k = np.uint64(lane), np.uint64(r) + np.uint64(lane)
            state[j + SQUARE] += work[k] * work[k]
    for lane in range(GROUP):
        j, level = np.uint64(lane), max(centre[lane], np.float32(0))
        if gain[lane] < 0:
            gain[lane] = (
                state[j + SQUARE] / (level * (state[j + NUMBER] - np.float32(1))) if level > 0 else np.float32(0)
            )
        state[j + SIGMA_OF] = max(np.sqrt(gain[lane] * level), state[j + FLOOR]) if level > 0 else np.float32(0)


@njit(nogil=True, cache=True, error_model="numpy")
def expected(rule, variance, light):
    """Sigma that the noise model expects where the median is `light` above the sky, whose `variance` is given."""
    s = max(np.float32(0), light)
    slope, fraction = np.float32(rule.noise_slope), np.float32(rule.noise_fraction)
    return np.sqrt(np.float32(variance) + slope * s + (fraction * s) * (fraction * s))


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def spread(rule, work, centre, zero, gain, begin, total, state):
    """The switch: SIGMA_OF 32 lanes by the rule's algorithm; zero means that nothing is to be rejected.

    work holds the samples left, less their medians `centre`, in rows from `begin` on; NUMBER of
    `state` counts them, total those that were there before any was rejected; zero (32,) is the level of the sky,
    gain (32,) the noise of a lane by its brightness, -1 before it is known.
    """
    for lane in range(GROUP):
        j = np.uint64(lane)
        state[j + LIMIT] = INFINITY
        floor = expected(rule, rule.floor * rule.floor, centre[j] - zero[j]) if rule.floor > 0 else np.float32(0)
        state[j + FLOOR] = floor
    if rule.algorithm == SIGMA:
        clipped_deviation(work, state, False)
        for lane in range(GROUP):
            sigma, floor = state[np.uint64(lane) + DEVIATION], state[np.uint64(lane) + FLOOR]
            state[np.uint64(lane) + SIGMA_OF] = sigma if sigma > floor else floor
    elif rule.algorithm == WINSORIZED or rule.algorithm == AUTO:
        winsorized(work, state)
    elif rule.algorithm == MAD:
        median_deviation(work, begin, state)
    elif rule.algorithm == AVERAGED:
        averaged(work, centre, gain, state)
    elif rule.algorithm == PERCENTILE:
        for lane in range(GROUP):
            state[np.uint64(lane) + SIGMA_OF] = centre[lane]
    modelled = rule.algorithm == NOISE or (rule.algorithm == AUTO and rule.noise_variance > 0)
    for lane in range(GROUP if modelled else 0):
        if rule.algorithm == NOISE or total[lane] < rule.few:
            state[np.uint64(lane) + SIGMA_OF] = expected(rule, rule.noise_variance, centre[lane] - zero[lane])
