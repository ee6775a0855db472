"""Rejection and combination one pixel at a time, in float64, as the books have it."""

import numpy as np

from masterlight.kernels import rejection as kernel


def clipped_deviation(work, limit=np.inf):
    return np.std(np.clip(work, -limit, limit), ddof=1)


def winsorized(work, floor=0.0):
    sigma = clipped_deviation(work)
    limit = np.inf
    for k in range(kernel.INNER_PASSES):
        if sigma <= floor:
            return floor
        limit = min(limit, 1.5 * sigma)
        new = 1.134 * clipped_deviation(work, limit)
        if k >= 1 and abs(sigma - new) < 0.0005 * sigma:
            return max(new, floor)
        sigma = new
    return floor


def median_deviation(work):
    return 1.4826 * np.median(np.abs(work))


def expected(rule, centre):
    s = max(0.0, centre - rule.noise_zero)
    return np.sqrt(rule.noise_variance + rule.noise_slope * s + (rule.noise_fraction * s) ** 2)


def spread(rule, work, centre, total):
    if rule.algorithm == kernel.NOISE:
        return expected(rule, centre)
    if rule.algorithm == kernel.AUTO and total < rule.few and rule.noise_variance > 0:
        return expected(rule, centre)
    if rule.algorithm == kernel.PERCENTILE:
        return centre
    if rule.algorithm == kernel.SIGMA:
        return max(clipped_deviation(work), rule.floor)
    if rule.algorithm == kernel.MAD:
        return max(median_deviation(work), rule.floor)
    return winsorized(work, rule.floor)


def judge(rule, values):
    """Bounds of the survivors of sorted `values`, and how near any decision was to falling the other way."""
    a, b, margin = 0, len(values), np.inf
    least = max(2, int(np.ceil(rule.keep_fraction * len(values))))
    for _ in range(rule.passes):
        left = values[a:b]
        if len(left) < 3:
            break
        centre = np.median(left)
        sigma = spread(rule, left - centre, centre, len(values))
        if not sigma > 0:
            break
        with np.errstate(invalid="ignore"):
            distance = np.where(
                left < centre, (centre - left) / (rule.low * sigma), (left - centre) / (rule.high * sigma)
            )
        margin = min(margin, np.abs(distance - 1).min())
        kept = np.flatnonzero(distance <= 1)
        start, stop = (kept[0], kept[-1] + 1) if len(kept) else (len(left) // 2, len(left) // 2)
        while stop - start < min(least, len(left)):
            if start > 0 and (stop == len(left) or distance[start - 1] <= distance[stop]):
                start -= 1
            else:
                stop += 1
        a, b = a + start, a + stop
        if b - a == len(left):
            break
    return a, b, margin


def reject(rule, x, v):
    """Verdict on each sample of a pixel, raw `x`, normalised `v`: 0 kept, 1 low, 2 high, 3 missing; and the margin."""
    verdict, margin = np.zeros(len(x), int), np.inf
    verdict[np.isnan(x)] = 3
    verdict[x >= rule.range_high] = 2
    verdict[x <= rule.range_low] = 1
    inside = np.flatnonzero(verdict == 0)
    ranked = inside[np.argsort(v[inside], kind="stable")]
    n = len(ranked)
    if rule.algorithm == kernel.MINMAX:
        if n > rule.low + rule.high:
            verdict[ranked[: int(rule.low)]] = 1
            left = ranked[int(rule.low) :]
            from_top = left[np.lexsort((left, -v[left]))]
            verdict[from_top[: int(rule.high)]] = 2
    elif rule.algorithm != kernel.NONE and n:
        a, b, margin = judge(rule, v[ranked].astype(float))
        verdict[inside[v[inside] < v[ranked[a]]]] = 1
        verdict[inside[v[inside] > v[ranked[b - 1]]]] = 2
    return verdict, margin


def integrate(samples, columns, rule, combination):
    """Image, variance, verdicts (N, pixels) and margins of a tile (N, pixels)."""
    n, pixels = samples.shape
    image, variance = np.full(pixels, np.nan), np.full(pixels, np.nan)
    verdicts, margins = np.zeros((n, pixels), int), np.zeros(pixels)
    for p in range(pixels):
        x = samples[:, p]
        verdicts[:, p], margins[p] = reject(rule, x, columns.reject_scale * x + columns.reject_offset)
        kept = verdicts[:, p] == 0
        if not kept.any():
            continue
        g = (columns.scale * x + columns.offset)[kept].astype(float)
        w = columns.weight[kept].astype(float)
        mean, m = np.average(g, weights=w), len(g)
        known = (w**2 * columns.noise_variance[kept]).sum()
        scatter = (w**2 * (g - mean) ** 2).sum() / (w.sum() ** 2 - (w**2).sum()) if m >= 3 else known / w.sum() ** 2
        image[p] = (mean, np.median(g), g.min(), g.max())[combination]
        variance[p] = scatter * (np.pi / 2 if combination == 1 and m >= 3 else 1)
    return image, variance, verdicts, margins
