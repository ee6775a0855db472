"""Which samples of a pixel to keep.

Work goes by chunks of 64 neighbouring pixels of all N frames. Their samples, normalised for rejection, lie in `lanes`
(N, 64) float32, +inf where there is none; one sorting network orders all. Most are seen at a glance to keep all; from
the others `settle` clips what is farther than `low` or `high` sigma from the median, until nothing more goes.

An algorithm that clips so is a function that tells the sigma of a lane from its sorted samples, its name at the end of
`ALGORITHMS`, its number after `CODES`, a line in the switch `sigma_of`; and its row in `integration.rejection.KINDS`.
"""

from typing import NamedTuple

import numpy as np

from masterlight.compiled import njit
from masterlight.integration.kernels import spread
from masterlight.integration.kernels.spread import CENTRE, INFINITY, LANES, NEED, modelled_sigma

LOOSE = np.float32(1.25)
"""A frame with so many times the noise of the others has no say in what is usual; it is judged by its own noise."""
KEPT, LOW, HIGH, MISSING = (np.uint8(k) for k in range(4))
VOTES = 5
"""With fewer regular samples than this in a pixel, all have a say."""
ALGORITHMS = "none minmax percentile sigma winsorized mad noise auto linear-fit esd chauvenet".split()
CODES = {name: code for code, name in enumerate(ALGORITHMS)} | {"averaged-sigma": spread.NOISE, "ccd": spread.NOISE}
"""By the name of an algorithm, the number by which the kernels know it: the order of those in `spread`."""
FIRST, WD, WWD, WWDD, LOWEST, HIGHEST, UNDER, OVER, REACH = (np.uint64(LANES * k) for k in range(9))
"""Where the 64 numbers of each kind lie in the sums of a survey."""


class Scratch(NamedTuple):
    """Room to work in, made once for a tile: lanes (N, 64), state (8 * 64,) float32, sums (2, N + 1) float64."""

    lanes: np.ndarray
    sums: np.ndarray
    state: np.ndarray
    bounds: np.ndarray
    """(6, 64) float32: lowest and highest survivor; median, and how far below and above it samples may lie; 1 where
    loose frames are judged by that reach, 2 where all that are noisier than usual are."""
    index: np.ndarray
    """(3, 64) int64: number of samples, first and last survivor."""


@njit(nogil=True, cache=True, error_model="numpy")
def make_scratch(n):
    lanes, sums, state = np.empty((n, LANES), np.float32), np.empty((2, n + 1)), np.zeros(8 * LANES, np.float32)
    return Scratch(lanes, sums, state, np.empty((6, LANES), np.float32), np.empty((3, LANES), np.int64))


@njit(nogil=True, cache=True, error_model="numpy")
def load(judged, columns, rule, scratch):
    """Fill the scratch's lanes with sorted, normalised samples of 64 pixels, +inf where missing; bounds keep them all.

    Samples of frames that are loose stay out where enough others are left, and the last of the bounds is 1 there.
    """
    scale, offset, loose = columns.reject_scale, columns.reject_offset, columns.loose
    lanes, bounds = scratch.lanes, scratch.bounds
    low, high = np.float32(rule.range_low), np.float32(rule.range_high)
    bounds[0], bounds[1], bounds[2] = -INFINITY, INFINITY, np.float32(0)
    bounds[3:5], bounds[5] = INFINITY, np.float32(0)
    if rule.algorithm == spread.NONE:
        return
    count, apart = scratch.index[0], bounds[5]
    count[:] = 0
    for i in range(judged.shape[0]):
        a, b = scale[i], offset[i]
        for lane in range(LANES):
            x = judged[np.uint64(i), np.uint64(lane)]
            here = (x > low) & (x < high) & (loose[i] <= LOOSE)
            lanes[np.uint64(i), np.uint64(lane)] = a * x + b if here else INFINITY
            count[lane] += np.int64(here)
    for lane in range(LANES):
        apart[lane] = np.float32(1) if count[lane] >= VOTES and rule.algorithm != spread.MINMAX else np.float32(0)
    for i in range(judged.shape[0]):
        if loose[i] > LOOSE:
            for lane in range(LANES):
                x = judged[np.uint64(i), np.uint64(lane)]
                if apart[lane] == 0 and x > low and x < high:
                    lanes[np.uint64(i), np.uint64(lane)] = scale[i] * x + offset[i]
                    count[lane] += 1
    sort(lanes, judged.shape[0])


