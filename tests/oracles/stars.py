"""Slow, obvious twins of the kernels of `masterlight.subframes.stars`: `maxima`, `sharp`, `psf`."""

import numpy as np
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import correlate
from scipy.optimize import least_squares


def bin_by_2(image):
    rows, cols = image.shape[0] // 2, image.shape[1] // 2
    out = np.full((rows, cols), np.nan)
    for y in range(rows):
        for x in range(cols):
            block = image[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].astype(float)
            if np.isfinite(block).any():
                out[y, x] = block[np.isfinite(block)].mean()
    return out


def smooth(image):
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    return correlate(image.astype(float), kernel, mode="nearest")


def tile_level(x, width):
    v = x[np.isfinite(x)].astype(float)
    if 4 * len(v) < len(x) or len(v) < 4:
        return np.nan, np.nan
    centre = np.median(v)
    sd = 1.4826 * np.median(np.abs(v - centre))
    for _ in range(2):
        low, high = centre - 3 * sd, centre + 3 * sd
        kept = v[(v >= low) & (v <= high)]
        centre, mean, sd = np.median(kept), kept.mean(), kept.std()
    if abs(mean - centre) < 0.3 * sd:
        centre = 2.5 * centre - 1.5 * mean
    masked = np.where((x >= low) & (x <= high), x, np.nan).astype(float).reshape(-1, width)
    second = np.abs(masked[:, :-6] + masked[:, 6:] - 2 * masked[:, 3:-3])
    return centre, 1.4826 * np.nanmedian(second) / np.sqrt(6)


def mesh_at(grid, shape):
    """The whole mesh at full resolution."""
    axes = [(np.arange(n) + 0.5) * size / n - 0.5 for n, size in zip(grid.shape, shape, strict=True)]
    y, x = (np.clip(np.arange(size), axis[0], axis[-1]) for size, axis in zip(shape, axes, strict=True))
    if 1 in grid.shape:
        rows = np.interp(y, axes[0], np.arange(grid.shape[0]))
        cols = np.interp(x, axes[1], np.arange(grid.shape[1]))
        line = grid[:, 0][rows.round().astype(int)] if grid.shape[0] == 1 else np.interp(y, axes[0], grid[:, 0])
        if grid.shape[1] == 1:
            return np.repeat(np.asarray(line, float)[:, None], shape[1], axis=1)
        return np.repeat(np.interp(x, axes[1], grid[0])[None, :], shape[0], axis=0) + 0 * cols
    return RegularGridInterpolator(axes, grid.astype(float))(np.stack(np.meshgrid(y, x, indexing="ij"), -1))


def find_maxima(image, threshold):
    """Pixels above `threshold` (an image) and above all eight neighbours, of equals the last; in raster order."""
    found = []
    for y in range(1, image.shape[0] - 1):
        for x in range(1, image.shape[1] - 1):
            around = image[y - 1 : y + 2, x - 1 : x + 2].ravel()
            if (
                image[y, x] > threshold[y, x]
                and not (around[:4] > image[y, x]).any()
                and not (around[5:] >= image[y, x]).any()
            ):
                found.append((x, y))
    return np.array(found).reshape(-1, 2)


def pixel_moffat(p, dx, dy, beta, nodes=9):
    """A Moffat profile integrated over pixels by brute sub-sampling; p as in `psf.fit_stars`."""
    offsets = (np.arange(nodes) + 0.5) / nodes - 0.5
    out = np.zeros(np.shape(dx))
    for oy in offsets:
        for ox in offsets:
            u, v = dx - p[0] + ox, dy - p[1] + oy
            out += (1 + p[4] * u * u + 2 * p[6] * u * v + p[5] * v * v) ** -beta
    return p[3] + p[2] * out / nodes**2


def fit_stars(image, start, noise, radius, beta):
    """One star by scipy's least squares with numerical derivatives: (parameters, chi-square)."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    disc = (x - round(start[0])) ** 2 + (y - round(start[1])) ** 2 <= radius**2
    disc &= np.isfinite(image)

    def residuals(p):
        return (image[disc] - pixel_moffat(p, x[disc], y[disc], beta)) / noise

    fit = least_squares(residuals, start, x_scale=np.maximum(np.abs(start), 0.1), xtol=1e-10, ftol=1e-12)
    return fit.x, 2 * fit.cost


def block(image, x, y, level, noise):
    """Whether the brightest 2 x 2 square that holds (x, y) has next to nothing around it."""
    above = image.astype(float) - level
    rows, cols = image.shape
    squares = [
        (above[j : j + 2, i : i + 2].sum(), -j, -i)
        for j in (y - 1, y)
        for i in (x - 1, x)
        if 0 <= j <= rows - 2 and 0 <= i <= cols - 2
    ]
    if not squares:
        return False
    best, top, left = max(squares)
    top, left = -top, -left
    ring = above.copy()
    ring[top : top + 2, left : left + 2] = np.nan
    ring = ring[max(0, top - 1) : top + 3, max(0, left - 1) : left + 3]
    return np.isfinite(ring).sum() >= 8 and np.nansum(ring) < 0.07 * best - 2.5 * noise


def lone_in_mosaic(mosaic, x, y, searched):
    """Whether the brightest of the pixels searched at (x, y), each above its own colour, stands alone."""
    period = len(searched)
    rows, cols = mosaic.shape
    above, spread = np.full(mosaic.shape, np.nan), np.full(mosaic.shape, np.nan)
    for j in range(max(0, y - 3), min(rows, y + 4)):
        for i in range(max(0, x - 3), min(cols, x + 4)):
            steps = [(j + period * b, i + period * a) for b in range(-2, 3) for a in range(-2, 3) if (a, b) != (0, 0)]
            own = np.sort([mosaic[q] for q in steps if 0 <= q[0] < rows and 0 <= q[1] < cols]).astype(float)
            if len(own) >= 8:
                above[j, i] = float(mosaic[j, i]) - own[len(own) // 2]
                spread[j, i] = (own[3 * len(own) // 4] - own[len(own) // 4]) / 1.349
    near = np.full(mosaic.shape, -np.inf)
    box = np.s_[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
    ours = np.tile(searched, (-(-rows // period), -(-cols // period)))[:rows, :cols]
    near[box] = np.nan_to_num(np.where(ours[box], above[box], np.nan), nan=-np.inf)
    if not np.isfinite(near).any():
        near[y, x] = 0.0
    py, px = np.unravel_index(np.argmax(near), near.shape)
    if not (0 < px < cols - 1 and 0 < py < rows - 1):
        return False
    nine = above[py - 1 : py + 2, px - 1 : px + 2].ravel()
    others = np.sort(np.delete(nine, 4))
    others = others[np.isfinite(others)]
    lone = len(others) >= 6 and others[:-2].sum() < 0.2 * nine[4] - 1.5 * spread[py, px]
    return bool(lone and nine[4] > 10 * spread[py, px])
