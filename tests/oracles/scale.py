"""Scale estimators as their definitions read."""

import numpy as np

nan = float("nan")


def average_deviation(x):
    m = np.median(x)
    low, high = [m - v for v in x if v <= m], [v - m for v in x if v > m]
    return m, (np.mean(low), np.mean(high) if high else 0.0)


def median_deviation(x):
    m = np.median(x)
    low, high = [m - v for v in x if v <= m], [v - m for v in x if v > m]
    pair = np.median(low), np.median(high) if high else 0.0
    if min(pair) <= 1e-12 * max(abs(m), *pair):
        pair = (np.median([abs(v - m) for v in x]),) * 2
    return m, pair


def midvariance(x, m, mad):
    above = below = 0.0
    for v in x:
        u = (v - m) / (9 * mad) if mad > 0 else 1.0
        if abs(u) < 1:
            above += (v - m) ** 2 * (1 - u**2) ** 4
            below += (1 - u**2) * (1 - 5 * u**2)
    return len(x) * above / below**2 if abs(below) > 1e-9 * len(x) else 0.0


def percentage_bend(x, beta=0.2):
    m, n = np.median(x), len(x)
    w = sorted(abs(v - m) for v in x)[min(int((1 - beta) * n + 0.5), n - 1)]
    if w == 0:
        return m, (0.0, 0.0)
    inside = sum(abs((v - m) / w) < 1 for v in x)
    bent = sum(min(1.0, max(-1.0, (v - m) / w)) ** 2 for v in x)
    return m, ((n * w**2 * bent / inside**2) ** 0.5 if inside else 0.0,) * 2


def typical_distance(x):
    n = len(x)
    if n < 2:
        return np.median(x), (0.0, 0.0)
    inner = sorted(sorted(abs(a - b) for b in x)[n // 2] for a in x)
    small = (0.743, 1.851, 0.954, 1.351, 0.993, 1.198, 1.005, 1.131)
    factor = small[n - 2] if n < 10 else n / (n - 0.9) if n % 2 else 1.0
    return np.median(x), (factor * inner[(n + 1) // 2 - 1],) * 2


def first_distances(x):
    n = len(x)
    if n < 2:
        return np.median(x), (0.0, 0.0)
    h = n // 2 + 1
    small = (0.399, 0.994, 0.512, 0.844, 0.611, 0.857, 0.669, 0.872)
    factor = small[n - 2] if n < 10 else n / (n + 1.4) if n % 2 else n / (n + 3.8)
    distances = sorted(abs(x[i] - x[j]) for i in range(n) for j in range(i))
    return np.median(x), (factor * distances[h * (h - 1) // 2 - 1],) * 2


def ikss(x):
    x, before = list(x), np.inf
    while True:
        m = np.median(x)
        s = midvariance(x, m, np.median([abs(v - m) for v in x])) ** 0.5
        if s <= 1e-12 * abs(m):
            return m, (0.0, 0.0)
        if before < np.inf and (before - s) / before < 1e-6:
            return m, (0.991 * s,) * 2
        before, x = s, [v for v in x if m - 4 * s <= v <= m + 4 * s]


def noise_sides(x):
    m = np.median(x)
    found = []
    for sign in (-1, 1):
        side = [sign * (v - m) for v in x if sign * (v - m) > 0]
        s = np.std(side) if len(side) > 1 else 0.0
        for _ in range(2):
            side = [v for v in side if v < 4 * s]
            s = np.std(side) if len(side) > 1 else 0.0
        found.append(s)
    return tuple(found)


def background_fluctuation(image, level):
    """With a background (rows, cols) that is given."""
    below = [b - v for b, v in zip(level.ravel(), image.ravel(), strict=True) if v < b]
    m = np.median(below)
    return m, 2.48308 * np.median([abs(v - m) for v in below])
