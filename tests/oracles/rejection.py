"""Rejection and combination one pixel at a time, in float64, as the books have it."""

import numpy as np

from masterlight.integration.kernels import combine
from masterlight.integration.kernels import spread as kernel
from oracles import ranked


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


def expected(rule, variance, light):
    s = max(0.0, light)
    return np.sqrt(variance + rule.noise_slope * s + (rule.noise_fraction * s) ** 2)


def spread(rule, work, centre, zero, total):
    """Sigma of a pixel's samples less their median."""
    floor = expected(rule, rule.floor**2, centre - zero) if rule.floor > 0 else 0.0
    if rule.algorithm == kernel.NOISE or (
        rule.algorithm == kernel.AUTO and total < rule.few and rule.noise_variance > 0
    ):
        return expected(rule, rule.noise_variance, centre - zero)
    if rule.algorithm == kernel.PERCENTILE:
        return centre
    if rule.algorithm == kernel.SIGMA:
        return max(clipped_deviation(work), floor)
    if rule.algorithm == kernel.MAD:
        return max(median_deviation(work), floor)
    return winsorized(work, floor)


def judge(rule, values, zero):
    """Bounds of the survivors of sorted `values`, and how near any decision was to falling the other way."""
    a, b, margin = 0, len(values), np.inf
    limit_low, limit_high = rule.low if rule.clip_low else np.inf, rule.high if rule.clip_high else np.inf
    least = max(2, int(np.ceil(rule.keep_fraction * len(values))))
    if rule.algorithm == kernel.AUTO and len(values) < rule.few and rule.noise_variance > 0:
        limit_low, limit_high = limit_low * rule.ease_low, limit_high * rule.ease_high
        if len(values) == 2 and rule.pairs:
            reach = limit_high * np.sqrt(2) * expected(rule, rule.noise_variance, values[0] - zero)
            return 0, 1 + (values[1] - values[0] <= reach), abs((values[1] - values[0]) / reach - 1)
    for _ in range(rule.passes):
        left = values[a:b]
        if len(left) < 3:
            break
        centre = np.median(left)
        sigma = spread(rule, left - centre, centre, zero, len(values))
        if not sigma > 0:
            break
        with np.errstate(invalid="ignore"):
            distance = np.where(
                left < centre, (centre - left) / (limit_low * sigma), (left - centre) / (limit_high * sigma)
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


def bounds(rule, values, zero, significance, limit):
    """The switch: first and last of the sorted `values` that are kept, and how near the decision was."""
    if rule.algorithm not in (kernel.LINEAR, kernel.ESD, kernel.CHAUVENET):
        return judge(rule, values, zero)
    floor = expected(rule, rule.floor**2, np.median(values) - zero) if rule.floor > 0 else 0.0
    clip = {"clip_low": rule.clip_low, "clip_high": rule.clip_high}
    if rule.algorithm == kernel.LINEAR:
        low, high = rule.low if rule.clip_low else np.inf, rule.high if rule.clip_high else np.inf
        found = ranked.linear_fit(values, low, high, rule.passes, rule.keep_fraction, floor)
    elif rule.algorithm == kernel.ESD:
        found = ranked.esd(values, significance, rule.esd_fraction, rule.esd_relaxation, floor, **clip)
    else:
        found = ranked.chauvenet(values, limit, rule.keep_fraction, floor, **clip)
    return found[0], found[1], found[3]


def reject(rule, x, v, zero, significance=0.05, limit=0.1):
    """Verdict on each sample of a pixel, raw `x`, normalised `v`: 0 kept, 1 low, 2 high, 3 missing; and the margin."""
    verdict, margin = np.zeros(len(x), int), np.inf
    verdict[np.isnan(x)] = 3
    verdict[x >= rule.range_high] = 2
    verdict[x <= rule.range_low] = 1
    inside = np.flatnonzero(verdict == 0)
    order = inside[np.argsort(v[inside], kind="stable")]
    n = len(order)
    if rule.algorithm == kernel.MINMAX:
        low, high = int(rule.low) if rule.clip_low else 0, int(rule.high) if rule.clip_high else 0
        if n > low + high:
            verdict[order[:low]] = 1
            left = order[low:]
            from_top = left[np.lexsort((left, -v[left]))]
            verdict[from_top[:high]] = 2
    elif rule.algorithm != kernel.NONE and n:
        a, b, margin = bounds(rule, v[order].astype(float), zero, significance, limit)
        verdict[inside[v[inside] < v[order[a]]]] = 1
        verdict[inside[v[inside] > v[order[b - 1]]]] = 2
    return verdict, margin


def adapt(g, w):
    """Auto-adaptive weighted average (Stetson 1989)."""
    mu = np.average(g, weights=w)
    for _ in range(5 if len(g) >= 3 else 0):
        square = np.average((g - mu) ** 2, weights=w)
        if square > 0:
            mu = np.average(g, weights=w / (1 + (g - mu) ** 2 / square))
    return mu


def variance(g, w, noise, photon, zero, rule, excess, known):
    """Variance of the weighted mean: the known noise, or the scatter where that shows much more."""
    mean, n, whole = np.average(g, weights=w), len(g), w.sum() ** 2
    dark, light = (w**2 * noise).sum() / whole, mean - zero
    light *= light**2 / (light**2 + dark) if light else 1
    model = max(dark + (w**2 * photon).sum() / whole * light, combine.LEAST * dark)
    if n >= 3:
        scatter = (w**2 * (g - mean) ** 2).sum() / (whole - (w**2).sum())
        seeing = (rule.noise_fraction * max(light, 0)) ** 2 * (w**2).sum() / whole
        if not known or scatter > excess[n] * (model + seeing):
            return scatter
    return model if model > 0 else np.nan


def integrate(samples, columns, rule, combination, judged=None, zero=None):
    """Image, variance, verdicts (N, pixels) and margins of a tile (N, pixels) on its ground, (3, pixels) or its sky."""
    n, pixels = samples.shape
    judged = samples if judged is None else judged
    zero, one = np.zeros(pixels) if zero is None else zero, np.ones(pixels)
    zero, over, flat = zero if zero.ndim == 2 else (zero, one, one)
    image, spread_of = np.full(pixels, np.nan), np.full(pixels, np.nan)
    verdicts, margins = np.zeros((n, pixels), int), np.zeros(pixels)
    known = (columns.noise_variance > 0).all()
    for p in range(pixels):
        v = columns.reject_scale * judged[:, p] + columns.reject_offset
        own = rule._replace(noise_variance=over[p] * rule.noise_variance, floor=over[p] ** 0.5 * rule.floor)
        verdicts[:, p], margins[p] = reject(own, judged[:, p], v, zero[p])
        kept = verdicts[:, p] == 0
        if not kept.any():
            continue
        g = (columns.scale * samples[:, p] + columns.offset)[kept].astype(float)
        w = columns.weight[kept].astype(float)
        image[p] = {
            combine.AVERAGE: lambda g, w: np.average(g, weights=w),
            combine.MEDIAN: lambda g, w: np.median(g),
            combine.MINIMUM: lambda g, w: g.min(),
            combine.MAXIMUM: lambda g, w: g.max(),
            combine.ADAPTIVE: adapt,
        }[combination](g, w)
        noise, photon = over[p] * columns.noise_variance[kept], flat[p] * columns.photon[kept]
        spread_of[p] = columns.factor[len(g)] * variance(
            g, w, noise.astype(float), photon, zero[p], rule, columns.excess, known
        )
    return image, spread_of, verdicts, margins
