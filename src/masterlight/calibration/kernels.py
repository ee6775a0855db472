"""The calibration equation, on boxes of a frame; hot pixels and how far they stand out, for the scale of a dark."""

import numpy as np

from masterlight.compiled import njit
from masterlight.core.decode import decode_row


@njit(nogil=True, cache=True)
def calibrate(stored, swapped, zero, scale, lines, level, subtract, dark, k, factor, pedestal, out):
    """out = (zero + scale * stored - lines - level - subtract - k * dark) * factor + pedestal, decoded on the way.

    stored (rows, cols) int16 or float32; `swapped` tells that 16-bit samples have their bytes in the other order;
    lines (rows,) or (1,) float64, one level for each row; level (p, cols) float32, rows repeating after p, or (1, 1)
    for one number; subtract, dark, factor (rows, cols) float32, or (1, 1) when they are one number everywhere;
    out (rows, cols) float32. A NaN in any of them stays NaN.
    """
    rows, cols = out.shape
    a, p, kd = np.float32(scale), np.float32(pedestal), np.float32(k)
    for y in range(rows):
        line = out[y]
        decode_row(stored[y], swapped, a, np.float32(zero - lines[y % lines.size]), line)
        rest = take_off(line, level, y, np.float32(1)) + take_off(line, subtract, y, np.float32(1))
        rest += take_off(line, dark, y, kd)
        if factor.size > 1:
            row = factor[y]
            for x in range(cols):
                line[x] = (line[x] - rest) * row[x] + p
        else:
            for x in range(cols):
                line[x] = (line[x] - rest) * factor[0, 0] + p


@njit(nogil=True, cache=True)
def take_off(line, values, y, k):
    """Subtract k times row y of an array, whose rows repeat, from a line; of one number, return k times it instead."""
    if values.size == 1:
        return k * values[0, 0]
    row = values[y % values.shape[0]]
    for x in range(line.size):
        line[x] -= k * row[x]
    return np.float32(0)


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


@njit(nogil=True, cache=True)
def peaks(image, distance, threshold):
    """Rows and columns of the pixels that exceed the mean of two others of their row by more than a threshold.

    image (rows, cols) float32; the two others lie `distance` pixels to either side, both on the inner side at the
    borders. NaN is no peak. Two (n,) int64 arrays in row order.
    """
    rows, cols = image.shape
    half, limit = np.float32(0.5), np.float32(threshold)
    y_out, x_out = [0 for _ in range(0)], [0 for _ in range(0)]
    for y in range(rows):
        line, inside = image[y], False
        for x in range(distance, cols - distance):
            inside |= line[x] - half * (line[x - distance] + line[x + distance]) > limit
        for x in range(cols):
            if not inside and distance <= x < cols - distance:
                continue
            before = x - distance if x >= distance else min(x + 2 * distance, cols - 1)
            after = x + distance if x + distance < cols else max(x - 2 * distance, 0)
            if line[x] - half * (line[before] + line[after]) > limit:
                y_out.append(y)
                x_out.append(x)
    return np.array(y_out, np.int64), np.array(x_out, np.int64)


@njit(nogil=True, cache=True)
def excesses(image, y0, rows, columns, kinds, radius):
    """How far each of the given pixels stands above the median of its neighbours of the same kind; NaN when unknown.

    image (h, cols) float32 begins at row y0 of the sensor; rows, columns (n,) int64 in sensor pixels; kinds (p, p)
    integers tell which pixels are alike, repeating over the sensor; neighbours lie in the square of `radius` around
    the pixel, as far as it is in the image, and are finite. float32 (n,).
    """
    out, values = np.empty(rows.size, np.float32), np.empty((2 * radius + 1) ** 2, np.float32)
    p = kinds.shape[0]
    for i in range(rows.size):
        y, x = rows[i], columns[i]
        kind, n = kinds[y % p, x % p], 0
        for v in range(max(y - radius, y0), min(y + radius + 1, y0 + image.shape[0])):
            for u in range(max(x - radius, 0), min(x + radius + 1, image.shape[1])):
                value = image[v - y0, u]
                if kinds[v % p, u % p] == kind and value == value and not (v == y and u == x):
                    values[n] = value
                    n += 1
        out[i] = image[y - y0, x] - np.median(values[:n]) if n else np.nan
    return out


@njit(nogil=True, cache=True)
def slope(d, t, w, noise):
    """Weighted straight line t = a + k d: (k, a, sum of w (d - mean)^2 without noise, correlation).

    d, t, w (n,) float64. `noise` is the standard deviation of the errors of d, whose share is taken off the sum of
    squares, or k would come out too small. k is NaN when d does not vary.
    """
    total = np.sum(w)
    if not total > 0:
        return np.nan, np.nan, 0.0, 0.0
    mean_d, mean_t = np.sum(w * d) / total, np.sum(w * t) / total
    dd = np.sum(w * (d - mean_d) ** 2)
    tt = np.sum(w * (t - mean_t) ** 2)
    dt = np.sum(w * (d - mean_d) * (t - mean_t))
    true = dd - total * noise**2
    if not true > 0:
        return np.nan, np.nan, 0.0, 0.0
    r = dt / np.sqrt(dd * tt) if tt > 0 else 0.0
    return dt / true, mean_t - dt / true * mean_d, true, r
