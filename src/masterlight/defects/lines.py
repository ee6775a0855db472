"""Bad rows and columns: those whose profile is off their neighbours, whole or in part."""

import numpy as np

from masterlight.core.frame import LINE
from masterlight.core.statistics.scale import madn
from masterlight.defects.kernels import segments

BLOCK_ROWS = 64
"""Rows that are judged together when partial columns are looked for."""
SHORTEST_LINE = 32
"""Pixels of the shortest piece of a row or column that is called one."""


def partial_columns(image: np.ndarray, sigma: float) -> np.ndarray:
    """The columns of an image that are off their neighbours, each from its begin to its end: a mask of bit 8.

    image (rows, cols), NaN where it does not count. Columns are judged as a whole and in blocks of BLOCK_ROWS rows,
    each by its median against those of the 3 columns on each side, in robust sigma. A bad one reaches over the stretch
    in which its pixels lie nearer to the defect's height than to that of its neighbours.
    """
    rows, cols = image.shape
    mask = np.zeros(image.shape, np.uint8)
    starts = range(0, rows if rows > BLOCK_ROWS else 0, BLOCK_ROWS)
    heights: dict[int, list[float]] = {}
    for y0, y1 in [(0, rows), *((y, min(rows, y + BLOCK_ROWS)) for y in starts)]:
        profile = nan_median(image[y0:y1], 0)
        if y1 - y0 < SHORTEST_LINE or cols < 8 or not np.isfinite(profile).any():
            continue
        excess = above_neighbours(profile)
        off = excess - np.nanmedian(excess)
        scale = madn(excess) or float(np.nanstd(off)) or np.inf
        bad = []
        for x in sorted(np.flatnonzero(np.abs(off) > sigma * scale).tolist(), key=lambda x: -abs(off[x])):
            near = {c for c in range(max(0, x - 3), min(cols, x + 4)) if c not in bad and np.isfinite(profile[c])} - {x}
            beside = sorted(c for c in near if 2 * x - c in near) or sorted(near)  # in pairs, so that a slope is none
            if beside and abs(profile[x] - np.median(profile[beside])) > sigma * scale:
                bad.append(x)
                heights.setdefault(x, []).append(float(off[x]))
    for x, found in heights.items():
        height = float(np.median(found))
        beside = [c for c in range(max(0, x - 3), min(cols, x + 4)) if c not in heights]
        if not beside or not height:
            continue
        excess = (image[:, x] - nan_median(image[:, beside], 1)) / height
        defect = np.nan_to_num(np.clip(excess, -2, 3) - 0.5, nan=-0.5)
        noise = 0.5 * float(np.mean(np.square(np.diff(defect))))
        for start, stop in zip(*segments(defect, 0.5 * SHORTEST_LINE * max(1.0, noise)), strict=True):
            if stop - start >= SHORTEST_LINE:
                mask[start:stop, x] = LINE
    return mask


def nan_median(values: np.ndarray, axis: int) -> np.ndarray:
    """Median without NaN; NaN where there is nothing else. Much faster than numpy's where NaN are few."""
    out = np.median(values, axis=axis)
    bad = np.isnan(out)
    if bad.any():
        rest = np.compress(bad, values, axis=1 - axis)
        seen = np.isfinite(rest).any(axis=axis)
        out[bad] = np.nan
        out[np.flatnonzero(bad)[seen]] = np.nanmedian(np.compress(seen, rest, axis=1 - axis), axis=axis)
    return out


def above_neighbours(profile: np.ndarray) -> np.ndarray:
    """How far each value of a profile stands above the median of the 3 on each side of it; NaN values do not count.

    At the ends, where one side is missing, the trend of the 6 that follow is continued.
    """
    out = profile - nan_median(np.array([np.roll(profile, k) for k in (-3, -2, -1, 1, 2, 3)]), 0)
    for values, into in ((profile, out), (profile[::-1], out[::-1])):
        for k in range(3):
            near, far = nan_median(values[k + 1 : k + 7].reshape(2, 3), 1)
            into[k] = values[k] - near - (near - far) * 2 / 3
    return out
