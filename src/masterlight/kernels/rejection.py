"""Which samples of a pixel to keep.

Work goes by chunks of 64 neighbouring pixels of all N frames. Their samples, normalised for
rejection, lie in `lanes` (N, 64) float32 with +inf where there is none; one sorting network orders
all lanes at once. What tells the sigma of a lane is in `spread`; `judge` then clips from both ends
what is farther than `low` or `high` sigma from the median, and again until nothing more goes.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from masterlight.kernels import profiles, ranked
from masterlight.kernels.spread import (  # noqa: F401 the names of the algorithms are for callers
    AUTO,
    AVERAGED,
    CENTRE,
    CHAUVENET,
    ESD,
    GROUP,
    INFINITY,
    KINDS,
    LANES,
    LINEAR,
    MAD,
    MINMAX,
    NOISE,
    NONE,
    NUMBER,
    PERCENTILE,
    SIGMA,
    SIGMA_OF,
    WINSORIZED,
    Rule,
    expected,
    gather,
    spread,
)

LOOSE = np.float32(1.25)
"""A frame with so many times the noise of the others has no say in what is usual; it is judged by its own noise."""
KEPT, LOW, HIGH, MISSING = (np.uint8(k) for k in range(4))
VOTES = 5
"""With fewer regular samples than this in a pixel, all have a say."""


FIRST, WD, WWD, WWDD, LOWEST, HIGHEST, UNDER, OVER, REACH = (np.uint64(LANES * k) for k in range(9))
"""Where the 64 numbers of each kind lie in the sums of a survey."""


class Tables(NamedTuple):
    """What some algorithms need besides the rule."""

    critical: np.ndarray
    """ESD: (N + 1,) float32 by number of samples left, see `ranked.esd_table`."""
    z_limit: np.ndarray
    """CHAUVENET: (N + 1,) float32 by number of samples left, see `ranked.chauvenet_table`."""
    params: profiles.Params
    """For the rules of other programs."""


def tables_for(rule: Rule, n: int, params: profiles.Params, significance: float = 0.05) -> Tables:
    """The tables that the rule needs for up to n samples; of size 1 for those that need none.

    params: the knobs of `profiles`, whose `limit` is that of our CHAUVENET as well; significance is that of ESD.
    """
    none = np.full(1, np.inf, np.float32)
    return Tables(
        ranked.esd_table(n, significance, rule.esd_fraction) if rule.algorithm == ESD else none,
        ranked.chauvenet_table(n, params.limit) if rule.algorithm == CHAUVENET else none,
        params,
    )


class Scratch(NamedTuple):
    """Room to work in, made once for a tile."""

    lanes: np.ndarray
    """(N, 64) float32."""
    work: np.ndarray
    """(4 m * 32,) float32 with 4 m >= N, zero from row N on."""
    state: np.ndarray
    """(12 * 32,) float32."""
    bounds: np.ndarray
    """(7, 64) float32: lowest and highest survivor; median, and how far below and above it samples may lie; whether
    loose frames are judged by that reach; noise by brightness."""
    index: np.ndarray
    """(7, 64) int64."""


@njit(nogil=True, cache=True, error_model="numpy")
def make_scratch(n):
    return Scratch(
        np.empty((n, LANES), np.float32),
        np.zeros((n + 3) // 4 * 4 * GROUP, np.float32),
        np.zeros(KINDS * GROUP, np.float32),
        np.empty((7, LANES), np.float32),
        np.empty((7, LANES), np.int64),
    )


@njit(nogil=True, cache=True, error_model="numpy")
def load(judged, scale, offset, loose, rule, lanes, count, apart):
    """Fill `lanes` with normalised samples of 64 pixels, +inf where missing, and count them.

    Samples of frames that are `loose` (N,) stay out, and `apart` (64,) is 1, where enough others are left.
    """
    low, high = np.float32(rule.range_low), np.float32(rule.range_high)
    count[:] = 0
    for i in range(judged.shape[0]):
        a, b = scale[i], offset[i]
        for lane in range(LANES):
            x = judged[np.uint64(i), np.uint64(lane)]
            here = (x > low) & (x < high) & (loose[i] <= LOOSE)
            lanes[np.uint64(i), np.uint64(lane)] = a * x + b if here else INFINITY
            count[lane] += np.int64(here)
    for lane in range(LANES):
        apart[lane] = np.float32(1) if count[lane] >= VOTES and rule.algorithm != MINMAX else np.float32(0)
    for i in range(judged.shape[0]):
        if loose[i] > LOOSE:
            for lane in range(LANES):
                x = judged[np.uint64(i), np.uint64(lane)]
                if apart[lane] == 0 and x > low and x < high:
                    lanes[np.uint64(i), np.uint64(lane)] = scale[i] * x + offset[i]
                    count[lane] += 1


@njit(nogil=True, cache=True, error_model="numpy")
def sort(lanes, n):
    """Sort the first `n` rows of every lane at once by Batcher's odd-even merge network (Batcher 1968)."""
    p = 1
    while p < n:
        k = p
        while k >= 1:
            for j in range(k % p, n - k, 2 * k):
                if j // (2 * p) == (j + k) // (2 * p):
                    for i in range(min(k, n - j - k)):
                        a, b = np.uint64(i + j), np.uint64(i + j + k)
                        for lane in range(LANES):
                            x, y = lanes[a, np.uint64(lane)], lanes[b, np.uint64(lane)]
                            lanes[a, np.uint64(lane)] = x if x < y else y
                            lanes[b, np.uint64(lane)] = y if x < y else x
            k //= 2
        p *= 2


