"""From the samples of a tile to its image: reject, normalise, weigh, add up; 64 pixels at a time."""

from typing import NamedTuple

import numpy as np

from masterlight.compiled import njit
from masterlight.integration.kernels import ranked, rejection
from masterlight.integration.kernels.rejection import FIRST, HIGHEST, KEPT, LOWEST, MISSING, WD, WWD, WWDD
from masterlight.integration.kernels.spread import CHAUVENET, FIELD, FLAT, INFINITY, LANES, LINEAR, NOISE

AVERAGE, MEDIAN, MINIMUM, MAXIMUM, ADAPTIVE = range(5)
COMBINATIONS = "average", "median", "minimum", "maximum", "adaptive"
"""By their numbers."""
LEAST = np.float32(0.25)
"""Of the variance of the sky, what is left at least in a hollow."""
BLOCK = 32
"""So many samples are added in float32 before their sum goes to float64."""
SHARE, SQUARES, DARK, LIGHT, WEIGHT = (np.uint64(LANES * k) for k in range(4, 9))
"""Where the 64 numbers of each kind lie in the sums of `average`, beside FIRST, WD, WWD and WWDD."""


class Columns(NamedTuple):
    """One number for each frame: (N,) float32 arrays; the last two (N + 1,), one for each number of survivors."""

    reject_scale: np.ndarray
    """Rejection compares reject_scale * x + reject_offset of what is judged."""
    reject_offset: np.ndarray
    scale: np.ndarray
    """What is combined is scale * x + offset."""
    offset: np.ndarray
    weight: np.ndarray
    noise_variance: np.ndarray
    """Variance of one sample of dark sky after `scale`; known when that of all frames is above 0."""
    loose: np.ndarray
    """How many times farther than the others a frame's samples may lie, because it is noisier; 1 at least."""
    photon: np.ndarray
    """Variance of a sample after `scale` for each DN above the sky."""
    excess: np.ndarray
    """By number of survivors, how many times the expected variance their scatter must show to be believed."""
    factor: np.ndarray
    """By number of survivors, variance of the combination over that of the weighted mean."""


class Planes(NamedTuple):
    """What a tile becomes: (pixels,) arrays."""

    image: np.ndarray
    """float32, NaN where no frame has a sample."""
    variance: np.ndarray
    """float32, of `image`."""
    coverage: np.ndarray
    """uint16, samples combined."""
    low: np.ndarray
    """uint16, samples rejected low."""
    high: np.ndarray
    slope: np.ndarray
    """float32, or of size 0: 4/pi atan of the slope of the line fitted to the sorted samples; 0 where there is none."""


