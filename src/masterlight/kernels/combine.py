"""From the samples of a tile to its image: reject, normalise, weigh, add up; 64 pixels at a time."""

from typing import NamedTuple

import numpy as np
from numba import njit

from masterlight.kernels.rejection import INFINITY, LANES, make_scratch, reject, sort

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


@njit(nogil=True, cache=True, error_model="numpy")
def chunk(samples, at, columns, rule, combination, scratch, keep, tally, value, mass, variance, frames):
    """Integrate the 64 pixels of `samples` from `at` on into value, variance, tally and frames."""
    reject(samples, at, columns.reject_scale, columns.reject_offset, rule, scratch, keep, tally, frames)
    average(samples, at, columns, keep, value, mass)
    scatter(samples, at, columns, keep, tally, value, mass, variance)
    if combination != AVERAGE:
        order(samples, at, columns, keep, tally, combination, scratch.lanes, value)
        if combination == MEDIAN:
            for lane in range(LANES):
                variance[lane] *= MEDIAN_VARIANCE if tally[0, lane] >= 3 else np.float32(1)


@njit(nogil=True, cache=True, error_model="numpy")
def integrate(samples, columns, rule, combination, planes, frames):
    """Reject and combine a tile.

    samples (N, pixels) float32 as stored, NaN where missing; fills the (pixels,) arrays of `planes`
    and adds to frames (3, N) int64 how many samples of each frame were rejected low, rejected high,
    and there at all. Each pixel is computed by itself in the order of frames: the same in whatever tile it lies.
    """
    n, pixels = samples.shape
    scratch, keep = make_scratch(n), np.empty((n, LANES), np.float32)
    tally, variance = np.empty((3, LANES), np.float32), np.empty(LANES, np.float32)
    value, mass = np.empty(LANES, np.float64), np.empty(LANES, np.float64)
    tail = np.full((n, LANES), np.float32(np.nan))
    for start in range(0, pixels, LANES):
        width = min(LANES, pixels - start)
        source, at = samples, start
        if width < LANES:
            tail[:, :width] = samples[:, start:]
            source, at = tail, 0
        chunk(source, at, columns, rule, combination, scratch, keep, tally, value, mass, variance, frames)
        for lane in range(width):
            planes.image[start + lane] = value[lane]
            planes.variance[start + lane] = variance[lane]
            planes.coverage[start + lane] = np.uint16(tally[0, lane])
            planes.low[start + lane] = np.uint16(tally[1, lane])
            planes.high[start + lane] = np.uint16(tally[2, lane])
