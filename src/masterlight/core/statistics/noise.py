"""Location, scale and noise of an image, robust against stars, nebulae and missing pixels."""

import numpy as np

from masterlight.compiled import njit
from masterlight.core.statistics.rounding import COARSE_ORDER, dither, spread_of, step_between, without

SAFE = {"contract", "reassoc", "nsz"}
"""Fast-math flags that keep the meaning of NaN and infinity."""

LAYER_SIGMA = np.array([0.8907, 0.2007, 0.0856, 0.0413, 0.0205, 0.0103])
"""Standard deviation of each starlet layer for white noise of sigma 1."""

MRS_OF_WHITE = 1.0045
"""What `noise_mrs` tells of white noise of sigma 1."""
COARSE_MRS = 1.5
"""Steps that noise must have for its squares to be those of Gaussian noise: few photons are skew."""

OF_RESIDUAL = 0.974
"""Standard deviation of white noise of sigma 1 without what lies above SUPPORT_SIGMA and the smooth rest."""
SUPPORT_SIGMA = 3.0
"""Pixels below it in every layer tell the noise."""

SAMPLES = 300_000
WHOLE_PIXELS = 1 << 20
WINDOW_PX, WINDOWS = 128, 6
"""Larger frames are measured in so many windows along each side, each so wide: they tell the noise to 0.1 %."""
CELLS = 16
"""Where the noise of smaller frames was measured is told in so many cells along each side."""


@njit(nogil=True, cache=True)
def take(image, step, out):
    """Copy every `step`-th pixel, shifted from row to row, into `out`; returns how many were finite and not."""
    rows, cols = image.shape
    found, missing = 0, 0
    for y in range(rows):
        for x in range((y * 7919) % step, cols, step):
            value = image[y, x]
            if abs(value) < np.inf:
                out[found] = value
                found += 1
            else:
                missing += 1
    return found, missing


