"""Rejection as other programs do it, weaknesses included: authorities that ours is compared with, slow and obvious.

PI19 and PI24 are PixInsight's ImageIntegration as published in 2019 and 2024, SIRIL is Siril of 2026, DSS is
DeepSkyStacker. Values are on their scale, black 0 and white 1. `judge` gives the verdict (n,), the slope map's value,
what takes the place of outliers, what each pass found, and how near any decision was to falling the other way.
"""

from math import erf
from typing import NamedTuple

import numpy as np

from oracles import ranked

PI19, PI24, SIRIL, DSS = range(1, 5)
NONE, MINMAX, PERCENTILE, SIGMA, WINSORIZED, MAD, NOISE, AUTO, LINEAR, ESD, CHAUVENET = range(11)
AVERAGED, MEDIAN_SIGMA, KAPPA, MEDIAN_KAPPA = range(11, 15)
OFFERED = {
    PI19: (NONE, MINMAX, PERCENTILE, SIGMA, WINSORIZED, AVERAGED, LINEAR, NOISE),
    PI24: (NONE, MINMAX, PERCENTILE, SIGMA, WINSORIZED, AVERAGED, LINEAR, NOISE, ESD, CHAUVENET),
    SIRIL: (NONE, PERCENTILE, SIGMA, MAD, MEDIAN_SIGMA, WINSORIZED, LINEAR, ESD),
    DSS: (NONE, KAPPA, MEDIAN_KAPPA),
}
"""The algorithms that each program has."""


class Params(NamedTuple):
    """The knobs of the programs, in their terms; values as most have them."""

    low: float = 4.0
    """Limit below the centre in sigma; DSS's kappa."""
    high: float = 3.0
    passes: int = 5
    """Iterations of DSS; the others go on until nothing changes."""
    cutoff: float = 5.0
    """PI24: Winsorization cutoff in sigma."""
    fraction: float = 0.3
    """ESD: the part of the samples that may be outliers."""
    alpha: float = 0.05
    """ESD: significance."""
    relaxation: float = 1.0
    """PI24 ESD: how many times wider sigma is for low samples."""
    limit: float = 0.1
    """CHAUVENET: samples of which fewer than this are expected go."""
    read_noise: float = 10.0
    """NOISE: electrons."""
    gain: float = 1.0
    """NOISE: electrons per DN."""
    scale_noise: float = 0.0
    clip_low: bool = True
    """PI: whether low samples are rejected at all."""
    clip_high: bool = True
    minmax_low: int = 1
    minmax_high: int = 1
    percentile_low: float = 0.2
    percentile_high: float = 0.1


class Told(list):
    """What each pass found, and the margin of all decisions."""

    margin = np.inf

    def near(self, *distances):
        finite = [abs(float(d)) for d in distances if np.isfinite(d)]
        self.margin = min([self.margin, *finite])


def sd(x):
    return np.std(x, ddof=1)


def negligible(x):
    return 1 + x == 1