@njit(nogil=True, cache=True, error_model="numpy")
def sort(lanes, n):
    """Sort the first `n` rows of every lane at once by Batcher's odd-even merge network (Batcher 1968)."""
    p, shift = 1, 1
    while p < n:
        k = p
        while k >= 1:
            for j in range(k % p, n - k, 2 * k):
                if j >> shift == (j + k) >> shift:
                    for i in range(min(k, n - j - k)):
                        a, b = np.uint64(i + j), np.uint64(i + j + k)
                        for lane in range(LANES):
                            x, y = lanes[a, np.uint64(lane)], lanes[b, np.uint64(lane)]
                            lanes[a, np.uint64(lane)] = x if x < y else y
                            lanes[b, np.uint64(lane)] = y if x < y else x
            k //= 2
        p, shift = 2 * p, shift + 1


@njit(nogil=True, cache=True, error_model="numpy")
def sigma_of(rule, lanes, lane, first, last, total, centre, light, sums):
    """The switch: sigma of the sorted samples first:last of a lane; 0 means that nothing is to be rejected.

    centre is their median, `light` above the level of the sky; total counts the samples that were there before any was
    rejected; sums as `add_up` left them, for those that need them.
    """
    if rule.algorithm == spread.PERCENTILE:
        return centre
    if spread.is_modelled(rule, total):
        return modelled_sigma(rule, rule.noise_variance, light)
    floor = modelled_sigma(rule, rule.floor * rule.floor, light) if rule.floor > 0 else np.float32(0)
    if rule.algorithm == spread.SIGMA:
        n = np.float64(last - first)
        sigma = spread.deviation(n, sums[0, last] - sums[0, first], sums[1, last] - sums[1, first])
        return max(np.float32(sigma), floor)
    if rule.algorithm == spread.MAD:
        return max(spread.median_deviation(lanes, lane, first, last, centre), floor)
    base = np.float64(lanes[total >> 1, lane])
    return np.float32(spread.winsorized(lanes, lane, first, last, base, centre, sums, floor))


@njit(nogil=True, cache=True, error_model="numpy")
def trim(lanes, lane, start, stop, base, slope, below, above, least):
    """Bounds of the sorted samples start:stop of a lane, moved inwards past what is too far from a line.

    The line begins at `base` and rises by `slope` per rank, not at all where the samples are held against their centre;
    below, above: the distances allowed. Where fewer than `least` would survive, the nearest rejected are taken back.
    """
    k, a, b = np.uint64(lane), start, stop
    while a < b and base + slope * np.float32(a - start) - lanes[np.uint64(a), k] > below:
        a += 1
    while b > a and lanes[np.uint64(b - 1), k] - (base + slope * np.float32(b - 1 - start)) > above:
        b -= 1
    while b - a < min(least, stop - start):
        left = right = INFINITY
        if a > start:
            left = (base + slope * np.float32(a - 1 - start) - lanes[a - 1, lane]) / below
        if b < stop:
            right = (lanes[b, lane] - base - slope * np.float32(b - start)) / above
        if a > start and left <= right:
            a -= 1
        else:
            b += 1
    return a, b


@njit(nogil=True, cache=True, error_model="numpy")
def settle_pair(rule, high, lanes, lane, zero, limits):
    """Bounds of the survivors of two sorted samples: the brighter one goes where noise cannot part them so far.

    What comes between, a cosmic ray or a satellite, adds light; the distance of two samples has twice their variance.
    """
    k = np.uint64(lane)
    lower, upper = lanes[np.uint64(0), k], lanes[np.uint64(1), k]
    reach = high * np.sqrt(np.float32(2)) * modelled_sigma(rule, rule.noise_variance, lower - zero)
    limits[0, k], limits[1, k], limits[2, k] = lower, INFINITY, reach
    return 0, 2 if upper - lower <= reach else 1


@njit(nogil=True, cache=True, error_model="numpy")
def settle(plain, low, high, lanes, lane, zero, over, n, exact, sums, limits):
    """Bounds of the survivors of one sorted lane of `n` samples: what is too far goes until nothing more does.

    zero is the level of the sky there, which has `over` times the usual variance. With `exact`, limits are those of the
    last sigma; else it stops as soon as it is sure that nothing more goes.
    """
    rule = spread.rule_at(plain, over)
    a, b, k, least = 0, n, np.uint64(lane), max(2, int(np.ceil(rule.keep_fraction * n)))
    draws = rule.algorithm == spread.WINSORIZED or rule.algorithm == spread.AUTO
    skip = draws and not (exact or spread.is_modelled(rule, n))
    if spread.is_few(rule, n):
        low, high = low * np.float32(rule.ease_low), high * np.float32(rule.ease_high)
        if n == 2 and rule.pairs:
            return settle_pair(rule, high, lanes, lane, zero, limits)
    if n >= 3 and (draws or rule.algorithm == spread.SIGMA):
        spread.add_up(lanes, lane, n, sums)
    for i in range(rule.passes if n >= 3 else 0):
        centre = np.float32(0.5) * (lanes[np.uint64((a + b - 1) >> 1), k] + lanes[np.uint64((a + b) >> 1), k])
        if skip and i > 0:
            need = max((centre - lanes[np.uint64(a), k]) / low, (lanes[np.uint64(b - 1), k] - centre) / high)
            if spread.suffices(lanes, lane, a, b, np.float64(lanes[np.uint64(n >> 1), k]), centre, sums, need):
                break
        sigma = sigma_of(rule, lanes, lane, a, b, n, centre, centre - zero, sums)
        reach = sigma if sigma > 0 else INFINITY
        limits[0, k], limits[1, k], limits[2, k] = centre, low * reach, high * reach
        start, stop = a, b
        if sigma > 0:
            a, b = trim(lanes, lane, start, stop, centre, np.float32(0), low * sigma, high * sigma, least)
        if b - a < 3 or b - a == stop - start:
            break
    return a, b


