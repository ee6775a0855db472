"""Local maxima of a smoothed image: where they are, and what guards against those that only look like stars."""

import numpy as np

from masterlight.compiled import njit
from masterlight.core.statistics.mesh import mesh_at, mesh_row
from masterlight.core.statistics.noise import SAFE
from masterlight.subframes.stars.sharp import alone, block, lone_in_mosaic, spike

HIGH = 8.0
SHARP = 3.0
"""How much higher than its smoothed maximum a pixel stands that makes it: 16 times if alone, 8 as a pair, 4 as a square
or in a line."""
BESIDE, NEAR_HOT = 8, 3
"""Where a hot pixel may hide a star: half a side of the box that is searched again, and how far from it, both in pixels
of the smoothed image."""
RING = np.array(
    [(3, 0), (3, 1), (2, 2), (1, 3), (0, 3), (-1, 3), (-2, 2), (-3, 1)]
    + [(-3, 0), (-3, -1), (-2, -2), (-1, -3), (0, -3), (1, -3), (2, -2), (3, -1)]
)


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def bin_by_2(image):
    """Mean of each 2 x 2 block's finite pixels, NaN when it has none; an odd last row or column is left out."""
    rows, cols = image.shape[0] // 2, image.shape[1] // 2
    out = np.empty((rows, cols), np.float32)
    big, zero, one = np.float32(3e38), np.float32(0.0), np.float32(1.0)
    for y in range(rows):
        top, low, into = image[2 * y], image[2 * y + 1], out[y]
        for x in range(cols):
            a, b, c, d = top[2 * x], top[2 * x + 1], low[2 * x], low[2 * x + 1]
            total = (a if abs(a) < big else zero) + (b if abs(b) < big else zero)
            total += (c if abs(c) < big else zero) + (d if abs(d) < big else zero)
            count = (one if abs(a) < big else zero) + (one if abs(b) < big else zero)
            count += (one if abs(c) < big else zero) + (one if abs(d) < big else zero)
            into[x] = total / count if count > zero else np.float32(np.nan)
    return out


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def smooth(image):
    """Smooth by [1, 2, 1] x [1, 2, 1] / 16, the border repeated; NaN spreads to its neighbours."""
    rows, cols = image.shape
    out = np.empty_like(image)
    row = np.empty(cols + 2, np.float32)
    half, quarter = np.float32(0.5), np.float32(0.25)
    for y in range(rows):
        above, here, below, into = image[max(y - 1, 0)], image[y], image[min(y + 1, rows - 1)], out[y]
        for x in range(cols):
            row[x + 1] = quarter * (above[x] + below[x]) + half * here[x]
        row[0], row[cols + 1] = row[1], row[cols]
        left, middle, right = row, row[1:], row[2:]
        for x in range(cols):
            into[x] = quarter * (left[x] + right[x]) + half * middle[x]
    return out


@njit(nogil=True, cache=True)
def find_maxima(image, threshold, out):
    """Every pixel above the threshold mesh and its eight neighbours, in raster order: fills out (n, 2) with x, y.

    image (rows, cols) float32; a NaN neighbour counts as lower, of equal neighbours the last one wins. Returns how many
    there are, also when `out` holds fewer.
    """
    rows, cols = image.shape
    limit, found = np.empty(cols, np.float32), 0
    for y in range(1, rows - 1):
        mesh_row(threshold, y, rows, limit)
        above, here, below = image[y - 1], image[y], image[y + 1]
        for start in range(0, cols, 64):
            end = min(start + 64, cols)
            if not any_above(here, limit, start, end):
                continue
            for x in range(max(start, 1), min(end, cols - 1)):
                v = here[x]
                if not v > limit[x]:
                    continue
                if above[x - 1] > v or above[x] > v or above[x + 1] > v or here[x - 1] > v:
                    continue
                if here[x + 1] >= v or below[x - 1] >= v or below[x] >= v or below[x + 1] >= v:
                    continue
                if found < out.shape[0]:
                    out[found, 0], out[found, 1] = x, y
                found += 1
    return found


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def any_above(x, limit, start, end):
    count = 0
    for i in range(start, end):
        count += x[i] > limit[i]
    return count > 0