def sn(x):
    n = len(x)
    away = np.sort(np.abs(x[:, None] - x), axis=1)[:, n // 2]
    small = {2: 0.743, 3: 1.851, 4: 0.954, 5: 1.351, 6: 0.993, 7: 1.198, 8: 1.005, 9: 1.131}
    factor = small.get(n, n / (n - 0.9) if n % 2 else 1.0)
    return factor * np.sort(away)[(n + 1) // 2 - 1]


def winsorized(x, least_passes=2):
    centre, sigma, w, passes = np.median(x), sd(x), x, 0
    while not negligible(sigma) and passes < 1000:
        w, before = np.clip(w, centre - 1.5 * sigma, centre + 1.5 * sigma), sigma
        sigma, passes = 1.134 * sd(w), passes + 1
        if passes >= least_passes and abs(before - sigma) <= 0.0005 * before:
            break
    return centre, sigma, passes


def winsorized_2024(x, cutoff):
    centre, sigma, w = np.median(x), 1.1926 * sn(x), x
    for passes in range(1, 1001):
        t, c, before = 1.5 * sigma, cutoff * sigma, sigma
        low, high = np.where(w > centre - c, centre - t, centre), np.where(w < centre + c, centre + t, centre)
        w = np.where(w < centre - t, low, np.where(w > centre + t, high, w))
        sigma, centre = 1.134 * sd(w), w.mean()
        if negligible(sigma) or (passes >= 2 and abs(before - sigma) < 0.0005 * before):
            break
    return centre, sigma, passes


def clip_ends(x, a, b, low, high, p, told):
    """Test from the ends of sorted x[a:b] inwards; low, high give the distance over its limit."""
    while p.clip_low and a < b and low(x[a]) > 1:
        a += 1
    while p.clip_high and b > a and high(x[b - 1]) > 1:
        b -= 1
    told.near(*(low(v) - 1 for v in x), *(high(v) - 1 for v in x))
    return a, b


def pi_clip(profile, algorithm, x, p, told):
    a, b, gain = 0, len(x), 0.0
    if algorithm == AVERAGED and b >= 3:
        centre = np.median(x)
        if negligible(centre):
            return b, b
        gain = np.sqrt(((x - centre) ** 2 / centre).sum() / (b - 1))
    while b - a >= (2 if algorithm == NOISE else 3):
        y = x[a:b]
        centre, passes = np.median(y), 0
        if algorithm == SIGMA:
            sigma = sd(y)
        elif algorithm == AVERAGED:
            sigma = gain * np.sqrt(centre)
        elif algorithm == NOISE:
            read = p.read_noise / p.gain
            sigma = np.sqrt((read**2 + centre / p.gain + (p.scale_noise * centre) ** 2) / 65535)
        elif profile == PI19:
            centre, sigma, passes = winsorized(y)
        else:
            centre, sigma, passes = winsorized_2024(y, p.cutoff)
        told.append((centre, sigma, passes))
        if negligible(sigma):
            break
        low, high = (lambda v: (centre - v) / sigma / p.low), (lambda v: (v - centre) / sigma / p.high)  # noqa: B023
        start, stop = clip_ends(x, a, b, low, high, p, told)
        if (start, stop) == (a, b):
            break
        a, b = start, stop
    return a, b


def pi_once(algorithm, x, p, told):
    n, centre = len(x), np.median(x)
    if algorithm == MINMAX:
        a = min(p.minmax_low, n) if p.clip_low else 0
        return a, max(n - p.minmax_high, a) if p.clip_high else n
    if n < 2 or negligible(centre):
        return 0, n
    low = lambda v: (centre - v) / centre / p.percentile_low  # noqa: E731
    high = lambda v: (v - centre) / centre / p.percentile_high  # noqa: E731
    return clip_ends(x, 0, n, low, high, p, told)


def pi_esd(x, p, told):
    a, b, n = 0, len(x), len(x)
    for i in range(min(max(1, int(p.fraction * n)), n - 2)):
        y = x[a:b]
        th, tl = max(1, int(p.fraction * len(y)) - i), max(1, int(p.fraction / p.relaxation * len(y)) - i)
        centre = y[tl : len(y) - th].mean() if th + tl < len(y) - 2 else np.median(y)
        if negligible(sd(y)):
            break
        low, high = (centre - y[0]) / (p.relaxation * sd(y)), (y[-1] - centre) / sd(y)
        told.append(max(low, high))
        critical = ranked.esd_critical(n, i, p.alpha)
        told.near(max(low, high) / critical - 1, low - high)
        if max(low, high) < critical:
            break
        a, b = (a, b - 1) if high > low else (a + 1, b)
    return a, b


def pi_chauvenet(x, p, told):
    a, b = 0, len(x)
    for phase in range(3):
        while b - a >= 3:
            n = b - a
            centre, sigma, unique = ranked.middle_and_sigma(phase, x[a:b])
            if negligible(sigma):
                return a, b
            expected = [n * (1 - erf(d / sigma / np.sqrt(2))) / 2 for d in (centre - x[a], x[b - 1] - centre)]
            told.append((phase, n, centre, sigma, *expected))
            low, high = (e if clip else np.inf for e, clip in zip(expected, (p.clip_low, p.clip_high), strict=True))
            told.near(low / p.limit - 1, high / p.limit - 1, unique, *([low - high] if low or high else []))
            if min(low, high) >= p.limit:
                break
            a, b = (a, b - 1) if high < low else (a + 1, b)
    return a, b


def pi_linear(profile, values, order, p, verdict, told):
    left, slope = list(order), 0.0
    while len(left) >= 3:
        y, rank = values[left], np.arange(len(left))
        a, b, unique = ranked.least_absolute_line(rank, y)
        away = np.abs(y - a - b * rank).mean()
        sigma = 2 * away * (np.sqrt(1 + b * b) if profile == PI24 else 1)
        told.append((a, b, away, sigma))
        told.near(unique)
        if negligible(sigma):
            return 0.0
        off = (y - a - b * rank) / sigma
        told.near(*(off / p.high - 1), *(-off / p.low - 1))
        low, high = (off < 0) & (-off >= p.low) & p.clip_low, (off >= p.high) & p.clip_high
        for i, under, over in zip(left, low, high, strict=True):
            verdict[i] = 1 if under else (2 if over else 0)
        if not (low | high).any():
            slope = (np.arctan(b) / (np.pi / 4) if b < 1e7 else 1.0) if b > 0 else 0.0
            break
        left = [i for i in left if verdict[i] == 0]
    return slope


def pixinsight(profile, algorithm, values, p, verdict, told):
    order = np.argsort(values, kind="stable")
    x = values[order]
    if algorithm == LINEAR:
        return pi_linear(profile, values, order, p, verdict, told) if len(x) >= 5 else 0.0
    if algorithm in (MINMAX, PERCENTILE):
        a, b = pi_once(algorithm, x, p, told)
    elif algorithm == ESD:
        a, b = pi_esd(x, p, told)
    elif algorithm == CHAUVENET:
        a, b = pi_chauvenet(x, p, told)
    else:
        a, b = pi_clip(profile, algorithm, x, p, told)
    for i in [*range(a), *range(b, len(x))]:
        low = x[i] < np.median(x) if algorithm == ESD else i < a
        verdict[order[i]] = (1 if p.clip_low else 0) if low else (2 if p.clip_high else 0)
    return 0.0


def siril_clip(algorithm, values, left, p, verdict, told):
    previous, gone = np.median(values[left]), 0
    while True:
        if algorithm == LINEAR:
            left = sorted(left, key=lambda i: values[i])
        y, ranks = values[left], np.arange(len(left))
        centre, passes = np.median(y), 0
        if algorithm == SIGMA:
            sigma = sd(y)
        elif algorithm == MAD:
            sigma, previous = np.median(np.abs(y - previous)), centre
        elif algorithm == WINSORIZED:
            centre, sigma, passes = winsorized(y, 1)
        else:
            everyone = np.arange(len(values))
            slope = np.mean((ranks - ranks.mean()) * (y - y.mean())) / np.var(everyone)
            centre = y.mean() - everyone.mean() * slope + slope * ranks
            sigma = np.abs(y - centre).mean()
        told.append((centre, sigma, passes))
        off, n, kept = y - centre, len(left), []
        told.near(*(off - p.high * sigma), *(-off - p.low * sigma))
        for i, d in zip(left, off, strict=True):
            if n - gone > 4 and (-d > p.low * sigma or d > p.high * sigma):
                verdict[i] = 1 if d < 0 else 2
                gone += 1
            else:
                kept.append(i)
        if len(kept) == n or len(kept) <= 3:
            return
        left = kept


def siril_esd(values, left, p, verdict, told):
    ranked_left = sorted(left, key=lambda i: values[i])
    stack, middle, removed, cold = [values[i] for i in ranked_left], np.median(values[left]), [], 0
    steps = int(len(values) * p.fraction) - (len(values) - len(left))
    confirmed = 1
    for i in range(min(steps, len(stack))):
        y = np.array(stack)
        low, high = y.mean() - y[0], y[-1] - y.mean()
        at = len(y) - 1 if high > low else 0
        told.near(low - high)
        if len(y) > 2:
            critical = ranked.esd_critical(len(left), i, p.alpha)
            told.near(max(low, high) / sd(y) - critical)
            confirmed = i if max(low, high) / sd(y) > critical and i > 1 else confirmed
        removed.append((stack.pop(at), at if at else cold))
        cold += at == 0
    for value, at in reversed(removed[: confirmed + 1]):
        verdict[ranked_left[at]] = 2 if value >= middle else 1


def replace(algorithm, values, left, p, verdict, told):
    y = values.copy()
    for _ in range(p.passes if algorithm == MEDIAN_KAPPA else 1000):
        x = y[left]
        dss = algorithm == MEDIAN_KAPPA
        middle, centre, sigma = np.median(x), x.mean() if dss else np.median(x), np.std(x) if dss else sd(x)
        told.append((len(x), centre, sigma))
        low = [i for i in left if y[i] < centre - p.low * sigma]
        high = [i for i in left if y[i] > centre + p.high * sigma]
        told.near(*(x - centre + p.low * sigma), *(x - centre - p.high * sigma))
        verdict[low], verdict[high] = 1, 2
        y[low + high] = middle
        if not low + high:
            break
    changed = [i for i in left if verdict[i]]
    return y[changed].mean() if changed else np.nan


def kappa(values, left, p, verdict, told):
    for _ in range(p.passes):
        x = values[left]
        centre, sigma = x.mean(), np.std(x)
        told.append((len(x), centre, sigma))
        told.near(*(x - centre + p.low * sigma), *(x - centre - p.high * sigma))
        side = np.where(x < centre - p.low * sigma, 1, np.where(x > centre + p.high * sigma, 2, 0))
        if side.all() or not side.any():
            break
        verdict[left] = side
        left = left[side == 0]


def judge(profile, algorithm, values, p):
    values, told, verdict = np.asarray(values, float), Told(), np.zeros(len(values), int)
    if algorithm not in OFFERED[profile]:
        return verdict, -1.0, np.nan, told
    if profile in (SIRIL, DSS):
        verdict[values == 0] = 3
    left = np.flatnonzero(values)
    if algorithm == NONE or not len(values):
        return verdict, 0.0, np.nan, told
    if profile in (PI19, PI24):
        return verdict, pixinsight(profile, algorithm, values, p, verdict, told), np.nan, told
    put = np.nan
    if profile == DSS:
        if len(left):
            kappa(values, left, p, verdict, told) if algorithm == KAPPA else None
            put = replace(algorithm, values, left, p, verdict, told) if algorithm != KAPPA else put
    elif len(left) > 1:
        middle = np.median(values[left])
        if middle == 0:
            verdict[:] = 3
        elif algorithm == PERCENTILE:
            off = (values - middle) / middle
            verdict[left] = np.where(-off > p.percentile_low, 1, np.where(off > p.percentile_high, 2, 0))[left]
        elif algorithm == ESD:
            siril_esd(values, left, p, verdict, told)
        elif algorithm == MEDIAN_SIGMA:
            put = replace(algorithm, values, left, p, verdict, told)
        else:
            siril_clip(algorithm, values, left, p, verdict, told)
    return verdict, 0.0, put, told