@njit(nogil=True, cache=True, error_model="numpy")
def find_need(judged, columns, rule, low, high, lanes, count, apart, state):
    """CENTRE of each sorted lane, and NEED, the least sigma at which none of its samples would be rejected.

    Tells whether there are loose frames, which count as well.
    """
    some = False
    range_low, range_high = np.float32(rule.range_low), np.float32(rule.range_high)
    for lane in range(LANES):
        k, n = np.uint64(lane), count[lane]
        state[k + CENTRE] = state[k + NEED] = np.float32(0)
        if n > 0:
            centre = np.float32(0.5) * (lanes[np.uint64((n - 1) >> 1), k] + lanes[np.uint64(n >> 1), k])
            under, over = (centre - lanes[np.uint64(0), k]) / low, (lanes[np.uint64(n - 1), k] - centre) / high
            state[k + CENTRE], state[k + NEED] = centre, under if under > over else over
    for i in range(judged.shape[0]):
        r = columns.loose[i]
        some |= r > LOOSE
        for lane in range(LANES if r > LOOSE else 0):
            k, x = np.uint64(lane), judged[np.uint64(i), np.uint64(lane)]
            d = columns.reject_scale[i] * x + columns.reject_offset[i] - state[k + CENTRE]
            far = (d / high if d > 0 else -d / low) / r
            if apart[lane] > 0 and x > range_low and x < range_high and far > state[k + NEED]:
                state[k + NEED] = far
    return some


@njit(nogil=True, cache=True, error_model="numpy")
def judge(judged, columns, rule, lanes, zero, count, first, last, apart, state, sums, limits):
    """Find the survivors lanes[first:last] of 64 sorted lanes that hold `count` samples each.

    state (8 * 64,) float32 and sums (2, N + 1) float64 are scratch; apart (64,) is 1 where loose frames are judged by
    the others, and becomes 2 where few samples are judged each by the noise of its frame. limits (3, 64) gets the
    median and the distances below and above it that were allowed last, infinite where nothing is beyond them.
    """
    low = np.float32(rule.low) if rule.clip_low else INFINITY
    high = np.float32(rule.high) if rule.clip_high else INFINITY
    safe, rows = state[7 * LANES :], 0
    exact = find_need(judged, columns, rule, low, high, lanes, count, apart, state)
    for lane in range(LANES):
        rows = max(rows, count[lane])
    spread.glance(rule, lanes, rows, zero, count, state, safe)
    for lane in range(LANES):
        n = count[lane]
        first[lane], last[lane] = 0, n
        if safe[lane] == 0:
            below, over = zero[lane], zero[np.uint64(lane) + spread.FIELD]
            first[lane], last[lane] = settle(rule, low, high, lanes, lane, below, over, n, exact, sums, limits)
            if spread.is_few(rule, n):
                apart[lane] = np.float32(2)


@njit(nogil=True, cache=True, error_model="numpy")
def least_variance(rule):
    """The smallest variance of dark sky that the rule can come to, 0 for unknown, inf where nothing is rejected."""
    known = np.float32(rule.noise_variance)
    if spread.LINEAR <= rule.algorithm <= spread.CHAUVENET:
        return np.float32(0)
    if rule.algorithm == spread.NONE:
        return INFINITY
    if rule.algorithm == spread.NOISE:
        return known
    floor = np.float32(rule.floor * rule.floor) if rule.algorithm >= spread.SIGMA else np.float32(0)
    return min(known, floor) if rule.algorithm == spread.AUTO and known > 0 else floor


@njit(nogil=True, cache=True, error_model="numpy")
def set_aside(loose):
    """(N,) float32, 0 for frames that say what is usual and inf for the loose ones, where there are enough others."""
    aside = np.zeros(loose.size, np.float32)
    if np.sum(loose <= LOOSE) >= VOTES:
        aside[loose > LOOSE] = INFINITY
    return aside


