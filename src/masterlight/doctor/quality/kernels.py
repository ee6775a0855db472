"""Robust scales, block-wise noise and exact counts: what the quality of a calibration frame is told by."""

import numpy as np

from masterlight.compiled import njit
from masterlight.core.statistics.scale import sn_of_sorted

BLOCK = 8
"""Width of the blocks in which noise is measured: within one, gradients and vignetting do not count."""
FEWEST = 32
"""Good pixels that a block needs."""
FAR = 5.0
"""Values so many sigma off are no noise."""


@njit(nogil=True, cache=True)
def clipped_sn(x):
    """Sn of a block, once more without what lies more than 5 of it from the median: cosmic rays and hot pixels would
    raise it by 2 %. Sorts `x`."""
    x.sort()
    scale, centre = sn_of_sorted(x), x[x.size // 2]
    low, high = 0, x.size
    while x[high - 1] - centre > FAR * scale:
        high -= 1
    while centre - x[low] > FAR * scale:
        low += 1
    return scale if high - low == x.size else sn_of_sorted(x[low:high])


@njit(nogil=True, cache=True)
def block_noise(a, b, ratio, step, stride, level, noise):
    """Level of a and Sn of a - ratio b in blocks of 8 x 8 pixels, at four offsets of half a block.

    a, b (rows, cols) float32, NaN where missing; `level`, `noise` (4, n) are filled, one row for each offset; returns
    the (4,) numbers of blocks found. Of the blocks every `stride`-th is looked at. Differences of whole numbers are
    spread evenly over their `step`, or Sn could only be a multiple of it; the caller takes step^2 / 12 off its square.
    """
    rows, cols = a.shape
    found = np.zeros(4, np.int64)
    values, levels = np.empty(BLOCK * BLOCK, np.float32), np.empty(BLOCK * BLOCK, np.float32)
    for k in range(4):
        down, across = (0, 4, 0, 4)[k], (0, 4, 4, 0)[k]
        seen = 0
        for y in range(down, rows - BLOCK + 1, BLOCK):
            for x in range(across, cols - BLOCK + 1, BLOCK):
                seen += 1
                if (seen - 1) % stride:
                    continue
                n = 0
                for j in range(y, y + BLOCK):
                    for i in range(x, x + BLOCK):
                        d = a[j, i] - ratio * b[j, i]
                        if abs(d) < np.inf:
                            at = 0.7548776662 * j + 0.5698402910 * i
                            values[n] = d + step * (at - np.floor(at) - 0.5)
                            levels[n] = a[j, i]
                            n += 1
                if n >= FEWEST:
                    level[k, found[k]] = np.median(levels[:n])
                    noise[k, found[k]] = clipped_sn(values[:n])
                    found[k] += 1
    return found


@njit(nogil=True, cache=True)
def common_step(values):
    """The largest number of which all differences between whole numbers are multiples: 4 for 14 bits shifted to 16.

    values (n,) float32; NaN are left out. 0 if any is not a whole number, or if all are the same.
    """
    first, step = np.nan, np.int64(0)
    for v in values:
        if not abs(v) < np.inf:
            continue
        if v != np.floor(v):
            return np.int64(0)
        if not first == first:
            first = v
        rest = np.int64(abs(v - first)) if step != 1 else 0
        while rest:
            step, rest = rest, step % rest
    return step


@njit(nogil=True, cache=True)
def tally(image, group, saturation_dn, counts, sums, extremes, places):
    """Count every pixel of a plane by colour: how many are finite, zero, negative, saturated, missing; sum, extremes.

    image (rows, cols) float32; group (p, p) int64 gives the colour of a pixel by its place in the pattern. Filled, one
    row for each colour, and to be started with zeros, zeros, (inf, -inf), zeros: counts (n, 5) int64, sums (n,)
    float64, extremes (n, 2) lowest and highest, places (n, 4) int64 as y, x of the lowest and y, x of the highest.
    """
    rows, cols = image.shape
    size = group.shape[0]
    for y in range(rows):
        line = image[y]
        for start in range(min(size, cols)):
            g = group[y % size, start]
            finite, zero, negative, saturated, missing, total = 0, 0, 0, 0, 0, 0.0
            low, high = extremes[g, 0], extremes[g, 1]
            for x in range(start, cols, size):
                v = line[x]
                good = abs(v) < np.inf
                finite += good
                zero += v == 0
                negative += good and v < 0
                saturated += good and v >= saturation_dn
                missing += not good
                total += v if good else 0.0
                if good and v < low:
                    low = v
                    places[g, 0], places[g, 1] = y, x
                if good and v > high:
                    high = v
                    places[g, 2], places[g, 3] = y, x
            extremes[g, 0], extremes[g, 1] = low, high
            sums[g] += total
            for k, n in enumerate((finite, zero, negative, saturated, missing)):
                counts[g, k] += n
