"""What belongs to the sensor in the stars of two frames: what stays at its pixels whatever the sky does.

Hot pixels sit in the middle of a pixel, blocks of them there or on the edge between two, and debayering leaves them
there; stars fall anywhere in a pixel. So a match of the sensor with itself shows in where its members stand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from masterlight.alignment.quads import Reference
    from masterlight.subframes.measurement import StarList

FIXED_PX, STAYS_PX = 0.5, 2.0
"""How near to each other detections of the same defect lie in two frames; a transform that moves less may be of the
sensor: two frames may show different parts of a block."""
LOCKED, EVIDENCE = 0.6, 10.0
"""Length of the mean of positions in a pixel as directions, 0 for stars and 1 for hot pixels, and how much it must
weigh: log of the chance of stars to stand so, with the sign turned (Rayleigh 1880)."""
ON_PIXEL_PX, OTHER_WIDTH = 0.12, 0.15
"""How far from the middle or the edge of a pixel hot ones are found, and what natural logarithm of widths parts them
from stars that were not dithered either."""
FEWEST, SHARE = 6, 0.05
"""So many such stars beside hot pixels, or this part of all, are a match of the sky."""
MUCH = 0.2
"""Part of a list that makes it one of hot pixels rather than of stars, where so much stays at its pixels."""
FEWEST_ODD, ODD, SAME = 8, 0.22, 0.6
"""How many pairs tell whether shapes differ: by so much of the squared eccentricity, with its direction, in the mean;
and which part of that at most the same one differs from frame to frame."""


def repeated(of_ref: Reference, stars: StarList) -> tuple[np.ndarray, np.ndarray]:
    """What lies at the same pixel in both lists: indices in the reference's and in the other."""
    distance, nearest = of_ref.everything.query(stars.xy.reshape(-1, 2), distance_upper_bound=FIXED_PX)
    same = np.flatnonzero(np.isfinite(distance))
    return nearest[same], same


def is_fixed(moved_px: np.ndarray) -> bool:
    """Whether what repeats, moved by (n, 2) px, does not move at all: no further than its scatter tells.

    Stars hardly ever come back to the same hundredth of a pixel.
    """
    middle = np.median(moved_px, axis=0)
    spread = 1.4826 * np.median(np.abs(moved_px - middle))
    return bool(np.abs(middle).max() <= max(4 * spread / np.sqrt(len(moved_px)), 0.005))


def is_of_sensor(of_ref: Reference, stars: StarList) -> bool:
    """Whether what repeats at the same pixel in both lists are hot pixels, with hardly a star among them."""
    return are_hot(of_ref.stars, stars, repeated(of_ref, stars))


def shows_sensor(first: StarList, second: StarList) -> bool:
    """Whether much of what two frames show are hot pixels, which stand at the same place in both."""
    distance, nearest = cKDTree(first.xy).query(second.xy, distance_upper_bound=FIXED_PX)
    same = np.flatnonzero(np.isfinite(distance))
    return len(same) > MUCH * min(len(first), len(second)) and are_hot(first, second, (nearest[same], same))


def are_hot(first: StarList, second: StarList, pairs: tuple[np.ndarray, np.ndarray]) -> bool:
    """Whether pairs of the same pixel, indices in both lists, stand or look as hot pixels do."""
    own, other = first[pairs[0]], second[pairs[1]]
    return bool(len(own)) and (is_on_pixels(own, other) or is_odd(own, other))


def is_on_pixels(first: StarList, second: StarList) -> bool:
    """Whether pairs of the same pixel stand as hot pixels do, and hardly any other among them is wider or narrower."""
    xy, width = 0.5 * (first.xy + second.xy), second.fwhm_px
    together = np.abs(np.exp(4j * np.pi * xy).mean(axis=0))
    if together.min() < LOCKED or len(xy) * (together**2).sum() < EVIDENCE:
        return False
    hot = on_pixels(xy)
    apart = np.abs(np.log(width / np.median(width[hot]))) > OTHER_WIDTH if hot.any() else ~hot
    return bool(np.count_nonzero(~hot & apart) < max(FEWEST, SHARE * len(xy)))


def is_odd(first: StarList, second: StarList) -> bool:
    """Whether pairs that do not move differ in shape from each other, each keeping its own in both frames.

    So do blocks of hot pixels of which each is as hot as it likes; the shapes of stars are one, and their noise is new
    in each frame. A frame beside a copy of itself tells nothing.
    """
    moved = second.xy - first.xy
    if len(first) < FEWEST_ODD or not moved.any() or not is_fixed(moved):
        return False
    shapes = [one.eccentricity**2 * np.exp(2j * one.theta_rad) for one in (first, second)]
    own = np.mean([np.abs(shape - shape.mean()).mean() for shape in shapes])
    return bool(own > ODD and np.abs(shapes[1] - shapes[0]).mean() < SAME * own)


def on_pixels(xy: np.ndarray) -> np.ndarray:
    """Which positions (n, 2) lie on the middle of a pixel or on its edge, along both axes."""
    return (np.abs(2 * xy - np.round(2 * xy)) < 2 * ON_PIXEL_PX).all(axis=1)