@njit(nogil=True, cache=True, error_model="numpy")
def find_undisputed(judged, at, zero, columns, rule, aside, sums, easy):
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
        reach = modelled_sigma(rule, zero[k + spread.FIELD] * variance, sums[k + LOWEST] - zero[k])
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
def bound(lanes, first, last, bounds):
    """The lowest and the highest survivor of each lane into bounds[:2]."""
    for lane in range(LANES):
        if last[lane] > first[lane]:
            bounds[0, lane] = lanes[np.uint64(first[lane]), np.uint64(lane)]
            bounds[1, lane] = lanes[np.uint64(last[lane] - 1), np.uint64(lane)]


@njit(nogil=True, cache=True, error_model="numpy")
def mark(judged, columns, rule, bounds, code):
    """Fill `code` (N, 64) uint8 with what becomes of each sample: KEPT, LOW, HIGH or MISSING.

    bounds (6, 64) as in `Scratch`. A frame that is noisier than the others has a `loose` above 1, and its samples may
    lie that many times the reach from the median.
    """
    one, two = np.float32(1), np.float32(2)
    range_low, range_high = np.float32(rule.range_low), np.float32(rule.range_high)
    for i in range(judged.shape[0]):
        a, b, r = columns.reject_scale[i], columns.reject_offset[i], columns.loose[i]
        for lane in range(LANES):
            k = np.uint64(lane)
            x = judged[np.uint64(i), np.uint64(lane)]
            v = a * x + b
            own = (r > LOOSE) & (bounds[5, k] > 0)
            low = bounds[2, k] - r * bounds[3, k] if own else bounds[0, k]
            high = bounds[2, k] + r * bounds[4, k] if own else bounds[1, k]
            if (r > one) & (bounds[5, k] == two):  # what survives is kept all the same
                low, high = (
                    min(bounds[0, k], bounds[2, k] - r * bounds[3, k]),
                    max(bounds[1, k], bounds[2, k] + r * bounds[4, k]),
                )
            verdict = LOW if v < low else (HIGH if v > high else KEPT)
            verdict = LOW if x <= range_low else (HIGH if x >= range_high else verdict)
            code[np.uint64(i), np.uint64(lane)] = verdict if x == x else MISSING


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc"})
def count_samples(code, tally, frames):
    """Count the samples of `code` (N, 64) uint8.

    tally (3, 64) float32 gets the samples kept, rejected low, rejected high of each pixel;
    frames (3, N) int64 has the counts of each frame, rejected low, rejected high and all, which are added to.
    """
    one, zero = np.float32(1), np.float32(0)
    tally[:] = 0
    for i in range(code.shape[0]):
        all_low, all_high, all_kept = zero, zero, zero
        for lane in range(LANES):
            verdict = code[np.uint64(i), np.uint64(lane)]
            kept = one if verdict == KEPT else zero
            low = one if verdict == LOW else zero
            high = one if verdict == HIGH else zero
            tally[0, lane] += kept
            tally[1, lane] += low
            tally[2, lane] += high
            all_kept, all_low, all_high = all_kept + kept, all_low + low, all_high + high
        frames[0, i] += np.int64(all_low)
        frames[1, i] += np.int64(all_high)
        frames[2, i] += np.int64(all_low + all_high + all_kept)


@njit(nogil=True, cache=True, error_model="numpy")
def break_ties(judged, scale, offset, lanes, first, last, code):
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
                under, over = under - (side == 1), over - (side == 2)


@njit(nogil=True, cache=True, error_model="numpy")
def reject(judged, zero, columns, rule, scratch, code):
    """Decide on every sample of 64 pixels: fills `code` (N, 64) uint8.

    judged (N, 64) float32, NaN where missing; columns' reject_scale, reject_offset bring them to the scale of
    rejection; zero (3 * 64,) float32 is the ground of `combine.integrate`, beginning with the level of the sky on it.
    """
    lanes, bounds, index = scratch.lanes, scratch.bounds, scratch.index
    count, first, last = index[0], index[1], index[2]
    load(judged, columns, rule, scratch)
    if rule.algorithm == spread.MINMAX:
        low, high = int(rule.low) if rule.clip_low else 0, int(rule.high) if rule.clip_high else 0
        for lane in range(LANES):  # the lowest and highest few go, wherever more samples than those are there
            more = count[lane] > low + high
            first[lane], last[lane] = low if more else 0, count[lane] - high if more else count[lane]
    elif rule.algorithm != spread.NONE:
        state, sums, limits = scratch.state, scratch.sums, bounds[2:5]
        judge(judged, columns, rule, lanes, zero, count, first, last, bounds[5], state, sums, limits)
    if rule.algorithm != spread.NONE:
        bound(lanes, first, last, bounds)
    mark(judged, columns, rule, bounds, code)
    if rule.algorithm == spread.MINMAX:
        break_ties(judged, columns.reject_scale, columns.reject_offset, lanes, first, last, code)