class Room(NamedTuple):
    """Room for 64 pixels on their way through `stack`, made once for a tile.

    code (N, 64) uint8 is what became of each sample, tally (3, 64) float32 how many were kept, rejected low, rejected
    high; value and total, the sum of weights, are (64,) float64, variance (64,) and sums (9 * 64,) float32.
    """

    code: np.ndarray
    tally: np.ndarray
    value: np.ndarray
    total: np.ndarray
    variance: np.ndarray
    sums: np.ndarray


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def mean_variance(believe, excess, scattered, squares, spare, dark, photon, light, fraction):
    """Variance of a weighted mean: what the known noise gives, or the samples' scatter where that shows much more.

    scattered is sum w^2 (g - mean)^2, squares sum w^2, spare (sum w)^2 - sum w^2, dark and photon sum w^2 times the
    noise variance and the variance per DN; light is the mean's height above the sky, of which seeing may change
    `fraction`. Height that may be noise is drawn towards 0, or pixels would be claimed to be noisier for being bright
    by chance; a hollow in the sky has fewer photons. Scatter over spare is true on average for equal weights and for
    weights of inverse variance; it is looked at only with `believe`. NaN when nothing is known.
    """
    whole, square = spare + squares, light * light
    light = light * (square / (square + dark / whole)) if square > np.float32(0) else np.float32(0)
    moved = fraction * light if light > np.float32(0) else np.float32(0)
    model, least, found = dark + photon * light, LEAST * dark, scattered / spare
    model = (model if model > least else least) / whole
    limit = excess * (model + moved * moved * (squares / whole))
    model = model if model > np.float32(0) else np.float32(np.nan)
    return found if believe & (not found <= limit) else model


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"}, forceinline=True)
def add_up(samples, columns, room, begin, stop):
    """Add the kept samples of the frames begin:stop to the sums of 64 pixels, those of SHARE and WD from 0 on.

    room's sums: FIRST, the first sample kept, then SHARE sum w, WD sum w d with d the distance from the first, WWD sum
    w^2 d, WWDD sum w^2 d^2, SQUARES sum w^2, DARK and LIGHT sum w^2 times noise variance and variance per DN; WEIGHT is
    what the samples of a frame count for.
    """
    sums, code = room.sums, room.code
    for lane in range(LANES):
        k = np.uint64(lane)
        sums[k + SHARE] = sums[k + WD] = np.float32(0)
    for i in range(begin, stop):
        a, b, w = columns.scale[i], columns.offset[i], columns.weight[i]
        noise, photon, row = columns.noise_variance[i], columns.photon[i], np.uint64(i)
        for lane in range(LANES):
            sums[np.uint64(lane) + WEIGHT] = w if code[row, np.uint64(lane)] == KEPT else np.float32(0)
        for lane in range(LANES):
            k = np.uint64(lane)
            w, g, first = sums[k + WEIGHT], a * samples[row, k] + b, sums[k + FIRST]
            first = g if (w > np.float32(0)) & (first != first) else first
            d = g - first if w > np.float32(0) else np.float32(0)
            square = w * w
            sums[k + FIRST] = first
            sums[k + SHARE] += w
            sums[k + WD] += w * d
            sums[k + WWD] += square * d
            sums[k + WWDD] += square * (d * d)
            sums[k + SQUARES] += square
            sums[k + DARK] += square * noise
            sums[k + LIGHT] += square * photon


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def average(samples, zero, columns, rule, excess, room):
    """Weighted mean of the kept samples of 64 pixels and its variance as in `mean_variance`: fills room.

    zero (3 * 64,) is the ground of `integrate`. The mean is the first sample plus a float64 sum over float32 sums of
    32 distances from it: right to 33 eps = 2e-6 of the range of the samples kept.
    """
    value, total, sums, fraction = room.value, room.total, room.sums, np.float32(rule.noise_fraction)
    for lane in range(LANES):
        k = np.uint64(lane)
        sums[k + WWD] = sums[k + WWDD] = sums[k + SQUARES] = sums[k + DARK] = sums[k + LIGHT] = np.float32(0)
        sums[k + FIRST], value[lane], total[lane] = np.float32(np.nan), 0.0, 0.0
    for begin in range(0, samples.shape[0], BLOCK):
        add_up(samples, columns, room, begin, min(begin + BLOCK, samples.shape[0]))
        for lane in range(LANES):
            value[lane] += np.float64(sums[np.uint64(lane) + WD])
            total[lane] += np.float64(sums[np.uint64(lane) + SHARE])
    for lane in range(LANES):
        k, n, whole = np.uint64(lane), int(room.tally[0, lane]), np.float32(total[lane])
        mean = value[lane] / total[lane]
        d, squares = np.float32(mean), sums[k + SQUARES]
        scattered = sums[k + WWDD] - np.float32(2) * d * sums[k + WWD] + d * d * squares
        scattered = scattered if scattered > np.float32(0) else np.float32(0)
        spare, dark, light = whole * whole - squares, zero[k + FIELD] * sums[k + DARK], zero[k + FLAT] * sums[k + LIGHT]
        value[lane] = sums[k + FIRST] + mean if total[lane] > 0 else np.nan
        above = np.float32(value[lane]) - zero[lane]
        variance = mean_variance(n >= 3, excess[n], scattered, squares, spare, dark, light, above, fraction)
        room.variance[lane] = columns.factor[n] * variance if n > 0 else np.float32(np.nan)


