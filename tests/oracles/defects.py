"""Slow, obvious twins of `masterlight.defects.kernels` and of what the processes make of them."""

import numpy as np
from scipy.ndimage import median_filter

HALO, NEED, LEAST, SIDE = 6, 5, 3, 3


def colours(pattern, shape):
    """The colour of each pixel as a letter."""
    size = int(len(pattern or "L") ** 0.5)
    grid = np.array(list(pattern or "L")).reshape(size, size)
    return np.tile(grid, (-(-shape[0] // size), -(-shape[1] // size)))[: shape[0], : shape[1]]


def good_neighbours(image, bad, colour, y, x, radius):
    """(dy, dx, value) of all good finite pixels of the same colour in a square."""
    found = []
    for j in range(max(0, y - radius), min(image.shape[0], y + radius + 1)):
        for i in range(max(0, x - radius), min(image.shape[1], x + radius + 1)):
            if not bad[j, i] and np.isfinite(image[j, i]) and colour[j, i] == colour[y, x]:
                found.append((j - y, i - x, image[j, i]))
    return found


def nearest(found):
    """The values of the smallest disc that holds NEED neighbours; of all if there are fewer."""
    distances = sorted(dy * dy + dx * dx for dy, dx, _ in found)
    limit = distances[min(NEED, len(distances)) - 1] if distances else 0
    return [v for dy, dx, v in found if dy * dy + dx * dx <= limit]


def beside(found, axis, along):
    """SIDE values from each side of a line along `axis`, nearest lines first; stops with the line that gives all."""
    found = [f if axis == 0 else (f[1], f[0], f[2]) for f in found]
    found = sorted((abs(f[1]), f[0] ** 2 + f[1] ** 2, f) for f in found if f[1] and abs(f[0]) <= along)
    kept = {True: [], False: []}
    for distance in sorted({f[0] for f in found}):
        for d, _, (_, across, value) in found:
            if d == distance and len(kept[across > 0]) < SIDE:
                kept[across > 0].append(value)
        if sum(map(len, kept.values())) >= 2 * SIDE:
            break
    return kept[True] + kept[False]


def run(mask, y, x, dy, dx):
    """Length of the straight run of defects through a pixel."""
    length = 1
    for sign in (-1, 1):
        j, i = y + sign * dy, x + sign * dx
        while 0 <= j < mask.shape[0] and 0 <= i < mask.shape[1] and mask[j, i]:
            length, j, i = length + 1, j + sign * dy, i + sign * dx
    return length


def replace_defects(image, mask, pattern=None, amount=1.0):
    """Each defect becomes the median of its nearest good neighbours, of those across the line if it is of one."""
    out = image.copy()
    colour = colours(pattern, image.shape)
    along = {1: 1, 4: 2}.get(len(pattern or "L"), 3)
    for y, x in zip(*np.nonzero(mask), strict=True):
        found = good_neighbours(image, mask > 0, colour, y, x, HALO)
        high, wide = run(mask, y, x, 1, 0), run(mask, y, x, 0, 1)
        least = 2 if mask[y, x] & 8 else 8
        values = []
        if high >= least and high > wide:
            values = beside(found, 0, along)
        elif wide >= least:
            values = beside(found, 1, along)
        if len(values) < LEAST:
            values = nearest(found)
        new = np.median(values) if len(values) >= LEAST else np.nan
        out[y, x] = amount * new + (1 - amount) * image[y, x] if np.isfinite(image[y, x]) else new
    return out


def defect_map(image, weight, operation, structure, pattern=None, largest=100):
    """Each pixel of weight 0 becomes a mean, median ... of the good pixels in a structure that is 35 % good."""
    out = image.copy()
    colour = colours(pattern, image.shape)
    for y, x in zip(*np.nonzero(~(weight > 0)), strict=True):
        for r in range(1, largest + 1):
            inside = []
            for j in range(max(0, y - r), min(image.shape[0], y + r + 1)):
                for i in range(max(0, x - r), min(image.shape[1], x + r + 1)):
                    a, b = j - y, i - x
                    fits = {
                        "square": True,
                        "circular": a * a + b * b <= r * r,
                        "horizontal": a == 0,
                        "vertical": b == 0,
                    }
                    if (a or b) and fits[structure] and colour[j, i] == colour[y, x]:
                        inside.append((weight[j, i] if weight[j, i] > 0 else 0.0, image[j, i], a * a + b * b))
            total = sum(w for w, _, _ in inside)
            if total > 0 and total >= 0.35 * (len(inside) + 1):
                break
        good = [(w, v, d) for w, v, d in inside if w > 0 and np.isfinite(v)]
        if not good:
            out[y, x] = np.nan
            continue
        w, v, d = np.array(good, np.float64).T
        w = w * np.exp(-d / (2 * r * r)) if operation == "gaussian" else w
        out[y, x] = {
            "median": np.median(v), "minimum": v.min(), "maximum": v.max(),
            "mean": np.sum(w * v) / np.sum(w), "gaussian": np.sum(w * v) / np.sum(w),
        }[operation]  # fmt: skip
    return out


def local_outliers(image, hot, cold, pitch, spread):
    """1 hot, 2 cold, 0 neither, for each pixel among the same places of a pattern; spread (rows, cols) DN."""
    out = np.zeros(image.shape, int)
    for y, x in np.ndindex(*image.shape):
        near, far = [], []
        for dy in range(-3, 4):
            for dx in range(-3, 4):
                j, i, ring = y + dy * pitch, x + dx * pitch, max(abs(dy), abs(dx))
                if ring and 0 <= j < image.shape[0] and 0 <= i < image.shape[1] and np.isfinite(image[j, i]):
                    (near if ring == 1 else far).append(image[j, i])
        if not near:
            continue
        t, a, m, s = image[y, x], np.mean(near), np.median(near), spread[y, x]
        b = np.median(far) if far else m
        if hot is not None and a < b + s / 2 and t > b + s and t > m + hot * s:
            out[y, x] = 1
        elif cold is not None and t + cold * s < b and t + cold * s < m:
            out[y, x] = 2
    return out


def outside(image, sky, low, high):
    with np.errstate(invalid="ignore"):
        return np.nonzero(~((image - sky < high) & (image - sky > low)))


def run_lengths(major, minor):
    """For each entry the number of entries that a walk in both directions reaches without a gap."""
    places = set(zip(major, minor, strict=True))
    out = []
    for a, b in zip(major, minor, strict=True):
        length = 1
        for step in (-1, 1):
            k = step
            while (a, b + k) in places:
                length, k = length + 1, k + step
        out.append(length)
    return out


def segments(values, drop):
    """Sums from each start on, until they are zero or too far below their best."""
    found, k = [], 0
    while k < len(values):
        sums = np.cumsum(values[k:])
        highest = np.maximum.accumulate(np.maximum(sums, 0))
        ends = np.flatnonzero((sums <= 0) | (highest - sums > drop))
        sums = sums[: ends[0] + 1] if len(ends) else sums
        best = int(np.argmax(sums))
        if sums[best] > drop:
            found.append((k, k + best + 1))
        k += best + 1 if sums[best] > 0 else 1
    return found


def spikes(image, sky, noise, e_per_dn, clip, contrast):
    """Cosmic rays by Laplacian edges, step by step as published (van Dokkum 2001): a mask."""
    fine = np.kron(np.pad(image, 1, mode="edge"), np.ones((2, 2)))
    laplacian = 4 * fine
    for axis in (0, 1):
        laplacian = laplacian - np.roll(fine, 1, axis) - np.roll(fine, -1, axis)
    positive = np.maximum(laplacian, 0)[2:-2, 2:-2]
    sharp = positive.reshape(image.shape[0], 2, image.shape[1], 2).mean(axis=(1, 3))
    sigma = np.sqrt(noise**2 + np.maximum(0, median(image, 5) - sky) / e_per_dn)
    surplus = (sharp - median(sharp, 5)) / (2 * sigma)
    structure = np.maximum(median(image, 3) - median(median(image, 3), 7), 0.01 * sigma)
    return (sharp > 2 * clip * sigma) & (surplus > clip) & (sharp > contrast * structure)


def median(image, width):
    """Median of a square, without what is outside the image: a NaN border that a sort puts last."""
    if min(image.shape) > 2 * width:
        inner = median_filter(image, width)
    r = width // 2
    out = np.empty(image.shape)
    for y, x in np.ndindex(*image.shape):
        edge = min(y, x, image.shape[0] - 1 - y, image.shape[1] - 1 - x) < r
        if not edge and min(image.shape) > 2 * width:
            out[y, x] = inner[y, x]
        else:
            out[y, x] = np.median(image[max(0, y - r) : y + r + 1, max(0, x - r) : x + r + 1])
    return out