@njit(nogil=True, cache=True, error_model="numpy")
def trim(low, high, keep_fraction, lanes, lane, first, last, centre, sigma, total):
    """Move the bounds of one sorted lane inwards past what is too far; True when something went and 3 are left.

    Where too few would survive, the nearest of the rejected are taken back.
    """
    start, stop, k = first[lane], last[lane], np.uint64(lane)
    if stop - start < 3 or not sigma > 0:
        return False
    below, above = low * sigma, high * sigma
    a, b = start, stop
    while a < b and centre - lanes[np.uint64(a), k] > below:
        a += 1
    while b > a and lanes[np.uint64(b - 1), k] - centre > above:
        b -= 1
    if b - a == stop - start:
        return False
    least = min(stop - start, max(2, int(np.ceil(keep_fraction * total))))
    while b - a < least:
        left = (centre - lanes[a - 1, lane]) / below if a > start else INFINITY
        right = (lanes[b, lane] - centre) / above if b < stop else INFINITY
        if a > start and left <= right:
            a -= 1
        else:
            b += 1
    first[lane], last[lane] = a, b
    return 3 <= b - a < stop - start


@njit(nogil=True, cache=True, error_model="numpy")
def judge(rule, lanes, zero, gain, count, first, last, work, state, index, limits):
    """Find the survivors lanes[first:last] of 64 sorted lanes that hold `count` samples each.

    Lanes that lost a sample are looked at again, 32 at a time. work (4 m * 32,) float32 with 4 m >= N is
    zero from row N on; state (12 * 32,) float32 and index (4, 64) int64 are scratch. limits (3, 64) gets the median and
    the distances below and above it that were allowed last.
    """
    active, who, begin, total = index[0], index[1], index[2], index[3]
    centre, sigma = state[int(CENTRE) :], state[int(SIGMA_OF) :]
    low = np.float32(rule.low) if rule.clip_low else INFINITY
    high = np.float32(rule.high) if rule.clip_high else INFINITY
    ground, gains = np.empty(GROUP, np.float32), np.empty(GROUP, np.float32)
    gain[:] = -1
    for lane in range(LANES):
        active[lane], first[lane], last[lane] = lane, 0, count[lane]
    waiting = LANES
    for _ in range(rule.passes):
        left = 0
        for g in range(0, waiting, GROUP):
            for j in range(GROUP):
                lane = active[min(g + j, waiting - 1)]
                who[j], begin[j], total[j] = lane, first[lane], count[lane]
                ground[j], gains[j] = zero[lane], gain[lane]
                state[np.uint64(j) + NUMBER] = last[lane] - first[lane]
            gather(lanes, who, waiting == LANES, first, last, work, centre)
            spread(rule, work, centre, ground, gains, begin, total, state)
            for j in range(min(GROUP, waiting - g)):
                reach = sigma[j] if sigma[j] > 0 else INFINITY
                gain[who[j]] = gains[j]
                limits[0, who[j]], limits[1, who[j]], limits[2, who[j]] = centre[j], low * reach, high * reach
                if trim(low, high, rule.keep_fraction, lanes, who[j], first, last, centre[j], sigma[j], total[j]):
                    active[left] = who[j]
                    left += 1
        waiting = left
        if waiting == 0:
            break


