"""Rejection by rank, one pixel at a time, in float64, as the books have it.

Each gives the bounds of the survivors among sorted values, what each pass found, and how near any decision was to
falling the other way.
"""

from itertools import combinations

import numpy as np
from scipy import special, stats


def esd_critical(n, step, alpha):
    p, nu = alpha / (2 * (n - step)), n - step - 2
    t = stats.t.ppf(1 - p, nu)
    return t * (n - step - 1) / np.sqrt((nu + t * t) * (n - step))


def least_squares_line(y):
    """Line against rank: intercept, slope, mean absolute distance."""
    slope, base = np.polyfit(np.arange(len(y)), y, 1)
    return base, slope, np.abs(y - base - slope * np.arange(len(y))).mean()


def reweighted_line(y, base, slope, near, cap, rounds):
    """Towards the line of least absolute distances: intercept, slope, mean capped distance, near, cap."""
    rank = np.arange(len(y))
    for _ in range(rounds):
        distance = np.abs(y - base - slope * rank)
        away = np.minimum(distance, cap).mean()
        slope, base = np.polyfit(rank, y, 1, w=np.sqrt(1 / np.maximum(distance, near)))
        near = 0.05 * away if away > 0 else 1.0
        cap = 4 * away if away > 0 else np.inf
    return base, slope, np.minimum(np.abs(y - base - slope * rank), cap).mean(), near, cap


def linear_fit(x, low, high, passes, keep_fraction=0.0, floor=0.0):
    a, b, margin, told, slope = 0, len(x), np.inf, [], 0.0
    least = max(2, int(np.ceil(keep_fraction * len(x))))
    for p in range(passes):
        y = x[a:b]
        if len(y) < 5:
            break
        if p == 0:
            reach = y[-1] - y[0] if y[-1] > y[0] else 1.0
            base, slope, _, near, _ = reweighted_line(y, y[len(y) // 2], 0.0, reach, np.inf, 1)
            base, slope, away, near, cap = reweighted_line(y, base, slope, near, np.inf, 6)
        else:
            base, slope, away, near, cap = reweighted_line(y, base, slope, near, cap, 3)
        told.append((base, slope, away))
        sigma = (1 + 0.6 * np.log(len(y))) * max(away, 0.15 * floor)
        if sigma <= 0:
            break
        rest = y - base - slope * np.arange(len(y))
        below, above = -rest / (low * sigma), rest / (high * sigma)
        margin = min(margin, np.abs(below - 1).min(), np.abs(above - 1).min())
        start, stop = 0, len(y)
        while start < stop and below[start] > 1:
            start += 1
        while stop > start and above[stop - 1] > 1:
            stop -= 1
        while stop - start < min(least, len(y)):
            left = below[start - 1] if start > 0 else np.inf
            right = above[stop] if stop < len(y) else np.inf
            margin = min(margin, abs(left - right))
            start, stop = (start - 1, stop) if left <= right else (start, stop + 1)
        a, b, base = a + start, a + stop, base + slope * start
        if stop - start == len(y):
            break
    return a, b, told, margin, 4 / np.pi * np.arctan(max(slope, 0))


def esd(x, alpha, fraction, relaxation=1.0, floor=0.0, clip_low=True, clip_high=True):
    a, b, n, margin, told = 0, len(x), len(x), np.inf, []
    bounds = a, b
    for i in range(min(max(1, int(fraction * n)), n - 2)):
        y = x[a:b]
        sigma = max(np.std(y, ddof=1), floor)
        low, high = (y.mean() - y[0]) / relaxation * clip_low, (y[-1] - y.mean()) * clip_high
        ratio, critical = max(low, high) / sigma if sigma > 0 else 0.0, esd_critical(n, i, alpha)
        told.append(ratio)
        margin = min(
            margin, abs(ratio / critical - 1), abs(low - high) / max(sigma, 1e-9) if clip_low and clip_high else np.inf
        )
        a, b = (a, b - 1) if high > low else (a + 1, b)
        if ratio > critical:
            bounds = a, b
    return *bounds, told, margin


def least_absolute_line(x, y):
    """The best of the lines through two of the points; and how much worse, relatively, the best different line is."""
    i, j = np.array(list(combinations(range(len(x)), 2))).T
    slope = (y[j] - y[i]) / (x[j] - x[i])
    base = y[i] - slope * x[i]
    total = np.abs(y - base[:, None] - slope[:, None] * x).sum(axis=1)
    k = total.argmin()
    scale = np.abs(y).max() + 1e-300
    same = np.abs(base - base[k]) + np.abs(slope - slope[k]) * np.abs(x).max() < 1e-9 * scale
    return base[k], slope[k], (total[~same].min() - total[k]) / scale if not same.all() else np.inf


def widen(n):
    return 1 / (1 - 2.9442 * n**-1.073)


def middle_and_sigma(phase, x):
    n = len(x)
    if phase == 2:
        return x.mean(), np.std(x, ddof=1), np.inf
    away = np.sort(np.abs(x - np.median(x)))
    q = int(0.683 * n + 0.317)
    if phase == 1 or q < 8:
        return np.median(x), widen(n) * away[int(0.683 * n)], np.inf
    z = np.sqrt(2) * special.erfinv((np.arange(q) + 1 - 0.317) / n)
    base, slope, margin = least_absolute_line(z, away[:q])
    return np.median(x), widen(n) * (base + slope), margin


def chauvenet(x, limit, keep_fraction=0.0, floor=0.0, clip_low=True, clip_high=True):
    a, b, margin, told = 0, len(x), np.inf, []
    least = max(2, int(np.ceil(keep_fraction * len(x))))
    for phase in range(3):
        while b - a >= 3 and b - a > least:
            centre, sigma, unique = middle_and_sigma(phase, x[a:b])
            told.append((phase, b - a, centre, sigma))
            sigma = max(sigma, floor)
            if sigma <= 0:
                break
            low, high = (centre - x[a]) / sigma * clip_low, (x[b - 1] - centre) / sigma * clip_high
            reach = -special.ndtri(limit / (b - a))
            margin = min(
                margin, abs(max(low, high) / reach - 1), unique, abs(low - high) if clip_low and clip_high else np.inf
            )
            if max(low, high) <= reach:
                break
            a, b = (a, b - 1) if high > low else (a + 1, b)
    return a, b, told, margin
