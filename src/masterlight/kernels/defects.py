"""Finding and replacing defective pixels, on boxes of a frame."""

import numpy as np
from numba import njit

from masterlight.kernels.stars import mesh_row


@njit(nogil=True, cache=True)
def replace_defects(image, y0, x0, wanted, row_start, columns, mask, radius):
    """Give each defective pixel of a box the median of its nearest good neighbours.

    image (rows, cols) float32 is the box of the sensor that begins at row y0, column x0, changed in place inside
    `wanted` = (top, bottom, left, right) in sensor pixels; the margin around it only lends neighbours. Defects come
    as a compressed list: `columns[row_start[y]:row_start[y + 1]]` are those of sensor row y, and `mask` (sensor rows,
    cols) marks them, so that no defect lends its value. The square around a defect grows until it holds 5 good,
    finite pixels, at most to `radius`; with fewer than 3 the pixel becomes NaN, missing, for dithered frames to fill.
    """
    top, bottom, left, right = wanted
    values = np.empty((2 * radius + 1) ** 2, np.float32)
    for y in range(top, bottom):
        for k in range(row_start[y], row_start[y + 1]):
            x = columns[k]
            if x < left or x >= right:
                continue
            n = 0
            for r in range(1, radius + 1):
                n = 0
                for j in range(max(y - r, y0), min(y + r + 1, y0 + image.shape[0])):
                    for i in range(max(x - r, x0), min(x + r + 1, x0 + image.shape[1])):
                        v = image[j - y0, i - x0]
                        if mask[j, i] == 0 and v == v:
                            values[n] = v
                            n += 1
                if n >= 5:
                    break
            image[y - y0, x - x0] = np.median(values[:n]) if n >= 3 else np.nan


@njit(nogil=True, cache=True)
def departures(image, rows, columns, radius):
    """How far each of the given pixels stands above the median of the square around it; float32, NaN where unknown.

    image (rows, cols) float32; rows, columns (n,) integers. Every pixel is compared with the others of its square,
    (2 radius + 1) pixels wide, as far as they are inside the image and finite.
    """
    out = np.empty(rows.size, np.float32)
    values = np.empty((2 * radius + 1) ** 2, np.float32)
    for k in range(rows.size):
        y, x = rows[k], columns[k]
        n = 0
        for j in range(max(y - radius, 0), min(y + radius + 1, image.shape[0])):
            for i in range(max(x - radius, 0), min(x + radius + 1, image.shape[1])):
                v = image[j, i]
                if v == v and not (j == y and i == x):
                    values[n] = v
                    n += 1
        out[k] = image[y, x] - np.median(values[:n]) if n else np.nan
    return out


@njit(nogil=True, cache=True)
def outside(image, level, low, high):
    """Rows and columns of the pixels that are not between `low` and `high` above a mesh of the background, or NaN.

    image (rows, cols) float32; level (tiles_y, tiles_x) as `stars.mesh` gives it. Two (n,) arrays in row order.
    """
    rows, cols = image.shape
    sky = np.empty(cols, np.float32)
    y_out, x_out = [], []
    for y in range(rows):
        mesh_row(level, y, rows, sky)
        line = image[y]
        strange = False
        for x in range(cols):
            d = line[x] - sky[x]
            strange |= not (d < high and d > low)
        if strange:
            for x in range(cols):
                d = line[x] - sky[x]
                if not (d < high and d > low):
                    y_out.append(y)
                    x_out.append(x)
    return np.array(y_out, np.int64), np.array(x_out, np.int64)