def sample(image, limit=SAMPLES):
    """An even, repeatable selection of an image's pixels, for statistics that need not see them all.

    image (rows, cols); returns (values, missing_fraction): float32 finite pixels, at least `limit` of them
    when the frame has as many, and the share of NaN among those looked at. The step is odd, so that a
    colour filter mosaic is sampled in all its colours.
    """
    step = max(1, image.size // limit)
    step -= step % 2 == 0
    out = np.empty(image.size // step + image.shape[0] + 1, np.float32)
    found, missing = take(image, step, out)
    return out[:found], missing / max(1, found + missing)


def finite(x):
    x = np.ravel(x)
    return x[np.isfinite(x)]


def two_sided_scale(sample):
    """How far an image's pixels spread below and above their median, measured so that nebulae do not count as noise.

    sample: any array, NaN left out; returns (location, scale_low, scale_high), the median and the square
    roots of the biweight midvariance of each side about it (Beers, Flynn & Gebhardt 1990), without the factor
    0.991 that makes them the sigma of Gaussian noise. All NaN for an empty sample.
    """
    x = finite(sample)
    if not x.size:
        return np.nan, np.nan, np.nan
    centre, (low, high) = spread_of(x, about_median, COARSE_ORDER)
    return centre, low, high


def about_median(x):
    """Median, and the roots of the biweight midvariance of the values on either side of it."""
    centre = float(np.median(x))
    return centre, biweight_sides(x, centre)


def biweight_sides(x, centre):
    """Roots of the biweight midvariance of the values below and above `centre`."""
    low, high = x[x <= centre], x[x > centre]
    mad_low, mad_high = deviations(low, high, centre, x)
    return midvariance(low, centre, mad_low) ** 0.5, midvariance(high, centre, mad_high) ** 0.5


def deviations(low, high, centre, x):
    """Median deviation of x below and above its median; that of all where half of a side is the median itself."""
    below = centre - float(np.median(low))
    above = float(np.median(high)) - centre if high.size else 0.0
    if min(below, above) <= 1e-12 * max(abs(centre), below, above):
        below = above = mad_about(x, centre)
    return below, above


def mad_about(x, centre):
    return float(np.median(np.abs(x - centre)))


@njit(nogil=True, cache=True, fastmath=SAFE)
def midvariance(x, centre, mad):
    """Biweight midvariance of `x` about `centre`, weights falling to zero at 9 `mad`; zero when `mad` is."""
    if mad <= 0.0 or x.size == 0:
        return 0.0
    scale = 1.0 / (9.0 * mad)
    above, below = 0.0, 0.0
    for i in range(x.size):
        d = x[i] - centre
        u2 = min(1.0, (d * scale) ** 2)
        keep = 1.0 - u2
        above += d * d * keep**4
        below += keep * (1.0 - 5.0 * u2)
    return x.size * above / (below * below) if abs(below) > 1e-9 * x.size else 0.0


def noise_mrs(image, saturation_dn=np.inf):
    """The noise of the sky in one pixel, and the share of the pixels that tell it: see `noise_and_free`."""
    return noise_and_free(image, saturation_dn)[:2]


def noise_and_free(image, saturation_dn=np.inf):
    """The noise of the sky in one pixel, stars and nebulae left out by their structure, and where it was measured.

    image (rows, cols) float32 DN; NaN and pixels at or above `saturation_dn` do not count. Returns
    (sigma, fraction, free): sigma in DN, the share of pixels that were found free of structure, and that share in
    cells that divide the image evenly, (ny, nx) float32. Multiresolution support on four starlet layers (Starck &
    Murtagh 1998), with fewer layers and at last k-sigma clipping when the image has too little free sky. Frames above
    1 Mpx are measured in a window in the middle of each cell. Of noise below a step or so of whole numbers see
    `core.statistics.rounding`.
    """
    image = np.asarray(image, np.float32)
    boxes = windows_of(*image.shape)
    count = sum((y1 - y0) * (x1 - x0) for y0, y1, x0, x1 in boxes)
    detail, structure, residual = np.empty((3, count), np.float32)
    sigma_0, used = 0.0, 0
    step = step_between(image, COARSE_MRS)
    y0, y1, x0, x1 = boxes[0]
    added = dither((y1 - y0, x1 - x0), step) if step else None
    for layers in (4, 3, 2):
        start = 0
        for y0, y1, x0, x1 in boxes:
            end = start + (y1 - y0) * (x1 - x0)
            box = image[y0:y1, x0:x1] if added is None else image[y0:y1, x0:x1] + added
            decompose(box, layers, saturation_dn, detail[start:end], structure[start:end], residual[start:end])
            start = end
        if layers == 4:
            sigma_0, used = noise_ksigma(detail)
        sigma, kept = support(structure, residual, sigma_0)
        if sigma > 0 and kept >= 0.01 * count:
            return less_dither(sigma, step), kept / count, shares_below(structure, SUPPORT_SIGMA * sigma, boxes)
    return less_dither(sigma_0, step), used / max(1, count), shares_below(detail, SUPPORT_SIGMA * sigma_0, boxes)


def windows_of(rows, cols):
    """The boxes in which the noise of an image is measured: all of it, or a window in the middle of each cell."""
    if rows * cols <= WHOLE_PIXELS:
        return [(0, rows, 0, cols)]
    high, wide = min(WINDOW_PX, rows), min(WINDOW_PX, cols)
    centres = (np.arange(WINDOWS) + 0.5) / WINDOWS
    starts_y = np.clip(centres * rows - high / 2, 0, rows - high).astype(int)
    starts_x = np.clip(centres * cols - wide / 2, 0, cols - wide).astype(int)
    return [(y, y + high, x, x + wide) for y in starts_y for x in starts_x]


def shares_below(key, limit, boxes):
    """Share of the pixels of each cell whose |key| is below the limit, (ny, nx) float32.

    key: flat, the pixels of the boxes one after the other; NaN is not below.
    """
    if len(boxes) > 1:
        return (np.abs(key.reshape(len(boxes), -1)) <= limit).mean(axis=1, dtype=np.float32).reshape(WINDOWS, WINDOWS)
    inside = np.abs(key.reshape(boxes[0][1], boxes[0][3])) <= limit
    edges = [np.linspace(0, n, min(n, CELLS), endpoint=False).astype(int) for n in inside.shape]
    sums = np.add.reduceat(np.add.reduceat(inside, edges[0], axis=0, dtype=np.float32), edges[1], axis=1)
    areas = np.multiply.outer(*(np.diff(e, append=n) for e, n in zip(edges, inside.shape, strict=True)))
    return (sums / areas).astype(np.float32)


def less_dither(sigma, step):
    """Noise of an image without that of one step which was added, where it was."""
    return float(without(sigma, MRS_OF_WHITE * step) if step else sigma)


def decompose(image, layers, saturation_dn, detail, structure, residual):
    """Starlet transform of one window: first layer, strongest layer in sigmas, image minus the smooth rest.

    All three outputs are flat; missing and saturated pixels get NaN, and infinity as `structure`.
    """
    valid = np.isfinite(image) & (image < saturation_dn)
    smooth = fill_rows(image, valid)
    clean = smooth.copy()
    work, rest = np.empty_like(smooth), np.empty_like(smooth)
    structure[:] = 0.0
    for layer in range(layers):
        starlet_smooth(smooth, 1 << layer, work, rest)
        layer_out = detail if layer == 0 else work.reshape(-1)
        strongest(smooth.reshape(-1), rest.reshape(-1), 1.0 / LAYER_SIGMA[layer], layer_out, structure)
        smooth, rest = rest, smooth
    np.subtract(clean.reshape(-1), smooth.reshape(-1), out=residual)
    if not valid.all():
        missing = ~valid.reshape(-1)
        detail[missing] = residual[missing] = np.nan
        structure[missing] = np.inf


@njit(nogil=True, cache=True)
def fill_rows(image, valid):
    """A copy with each invalid pixel replaced by the last valid one before it."""
    out = np.empty(image.shape, np.float32)
    last = np.float32(0.0)
    for i in range(image.size):
        if valid.flat[i]:
            last = image.flat[i]
            break
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            if valid[y, x]:
                last = image[y, x]
            out[y, x] = last
    return out


@njit(nogil=True, cache=True)
def mirror(i, n):
    """Index of `i` in an axis of n pixels that is reflected at its border pixels."""
    if n == 1:
        return 0
    i = abs(i) % (2 * n - 2)
    return i if i < n else 2 * n - 2 - i


@njit(nogil=True, cache=True, fastmath=SAFE)
def starlet_smooth(image, gap, work, out):
    """Smooth by the B3 spline [1, 4, 6, 4, 1] / 16 with taps `gap` pixels apart, reflected at the borders."""
    rows, cols = image.shape
    c1, c4, c6 = np.float32(1 / 16), np.float32(4 / 16), np.float32(6 / 16)
    for y in range(rows):
        a, b = image[mirror(y - 2 * gap, rows)], image[mirror(y - gap, rows)]
        d, e = image[mirror(y + gap, rows)], image[mirror(y + 2 * gap, rows)]
        c, into = image[y], work[y]
        for x in range(cols):
            into[x] = c1 * (a[x] + e[x]) + c4 * (b[x] + d[x]) + c6 * c[x]
    row = np.empty(cols + 4 * gap, np.float32)
    for y in range(rows):
        for x in range(2 * gap):
            row[x] = work[y, mirror(x - 2 * gap, cols)]
            row[cols + 2 * gap + x] = work[y, mirror(cols + x, cols)]
        for x in range(cols):
            row[2 * gap + x] = work[y, x]
        a, b, c, d, e, into = row, row[gap:], row[2 * gap :], row[3 * gap :], row[4 * gap :], out[y]
        for x in range(cols):
            into[x] = c1 * (a[x] + e[x]) + c4 * (b[x] + d[x]) + c6 * c[x]


@njit(nogil=True, cache=True, fastmath=SAFE)
def strongest(upper, lower, scale, layer, structure):
    """Fill `layer` with upper - lower and raise `structure` to its size in sigmas."""
    factor = np.float32(scale)
    for i in range(upper.size):
        w = upper[i] - lower[i]
        layer[i] = w
        structure[i] = max(structure[i], abs(w) * factor)


@njit(nogil=True, cache=True, fastmath=SAFE)
def spread(values, key, limit):
    """Standard deviation about their mean, and count, of the values whose |key| is below the limit; NaN keys fail."""
    total, squares, count = 0.0, 0.0, 0
    bound = np.float32(limit)
    for i in range(values.size):
        ok = abs(key[i]) <= bound
        v = np.float64(values[i]) if ok else 0.0
        total += v
        squares += v * v
        count += ok
    if count < 2:
        return 0.0, count
    mean = total / count
    return np.sqrt(max(0.0, squares / count - mean * mean)), count


def noise_ksigma(detail):
    """Noise from the finest starlet layer by clipping at 3 sigma until it changes by less than 1 %.

    detail: first layer, any shape, NaN left out. Returns (sigma in DN, how many values remained).
    """
    limit, before = np.finfo(np.float32).max, 0.0
    sigma, used = 0.0, 0
    for step in range(10):
        sigma, used = spread(detail, detail, limit)
        if used < 2 or sigma <= 0:
            return 0.0, used
        if step >= 1 and (before - sigma) / before < 0.01:
            break
        limit, before = 3.0 * sigma, sigma
    return sigma / LAYER_SIGMA[0], used


def support(structure, residual, sigma):
    """Noise of the pixels below 3 sigma in every layer, repeated until it settles; (0, count) if it does not."""
    kept = 0
    for _ in range(18):
        if sigma <= 0:
            return 0.0, kept
        before = sigma
        sigma, kept = spread(residual, structure, SUPPORT_SIGMA * before)
        if kept < 2 or sigma <= 0:
            return 0.0, kept
        if abs(sigma - before) / sigma < 1e-4:
            return sigma / OF_RESIDUAL, kept
    return 0.0, kept
