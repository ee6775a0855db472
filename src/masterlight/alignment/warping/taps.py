"""A pixel as the sum over 10 x 10 taps around its exact position, for any geometry; what is missing is left out."""

import numpy as np

from masterlight.alignment.warping.places import bent_positions, positions, source_at
from masterlight.alignment.warping.weights import LANES, LOW, PHASES, TAPS
from masterlight.compiled import njit
from masterlight.core.statistics.noise import SAFE


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def tap_sum(s, b0, stride, w, p, r):
    """The weighted sum of 10 x 10 pixels from flat index `b0` on; table rows start at p (across) and r (down)."""
    y0, y1, y2, y3, y4 = w[r], w[r + np.uint64(1)], w[r + np.uint64(2)], w[r + np.uint64(3)], w[r + np.uint64(4)]
    r = r + np.uint64(5)
    y5, y6, y7, y8, y9 = w[r], w[r + np.uint64(1)], w[r + np.uint64(2)], w[r + np.uint64(3)], w[r + np.uint64(4)]
    two, five = stride + stride, b0 + np.uint64(5) * stride
    b1, b2, b3, b4 = b0 + stride, b0 + two, b0 + two + stride, b0 + two + two
    b5, b6, b7, b8, b9 = five, five + stride, five + two, five + two + stride, five + two + two
    total = np.float32(0)
    for k in range(np.uint64(LANES)):
        t = y0 * s[b0 + k] + y1 * s[b1 + k] + y2 * s[b2 + k] + y3 * s[b3 + k] + y4 * s[b4 + k]
        t += y5 * s[b5 + k] + y6 * s[b6 + k] + y7 * s[b7 + k] + y8 * s[b8 + k] + y9 * s[b9 + k]
        total += t * w[p + k]
    return total


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def lowest(s, b, stride):
    """The lowest of the 4 x 4 pixels around a position whose first tap is at flat index `b`."""
    b = b + np.uint64(3) * stride + np.uint64(3)
    low = s[b]
    for _ in range(4):
        for k in range(np.uint64(4)):
            low = min(low, s[b + k])
        b = b + stride
    return low


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def highest(s, b, stride):
    """The highest of the 10 x 10 pixels from flat index `b` on."""
    high = s[b]
    for _ in range(TAPS):
        for k in range(np.uint64(TAPS)):
            high = max(high, s[b + k])
        b = b + stride
    return high


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def floor_of(low, high, limits):
    """How low a pixel may be, by the lowest of the nearest 4 x 4 pixels and the highest of all taps.

    limits: a margin, the part of the height of a star that its own rings take, and where saturation begins.
    """
    margin, ring, saturated = limits
    return low - margin - (ring * (high - low) if high < saturated else 0.0)


@njit(nogil=True, cache=True, fastmath=SAFE, error_model="numpy", forceinline=True)
def careful_pixel(s, stride, rows, cols, u, v, w, limits, threshold):
    """The value at (u, v) by the full rules: taps that are NaN or outside are left out and the others take over.

    NaN where one of the nearest 2 x 2 pixels is missing or less than 0.9 of the weight is left.
    threshold >= 0 clamps by the ratio of negative to positive terms, otherwise `floor_of` tells how low it may be.
    """
    if not (u > -1.0 and u < cols and v > -1.0 and v < rows):
        return np.float32(np.nan)
    iu, iv = int(np.floor(u)), int(np.floor(v))
    p, r = int((u - iu) * PHASES + 0.5) * LANES, int((v - iv) * PHASES + 0.5) * LANES
    for j in range(4, 6):
        for i in range(4, 6):
            row, col = iv + j - LOW, iu + i - LOW
            if row < 0 or row >= rows or col < 0 or col >= cols or np.isnan(s[row * stride + col]):
                if abs(w[r + j] * w[p + i]) > 1e-3:
                    return np.float32(np.nan)
    i0, i1 = max(0, LOW - iu), min(TAPS, cols + LOW - iu)
    low, kept, value, high = np.float32(np.inf), np.float32(0), np.float32(0), np.float32(-np.inf)
    for j in range(max(0, LOW - iv), min(TAPS, rows + LOW - iv)):
        at, across, kept_row = np.uint64((iv + j - LOW) * stride + iu + i0 - LOW), np.uint64(p + i0), np.float32(0)
        row_sum = np.float32(0)
        for i in range(np.uint64(i1 - i0)):
            sample = s[at + i]
            valid = sample == sample
            kept_row += w[across + i] if valid else np.float32(0)
            row_sum += w[across + i] * (sample if valid else np.float32(0))
            high = sample if sample > high else high
        kept, value = kept + w[r + j] * kept_row, value + w[r + j] * row_sum
        if 3 <= j <= 6:
            for i in range(max(3, i0), min(7, i1)):
                sample = s[at + np.uint64(i - i0)]
                low = sample if sample < low else low
    if not kept >= np.float32(0.9):
        return np.float32(np.nan)
    if threshold >= 0:
        return clamped_sum(s, stride, rows, cols, iu, iv, p, r, w, threshold)
    return np.float32(max(value / kept, floor_of(low, high, limits)))


