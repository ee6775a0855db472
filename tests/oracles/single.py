"""What is sharper than light in one frame, a pixel at a time, as its docstring has it."""

import numpy as np

from masterlight.integration.single.kernels import AROUND, LONGEST, RING, ROUNDS, STANDS_OUT

DIRECTIONS = (0, 1), (1, 0), (1, 1), (1, -1)


def ring_level(image, y, x, radius):
    angles = 2 * np.pi * np.arange(RING) / RING
    at = y + np.rint(radius * np.sin(angles)).astype(int), x + np.rint(radius * np.cos(angles)).astype(int)
    inside = (at[0] >= 0) & (at[0] < image.shape[0]) & (at[1] >= 0) & (at[1] < image.shape[1])
    values = image[at[0][inside], at[1][inside]]
    values = values[~np.isnan(values)]
    return np.median(values) if len(values) >= RING // 2 else np.nan


def pairs(image, y, x, step):
    """(distance in steps, direction, one neighbour, the other)."""
    for far in (1, 2):
        for k, (dy, dx) in enumerate(DIRECTIONS):
            r = far * step
            yield far, k, image[y + r * dy, x + r * dx], image[y - r * dy, x - r * dx]


def sharpness(image, y, x, base, variance, photon, step, ratios):
    above = image[y, x] - base
    told, straight = [], {1: [], 2: []}
    for far, k, a, b in pairs(image - base, y, x, step):
        if np.isnan(a) or np.isnan(b):
            continue
        light, ratio = (max(a, 0) + max(b, 0)) / 2, ratios[2 * (far - 1) + (k > 1)]
        told.append((light, ratio, 2))
        if k < 2:
            straight[far].append(light)
    told += [(np.mean(lights), ratios[2 * (far - 1)], 4) for far, lights in straight.items() if len(lights) == 2]
    noise = variance + photon * max(above, 0)
    values = [(above - s / r) / np.sqrt(noise + (variance + photon * s) / (count * r * r)) for s, r, count in told]
    return max(values, default=-np.inf)


def find_sharp(image, noise, photon, ceiling, step, radius, ratios, sigma):
    """Marks, bool; every pixel is looked at in every round, and only what is beside the last finds counts later."""
    rows, cols = image.shape
    work, found, last = image.astype(float), np.zeros(image.shape, bool), None
    for k in range(ROUNDS):
        share, marked = (1.0 if k == 0 else 0.5), []
        for y in range(2 * step, rows - 2 * step):
            for x in range(2 * step, cols - 2 * step):
                beside = last is None or any(abs(y - j) <= step and abs(x - i) <= step for j, i in last)
                apart = [work[y, x] - (a + b) / 2 for _, _, a, b in pairs(work, y, x, step)]
                if found[y, x] or not beside or not np.nanmax([-np.inf, *apart]) > share * sigma * noise:
                    continue
                base, around = (
                    ring_level(work, y, x, radius),
                    np.s_[y - AROUND : y + AROUND + 1, x - AROUND : x + AROUND + 1],
                )
                if not work[y, x] - base > share * STANDS_OUT * noise or (image[around] >= ceiling).any():
                    continue
                if sharpness(work, y, x, base, noise**2, photon, step, ratios) > share * sigma:
                    marked.append((y, x))
        for y, x in marked:
            found[y, x] = True
        for y, x in marked:
            around = np.s_[max(0, y - AROUND) : y + AROUND + 1, max(0, x - AROUND) : x + AROUND + 1]
            left = work[around][~found[around] & ~np.isnan(work[around])]
            work[y, x] = np.median(left) if left.size else np.nan
        if not marked:
            break
        last = marked
    return found


def is_sharp(image, y, x, noise, photon, ceiling, radius, ratios, sigma, share):
    apart = [image[y, x] - (a + b) / 2 for _, _, a, b in pairs(image, y, x, 1)]
    if not np.nanmax([-np.inf, *apart]) > share * sigma * noise:
        return False
    base, around = ring_level(image, y, x, radius), np.s_[y - AROUND : y + AROUND + 1, x - AROUND : x + AROUND + 1]
    if not image[y, x] - base > share * STANDS_OUT * noise or (image[around] >= ceiling).any():
        return False
    return sharpness(image, y, x, base, noise**2, photon, 1, ratios) > share * sigma


def sharp_around(work, y, x, found, share, *how):
    """The 3 x 3 pixels around a place that are sharp and not found yet, found now."""
    (rows, cols), out = work.shape, []
    for at in ((y + j, x + i) for j in (-1, 0, 1) for i in (-1, 0, 1)):
        inside = 2 <= at[0] < rows - 2 and 2 <= at[1] < cols - 2
        if inside and not found[at] and is_sharp(work, *at, *how, share):
            found[at] = True
            out.append(at)
    return out


def follow_rays(image, places, tell, *how):
    """([(y, x), ...] of the rays, ray after ray as they grow, the image without them)."""
    work, found, kept = image.astype(float), np.zeros(image.shape, bool), []
    for x, y in places:
        if tell and 2 <= y < image.shape[0] - 2 and 2 <= x < image.shape[1] - 2:
            base = ring_level(work, y, x, how[3])
            if sharpness(work, y, x, base, how[0] ** 2, how[1], 1, how[4]) < 0:
                continue
        before = work.copy(), found.copy()
        last = sharp_around(work, y, x, found, 1.0, *how)
        ray = list(last)
        while last and len(ray) < LONGEST:
            for j, i in last:
                around = np.s_[max(0, j - AROUND) : j + AROUND + 1, max(0, i - AROUND) : i + AROUND + 1]
                left = work[around][~found[around] & ~np.isnan(work[around])]
                work[j, i] = np.median(left) if left.size else np.nan
            last = [one for at in last for one in sharp_around(work, *at, found, 0.5, *how)]
            ray += last
        if len(ray) < LONGEST:
            kept += ray
        else:
            work, found = before
    return kept, work
