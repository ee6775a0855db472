"""The mosaic of which a colour image was made: samples that were interpolated have another noise than those seen."""

import numpy as np

from masterlight.core.headers.geometry import BAYER, period, places, xtrans_patterns
from masterlight.subframes.stars.sharp import NO_MOSAIC

SIDE = 6
"""Pixels after which every colour pattern repeats."""
BLOCKS = 24
"""Groups of rows that are looked at."""
CLEAR, APART = 0.1, 0.02
"""The logarithm of how many times noisier the samples of a pattern must be than the others, all colours together; and
by how much it must be ahead of the next pattern."""
TAMED = 4.0
"""Stars and hot pixels count for no more than so many times the usual noise."""


def mosaic_of(planes: np.ndarray) -> tuple[np.ndarray, str]:
    """The mosaic (rows, cols) that a colour image (3, rows, cols) was debayered from, and its pattern, by its noise.

    An empty one and "" where no pattern shows: colours that each had a sensor of their own, or an image that was laid
    on another grid.
    """
    rows, cols = planes.shape[-2:]
    if len(planes) != 3 or min(rows, cols) < 4 * SIDE:
        return NO_MOSAIC, ""
    noise = noise_of_sites(planes)
    score = {pattern: evidence(noise, pattern) for pattern in (*BAYER, *xtrans_patterns())}
    best, *others = sorted(score, key=score.__getitem__, reverse=True)
    if not score[best] > max(CLEAR, score[others[0]] + APART):
        return NO_MOSAIC, ""
    mosaic, n = planes[1].copy(), period(best)
    for plane, colour in ((0, "R"), (2, "B")):
        for y, x in places(best)[colour]:
            mosaic[y::n, x::n] = planes[plane, y::n, x::n]
    return mosaic, best


def noise_of_sites(planes: np.ndarray) -> np.ndarray:
    """How far samples lie off the means of their neighbours, by their place in the pattern: (planes, 6, 6)."""
    rows, cols = planes.shape[-2:]
    across = (cols - SIDE - 1) // SIDE
    starts = np.unique(np.linspace(1, (rows - SIDE - 1) // SIDE, BLOCKS).astype(int)) * SIDE
    out = np.empty((len(planes), SIDE, SIDE))
    for plane, into in zip(planes, out, strict=True):
        block = np.stack([plane[y - 1 : y + SIDE + 1, SIDE - 1 : SIDE * (across + 1) + 1] for y in starts])
        inner = block[:, 1:-1, 1:-1]
        off = np.abs(inner - 0.5 * (block[:, 1:-1, 2:] + block[:, 1:-1, :-2]))
        off += np.abs(inner - 0.5 * (block[:, 2:, 1:-1] + block[:, :-2, 1:-1]))
        off = np.nan_to_num(off, nan=0.0, posinf=0.0)
        np.minimum(off, TAMED * np.median(off), out=off)
        into[:] = off.reshape(len(starts), SIDE, across, SIDE).mean(axis=(0, 2), dtype=np.float64)
    return out


def evidence(noise: np.ndarray, pattern: str) -> float:
    """How much noisier the samples are that a sensor of this pattern saw than the others, as a sum of logarithms."""
    n, total = period(pattern), 0.0
    seen = np.tile(np.array(list(pattern)).reshape(n, n), (SIDE // n, SIDE // n))
    for plane, colour in zip(noise, "RGB", strict=True):
        own, rest = plane[seen == colour].mean(), plane[seen != colour].mean()
        floor = 0.01 * plane.mean() + np.finfo(float).tiny
        total += np.log((own + floor) / (rest + floor))
    return total