@njit(nogil=True, cache=True, error_model="numpy")
def clamped_sum(s, stride, rows, cols, iu, iv, p, r, w, threshold):
    """The sum over valid taps, its positive and negative terms apart, clamped by their ratio."""
    plus, minus, w_plus, w_minus = 0.0, 0.0, 0.0, 0.0
    for j in range(max(0, LOW - iv), min(TAPS, rows + LOW - iv)):
        for i in range(max(0, LOW - iu), min(TAPS, cols + LOW - iu)):
            sample, weight = s[(iv + j - LOW) * stride + iu + i - LOW], float(w[r + j]) * w[p + i]
            term = weight * sample
            if term >= 0:
                plus, w_plus = plus + term, w_plus + abs(weight)
            elif term < 0:
                minus, w_minus = minus - term, w_minus + abs(weight)
    return np.float32(ratio_clamp(plus, minus, w_plus, w_minus, threshold))


@njit(nogil=True, cache=True, error_model="numpy")
def ratio_clamp(plus, minus, w_plus, w_minus, threshold):
    """The clamping of PixInsight: negative terms fade out as their ratio to the positive ones nears one."""
    if plus == 0:
        return 0.0
    ratio = minus / plus
    if ratio >= 1:
        return plus / w_plus
    k = 1 - ((ratio - threshold) / (1 - threshold)) ** 2 if ratio > threshold else 1.0
    return (plus - k * minus) / (w_plus - k * w_minus)


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def direct_tile(s, stride, rows, cols, h, bent, out, out_stride, x0, x1, y0, y1, w, limits, scratch):
    """Fill out[y0:y1, x0:x1] by the sum over 10 x 10 taps around each exact position; NaN where one is missing."""
    base, px, py = scratch[0], scratch[1], scratch[2]
    margin, ring, _ = limits
    step = np.uint64(stride)
    half = (PHASES // 2) * LANES
    for y in range(y0, y1):
        if bent[0].size == 0:
            positions(h, x0, y, x1 - x0, stride, rows, cols, base, px, py)
        else:
            bent_positions(bent, x0, y, x1 - x0, stride, rows, cols, base, px, py)
        o = np.uint64(y * out_stride + x0)
        for i in range(np.uint64(x1 - x0)):
            value = np.float32(np.nan)
            if base[i] >= 0:
                b = np.uint64(base[i])
                value = tap_sum(s, b, step, w, np.uint64(px[i]), np.uint64(py[i]))
                nearest = s[b + np.uint64(4 + (py[i] >= half)) * step + np.uint64(4 + (px[i] >= half))]
                if value < nearest - margin:
                    low = lowest(s, b, step)
                    limit = np.float32(low - margin)
                    if ring > 0 and value < limit:
                        limit = np.float32(floor_of(low, highest(s, b, step), limits))
                    value = max(value, limit)
            out[o + i] = value


@njit(nogil=True, cache=True, forceinline=True)
def mend_tile(s, stride, rows, cols, h, bent, out, out_stride, x0, x1, y0, y1, w, limits, threshold):
    """Compute pixels of out[y0:y1, x0:x1] by the full rules: those that are NaN, or all when clamping by ratio."""
    for y in range(y0, y1):
        o, holes = y * out_stride, 0
        for i in range(x0, x1):
            holes += out[o + i] != out[o + i]
        for i in range(x0, x1 if holes or threshold >= 0 else x0):
            if np.isnan(out[o + i]) or threshold >= 0:
                u, v = source_at(h, bent, i, y)
                out[o + i] = careful_pixel(s, stride, rows, cols, u, v, w, limits, threshold)
