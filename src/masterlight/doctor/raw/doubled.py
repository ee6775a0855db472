"""Lights in which every star stands twice, one offset apart: the mount jumped while they were exposed."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from masterlight.core.frame import Frame
from masterlight.doctor import pictures
from masterlight.doctor.findings import Finding, finding, some
from masterlight.doctor.process import Doctor
from masterlight.subframes.measurement import StarList

BRIGHTEST, FEWEST, SHARE = 80, 8, 0.12
"""Stars that are looked at; of these so many, and such a part, have a second one at the same offset."""
REACH_PX, NEAR_PX = 150.0, 1.5
"""The farthest offset that is looked for, and how equal offsets must be."""
BY_CHANCE, SIGMA = 5.0, 15.0
"""So many times more pairs than at the usual offset, which chance brings; and so many of its sigma more: offsets
are denser in the middle of a cluster, and of thousands the best stood 11 sigma out by chance."""
CROP_PX = 60


def doubled_lights(doctor: Doctor, lights: Sequence[tuple[Frame, StarList]]) -> Iterator[Finding]:
    """D30: lights in which every star stands twice; frames as the camera took them, and their stars.

    A run leaves them out where most lights are sound.
    """
    found = [(frame, stars, offset) for frame, stars in lights if (offset := offset_of(stars)) is not None]
    if not found or "D30" in doctor.off:
        return
    frame, stars, (dx, dy) = max(found, key=lambda one: math.hypot(*one[2]))
    apart, out = math.hypot(dx, dy), 2 * len(found) < len(lights)
    what = "They are left out (Doctor.off D30 keeps them)" if out else "Leave such lights out"
    sentence = f"""every star of {some([one[0] for one in found])} stands twice, {apart:.1f} px apart (x {dx:+.1f},
        y {dy:+.1f}): the mount jumped during the exposure. {what}; look at guiding, cables and wind"""
    picture = pictures.image(crop_around(frame, stars))
    yield finding("D30", "warn", [one[0] for one in found], apart, NEAR_PX, "px", sentence, picture, out=out)


def offset_of(stars: StarList) -> tuple[float, float] | None:
    """(dx, dy) in pixels at which a star's second image stands; None where stars are single.

    Offsets of all pairs are counted; second images are fainter or brighter than the first by one factor.
    """
    from scipy.spatial import cKDTree

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


def crop_around(frame: Frame, stars: StarList) -> np.ndarray:
    """The surroundings of the brightest star that is not saturated, as the camera took it."""
    good = np.flatnonzero(~np.asarray(stars.saturated, bool))
    at = int(good[0]) if good.size else 0
    rows, cols = frame.shape[-2:]
    y, x = (int(v) for v in (stars.y_px[at], stars.x_px[at]))
    y0, x0 = max(0, min(y - CROP_PX, rows - 2 * CROP_PX)), max(0, min(x - CROP_PX, cols - 2 * CROP_PX))
    return frame.pixels(y0, min(rows, y0 + 2 * CROP_PX), x0, min(cols, x0 + 2 * CROP_PX))
