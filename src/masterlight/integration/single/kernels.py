"""What in one frame is sharper than any light of the sky can be: kernels.

Light comes through the air and the optics: whatever it shows is a sum of point spread functions. So if the middle of
three pixels in a row stands c above its surroundings, the mean of both others stands at least r c above them, with r
the ratio that a star has which lies on the very middle. A cosmic ray, which is in no need of optics, breaks this.
"""

import numpy as np

from masterlight.compiled import njit

ROUNDS = 3
"""Looks at a frame: the flanks of what is wide show when its ridge is gone."""
RING = 16
"""Pixels of the ring around a pixel whose median is the level that it stands on."""
AROUND = 2
"""Found pixels are replaced by the median of the square so many pixels around them before the next look."""
STANDS_OUT = 6.0
"""So many sigma of the sky a pixel stands above its surroundings to be looked at; its neighbours half of it."""


@njit(nogil=True, cache=True, error_model="numpy")
def ring_level(image, y, x, radius):
    """Median of the pixels on a ring around a pixel; NaN where fewer than half of them are there."""
    values, n = np.empty(RING, np.float32), 0
    for k in range(RING):
        angle = 2 * np.pi * k / RING
        j, i = y + int(np.rint(radius * np.sin(angle))), x + int(np.rint(radius * np.cos(angle)))
        if 0 <= j < image.shape[0] and 0 <= i < image.shape[1] and image[j, i] == image[j, i]:
            values[n] = image[j, i]
            n += 1
    return np.median(values[:n]) if n >= RING // 2 else np.float32(np.nan)


@njit(nogil=True, cache=True, error_model="numpy")
def sharpness(image, y, x, base, variance, photon, step, ratios):
    """By how many sigma a pixel is sharper than light, in the direction and at the distance where it is most.

    image (rows, cols) float32, of which `base` is the level around the pixel; variance: of the sky; photon: variance
    for each DN of light; step: from a pixel to its neighbour of the same colour; ratios (4,): what is left of a star's
    light at the distance of a neighbour, a diagonal one, and twice as far. Directions with a missing pixel do not tell.
    """
    above, most = np.float64(image[y, x] - base), -np.inf
    own = variance + photon * max(above, 0.0)
    for far in range(1, 3):
        reach, whole, pairs = far * step, 0.0, 0
        for k in range(4):
            dy, dx = (0, 1, 1, 1)[k] * reach, (1, 0, 1, -1)[k] * reach
            a, b = np.float64(image[y + dy, x + dx] - base), np.float64(image[y - dy, x - dx] - base)
            if not (a == a and b == b):
                continue
            light = 0.5 * (max(a, 0.0) + max(b, 0.0))
            ratio = ratios[2 * (far - 1) + (k > 1)]
            sigma = np.sqrt(own + (variance + photon * light) / (2 * ratio * ratio))
            most = max(most, (above - light / ratio) / sigma)
            if k < 2:
                whole, pairs = whole + light, pairs + 1
        if pairs == 2:
            light, ratio = whole / 2, ratios[2 * (far - 1)]
            sigma = np.sqrt(own + (variance + photon * light) / (4 * ratio * ratio))
            most = max(most, (above - light / ratio) / sigma)
    return most


@njit(nogil=True, cache=True, error_model="numpy")
def replace(image, found, y, x):
    """The median of what is left in the square around a pixel; NaN where nothing is."""
    values, n = np.empty((2 * AROUND + 1) ** 2, np.float32), 0
    for j in range(max(0, y - AROUND), min(image.shape[0], y + AROUND + 1)):
        for i in range(max(0, x - AROUND), min(image.shape[1], x + AROUND + 1)):
            if found[j, i] == 0 and image[j, i] == image[j, i]:
                values[n] = image[j, i]
                n += 1
    return np.median(values[:n]) if n else np.float32(np.nan)


@njit(nogil=True, cache=True, error_model="numpy")
def stands_alone(image, y, x, step, least):
    """Whether a pixel stands `least` above the mean of a pair of its neighbours: without that it is as smooth as light.

    In one of four directions, at one or two steps.
    """
    c = image[y, x]
    for far in range(1, 3):
        r = far * step
        lowest = min(image[y, x - r] + image[y, x + r], image[y - r, x] + image[y + r, x])
        lowest = min(lowest, image[y - r, x - r] + image[y + r, x + r], image[y - r, x + r] + image[y + r, x - r])
        if c - np.float32(0.5) * lowest > least:
            return True
    return False


@njit(nogil=True, cache=True, error_model="numpy")
def is_bright_near(image, y, x, ceiling):
    """Whether a pixel or one near it reaches `ceiling`."""
    for j in range(max(0, y - AROUND), min(image.shape[0], y + AROUND + 1)):
        for i in range(max(0, x - AROUND), min(image.shape[1], x + AROUND + 1)):
            if image[j, i] >= ceiling:
                return True
    return False


@njit(nogil=True, cache=True, error_model="numpy")
def find_sharp(image, noise, photon, ceiling, step, radius, ratios, sigma, found):
    """Mark in found (rows, cols) uint8 the pixels of image (rows, cols) float32 that are `sigma` sharper than light.

    noise: of the sky, DN; photon: variance for each DN of light; pixels from `ceiling` on, and what is near them, are
    left alone; radius of the ring that tells the level around a pixel. `found` comes filled with 0, and pixels nearer
    than 2 `step` to the edge are not looked at.
    """
    rows, cols = image.shape
    work, margin, variance = image.copy(), 2 * step, noise * noise
    last = [(0, 0)]
    for k in range(ROUNDS):
        share, marked = 1.0 if k == 0 else 0.5, [(0, 0)]
        least = np.float32(share * sigma * noise)
        for n in range(rows if k == 0 else len(last)):  # the whole frame once, then what is beside those found last
            y0, y1 = (n, n + 1) if k == 0 else (last[n][0] - step, last[n][0] + step + 1)
            x0, x1 = (0, cols) if k == 0 else (last[n][1] - step, last[n][1] + step + 1)
            for y in range(max(y0, margin), min(y1, rows - margin)):
                for x in range(max(x0, margin), min(x1, cols - margin)):
                    if not stands_alone(work, y, x, step, least) or found[y, x]:
                        continue
                    base = ring_level(work, y, x, radius)
                    if not work[y, x] - base > share * STANDS_OUT * noise or is_bright_near(image, y, x, ceiling):
                        continue
                    if sharpness(work, y, x, base, variance, photon, step, ratios) > share * sigma:
                        marked.append((y, x))
        last = marked
        for y, x in marked[1:]:
            found[y, x] = 1
        for y, x in marked[1:]:
            work[y, x] = replace(image, found, y, x)
