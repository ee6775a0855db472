"""The warp, slow and obvious: exact weights, one double loop for each pixel."""

import numpy as np


def weight(name, x):
    """A kernel's weight at one distance."""
    if name == "nearest":
        return float(-0.5 <= x < 0.5)
    if name == "bilinear":
        return max(0.0, 1 - abs(x))
    r = abs(x)
    if name in ("bicubic", "catmull-rom"):  # Keys 1981, a = -1/2
        return (1.5 * r - 2.5) * r * r + 1 if r < 1 else ((2.5 - 0.5 * r) * r - 4) * r + 2 if r < 2 else 0.0
    if name == "bspline":
        return 2 / 3 - r**2 + r**3 / 2 if r < 1 else (2 - r) ** 3 / 6 if r < 2 else 0.0
    if name == "mitchell":
        near, far = 7 * r**3 - 12 * r**2 + 16 / 3, -7 / 3 * r**3 + 12 * r**2 - 20 * r + 32 / 3
        return near / 6 if r < 1 else far / 6 if r < 2 else 0.0
    n = int(name[-1])
    if abs(x) >= n:
        return 0.0
    return float(np.sinc(x) * np.sinc(x / n))


def ratio_clamp(plus, minus, w_plus, w_minus, c):
    """PixInsight's clamping of one sum."""
    if plus == 0:
        return 0.0
    r = minus / plus
    if r >= 1:
        return plus / w_plus
    k = 1 - ((r - c) / (1 - c)) ** 2 if r > c else 1.0
    return (plus - k * minus) / (w_plus - k * w_minus)


def warp(source, matrix, shape, kernel="lanczos5", margin_dn=np.inf, threshold=-1.0, ring=(0.0, np.inf)):
    """The whole result, with the whole frame as the source; float64."""
    rows, cols = source.shape
    out = np.full(shape, np.nan)
    for y in range(shape[0]):
        for x in range(shape[1]):
            u, v, z = np.asarray(matrix) @ (x, y, 1.0)
            out[y, x] = one_pixel(source, rows, cols, u / z, v / z, kernel, margin_dn, threshold, ring)
    return out


def blank_defective(mask, matrix, out):
    """With the whole frame as the source: every pixel of the result looks up its nearest source pixel."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            u, v, z = np.asarray(matrix) @ (x, y, 1.0)
            i, j = int(np.rint(u / z)), int(np.rint(v / z))
            if 0 <= j < mask.shape[0] and 0 <= i < mask.shape[1] and mask[j, i]:
                out[y, x] = np.nan


def one_pixel(source, rows, cols, u, v, kernel, margin_dn, threshold, ring=(0.0, np.inf)):
    iu, iv = int(np.floor(u)), int(np.floor(v))
    wx = np.array([weight(kernel, iu + k - u) for k in range(-4, 6)])
    wy = np.array([weight(kernel, iv + k - v) for k in range(-4, 6)])
    w = np.outer(wy / wy.sum(), wx / wx.sum())
    box = np.full((10, 10), np.nan)
    for j in range(10):
        for i in range(10):
            if 0 <= iv + j - 4 < rows and 0 <= iu + i - 4 < cols:
                box[j, i] = source[iv + j - 4, iu + i - 4]
    valid = ~np.isnan(box)
    if (~valid[4:6, 4:6] & (np.abs(w[4:6, 4:6]) > 1e-3)).any() or w[valid].sum() < 0.9:
        return np.nan
    terms = (w * box)[valid]
    if threshold >= 0:
        up = terms >= 0
        w = np.abs(w[valid])
        return ratio_clamp(terms[up].sum(), -terms[~up].sum(), w[up].sum(), w[~up].sum(), threshold)
    low, high = np.nanmin(box[3:7, 3:7]), np.nanmax(box)
    return max(terms.sum() / w[valid].sum(), low - margin_dn - (ring[0] * (high - low) if high < ring[1] else 0))
