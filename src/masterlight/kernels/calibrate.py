"""The calibration equation, on boxes of a frame."""

import numpy as np
from numba import njit

from masterlight.kernels.decode import decode_row


@njit(nogil=True, cache=True)
def calibrate(stored, swapped, zero, scale, lines, level, subtract, dark, k, factor, pedestal, out):
    """out = (zero + scale * stored - lines - level - subtract - k * dark) * factor + pedestal, decoded on the way.

    stored (rows, cols) int16 or float32; `swapped` tells that 16-bit samples have their bytes in the other order;
    lines (rows,) or (1,) float64, one level for each row; level (p, cols) float32, rows repeating after p, or (1, 1)
    for one number; subtract, dark, factor (rows, cols) float32, or (1, 1) when they are one number everywhere;
    out (rows, cols) float32. A NaN in any of them stays NaN.
    """
    rows, cols = out.shape
    a = np.float32(scale)
    p = np.float32(pedestal)
    kd = np.float32(k)
    for y in range(rows):
        line = out[y]
        decode_row(stored[y], swapped, a, np.float32(zero - lines[y % lines.size]), line)
        if level.size > 1:
            row = level[y % level.shape[0]]
            for x in range(cols):
                line[x] -= row[x]
        if subtract.size > 1:
            row = subtract[y]
            for x in range(cols):
                line[x] -= row[x]
        if dark.size > 1:
            row = dark[y]
            for x in range(cols):
                line[x] -= kd * row[x]
        rest = level[0, 0] if level.size == 1 else np.float32(0)
        rest += subtract[0, 0] if subtract.size == 1 else np.float32(0)
        rest += kd * dark[0, 0] if dark.size == 1 else np.float32(0)
        if factor.size > 1:
            row = factor[y]
            for x in range(cols):
                line[x] = (line[x] - rest) * row[x] + p
        else:
            for x in range(cols):
                line[x] = (line[x] - rest) * factor[0, 0] + p


@njit(nogil=True, cache=True)
def flat_factor(flat, mean, out):
    """out = mean / flat; NaN where the flat is below a hundredth of the mean or not finite: such a pixel saw no light.

    flat (rows, cols) float32; mean (p, cols) float32, its rows repeating after p: the level of each colour at its
    place; out (rows, cols) float32.
    """
    for y in range(flat.shape[0]):
        m = mean[y % mean.shape[0]]
        for x in range(flat.shape[1]):
            f = flat[y, x]
            floor = max(np.float32(1e-6), np.float32(0.01) * m[x])
            out[y, x] = m[x] / f if f > floor and f < np.inf else np.nan


@njit(nogil=True, cache=True)
def sum_between(image, low, high):
    """Sum and number of the pixels from low to high, both included; image (rows, cols), with any strides."""
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
    return total, count