@njit(nogil=True, cache=True, error_model="numpy")
def order(samples, columns, combination, lanes, room):
    """Median, minimum or maximum of the kept samples of 64 pixels, after `scale` and `offset`, into `value`."""
    n = samples.shape[0]
    for i in range(n):
        a, b = columns.scale[i], columns.offset[i]
        for lane in range(LANES):
            g = a * samples[np.uint64(i), np.uint64(lane)] + b
            lanes[np.uint64(i), np.uint64(lane)] = g if room.code[np.uint64(i), np.uint64(lane)] == KEPT else INFINITY
    rejection.sort(lanes, n)
    for lane in range(LANES):
        k = int(room.tally[0, lane])
        if k == 0:
            room.value[lane] = np.nan
        elif combination == MINIMUM:
            room.value[lane] = lanes[0, lane]
        elif combination == MAXIMUM:
            room.value[lane] = lanes[k - 1, lane]
        else:
            room.value[lane] = 0.5 * (np.float64(lanes[(k - 1) // 2, lane]) + np.float64(lanes[k // 2, lane]))


@njit(nogil=True, cache=True, error_model="numpy")
def adapt(samples, columns, room):
    """Auto-adaptive weighted average of the kept samples of 64 pixels, into `value`, which holds their mean.

    Five times: s^2 = mean (x - mu)^2, w = 1 / (1 + ((x - mu) / s)^2), mu = sum w x / sum w (Stetson 1989), every mean
    by the samples' shares.
    """
    for lane in range(LANES):
        for _ in range(5 if room.tally[0, lane] >= 3 else 0):
            mu, square, total, moved = room.value[lane], 0.0, 0.0, 0.0
            for i in range(samples.shape[0]):
                k = np.float64(columns.weight[i]) if room.code[i, lane] == KEPT else 0.0
                if k > 0:
                    square += k * (columns.scale[i] * np.float64(samples[i, lane]) + columns.offset[i] - mu) ** 2
            square /= room.total[lane]
            if not square > 0:
                break
            for i in range(samples.shape[0]):
                k = np.float64(columns.weight[i]) if room.code[i, lane] == KEPT else 0.0
                if k > 0:
                    d = columns.scale[i] * np.float64(samples[i, lane]) + columns.offset[i] - mu
                    w = k / (1 + d * d / square)
                    total, moved = total + w, moved + w * d
            room.value[lane] = mu + moved / total


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"}, forceinline=True)
def survey(samples, judged, at, columns, rule, aside, sums):
    """One look at all samples of 64 pixels: their weighted sums and the range of what is judged.

    sums (9 * 64,) float32 gets FIRST, the pixel's first sample, then sums of the distances d from it, WD sum w d,
    WWD sum w^2 d and WWDD sum w^2 d^2; LOWEST and HIGHEST of the judged samples of frames whose aside (N,) is 0, not
    inf; HIGHEST is inf where any sample is missing or out of range.
    """
    a, b = columns.scale[0], columns.offset[0]
    range_low, range_high = np.float32(rule.range_low), np.float32(rule.range_high)
    for lane in range(LANES):
        k = np.uint64(lane)
        sums[k + FIRST] = a * samples[np.uint64(0), np.uint64(at + lane)] + b
        sums[k + WD] = sums[k + WWD] = sums[k + WWDD] = np.float32(0)
        sums[k + LOWEST], sums[k + HIGHEST] = INFINITY, -INFINITY
    for i in range(samples.shape[0]):
        a, b, w, out = columns.scale[i], columns.offset[i], columns.weight[i], aside[i]
        c, e = columns.reject_scale[i], columns.reject_offset[i]
        for lane in range(LANES):
            k = np.uint64(lane)
            x = judged[np.uint64(i), np.uint64(at + lane)]
            v, there = c * x + e, (x > range_low) & (x < range_high)
            d = a * samples[np.uint64(i), np.uint64(at + lane)] + b - sums[k + FIRST]
            small, big = v + out, v - out if there else INFINITY
            sums[k + LOWEST] = small if small < sums[k + LOWEST] else sums[k + LOWEST]
            sums[k + HIGHEST] = big if big > sums[k + HIGHEST] else sums[k + HIGHEST]
            sums[k + WD] += w * d
            sums[k + WWD] += (w * w) * d
            sums[k + WWDD] += (w * w) * (d * d)


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"}, forceinline=True)
def take_all(sums, easy, zero, columns, rule, excess, start, width, planes, hard, waiting):
    """Write the pixels from `start` on of which all samples are kept; list the others in `hard`; how many there are.

    Weights are as in `average`; a pixel with a missing sample has a NaN among its sums.
    """
    n, fraction = columns.weight.size, np.float32(rule.noise_fraction)
    whole, squares, dark, photon = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
    for i in range(n):
        w = columns.weight[i]
        whole, squares = whole + w, squares + w * w
        dark, photon = dark + w * w * columns.noise_variance[i], photon + w * w * columns.photon[i]
    spare, factor, least, believe = whole * whole - squares, columns.factor[n], excess[n], n >= 3
    for lane in range(LANES):
        k = np.uint64(lane)
        d = sums[k + WD] / whole
        scattered = sums[k + WWDD] - np.float32(2) * d * sums[k + WWD] + d * d * squares
        scattered = scattered if scattered > np.float32(0) else np.float32(0)
        value, own, each = sums[k + FIRST] + d, zero[k + FIELD] * dark, zero[k + FLAT] * photon
        variance = mean_variance(believe, least, scattered, squares, spare, own, each, value - zero[k], fraction)
        sums[k + FIRST], sums[k + WD] = value, factor * variance
        easy[k] = easy[k] if abs(value) < INFINITY else np.float32(0)
    for lane in range(width):
        planes.image[start + lane] = sums[np.uint64(lane) + FIRST]
        planes.variance[start + lane] = sums[np.uint64(lane) + WD]
        planes.coverage[start + lane] = n
        planes.low[start + lane] = planes.high[start + lane] = 0
    for lane in range(width):
        if easy[lane] == 0:
            hard[waiting] = start + lane
            waiting += 1
    return waiting


def integrate(samples, judged, zero, columns, rule, table, combination, planes, verdicts, frames):
    """Reject and combine a tile.

    samples (N, pixels) float32 as stored, NaN where missing, are combined; judged (N, pixels) float32 are what
    rejection looks at, usually the very same array: NaN where missing, -inf or +inf where a sample was taken out
    before as too faint or too bright. zero (3, pixels) float32 is the ground: the level of the sky on the scale of
    rejection, above which all is light; how many times the usual variance the sky has there; the factor of the flat,
    by which the variance of light is multiplied.
    Fills the (pixels,) arrays of `planes` and, unless it is (0, 0), verdicts (N, pixels) uint8 with 0 for kept or
    missing, 1 for rejected low, 2 for high; adds to frames (3, N) int64 how many samples of each frame were rejected
    low, rejected high, and there at all. Each pixel is computed by itself in the order of frames: the same in whatever
    tile it lies.
    """
    planes.slope[:] = 0
    decided = np.empty((0, 0), np.uint8)
    if LINEAR <= rule.algorithm <= CHAUVENET:
        decided = np.empty(samples.shape, np.uint8)
        ranked.by_rank(judged, zero, columns, rule, table, decided, planes.slope)
    stack(samples, judged, zero, decided, columns, rule, combination, planes, verdicts, frames)


@njit(nogil=True, cache=True, error_model="numpy")
def stack(samples, judged, zero, decided, columns, rule, combination, planes, verdicts, frames):
    """Reject, unless it is `decided` (N, pixels) already, and combine a tile: see `integrate`.

    Where sigma has a floor, most pixels have no sample that could be rejected; they are averaged at once, and the
    others judged after, 64 at a time.
    """
    n, excess = samples.shape[0], columns.excess
    if not np.all(columns.noise_variance > 0):  # some frame's noise is unknown: any scatter is believed
        excess = np.full(excess.size, -INFINITY)
    verdicts[:] = np.uint8(0)
    scratch, same = rejection.make_scratch(n), samples.ctypes.data == judged.ctypes.data
    code, tally, spread = np.empty((n, LANES), np.uint8), np.empty((3, LANES), np.float32), np.empty(LANES, np.float32)
    room = Room(code, tally, np.empty(LANES), np.empty(LANES), spread, np.empty(9 * LANES, np.float32))
    gathered, ground = np.empty((n, LANES), np.float32), np.ones(3 * LANES, np.float32)
    looked = gathered if same else np.empty((n, LANES), np.float32)
    known = rejection.least_variance(rule) > 0 or rule.algorithm == NOISE
    if combination == AVERAGE and decided.size == 0 and known:
        hard = quick(samples, judged, zero, columns, rule, excess, planes, frames)
    else:
        hard = np.arange(samples.shape[1])
    for first in range(0, hard.size, LANES):
        who = hard[first : min(first + LANES, hard.size)]
        pick(samples, who, gathered)
        if not same:
            pick(judged, who, looked)
        for row in range(3):
            for lane in range(who.size):
                ground[row * LANES + lane] = zero[row, who[lane]]
        if decided.size:
            for i in range(n):
                for lane in range(who.size):
                    code[i, lane] = decided[i, who[lane]]
                code[i, who.size :] = MISSING
        else:
            rejection.reject(looked, ground, columns, rule, scratch, room.code)
        rejection.count_samples(room.code, room.tally, frames)
        average(gathered, ground, columns, rule, excess, room)
        if combination == ADAPTIVE:
            adapt(gathered, columns, room)
        elif combination != AVERAGE:
            order(gathered, columns, combination, scratch.lanes, room)
        place(room, who, planes, verdicts)


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def quick(samples, judged, zero, columns, rule, excess, planes, frames):
    """Average the pixels of which no sample can be rejected, and list the others."""
    n, pixels = samples.shape
    hard, waiting, ground = np.empty(pixels, np.int64), 0, np.ones(3 * LANES, np.float32)
    easy, sums, aside = np.empty(LANES, np.float32), np.empty(9 * LANES, np.float32), rejection.set_aside(columns.loose)
    tail, tail_judged = np.full((n, LANES), np.float32(np.nan)), np.full((n, LANES), np.float32(np.nan))
    for start in range(0, pixels, LANES):
        width, source, looked, at = min(LANES, pixels - start), samples, judged, start
        if width < LANES:
            tail[:, :width], tail_judged[:, :width] = samples[:, start:], judged[:, start:]
            source, looked, at = tail, tail_judged, 0
        for row in range(3):
            ground[row * LANES : row * LANES + width] = zero[row, start : start + width]
        survey(source, looked, at, columns, rule, aside, sums)
        rejection.find_undisputed(looked, at, ground, columns, rule, aside, sums, easy)
        waiting = take_all(sums, easy, ground, columns, rule, excess, start, width, planes, hard, waiting)
    frames[2] += pixels - waiting
    return hard[:waiting]


@njit(nogil=True, cache=True, error_model="numpy")
def place(room, who, planes, verdicts):
    """Write what `stack` found of the pixels `who`."""
    for lane in range(who.size):
        at = who[lane]
        planes.image[at], planes.variance[at] = room.value[lane], room.variance[lane]
        planes.coverage[at] = np.uint16(room.tally[0, lane])
        planes.low[at], planes.high[at] = np.uint16(room.tally[1, lane]), np.uint16(room.tally[2, lane])
    for i in range(verdicts.shape[0]):
        for lane in range(who.size):
            code = room.code[i, lane]
            verdicts[i, who[lane]] = code if code < MISSING else KEPT


@njit(nogil=True, cache=True, error_model="numpy")
def pick(samples, who, out):
    """Copy the pixels `who` of samples (N, pixels) to the first lanes of out (N, 64); the others are NaN."""
    whole = who.size == LANES and who[LANES - 1] - who[0] == LANES - 1
    for i in range(samples.shape[0]):
        row = np.uint64(i)
        if whole:
            for lane in range(LANES):
                out[row, np.uint64(lane)] = samples[row, np.uint64(who[0] + lane)]
        else:
            for lane in range(who.size):
                out[row, np.uint64(lane)] = samples[row, np.uint64(who[np.uint64(lane)])]
            out[i, who.size :] = np.nan


@njit(nogil=True, cache=True)
def fill_holes(image, radius, share):
    """Give missing pixels that lie among others the median of the square around them; gives how many.

    image (rows, cols) float32, NaN where missing, is changed in place. A pixel is filled when at least this `share` of
    the (2 radius + 1) pixels wide square around it is not missing: single pixels and thin lines, not the empty edge
    of an image.
    """
    rows, cols = image.shape
    values = np.empty((2 * radius + 1) ** 2, np.float32)
    found = [(0, 0, np.float32(0))]
    for y in range(rows):
        for x in range(cols):
            if image[y, x] == image[y, x]:
                continue
            n = 0
            for j in range(max(0, y - radius), min(rows, y + radius + 1)):
                for i in range(max(0, x - radius), min(cols, x + radius + 1)):
                    v = image[j, i]
                    if v == v:
                        values[n] = v
                        n += 1
            if n >= share * values.size:
                found.append((y, x, np.median(values[:n])))
    for k in range(1, len(found)):
        image[found[k][0], found[k][1]] = found[k][2]
    return len(found) - 1
