"""Stars that all stand twice, one offset apart: the mount jumped while they were exposed."""

import math

import numpy as np
from scipy.spatial import cKDTree

from masterlight.subframes.measurement import StarList

BRIGHTEST, FEWEST, SHARE = 80, 8, 0.12
"""Stars that are looked at; of these so many, and such a part, have a second one at the same offset."""
REACH_PX, NEAR_PX = 150.0, 1.5
"""The farthest offset that is looked for, and how equal offsets must be."""
BY_CHANCE, SIGMA = 5.0, 15.0
"""So many times more pairs than at the usual offset, which chance brings; and so many of its sigma more: offsets
are denser in the middle of a cluster, and of thousands the best stood 11 sigma out by chance."""


def offset_of(stars: StarList) -> tuple[float, float] | None:
    """(dx, dy) in pixels at which a star's second image stands; None where stars are single.

    Offsets of all pairs are counted; second images are fainter or brighter than the first by one factor.
    """
    xy, flux = stars.xy[:BRIGHTEST], np.log(np.maximum(stars.flux_dn[:BRIGHTEST], 1e-9))
    count = len(xy)
    if count < 2 * FEWEST:
        return None
    i, j = np.triu_indices(count, 1)
    away, ratio = xy[j] - xy[i], flux[j] - flux[i]
    swap = (away[:, 0] < 0) | ((away[:, 0] == 0) & (away[:, 1] < 0))
    away[swap], ratio[swap] = -away[swap], -ratio[swap]
    inside = np.hypot(*away.T) < REACH_PX
    away, ratio = away[inside], ratio[inside]
    if len(away) < FEWEST:
        return None
    offsets = np.column_stack([away / NEAR_PX, ratio / math.log(2)])
    if densest(offsets) < max(FEWEST, SHARE * count):
        return None
    tree = cKDTree(offsets)
    pairs = tree.query_ball_point(offsets, 1, p=np.inf, return_length=True)
    best = int(np.argmax(pairs))
    same = tree.query_ball_point(offsets[best], 1, p=np.inf)
    beside = np.delete(pairs, same) - 1.0  # those that chance brings to an offset
    usual = float(beside.mean()) if beside.size else 0.0
    if pairs[best] < max(FEWEST, SHARE * count, BY_CHANCE * float(np.median(pairs)), usual + SIGMA * math.sqrt(usual)):
        return None
    dx, dy = np.median(away[same], axis=0)
    return float(dx), float(dy)


def densest(offsets: np.ndarray) -> int:
    """More than lie within 1 of any of these offsets (n, 3) along each axis, or as many: by counts in cells of 2.

    Counting them one by one takes ten times as long, and mostly there are too few in any cell.
    """
    cells = np.floor((offsets - offsets.min(axis=0)) / 2).astype(int)
    counts = np.zeros(cells.max(axis=0) + 2, int)
    np.add.at(counts, tuple(cells.T), 1)
    for axis in range(3):
        counts += np.roll(counts, -1, axis)
    return int(counts.max())
