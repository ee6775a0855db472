"""What crossed a frame in a straight line, as the many small peaks tell into which its detection breaks a trail."""

import numpy as np
from scipy.spatial import cKDTree

from masterlight.subframes.measurement import StarList

OFF_STARS_PX = 3.0
"""Peaks so far from any fitted star may be of a trail."""
ANGLES, WIDE_PX = 360, 3.0
"""Directions that are tried, and how far off a line its peaks may lie, all together."""
FEWEST, SPAN, SIGMA = 8, 0.25, 8.0
"""Peaks that make a trail at least, the part of the frame's diagonal that they span, and how many times the chance
scatter of their number they must exceed what lies on any line."""
MOST_PEAKS, MOST_TRAILS = 3000, 8
ALONG_SENSOR = 0.01
"""Lines that run so nearly along rows or columns, in radians, are defects of the sensor."""


def crossings_of(stars: StarList) -> int | None:
    """How many satellites or aircraft crossed a frame; None where its peaks were not kept.

    The peaks of a trail lie on a line; those of faint stars, rays and hot pixels do not. Bright trails alone show.
    """
    if stars.peaks is None:
        return None
    xy = np.asarray(stars.peaks[:, :2], float)
    if len(stars) and len(xy):
        xy = xy[cKDTree(stars.xy).query(xy)[0] > OFF_STARS_PX]
    diagonal = float(np.hypot(*stars.shape))
    count = 0
    while FEWEST <= len(xy) <= MOST_PEAKS and count < MOST_TRAILS:
        line = best_line(xy, diagonal)
        if line is None:
            break
        on, sensor = line
        xy, count = xy[~on], count + (not sensor)
    return count


def best_line(xy: np.ndarray, diagonal: float) -> tuple[np.ndarray, bool] | None:
    """The line on which most of the peaks (n, 2) lie: which do, and whether it runs along the sensor; None for none."""
    angle = np.arange(ANGLES) * np.pi / ANGLES
    offset = xy @ np.stack([-np.sin(angle), np.cos(angle)])
    bins = int(2 * diagonal / WIDE_PX) + 2
    at = ((offset + diagonal) / WIDE_PX).astype(np.int64) + bins * np.arange(ANGLES)
    table = np.bincount(at.ravel(), minlength=bins * ANGLES)
    best = int(np.argmax(table))
    k = best // bins
    along = np.array([np.cos(angle[k]), np.sin(angle[k])])
    near = np.abs(offset[:, k] - ((best % bins + 0.5) * WIDE_PX - diagonal)) < 2 * WIDE_PX
    for _ in range(3):  # the line that these peaks themselves have
        if np.count_nonzero(near) < FEWEST:
            return None
        middle = np.median(xy[near], axis=0)
        along = np.linalg.svd(xy[near] - xy[near].mean(axis=0), full_matrices=False)[2][0]
        away = np.abs((xy - middle) @ np.array([-along[1], along[0]]))
        near = away < WIDE_PX / 2
    places = np.sort((xy[near] - middle) @ along)
    if len(places) < FEWEST:
        return None
    span = float(np.quantile(places, 0.95) - np.quantile(places, 0.05))
    by_chance = len(xy) * WIDE_PX / diagonal  # on a line through a frame as wide as it is long
    sure = len(places) > by_chance + SIGMA * np.sqrt(by_chance + 1)
    turn = np.arctan2(along[1], along[0]) % (np.pi / 2)
    return (away < WIDE_PX, min(turn, np.pi / 2 - turn) < ALONG_SENSOR) if sure and span > SPAN * diagonal else None
