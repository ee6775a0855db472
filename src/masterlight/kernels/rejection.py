"""Which samples of a pixel to keep.

Work goes by chunks of 64 neighbouring pixels of all N frames. Their samples, normalised for
rejection, lie in `lanes` (N, 64) float32 with +inf where there is none; one sorting network orders
all lanes at once. An algorithm is a function that tells the sigma of 32 lanes from their sorted
samples, and a line in `spread`; `judge` then clips from both ends what is farther than `low` or
`high` sigma from the median, and again until nothing more goes.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

LANES = 64
GROUP = 32
ROW = np.uint64(GROUP)
LIMIT, NUMBER, TOTAL, SQUARE, DEVIATION, SIGMA_OF, SETTLED, CENTRE = (np.uint64(GROUP * k) for k in range(8))
"""Where the 32 numbers of each kind lie in `state`: one array, so that the compiler sees they do not overlap."""
NONE, MINMAX, PERCENTILE, SIGMA, WINSORIZED, MAD, NOISE, AUTO = range(8)
INFINITY = np.float32(np.inf)
LOOSE = np.float32(1.25)
"""A frame with so many times the noise of the others has no say in what is usual; it is judged by its own noise."""
VOTES = 5
"""With fewer regular samples than this in a pixel, all have a say."""
INNER_PASSES = 100
"""Winsorization that has not settled by then shrinks for ever: most of the samples are equal."""


class Rule(NamedTuple):
    """What `judge` needs to know, as numbers; values of samples are on the scale of rejection."""

    algorithm: int
    low: float
    """Threshold below the median in sigma, as a fraction (PERCENTILE) or a count (MINMAX); inf keeps all."""
    high: float
    passes: int
    keep_fraction: float
    """Of the samples of a pixel at least this part, and at least two, survive."""
    range_low: float
    """Raw samples at or below are excluded before anything else; -inf for none."""
    range_high: float
    few: int
    """AUTO uses the noise model for pixels with fewer samples than this."""
    noise_variance: float
    """Noise model: noise_variance + noise_slope * s + (noise_fraction * s)^2 with s = max(0, median - noise_zero)."""
    noise_slope: float
    noise_fraction: float
    noise_zero: float
    floor: float
    """No stack is believed to scatter less than this sigma; 0 for no floor."""


class Scratch(NamedTuple):
    """Room to work in, made once for a tile."""

    lanes: np.ndarray
    """(N, 64) float32."""
    work: np.ndarray
    """(4 m * 32,) float32 with 4 m >= N, zero from row N on."""
    state: np.ndarray
    """(8 * 32,) float32."""
    bounds: np.ndarray
    """(6, 64) float32: lowest and highest survivor; median, and how far below and above it samples may lie; whether
    loose frames are judged by that reach."""
    index: np.ndarray
    """(7, 64) int64."""


@njit(nogil=True, cache=True, error_model="numpy")
def make_scratch(n):
    return Scratch(
        np.empty((n, LANES), np.float32),
        np.zeros((n + 3) // 4 * 4 * GROUP, np.float32),
        np.zeros(8 * GROUP, np.float32),
        np.empty((6, LANES), np.float32),
        np.empty((7, LANES), np.int64),
    )


@njit(nogil=True, cache=True, error_model="numpy")
def load(samples, at, scale, offset, loose, rule, lanes, count, apart):
    """Fill `lanes` with normalised samples of the 64 pixels from `at` on, +inf where missing, and count them.

    Samples of frames that are `loose` (N,) stay out, and `apart` (64,) is 1, where enough others are left.
    """
    low, high = np.float32(rule.range_low), np.float32(rule.range_high)
    count[:] = 0
    for i in range(samples.shape[0]):
        a, b = scale[i], offset[i]
        for lane in range(LANES):
            x = samples[np.uint64(i), np.uint64(at + lane)]
            here = (x > low) & (x < high) & (loose[i] <= LOOSE)
            lanes[np.uint64(i), np.uint64(lane)] = a * x + b if here else INFINITY
            count[lane] += np.int64(here)
    for lane in range(LANES):
        apart[lane] = np.float32(1) if count[lane] >= VOTES and rule.algorithm != MINMAX else np.float32(0)
    for i in range(samples.shape[0]):
        if loose[i] > LOOSE:
            for lane in range(LANES):
                x = samples[np.uint64(i), np.uint64(at + lane)]
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
def clipped_deviation(work, state):
    """Standard deviation (n - 1) of each lane of `work` with its values clipped to +-limit.

    work (4 m * 32,) float32, rows of 32 lanes about zero, zero where there is no sample. Reads LIMIT
    and NUMBER of `state`, fills DEVIATION.
    """
    for lane in range(GROUP):
        j = np.uint64(lane)
        state[j + TOTAL] = state[j + SQUARE] = np.float32(0)
    for r in range(0, work.size, 4 * GROUP):
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
    for lane in range(GROUP):
        j = np.uint64(lane)
        n, total = state[j + NUMBER], state[j + TOTAL]
        variance = (state[j + SQUARE] - total * total / n) / (n - np.float32(1))
        state[j + DEVIATION] = np.sqrt(variance if variance > np.float32(0) else np.float32(0))


@njit(nogil=True, cache=True, error_model="numpy")
def draw_in(state, floor, tolerance):
    """One step of `winsorized`: the new sigma and limit after a pass; True while lanes are unsettled."""
    for lane in range(GROUP):
        j = np.uint64(lane)
        old, new = state[j + SIGMA_OF], np.float32(1.134) * state[j + DEVIATION]
        change = old - new if old > new else new - old
        done = state[j + SETTLED]
        sigma = old if done > np.float32(0) else new
        limit = np.float32(1.5) * sigma
        close = np.float32(1) if change < tolerance * old else np.float32(0)
        small = np.float32(1) if new <= floor else np.float32(0)
        state[j + SIGMA_OF] = sigma
        state[j + LIMIT] = limit if limit < state[j + LIMIT] else state[j + LIMIT]
        state[j + SETTLED] = done + close + small
    for lane in range(GROUP):
        if state[np.uint64(lane) + SETTLED] == np.float32(0):
            return True
    return False


@njit(nogil=True, cache=True, error_model="numpy")
def winsorized(work, floor, state):
    """Standard deviation told robustly: outliers are drawn in to 1.5 sigma until it settles.

    The core of Winsorized sigma clipping as PixInsight 1.8.6 has it: start from the ordinary
    standard deviation, clip to median +-1.5 sigma, sigma = 1.134 sd, at least twice, until it
    changes by less than 0.05 %. `floor` where it falls to that or does not settle.
    work and state as for `clipped_deviation`; fills SIGMA_OF.
    """
    clipped_deviation(work, state)
    for lane in range(GROUP):
        j = np.uint64(lane)
        sigma = state[j + DEVIATION]
        state[j + SIGMA_OF], state[j + LIMIT] = sigma, np.float32(1.5) * sigma
        state[j + SETTLED] = np.float32(1) if sigma <= floor else np.float32(0)
    for k in range(INNER_PASSES):
        clipped_deviation(work, state)
        if not draw_in(state, floor, np.float32(0.0005 if k else -1)):
            break
    for lane in range(GROUP):
        j = np.uint64(lane)
        sigma = state[j + SIGMA_OF] if state[j + SETTLED] > 0 else floor
        state[j + SIGMA_OF] = sigma if sigma > floor else floor


@njit(nogil=True, cache=True, error_model="numpy")
def median_deviation(work, begin, floor, state):
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
        state[np.uint64(j) + SIGMA_OF] = max(np.float32(1.4826) * middle, floor)


@njit(nogil=True, cache=True, error_model="numpy")
def expected(rule, centre):
    """Sigma that the noise model expects of samples about a median of `centre`."""
    s = max(0.0, centre - rule.noise_zero)
    return np.float32(np.sqrt(rule.noise_variance + rule.noise_slope * s + (rule.noise_fraction * s) ** 2))


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def spread(rule, work, centre, begin, total, state):
    """The switch: SIGMA_OF 32 lanes by the rule's algorithm; zero means that nothing is to be rejected.

    work holds the samples left, less their medians `centre`, in rows from `begin` on; NUMBER of
    `state` counts them, total those that were there before any was rejected.
    """
    floor = np.float32(rule.floor)
    for lane in range(GROUP):
        state[np.uint64(lane) + LIMIT] = INFINITY
    if rule.algorithm == SIGMA:
        clipped_deviation(work, state)
        for lane in range(GROUP):
            sigma = state[np.uint64(lane) + DEVIATION]
            state[np.uint64(lane) + SIGMA_OF] = sigma if sigma > floor else floor
    elif rule.algorithm == WINSORIZED or rule.algorithm == AUTO:
        winsorized(work, floor, state)
    elif rule.algorithm == MAD:
        median_deviation(work, begin, floor, state)
    elif rule.algorithm == PERCENTILE:
        for lane in range(GROUP):
            state[np.uint64(lane) + SIGMA_OF] = centre[lane]
    modelled = rule.algorithm == NOISE or (rule.algorithm == AUTO and rule.noise_variance > 0)
    for lane in range(GROUP if modelled else 0):
        if rule.algorithm == NOISE or total[lane] < rule.few:
            state[np.uint64(lane) + SIGMA_OF] = expected(rule, centre[lane])


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


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def judge(rule, lanes, count, first, last, work, state, index, limits):
    """Find the survivors lanes[first:last] of 64 sorted lanes that hold `count` samples each.

    Lanes that lost a sample are looked at again, 32 at a time. work (4 m * 32,) float32 with 4 m >= N is
    zero from row N on; state (8 * 32,) float32 and index (4, 64) int64 are scratch. limits (3, 64) gets the median and
    the distances below and above it that were allowed last.
    """
    active, who, begin, total = index[0], index[1], index[2], index[3]
    centre, sigma = state[int(CENTRE) :], state[int(SIGMA_OF) :]
    low, high = np.float32(rule.low), np.float32(rule.high)
    for lane in range(LANES):
        active[lane], first[lane], last[lane] = lane, 0, count[lane]
    waiting = LANES
    for _ in range(rule.passes):
        left = 0
        for g in range(0, waiting, GROUP):
            for j in range(GROUP):
                lane = active[min(g + j, waiting - 1)]
                who[j], begin[j], total[j] = lane, first[lane], count[lane]
                state[np.uint64(j) + NUMBER] = last[lane] - first[lane]
            gather(lanes, who, waiting == LANES, first, last, work, centre)
            spread(rule, work, centre, begin, total, state)
            for j in range(min(GROUP, waiting - g)):
                reach = sigma[j] if sigma[j] > 0 else INFINITY
                limits[0, who[j]], limits[1, who[j]], limits[2, who[j]] = centre[j], low * reach, high * reach
                if trim(low, high, rule.keep_fraction, lanes, who[j], first, last, centre[j], sigma[j], total[j]):
                    active[left] = who[j]
                    left += 1
        waiting = left
        if waiting == 0:
            break


@njit(nogil=True, cache=True, error_model="numpy")
def least_sigma(rule):
    """The smallest sigma that the rule can come to: where no sample is farther off than this allows, none goes."""
    model = np.float32(np.sqrt(rule.noise_variance))
    if rule.algorithm == NONE:
        return INFINITY
    if rule.algorithm == NOISE:
        return model
    if rule.algorithm == AUTO and rule.noise_variance > 0:
        return min(model, np.float32(rule.floor))
    return np.float32(rule.floor if SIGMA <= rule.algorithm <= MAD or rule.algorithm == AUTO else 0)


@njit(nogil=True, cache=True, error_model="numpy")
def undisputed(samples, at, scale, offset, loose, rule, sigma, lanes, easy):
    """Fill `easy` (64,) with 1 for pixels of which no sample can be rejected: nothing is `low` or `high` sigma away.

    With `sigma` from `least_sigma`. Pixels with a missing sample are not easy, and never those of other rules.
    """
    n, one, regular = 0, np.float32(1), 0
    for i in range(samples.shape[0]):
        regular += loose[i] <= LOOSE
    limit = LOOSE if regular >= VOTES else INFINITY
    easy[:] = one if sigma > 0 and np.isinf(rule.range_low) and np.isinf(rule.range_high) else np.float32(0)
    if easy[0] == 0 or np.isinf(sigma):
        return
    for i in range(samples.shape[0]):
        a, b, row = scale[i], offset[i], np.uint64(n)
        if loose[i] <= limit:
            n += 1
            for lane in range(LANES):
                v = a * samples[np.uint64(i), np.uint64(at + lane)] + b
                lanes[row, np.uint64(lane)] = v if v < INFINITY else INFINITY
    sort(lanes, n)
    below, above, half = np.float32(rule.low) * sigma, np.float32(rule.high) * sigma, np.float32(0.5)
    left, right, top, first = np.uint64((n - 1) // 2), np.uint64(n // 2), np.uint64(n - 1), np.uint64(0)
    for lane in range(LANES):
        k = np.uint64(lane)
        centre = half * (lanes[left, k] + lanes[right, k])
        fits = (centre - lanes[first, k] <= below) & (lanes[top, k] - centre <= above)
        lanes[first, k] = centre
        easy[k] = one if fits else np.float32(0)
    for i in range(samples.shape[0]):
        a, b, r = scale[i], offset[i], loose[i]
        if r > limit:
            for lane in range(LANES):
                k = np.uint64(lane)
                d = a * samples[np.uint64(i), np.uint64(at + lane)] + b - lanes[first, k]
                easy[k] = easy[k] if (d >= -r * below) & (d <= r * above) else np.float32(0)


@njit(nogil=True, cache=True, error_model="numpy")
def cut_ranks(rule, count, first, last):
    """Bounds of min/max rejection: the lowest and highest few go, wherever more samples than those are there."""
    for lane in range(LANES):
        first[lane], last[lane] = 0, count[lane]
        if count[lane] > rule.low + rule.high:
            first[lane], last[lane] = int(rule.low), count[lane] - int(rule.high)


@njit(nogil=True, cache=True, fastmath={"reassoc"})
def mark(samples, at, scale, offset, loose, rule, bounds, keep, tally, frames):
    """Fill `keep` (N, 64) with 1 for samples inside the bounds of their pixel, else 0, and count the others.

    bounds (6, 64) as in `Scratch`. A frame that is noisier
    than the others has a `loose` (N,) above 1, and its samples may lie that many times the reach from the median.
    tally (3, 64) float32 gets the samples kept, rejected low, rejected high of each pixel;
    frames (3, N) int64 has the counts of each frame, rejected low, rejected high and all, which are added to.
    """
    range_low, range_high = np.float32(rule.range_low), np.float32(rule.range_high)
    one, zero = np.float32(1), np.float32(0)
    tally[:] = 0
    for i in range(samples.shape[0]):
        a, b, r = scale[i], offset[i], loose[i]
        below_all, above_all, kept_all = zero, zero, zero
        for lane in range(LANES):
            k = np.uint64(lane)
            x = samples[np.uint64(i), np.uint64(at + lane)]
            v = a * x + b
            own = (r > LOOSE) & (bounds[5, k] > zero)
            low = bounds[2, k] - r * bounds[3, k] if own else bounds[0, k]
            high = bounds[2, k] + r * bounds[4, k] if own else bounds[1, k]
            below = (x <= range_low) | ((v < low) & (x < range_high))
            above = (x >= range_high) | ((v > high) & (x > range_low))
            kept = one if (x > range_low) & (x < range_high) & (v >= low) & (v <= high) else zero
            keep[np.uint64(i), np.uint64(lane)] = kept
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
def break_ties(samples, at, scale, offset, lanes, first, last, keep, tally, frames):
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
        for i in range(samples.shape[0]):
            if under + over == 0:
                break
            v = scale[i] * samples[i, at + lane] + offset[i]
            side = 1 if under and v == low else (2 if over and v == high else 0)
            if side and keep[i, lane] > 0:
                keep[i, lane] = 0
                tally[0, lane] -= 1
                tally[side, lane] += 1
                under, over = under - (side == 1), over - (side == 2)
                frames[side - 1, i] += 1


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def reject(samples, at, scale, offset, loose, rule, scratch, keep, tally, frames):
    """Decide on every sample of the 64 pixels from `at` on: fills `keep` and `tally`, adds to the frames' counts.

    samples (N, pixels) float32, NaN where missing; scale, offset (N,) float32 bring them to the scale of rejection.
    """
    lanes, index, bounds = scratch.lanes, scratch.index, scratch.bounds
    count, first, last = index[4], index[5], index[6]
    bounds[0], bounds[1], bounds[2], bounds[3:5], bounds[5] = (
        -INFINITY,
        INFINITY,
        np.float32(0),
        INFINITY,
        np.float32(0),
    )
    if rule.algorithm != NONE:
        load(samples, at, scale, offset, loose, rule, lanes, count, bounds[5])
        sort(lanes, samples.shape[0])
        if rule.algorithm == MINMAX:
            cut_ranks(rule, count, first, last)
        else:
            judge(rule, lanes, count, first, last, scratch.work, scratch.state, index, bounds[2:5])
        for lane in range(LANES):
            if last[lane] > first[lane]:
                bounds[0, lane] = lanes[np.uint64(first[lane]), np.uint64(lane)]
                bounds[1, lane] = lanes[np.uint64(last[lane] - 1), np.uint64(lane)]
    mark(samples, at, scale, offset, loose, rule, bounds, keep, tally, frames)
    if rule.algorithm == MINMAX:
        break_ties(samples, at, scale, offset, lanes, first, last, keep, tally, frames)
