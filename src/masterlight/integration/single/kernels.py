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
LONGEST = 150
"""What has more pixels is a trail, and no ray."""
STANDS_OUT = 6.0
"""So many sigma of the sky a pixel stands above its surroundings to be looked at; its neighbours half of it."""


@njit(nogil=True, cache=True, error_model="numpy")
def ring_of(radius):
    """The pixels of a ring as steps (RING, 2) int64 from the one in its middle, down and across."""
    ring = np.empty((RING, 2), np.int64)
    for k in range(RING):
        angle = 2 * np.pi * k / RING
        ring[k, 0], ring[k, 1] = int(np.rint(radius * np.sin(angle))), int(np.rint(radius * np.cos(angle)))
    return ring


@njit(nogil=True, cache=True, error_model="numpy")
def ring_level(image, y, x, ring):
    """Median of the pixels on a ring around a pixel; NaN where fewer than half of them are there."""
    values, n = np.empty(RING, np.float32), 0
    for k in range(RING):
        j, i = y + ring[k, 0], x + ring[k, 1]
        if 0 <= j < image.shape[0] and 0 <= i < image.shape[1] and image[j, i] == image[j, i]:
            v, slot = image[j, i], n
            while slot > 0 and values[slot - 1] > v:
                values[slot] = values[slot - 1]
                slot -= 1
            values[slot] = v
            n += 1
    if n < RING // 2:
        return np.float32(np.nan)
    return np.float32(0.5) * (values[(n - 1) // 2] + values[n // 2])


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
    work, margin, variance, ring = image.copy(), 2 * step, noise * noise, ring_of(radius)
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
                    base = ring_level(work, y, x, ring)
                    if not work[y, x] - base > share * STANDS_OUT * noise or is_bright_near(image, y, x, ceiling):
                        continue
                    if sharpness(work, y, x, base, variance, photon, step, ratios) > share * sigma:
                        marked.append((y, x))
        last = marked
        for y, x in marked[1:]:
            found[y, x] = 1
        for y, x in marked[1:]:
            work[y, x] = replace(image, found, y, x)


@njit(nogil=True, cache=True, error_model="numpy")
def is_sharp(image, y, x, how, share):
    """Whether a pixel stands out and is `share` times `sigma` sharper than light, by the numbers of `follow_rays`."""
    noise, photon, ceiling, ring, ratios, sigma = how
    if not stands_alone(image, y, x, 1, np.float32(share * sigma * noise)):
        return False
    base = ring_level(image, y, x, ring)
    if not image[y, x] - base > share * STANDS_OUT * noise or is_bright_near(image, y, x, ceiling):
        return False
    return sharpness(image, y, x, base, noise * noise, photon, 1, ratios) > share * sigma


@njit(nogil=True, cache=True, error_model="numpy")
def add_sharp(image, y, x, how, share, found, ray):
    """Add to `ray` the pixels that are sharp among 3 x 3 around a place and not found yet; nearer than 2 to the edge
    none is looked at."""
    for j in range(max(2, y - 1), min(image.shape[0] - 2, y + 2)):
        for i in range(max(2, x - 1), min(image.shape[1] - 2, x + 2)):
            if found[j, i] == 0 and is_sharp(image, j, i, how, share):
                found[j, i] = 1
                ray.append((j, i))


@njit(nogil=True, cache=True, error_model="numpy")
def is_soft(image, y, x, how):
    """Whether a peak is softer than light."""
    if not (2 <= y < image.shape[0] - 2 and 2 <= x < image.shape[1] - 2):
        return False
    noise, photon, _, ring, ratios, _ = how
    return sharpness(image, y, x, ring_level(image, y, x, ring), noise * noise, photon, 1, ratios) < 0.0


@njit(nogil=True, cache=True, error_model="numpy")
def follow_rays(image, places, tell, noise, photon, ceiling, radius, ratios, sigma, found):
    """The pixels, (n, 2) int64 of y, x, of the rays that begin at some places of an image.

    image (rows, cols) float32 is changed: what is found is replaced, so that its flanks show, and its neighbours are
    looked at in turn, at half of `sigma`, until none is sharper than light. places (n, 2) int: x, y of the middles of 3
    x 3 pixels; with `tell` they are peaks, and where one is softer than light no ray begins. What grows to more than
    LONGEST pixels is put back. found (rows, cols) uint8 is scratch and comes filled with 0; the others are as in
    `find_sharp`.
    """
    kept, how = [(0, 0)], (noise, photon, ceiling, ring_of(radius), ratios, sigma)
    for k in range(places.shape[0]):
        if tell and is_soft(image, places[k, 1], places[k, 0], how):
            continue
        ray, old, start = [(0, 0)], [image[0, 0]], 1
        add_sharp(image, places[k, 1], places[k, 0], how, 1.0, found, ray)
        while start < len(ray) <= LONGEST:
            stop = len(ray)
            for y, x in ray[start:stop]:
                old.append(image[y, x])
                image[y, x] = replace(image, found, y, x)
            for y, x in ray[start:stop]:
                add_sharp(image, y, x, how, 0.5, found, ray)
            start = stop
        if len(ray) <= LONGEST:
            kept += ray[1:]
            continue
        for n in range(1, len(ray)):
            found[ray[n]] = 0
            if n < len(old):
                image[ray[n]] = old[n]
    out = np.empty((len(kept) - 1, 2), np.int64)
    for n in range(1, len(kept)):
        out[n - 1, 0], out[n - 1, 1] = kept[n]
    return out
