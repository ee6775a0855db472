"""The smooth light of a comet and of the sky it moves over, told apart on coarse copies of some lights.

Coma and tail are wider than a comet moves in a night. Taking stars and comet off each other in turn settles what is
narrower than its way in a round or two, and what is wider only in dozens: those are cheap where pixels are few.
"""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter, label, map_coordinates

from masterlight.core.frame import Frame

MOST_CELLS, LEAST_SIDE_PX = 60_000, 4
"""Cells of a coarse copy at most, and pixels along the side of one at least."""
MOST_LIGHTS = 24
"""Lights that are copied, evenly spread over the time."""
TURNS, SETTLED = 200, 0.02
"""Turns of taking off at most; it is settled when the comet changes by less than this part of the noise."""
SHOWN_SIGMA, GROWN = 2.5, 4
"""A comet reaches as far as it stands out of the sky by so many sigma, and so many cells farther."""


def side_of(shape: tuple[int, ...]) -> int:
    """Pixels along the side of a cell."""
    return max(LEAST_SIDE_PX, int(np.ceil(np.sqrt(shape[-1] * shape[-2] / MOST_CELLS))))


def cells_of(frame: Frame, side: int) -> np.ndarray:
    """A coarse copy of a frame, (planes, rows, cols) float32: medians of squares of pixels, which hold few stars."""
    rows, cols = frame.shape[-2] // side, frame.shape[-1] // side
    out, step = np.empty((frame.planes, rows, cols), np.float32), max(1, 512 // side)
    for y in range(0, rows, step):
        end = min(rows, y + step)
        pixels = frame.pixels(y * side, end * side, 0, cols * side).reshape(frame.planes, end - y, side, cols, side)
        blocks = np.moveaxis(pixels, 3, 2).reshape(frame.planes, end - y, cols, side * side)
        missing = np.isnan(blocks).mean(axis=-1) > 0.5
        known = np.where(missing[..., None], 0, blocks)
        out[:, y:end] = np.where(missing, np.nan, np.nanmedian(known, axis=-1))
    return out


def at(image: np.ndarray, dx: float, dy: float, beyond: float = np.nan) -> np.ndarray:
    """An image (rows, cols) at positions moved by (dx, dy), linear between its cells."""
    rows, cols = image.shape
    y, x = np.arange(rows) + dy, np.arange(cols) + dx
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    v, u = (y - top)[:, None], (x - left)[None, :]
    wide = np.full((rows + 2, cols + 2), beyond)
    wide[1:-1, 1:-1] = image
    j, j1 = (np.clip(top + k, -1, rows) + 1 for k in (0, 1))
    i, i1 = (np.clip(left + k, -1, cols) + 1 for k in (0, 1))
    upper = wide[np.ix_(j, i)] * (1 - u) + wide[np.ix_(j, i1)] * u if u.any() else wide[np.ix_(j, i)]
    if not v.any():
        return upper
    lower = wide[np.ix_(j1, i)] * (1 - u) + wide[np.ix_(j1, i1)] * u if u.any() else wide[np.ix_(j1, i)]
    return upper * (1 - v) + lower * v


def smooth_comet(lights: np.ndarray, shifts: np.ndarray, nucleus: Sequence[float]) -> np.ndarray:
    """The comet alone, (rows, cols) over the sky, of coarse copies (n, rows, cols) in which it moves by shifts (n, 2).

    nucleus (x, y), all in cells. The comet is what stands out, hangs together with the nucleus and is no less than 0;
    all that moves with the stars, or does not move, is sky.
    """
    comet, before = np.zeros(lights.shape[1:]), np.inf
    noise = None
    for _ in range(TURNS):
        with np.errstate(all="ignore"):
            stars = nanmedian([one - at(comet, -dx, -dy, 0.0) for one, (dx, dy) in zip(lights, shifts, strict=True)])
            left = [at(one - stars, dx, dy) for one, (dx, dy) in zip(lights, shifts, strict=True)]
            found = nanmedian(left)
        if noise is None:
            noise = 1.4826 * float(np.nanmedian(np.abs(np.diff(found, axis=1)))) / np.sqrt(2)
        found = shown(np.nan_to_num(found), nucleus)
        change = float(np.abs(found - comet).max())
        comet = found
        if change < SETTLED * noise or change > 2 * before:
            break
        before = min(before, change)
    return comet


def nanmedian(images: list[np.ndarray]) -> np.ndarray:
    """The median of images, NaN where all are missing."""
    stack = np.stack(images)
    there = np.isfinite(stack).any(axis=0)
    return np.where(there, np.nanmedian(np.where(there, stack, 0), axis=0), np.nan)


def shown(image: np.ndarray, nucleus: Sequence[float]) -> np.ndarray:
    """What of an image stands out of its sky and hangs together with the nucleus, 0 elsewhere."""
    smooth = gaussian_filter(image, 1.0)
    middle = float(np.median(smooth))
    sigma = middle - float(np.quantile(smooth, 0.1587))
    own = around(smooth > middle + SHOWN_SIGMA * sigma, nucleus, 2)
    own = binary_dilation(own, iterations=GROWN) if own.any() else own
    return np.where(own, np.maximum(image - middle, 0), 0)


def around(mask: np.ndarray, nucleus: Sequence[float], reach: int) -> np.ndarray:
    """What of a mask (rows, cols) hangs together within so many cells of the nucleus (x, y)."""
    regions, _ = label(mask)
    x, y = (int(np.clip(round(float(v)), 0, n - 1)) for v, n in zip(nucleus, mask.shape[::-1], strict=True))
    near = regions[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
    own: np.ndarray = np.isin(regions, np.unique(near[near > 0]))
    return own


def finer(image: np.ndarray, sides: tuple[float, float], shape: tuple[int, ...]) -> np.ndarray:
    """A coarse image as one of this shape, linear between the middles of its cells, (high, wide) px."""
    rows, cols = shape[-2:]
    y, x = ((np.arange(n) + 0.5) / side - 0.5 for n, side in zip((rows, cols), sides, strict=True))
    out = np.empty((rows, cols), np.float32)
    for j in range(rows):
        out[j] = map_coordinates(image, [np.full(cols, y[j]), x], order=1, mode="nearest")
    return out
