"""Slow, obvious twins of `masterlight.calibration.kernels`."""

import numpy as np


def peaks(image, distance, threshold):
    found = []
    rows, cols = image.shape
    for y, x in np.ndindex(rows, cols):
        before = x - distance if x >= distance else min(x + 2 * distance, cols - 1)
        after = x + distance if x + distance < cols else max(x - 2 * distance, 0)
        if image[y, x] - np.float32(0.5) * (image[y, before] + image[y, after]) > np.float32(threshold):
            found.append((y, x))
    return np.array(found, int).reshape(-1, 2).T


def excesses(image, y0, rows, columns, kinds, radius):
    out = []
    h, cols = image.shape
    p = len(kinds)
    for y, x in zip(rows, columns, strict=True):
        values = [
            image[v - y0, u]
            for v in range(max(y - radius, y0), min(y + radius + 1, y0 + h))
            for u in range(max(x - radius, 0), min(x + radius + 1, cols))
            if kinds[v % p, u % p] == kinds[y % p, x % p] and np.isfinite(image[v - y0, u]) and (v, u) != (y, x)
        ]
        out.append(image[y - y0, x] - np.median(values) if values else np.nan)
    return np.array(out)


def slope(d, t, w, noise):
    total = w.sum()
    dm, tm = d - np.average(d, weights=w), t - np.average(t, weights=w)
    true = (w * dm**2).sum() - total * noise**2
    k = (w * dm * tm).sum() / true
    r = (w * dm * tm).sum() / np.sqrt((w * dm**2).sum() * (w * tm**2).sum())
    return k, np.average(t, weights=w) - k * np.average(d, weights=w), true, r