@njit(nogil=True, cache=True, error_model="numpy")
def least_variance(rule):
    """The smallest variance of dark sky that the rule can come to, 0 for unknown, inf where nothing is rejected."""
    known = np.float32(rule.noise_variance)
    if rule.profile > 0 or (LINEAR <= rule.algorithm <= CHAUVENET):
        return np.float32(0)
    if rule.algorithm == NONE:
        return INFINITY
    if rule.algorithm == NOISE:
        return known
    floor = np.float32(rule.floor * rule.floor) if rule.algorithm >= SIGMA else np.float32(0)
    return min(known, floor) if rule.algorithm == AUTO and known > 0 else floor


@njit(nogil=True, cache=True, error_model="numpy")
def set_aside(loose):
    """(N,) float32, 0 for frames that say what is usual and inf for the loose ones, where there are enough others."""
    regular = 0
    for i in range(loose.size):
        regular += loose[i] <= LOOSE
    aside = np.zeros(loose.size, np.float32)
    for i in range(loose.size if regular >= VOTES else 0):
        aside[i] = INFINITY if loose[i] > LOOSE else np.float32(0)
    return aside


@njit(nogil=True, cache=True, error_model="numpy")
def undisputed(judged, at, zero, columns, rule, aside, sums, easy):
    """Fill `easy` (64,) with 1 for pixels of which no sample can be rejected: nothing is `low` or `high` sigma away.

    sums (9 * 64,) float32 as `survey` leaves them. Without sorting: sigma is at least that of the lowest sample's
    light; the median is in reach of both ends when at most (n - 1) // 2 samples are fainter than the highest less its
    reach, and as many brighter than the lowest and its reach. Pixels with a missing sample are not easy.
    """
    n, one, variance = 0, np.float32(1), least_variance(rule)
    low = np.float32(rule.low) if rule.clip_low else np.float32(3e38)
    high = np.float32(rule.high) if rule.clip_high else np.float32(3e38)
    for lane in range(LANES):
        k = np.uint64(lane)
        reach = expected(rule, variance, sums[k + LOWEST] - zero[k])
        easy[k] = one if sums[k + HIGHEST] < INFINITY else np.float32(0)
        sums[k + HIGHEST] -= high * reach
        sums[k + LOWEST] += low * reach
        sums[k + REACH], sums[k + UNDER], sums[k + OVER] = reach, np.float32(0), np.float32(0)
    if np.isinf(variance):
        return
    for i in range(judged.shape[0]):
        c, e, r = columns.reject_scale[i], columns.reject_offset[i], columns.loose[i]
        if aside[i] == 0:
            n += 1
            for lane in range(LANES):
                k = np.uint64(lane)
                v = c * judged[np.uint64(i), np.uint64(at + lane)] + e
                sums[k + UNDER] += one if v < sums[k + HIGHEST] else np.float32(0)
                sums[k + OVER] += one if v > sums[k + LOWEST] else np.float32(0)
        else:
            for lane in range(LANES):
                k = np.uint64(lane)
                v, q = c * judged[np.uint64(i), np.uint64(at + lane)] + e, r * sums[k + REACH]
                inside = (v - sums[k + HIGHEST] <= high * q) & (sums[k + LOWEST] - v <= low * q)
                easy[k] = easy[k] if inside else np.float32(0)
    most = np.float32((n - 1) // 2)
    for lane in range(LANES):
        k = np.uint64(lane)
        easy[k] = easy[k] if (sums[k + UNDER] <= most) & (sums[k + OVER] <= most) else np.float32(0)


@njit(nogil=True, cache=True, error_model="numpy")
def cut_ranks(rule, count, first, last):
    """Bounds of min/max rejection: the lowest and highest few go, wherever more samples than those are there."""
    for lane in range(LANES):
        first[lane], last[lane] = 0, count[lane]
        low, high = int(rule.low) if rule.clip_low else 0, int(rule.high) if rule.clip_high else 0
        if count[lane] > low + high:
            first[lane], last[lane] = low, count[lane] - high


@njit(nogil=True, cache=True, error_model="numpy")
def bound(lanes, first, last, bounds):
    """The lowest and the highest survivor of each lane into bounds[:2]."""
    for lane in range(LANES):
        if last[lane] > first[lane]:
            bounds[0, lane] = lanes[np.uint64(first[lane]), np.uint64(lane)]
            bounds[1, lane] = lanes[np.uint64(last[lane] - 1), np.uint64(lane)]


@njit(nogil=True, cache=True, fastmath={"reassoc"})
def mark(judged, scale, offset, loose, rule, bounds, code, tally, frames):
    """Fill `code` (N, 64) uint8 with what becomes of each sample: KEPT, LOW, HIGH or MISSING, and count them.

    bounds (6, 64) as in `Scratch`. A frame that is noisier
    than the others has a `loose` (N,) above 1, and its samples may lie that many times the reach from the median.
    tally (3, 64) float32 gets the samples kept, rejected low, rejected high of each pixel;
    frames (3, N) int64 has the counts of each frame, rejected low, rejected high and all, which are added to.
    """
    range_low, range_high = np.float32(rule.range_low), np.float32(rule.range_high)
    one, zero = np.float32(1), np.float32(0)
    tally[:] = 0
    for i in range(judged.shape[0]):
        a, b, r = scale[i], offset[i], loose[i]
        below_all, above_all, kept_all = zero, zero, zero
        for lane in range(LANES):
            k = np.uint64(lane)
            x = judged[np.uint64(i), np.uint64(lane)]
            v = a * x + b
            own = (r > LOOSE) & (bounds[5, k] > zero)
            low = bounds[2, k] - r * bounds[3, k] if own else bounds[0, k]
            high = bounds[2, k] + r * bounds[4, k] if own else bounds[1, k]
            below = (x <= range_low) | ((v < low) & (x < range_high))
            above = (x >= range_high) | ((v > high) & (x > range_low))
            kept = one if (x > range_low) & (x < range_high) & (v >= low) & (v <= high) else zero
            verdict = KEPT if kept > zero else MISSING
            verdict = LOW if below else verdict
            code[np.uint64(i), np.uint64(lane)] = HIGH if above else verdict
            tally[0, lane] += kept
            tally[1, lane] += one if below else zero
            tally[2, lane] += one if above else zero
            below_all += one if below else zero
            above_all += one if above else zero
            kept_all += kept
        frames[0, i] += np.int64(below_all)
        frames[1, i] += np.int64(above_all)
        frames[2, i] += np.int64(below_all + above_all + kept_all)


@njit(nogil=True, cache=True, error_model="numpy")
def break_ties(judged, scale, offset, lanes, first, last, code, tally, frames):
    """After a cut by rank: of equal samples on the edge, those of the earliest frames are the rejected ones."""
    for lane in range(LANES):
        if first[lane] >= last[lane]:
            continue
        low, high = lanes[first[lane], lane], lanes[last[lane] - 1, lane]
        under, over = 0, 0
        while first[lane] - under > 0 and lanes[first[lane] - 1 - under, lane] == low:
            under += 1
        while last[lane] + over < lanes.shape[0] and lanes[last[lane] + over, lane] == high:
            over += 1
        for i in range(judged.shape[0]):
            if under + over == 0:
                break
            v = scale[i] * judged[i, lane] + offset[i]
            side = 1 if under and v == low else (2 if over and v == high else 0)
            if side and code[i, lane] == KEPT:
                code[i, lane] = side
                tally[0, lane] -= 1
                tally[side, lane] += 1
                under, over = under - (side == 1), over - (side == 2)
                frames[side - 1, i] += 1


@njit(nogil=True, cache=True, error_model="numpy")
def reject(judged, zero, columns, rule, scratch, code, tally, frames):
    """Decide on every sample of 64 pixels: fills `code` and `tally`, adds to the frames' counts.

    judged (N, 64) float32, NaN where missing; columns' reject_scale, reject_offset bring them to the scale of
    rejection; zero (64,) float32 is the level of the sky on it.
    """
    scale, offset, loose = columns.reject_scale, columns.reject_offset, columns.loose
    lanes, index, bounds = scratch.lanes, scratch.index, scratch.bounds
    count, first, last = index[4], index[5], index[6]
    bounds[0], bounds[1], bounds[2] = -INFINITY, INFINITY, np.float32(0)
    bounds[3:5], bounds[5] = INFINITY, np.float32(0)
    if rule.algorithm != NONE:
        load(judged, scale, offset, loose, rule, lanes, count, bounds[5])
        sort(lanes, judged.shape[0])
        if rule.algorithm == MINMAX:
            cut_ranks(rule, count, first, last)
        else:
            judge(rule, lanes, zero, bounds[6], count, first, last, scratch.work, scratch.state, index, bounds[2:5])
        bound(lanes, first, last, bounds)
    mark(judged, scale, offset, loose, rule, bounds, code, tally, frames)
    if rule.algorithm == MINMAX:
        break_ties(judged, scale, offset, lanes, first, last, code, tally, frames)
