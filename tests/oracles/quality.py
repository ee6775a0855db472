"""Slow, obvious twins of `masterlight.doctor.quality.kernels`."""

from math import gcd

import numpy as np

SN_SMALL = (0.743, 1.851, 0.954, 1.351, 0.993, 1.198, 1.005, 1.131)
QN_SMALL = (0.399, 0.994, 0.512, 0.844, 0.611, 0.857, 0.669, 0.872)


def sn(x):
    x, n = np.asarray(x), len(x)
    if n < 2:
        return 0.0
    high_medians = np.sort(np.abs(x[:, None] - x[None, :]), axis=1)[:, n // 2]
    factor = SN_SMALL[n - 2] if n < 10 else n / (n - 0.9) if n % 2 else 1.0
    return 1.1926 * factor * np.sort(high_medians)[(n + 1) // 2 - 1]


def qn(x):
    x, n = np.asarray(x, float), len(x)
    if n < 2:
        return 0.0
    distances = np.sort([abs(x[i] - x[j]) for i in range(n) for j in range(i)])
    h = n // 2 + 1
    factor = QN_SMALL[n - 2] if n < 10 else n / (n + 1.4) if n % 2 else n / (n + 3.8)
    return 2.21914 * factor * distances[h * (h - 1) // 2 - 1]


def clipped_sn(x):
    x = np.sort(x)
    scale = sn(x)
    keep = np.abs(x - x[len(x) // 2]) <= 5 * scale
    return sn(x[keep])


def block_noise(a, b, ratio, step, stride):
    """(level, noise) of each block, a list for each of the four offsets."""
    found = []
    for down, across in ((0, 0), (4, 4), (0, 4), (4, 0)):
        corners = [(y, x) for y in range(down, a.shape[0] - 7, 8) for x in range(across, a.shape[1] - 7, 8)]
        part = []
        for y, x in corners[::stride]:
            j, i = np.mgrid[y : y + 8, x : x + 8]
            at = 0.7548776662 * j + 0.5698402910 * i
            d = (a[j, i] - ratio * b[j, i]).astype(float) + step * (at - np.floor(at) - 0.5)
            good = np.isfinite(d)
            if good.sum() >= 32:
                part.append((np.median(a[j, i][good]), clipped_sn(d[good].astype(np.float32))))
        found.append(np.array(part).reshape(-1, 2))
    return found


def common_step(values):
    x = [float(v) for v in values if np.isfinite(v)]
    if any(v != int(v) for v in x):
        return 0
    return gcd(*(int(abs(v - x[0])) for v in x)) if x else 0


def tally(image, group, saturation_dn):
    """For each colour: (counts, sum, extremes, places), or zeros where it has no finite pixel."""
    size = len(group)
    colour = np.array([[group[y % size, x % size] for x in range(image.shape[1])] for y in range(image.shape[0])])
    found = []
    for g in range(group.max() + 1):
        of = np.where(colour == g, image, np.nan)
        good = np.isfinite(of)
        counts = [good.sum(), (of == 0).sum(), (of[good] < 0).sum(), (of[good] >= saturation_dn).sum()]
        counts.append((colour == g).sum() - good.sum())
        of = np.where(good, of, np.nan)
        if not good.any():
            found.append((counts, 0.0, None))
            continue
        found.append((counts, np.nansum(of.astype(float)), (np.nanmin(of), np.nanmax(of))))
    return found