@njit(nogil=True, cache=True)
def ring_contrast(image, x, y):
    """Height of a pixel above the median of a ring of radius 3 around it, and the ring's quartile distance.

    The distance is that of the pixels or of the means of opposite ones, to which a slope adds nothing, whichever is
    less: a neighbour on one side counts in all means.
    """
    rows, cols = image.shape
    ring, pairs, n, m = np.empty(16), np.empty(8), 0, 0
    for k in range(16):
        i, j = x + RING[k, 0], y + RING[k, 1]
        if 0 <= i < cols and 0 <= j < rows and abs(image[j, i]) < np.inf:
            insert(ring, n, image[j, i])
            n += 1
            p, q = x - RING[k, 0], y - RING[k, 1]
            if k < 8 and 0 <= p < cols and 0 <= q < rows and abs(image[q, p]) < np.inf:
                insert(pairs, m, 0.5 * (image[j, i] + image[q, p]))
                m += 1
    if n < 6:
        return 0.0, 0.0
    spread = ring[(3 * n) // 4] - ring[n // 4]
    if m == 8:
        spread = min(spread, 2.0**0.5 * (pairs[6] - pairs[2]))
    return image[y, x] - 0.5 * (ring[(n - 1) // 2] + ring[n // 2]), spread


@njit(nogil=True, cache=True, forceinline=True)
def insert(ordered, n, value):
    """Put a value into its place among the first n of an array, which are in order."""
    while n > 0 and ordered[n - 1] > value:
        ordered[n] = ordered[n - 1]
        n -= 1
    ordered[n] = value


@njit(nogil=True, cache=True)
def brightest(image, x, y):
    """Position and value of the highest pixel in the 6 x 6 pixels around a detection pixel (x, y) of twice the size."""
    best, bx, by = -np.inf, 2 * x, 2 * y
    for j in range(max(0, 2 * y - 2), min(image.shape[0], 2 * y + 4)):
        for i in range(max(0, 2 * x - 2), min(image.shape[1], 2 * x + 4)):
            if image[j, i] > best:
                best, bx, by = image[j, i], i, j
    return best, bx, by


@njit(nogil=True, cache=True)
def saturated_core(image, x, y, saturation):
    """Centroid and radius of the saturated pixels around (x, y), in a window that grows until they end."""
    cx, cy, count = float(x), float(y), 0
    for reach in (4, 8, 16, 32, 64):
        sx, sy, count, border = 0.0, 0.0, 0, 0
        for j in range(max(0, y - reach), min(image.shape[0], y + reach + 1)):
            for i in range(max(0, x - reach), min(image.shape[1], x + reach + 1)):
                if image[j, i] >= saturation:
                    sx, sy, count = sx + i, sy + j, count + 1
                    border += abs(i - x) == reach or abs(j - y) == reach
        cx, cy = sx / max(1, count), sy / max(1, count)
        if border == 0:
            break
    return cx, cy, np.sqrt(count / np.pi)


@njit(nogil=True, cache=True)
def screen(image, smoothed, level, noise, blur, sigma, saturation, mosaic, searched, at, out, peaks):
    """Judge each local maximum: out (n, 7) gets x, y, strength, peak, level, noise, core; NaN where it is no star.

    at (n, 2) are x, y in `smoothed`, whose pixels are two of `image`; level and noise are meshes of `smoothed`, its
    noise `blur` times that of a pixel. mosaic (rows, cols) is what `image` was made of, `searched` the places of its
    pattern that were taken; empty for none. peaks (n, 3) as in `Found`, the last of 0 where it is not HIGH enough.
    Infinity in the first column of `out` is a hot pixel.
    """
    rows, cols = smoothed.shape
    for k in range(at.shape[0]):
        x, y = at[k, 0], at[k, 1]
        sky, sd = mesh_at(level, y, x, rows, cols), mesh_at(noise, y, x, rows, cols)
        judge(image, smoothed, x, y, sky, sd, blur, sigma, saturation, mosaic, searched, 0, 0, out[k], peaks[k])


@njit(nogil=True, cache=True)
def judge(image, smoothed, x, y, sky, sd, blur, sigma, saturation, mosaic, searched, left, top, row, high):
    """One maximum, as `screen` does; `image` and `smoothed` begin at pixel (left, top) of the mosaic."""
    row[:] = np.nan
    contrast, ring = ring_contrast(smoothed, x, y)
    peak, px, py = brightest(image, x, y)
    height = peak - smoothed[y, x] + contrast
    ratio = height / contrast if contrast > 0 and height > HIGH * sd / blur else 0.0
    high[0], high[1], high[2] = px + left, py + top, ratio
    beneath = smoothed[y, x] - contrast
    if not peak >= saturation and (contrast < 0.7 * sigma * sd or contrast < 1.5 * ring):
        return
    sharp = height > SHARP * contrast  # else noise upon a wide, faint star
    if sharp and (spike(image, px, py, beneath, sd / blur) or block(image, px, py, beneath, sd / blur)):
        row[0] = np.inf
        return
    if mosaic.size > 0 and lone_in_mosaic(mosaic, px + left, py + top, searched):
        row[0] = np.inf
        return
    if peak >= saturation:
        cx, cy, core = saturated_core(image, px, py, saturation)
        contrast = max(contrast, smoothed[y, x] - sky)
    else:
        core = 0.0
        cx, cy = 2.0 * x + 0.5, 2.0 * y + 0.5
        cx += 2.0 * vertex(smoothed[y, x - 1], smoothed[y, x], smoothed[y, x + 1])
        cy += 2.0 * vertex(smoothed[y - 1, x], smoothed[y, x], smoothed[y + 1, x])
    row[0], row[1], row[2], row[3] = cx + left, cy + top, contrast, peak
    row[4], row[5], row[6] = sky, sd / blur, core


@njit(nogil=True, cache=True)
def beside_hot(image, level, noise, blur, sigma, saturation, mosaic, searched, hot, shape, out):
    """What stars are found where hot pixels hid them: fills out (n, 7) as `screen` does, returns how many.

    hot (n, 2) are x, y of such maxima in the smoothed image, of this shape. The square around each is searched again,
    all that stands alone in it left out.
    """
    rows, cols, found = shape[0], shape[1], 0
    row, high = np.empty(7), np.empty(3, np.float32)
    for k in range(hot.shape[0]):
        x, y = hot[k, 0], hot[k, 1]
        if not (BESIDE <= x < cols - BESIDE and BESIDE <= y < rows - BESIDE):
            continue
        left, top = 2 * (x - BESIDE), 2 * (y - BESIDE)
        box = image[top : top + 4 * BESIDE + 2, left : left + 4 * BESIDE + 2].copy()
        sky, sd = mesh_at(level, y, x, rows, cols), mesh_at(noise, y, x, rows, cols)
        for _ in range(2):
            leave_out_hot(box, sky, sd / blur, mosaic, searched, left, top)
        smoothed = smooth(bin_by_2(box))
        for j in range(BESIDE - NEAR_HOT, BESIDE + NEAR_HOT + 1):
            for i in range(BESIDE - NEAR_HOT, BESIDE + NEAR_HOT + 1):
                v = smoothed[j, i]
                if not v > sky + sigma * sd or v < smoothed[j - 1 : j + 2, i - 1 : i + 2].max():
                    continue
                judge(box, smoothed, i, j, sky, sd, blur, sigma, saturation, mosaic, searched, left, top, row, high)
                if abs(row[0]) < np.inf and found < out.shape[0]:
                    out[found] = row
                    found += 1
    return found


@njit(nogil=True, cache=True)
def leave_out_hot(box, sky, noise, mosaic, searched, left, top):
    """NaN for the pixels of a box that stand 10 sigma above the sky, alone."""
    clean = box.copy()
    for j in range(1, box.shape[0] - 1):
        for i in range(1, box.shape[1] - 1):
            if clean[j, i] > sky + 10.0 * noise:
                lone = alone(clean, i, j, sky, noise)
                if not lone and mosaic.size > 0:
                    lone = lone_in_mosaic(mosaic, i + left, j + top, searched)
                if lone:
                    box[j, i] = np.nan


@njit(nogil=True, cache=True)
def vertex(left, here, right):
    """Where between its neighbours a parabola through three values has its maximum, in [-0.5, 0.5]."""
    bend = left - 2.0 * here + right
    if not bend < 0.0:
        return 0.0
    return min(0.5, max(-0.5, 0.5 * (left - right) / bend))


@njit(nogil=True, cache=True)
def plateau(image, x, y, peak, level):
    """Whether the top of a star is flat, as saturation makes it.

    6 pixels or more within 7 % of its height, and these at least 40 % of those above half of it, which are 10 % for an
    unsaturated star and fewer for a galaxy.
    """
    ix, iy = int(round(x)), int(round(y))
    box = image[max(0, iy - 16) : iy + 17, max(0, ix - 16) : ix + 17]
    high, half = (box > level + 0.93 * (peak - level)).sum(), (box > level + 0.5 * (peak - level)).sum()
    return high >= 6 and high >= 0.4 * half
