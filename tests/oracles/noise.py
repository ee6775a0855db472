"""Slow, obvious twins of `masterlight.core.statistics.noise`."""

import numpy as np
from scipy.ndimage import correlate1d

from masterlight.core.statistics.noise import LAYER_SIGMA


def midvariance(x, centre, mad):
    if mad <= 0 or not len(x):
        return 0.0
    y = (np.asarray(x, float) - centre) / (9 * mad)
    d, y = (np.asarray(x, float) - centre)[np.abs(y) < 1], y[np.abs(y) < 1]
    below = np.sum((1 - y**2) * (1 - 5 * y**2))
    return len(x) * np.sum(d**2 * (1 - y**2) ** 4) / below**2 if abs(below) > 1e-9 * len(x) else 0.0


def two_sided_scale(sample):
    x = np.asarray(sample, float)
    x = x[np.isfinite(x)]
    if not len(x):
        return np.nan, np.nan, np.nan
    centre = np.median(x)
    sides = x[x <= centre], x[x > centre]
    mads = [np.median(np.abs(s - centre)) if len(s) else 0.0 for s in sides]
    if min(mads) <= 1e-12 * max(abs(centre), *mads):
        mads = [np.median(np.abs(x - centre))] * 2
    return centre, *(np.sqrt(midvariance(s, centre, m)) for s, m in zip(sides, mads, strict=True))


def starlet_smooth(image, gap):
    taps = np.zeros(4 * gap + 1)
    taps[::gap] = np.array([1, 4, 6, 4, 1]) / 16
    return correlate1d(correlate1d(np.asarray(image, float), taps, 0, mode="mirror"), taps, 1, mode="mirror")


def noise_ksigma(detail):
    a, before = detail[np.isfinite(detail)].astype(float), None
    for _ in range(10):
        s = a.std()
        if before is not None and (before - s) / before < 0.01:
            break
        before, a = s, a[np.abs(a) < 3 * s]
    return s / LAYER_SIGMA[0]


def noise_mrs(image):
    """For images without missing pixels; as Starck & Murtagh (1998) with four layers, no fall-back."""
    layers, smooth = [], np.asarray(image, float)
    for j in range(4):
        below = starlet_smooth(smooth, 1 << j)
        layers.append(smooth - below)
        smooth = below
    sigma = noise_ksigma(layers[0])
    for _ in range(18):
        free = np.all([np.abs(w) <= 3 * sigma * k for w, k in zip(layers, LAYER_SIGMA, strict=False)], axis=0)
        before, sigma = sigma, np.std((np.asarray(image, float) - smooth)[free])
        if abs(sigma - before) / sigma < 1e-4:
            break
    return sigma / 0.974, free.mean()
