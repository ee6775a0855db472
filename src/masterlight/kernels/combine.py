"""From the samples of a tile to its image: reject, normalise, weigh, add up; 64 pixels at a time."""

from typing import NamedTuple

import numpy as np
from numba import njit

from masterlight.kernels.rejection import INFINITY, LANES, least_sigma, make_scratch, reject, sort, undisputed

ROW, ROW2, ROW3 = np.uint64(LANES), np.uint64(2 * LANES), np.uint64(3 * LANES)
AVERAGE, MEDIAN, MINIMUM, MAXIMUM = range(4)
MEDIAN_VARIANCE = np.float32(np.pi / 2)
"""Variance of a median of normal samples over that of their mean."""


class Columns(NamedTuple):
    """One number for each frame: (N,) float32 arrays."""

    reject_scale: np.ndarray
    """Rejection compares reject_scale * x + reject_offset."""
    reject_offset: np.ndarray
    scale: np.ndarray
    """What is combined is scale * x + offset."""
    offset: np.ndarray
    weight: np.ndarray
    noise_variance: np.ndarray
    """Variance of one sample after `scale`; used where fewer than three samples survive."""
    loose: np.ndarray
    """How many times farther than the others a frame's samples may lie, because it is noisier; 1 at least."""


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


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def average(samples, at, columns, keep, value, mass):
    """Weighted mean of the kept samples of 64 pixels: fills `value` and the sum of weights `mass`, both float64."""
    value[:] = 0
    mass[:] = 0
    for i in range(samples.shape[0]):
        a, b, w = columns.scale[i], columns.offset[i], columns.weight[i]
        for lane in range(LANES):
            k = w * keep[np.uint64(i), np.uint64(lane)]
            g = a * samples[np.uint64(i), np.uint64(at + lane)] + b
            value[lane] += np.float64(k * g if k > 0 else np.float32(0))
            mass[lane] += np.float64(k)
    for lane in range(LANES):
        value[lane] = value[lane] / mass[lane] if mass[lane] > 0 else np.nan


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def scatter(samples, at, columns, keep, tally, value, mass, variance):
    """Variance of the weighted mean `value` of 64 pixels, from the scatter of the survivors about it.

    sum w^2 (g - mean)^2 / ((sum w)^2 - sum w^2) from three samples on, true on average for equal weights
    and for weights of inverse variance; below that the frames' known noise.
    """
    known, squares = np.zeros(LANES, np.float32), np.zeros(LANES, np.float32)
    variance[:] = 0
    for i in range(samples.shape[0]):
        a, b, w, noise = columns.scale[i], columns.offset[i], columns.weight[i], columns.noise_variance[i]
        for lane in range(LANES):
            k = w * keep[np.uint64(i), np.uint64(lane)]
            d = a * samples[np.uint64(i), np.uint64(at + lane)] + b - np.float32(value[lane])
            variance[lane] += k * k * (d * d) if k > 0 else np.float32(0)
            known[lane] += k * k * noise
            squares[lane] += k * k
    for lane in range(LANES):
        n, whole = tally[0, lane], np.float32(mass[lane] * mass[lane])
        told = variance[lane] / (whole - squares[lane]) if n >= 3 else known[lane] / whole
        variance[lane] = told if n > 0 else np.float32(np.nan)


