"""The calibration equation, on boxes of a frame."""

import numpy as np
from numba import njit

from masterlight.kernels.decode import decode_row


@njit(nogil=True, cache=True)
def calibrate(stored, swapped, zero, scale, subtract, factor, pedestal, out):
    """out = (zero + scale * stored - subtract) * factor + pedestal, decoded and calibrated in one pass.

    stored (rows, cols) int16 or float32; `swapped` tells that 16-bit samples have their bytes in the other order;
    subtract, factor (rows, cols) float32, or (1, 1) when they are one number everywhere; out (rows, cols) float32.
    A NaN in any of them stays NaN.
    """
    rows, cols = out.shape
    a = np.float32(scale)
    b = np.float32(zero)
    p = np.float32(pedestal)
    every_s = subtract.shape[0] == rows and subtract.shape[1] == cols
    every_f = factor.shape[0] == rows and factor.shape[1] == cols
    for y in range(rows):
        line = out[y]
        decode_row(stored[y], swapped, a, b, line)
        if every_s:
            row = subtract[y]
            for x in range(cols):
                line[x] -= row[x]
        else:
            for x in range(cols):
                line[x] -= subtract[0, 0]
        if every_f:
            row = factor[y]
            for x in range(cols):
                line[x] = line[x] * row[x] + p
        else:
            for x in range(cols):
                line[x] = line[x] * factor[0, 0] + p


@njit(nogil=True, cache=True)
def flat_factor(flat, mean, floor, out):
    """out = mean / flat; NaN where the flat is at or below `floor` or not finite: such a pixel saw no light."""
    for y in range(flat.shape[0]):
        for x in range(flat.shape[1]):
            f = flat[y, x]
            out[y, x] = mean / f if f > floor and f < np.inf else np.nan


@njit(nogil=True, cache=True)
def mean_between(image, low, high):
    """Mean of the pixels from low to high, both included; NaN when there is none."""
    total, count = 0.0, 0
    for y in range(image.shape[0]):
        row, inside = np.float64(0), 0
        for x in range(image.shape[1]):
            v = image[y, x]
            if v >= low and v <= high:
                row += np.float64(v)
                inside += 1
        total += row
        count += inside
    return total / count if count else np.nan