@njit(nogil=True, cache=True, error_model="numpy")
def order(samples, at, columns, keep, tally, combination, lanes, value):
    """Median, minimum or maximum of the kept samples of 64 pixels, after `scale` and `offset`, into `value`."""
    n = samples.shape[0]
    for i in range(n):
        a, b = columns.scale[i], columns.offset[i]
        for lane in range(LANES):
            g = a * samples[np.uint64(i), np.uint64(at + lane)] + b
            lanes[np.uint64(i), np.uint64(lane)] = g if keep[np.uint64(i), np.uint64(lane)] > 0 else INFINITY
    sort(lanes, n)
    for lane in range(LANES):
        k = int(tally[0, lane])
        if k == 0:
            value[lane] = np.nan
        elif combination == MINIMUM:
            value[lane] = lanes[0, lane]
        elif combination == MAXIMUM:
            value[lane] = lanes[k - 1, lane]
        else:
            value[lane] = 0.5 * (np.float64(lanes[(k - 1) // 2, lane]) + np.float64(lanes[k // 2, lane]))


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def chunk(samples, at, columns, rule, combination, scratch, keep, tally, value, mass, variance, frames):
    """Integrate the 64 pixels of `samples` from `at` on into value, variance, tally and frames."""
    scale, offset = columns.reject_scale, columns.reject_offset
    reject(samples, at, scale, offset, columns.loose, rule, scratch, keep, tally, frames)
    average(samples, at, columns, keep, value, mass)
    scatter(samples, at, columns, keep, tally, value, mass, variance)
    if combination != AVERAGE:
        order(samples, at, columns, keep, tally, combination, scratch.lanes, value)
        if combination == MEDIAN:
            for lane in range(LANES):
                variance[lane] *= MEDIAN_VARIANCE if tally[0, lane] >= 3 else np.float32(1)


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def add_all(samples, at, columns, sums):
    """Weighted sums over all samples of 64 pixels, of their distances d from the pixel's first sample.

    sums (4 * 64,) float32 gets that first sample, sum w d, sum w^2 d and sum w^2 d^2.
    """
    a, b = columns.scale[0], columns.offset[0]
    for lane in range(LANES):
        k = np.uint64(lane)
        sums[k] = a * samples[np.uint64(0), np.uint64(at + lane)] + b
        sums[k + ROW] = sums[k + ROW2] = sums[k + ROW3] = np.float32(0)
    for i in range(1, samples.shape[0]):
        a, b, w = columns.scale[i], columns.offset[i], columns.weight[i]
        for lane in range(LANES):
            k = np.uint64(lane)
            d = a * samples[np.uint64(i), np.uint64(at + lane)] + b - sums[k]
            sums[k + ROW] += w * d
            sums[k + ROW2] += (w * w) * d
            sums[k + ROW3] += (w * w) * (d * d)


@njit(nogil=True, cache=True, error_model="numpy")
def take_all(sums, easy, columns, start, width, planes, hard, waiting):
    """Write the pixels from `start` on of which all samples are kept; list the others in `hard`; how many there are.

    Weights are as in `average` and `scatter`; a pixel with a missing sample has a NaN among its sums.
    """
    n = columns.weight.size
    whole, squares, known = np.float32(0), np.float32(0), np.float32(0)
    for i in range(n):
        w = columns.weight[i]
        whole, squares, known = whole + w, squares + w * w, known + w * w * columns.noise_variance[i]
    spare = whole * whole - squares
    for lane in range(width):
        k = np.uint64(lane)
        d = sums[k + ROW] / whole
        scattered = sums[k + ROW3] - np.float32(2) * d * sums[k + ROW2] + d * d * squares
        planes.image[start + lane] = sums[k] + d
        planes.variance[start + lane] = max(scattered, np.float32(0)) / spare if n >= 3 else known / (whole * whole)
        planes.coverage[start + lane] = n
        planes.low[start + lane] = planes.high[start + lane] = 0
    for lane in range(width):
        if easy[lane] == 0 or not planes.image[start + lane] < INFINITY:
            hard[waiting] = start + lane
            waiting += 1
    return waiting


@njit(nogil=True, cache=True, error_model="numpy")
def integrate(samples, columns, rule, combination, planes, frames):
    """Reject and combine a tile.

    samples (N, pixels) float32 as stored, NaN where missing; fills the (pixels,) arrays of `planes`
    and adds to frames (3, N) int64 how many samples of each frame were rejected low, rejected high,
    and there at all. Each pixel is computed by itself in the order of frames: the same in whatever tile it lies.
    Most pixels have no sample that could be rejected; they are averaged at once, and the others are judged after.
    """
    n, pixels = samples.shape
    scratch, hard, waiting = make_scratch(n), np.empty(pixels, np.int64), 0
    easy, sums = np.empty(LANES, np.float32), np.empty(4 * LANES, np.float32)
    sigma = least_sigma(rule) if combination == AVERAGE else np.float32(0)
    tail = np.full((n, LANES), np.float32(np.nan))
    for start in range(0, pixels, LANES):
        width, source, at = min(LANES, pixels - start), samples, start
        if width < LANES:
            for i in range(n):
                for lane in range(width):
                    tail[i, lane] = samples[i, start + lane]
            source, at = tail, 0
        scale, offset, loose = columns.reject_scale, columns.reject_offset, columns.loose
        undisputed(source, at, scale, offset, loose, rule, sigma, scratch.lanes, easy)
        add_all(source, at, columns, sums)
        waiting = take_all(sums, easy, columns, start, width, planes, hard, waiting)
    frames[2] += pixels - waiting
    disputed(samples, hard[:waiting], columns, rule, combination, scratch, planes, frames)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def disputed(samples, hard, columns, rule, combination, scratch, planes, frames):
    """Judge and combine the pixels that `hard` lists, 64 at a time."""
    n = samples.shape[0]
    keep, gathered = np.empty((n, LANES), np.float32), np.empty((n, LANES), np.float32)
    tally, variance = np.empty((3, LANES), np.float32), np.empty(LANES, np.float32)
    value, mass = np.empty(LANES, np.float64), np.empty(LANES, np.float64)
    for first in range(0, hard.size, LANES):
        width = min(LANES, hard.size - first)
        for i in range(n):
            for lane in range(width):
                gathered[i, lane] = samples[i, hard[first + lane]]
            gathered[i, width:] = np.nan
        chunk(gathered, 0, columns, rule, combination, scratch, keep, tally, value, mass, variance, frames)
        for lane in range(width):
            at = hard[first + lane]
            planes.image[at] = value[lane]
            planes.variance[at] = variance[lane]
            planes.coverage[at] = np.uint16(tally[0, lane])
            planes.low[at] = np.uint16(tally[1, lane])
            planes.high[at] = np.uint16(tally[2, lane])


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
