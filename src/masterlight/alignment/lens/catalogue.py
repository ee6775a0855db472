"""Stars of all frames of a set in one list: those of the reference, and those that other frames show besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from masterlight.alignment.bend import Lens, LensBend, apply
from masterlight.alignment.models.growth import SIGMA_FLOOR_PX, pair_up
from masterlight.alignment.transform import Transform

MOST_STARS = 500
"""Brightest stars of each frame of which a lens is made."""
KNOWN = 0.9
"""A frame of whose brightest stars a smaller part is known adds the others."""
SEEN_BY = 2
"""Frames that must show a star which the reference does not."""


def half_px(shape: tuple[int, int]) -> float:
    """Half the diagonal: the unit of all distances in a bundle."""
    return float(np.hypot(*shape)) / 2


def to_half(shape: tuple[int, int]) -> np.ndarray:
    """3x3, from pixels to half diagonals from the middle."""
    half, (rows, cols) = half_px(shape), shape
    return np.array([[1, 0, -(cols - 1) / 2], [0, 1, -(rows - 1) / 2], [0, 0, half]]) / half


class Sight(NamedTuple):
    """Stars of one frame, and where it lies as far as is known."""

    xy: np.ndarray
    """(n, 2) px, brightest first."""
    sigma_px: np.ndarray
    """(n,) error of a position, per axis."""
    shape: tuple[int, int]
    """Rows and columns."""
    transform: Transform


class Sky(NamedTuple):
    """Stars where a pinhole in place of the reference would show them."""

    xy: np.ndarray
    """(n, 2) px, as far as is known; the first ones are the reference's, in its order."""
    sigma_px: np.ndarray
    """(n,) of them, per axis; inf for those that no frame has told yet."""
    bright: np.ndarray
    """(n,) whether a lens is made of them."""
    own: int
    """So many of them are the reference's."""

    def more(self, xy: np.ndarray) -> Sky:
        """The same with bright stars that the reference does not show."""
        n = len(xy)
        sigma_px, bright = np.append(self.sigma_px, np.full(n, np.inf)), np.append(self.bright, np.ones(n, bool))
        return Sky(np.concatenate([self.xy, xy]), sigma_px, bright, self.own)


def sky_of(reference: Sight, lens: Lens | None) -> Sky:
    """Stars of the reference alone."""
    xy = reference.xy if lens is None else lens.undistort(reference.xy)
    sigma_px = np.maximum(reference.sigma_px, SIGMA_FLOOR_PX)
    return Sky(xy, sigma_px, np.arange(len(xy)) < MOST_STARS, len(xy))


Paired = Mapping[int, tuple[np.ndarray, np.ndarray]]
"""For the number of each frame: its common stars by their numbers in the sky, and in its own list."""


def paired(sky: Sky, frames: Sequence[Sight], trees: Mapping[int, cKDTree], lens: Lens | None, tolerance_px: float):
    """The stars that frames have in common, and all of them: (`Sky`, `Paired`).

    trees: of the stars of those frames that take part. Where a frame shows too much that is not known yet, its stars
    are added; those that no second frame shows are left out again.
    """
    at, added = reference_px(sky.xy, lens), sky
    pairs = {i: pair_up(seen_by(frames[i], lens, added.xy, at), tree, tolerance_px) for i, tree in trees.items()}
    for i in sorted(pairs, key=lambda i: -len(pairs[i][0])):
        frame, tree = frames[i], trees[i]
        if added is not sky:
            pairs[i] = pair_up(seen_by(frame, lens, added.xy, at), tree, tolerance_px)
        new = np.setdiff1d(np.arange(min(len(frame.xy), MOST_STARS)), pairs[i][1])
        if len(new) > (1 - KNOWN) * min(len(frame.xy), MOST_STARS):
            added = added.more(sky_px(frame, lens, frame.xy[new]))
            at = reference_px(added.xy, lens)
    if added is sky:
        return sky, pairs
    pairs = {i: pair_up(seen_by(frames[i], lens, added.xy, at), tree, tolerance_px) for i, tree in trees.items()}
    seen = np.bincount(np.concatenate([star for star, _ in pairs.values()]), minlength=len(added.xy))
    kept = (seen >= SEEN_BY) | (np.arange(len(seen)) < sky.own)
    number = np.cumsum(kept) - 1
    pairs = {i: (number[star[kept[star]]], own[kept[star]]) for i, (star, own) in pairs.items()}
    return Sky(added.xy[kept], added.sigma_px[kept], added.bright[kept], sky.own), pairs


def reference_px(xy: np.ndarray, lens: Lens | None) -> np.ndarray:
    """Where the reference's sensor shows places of its pinhole."""
    return xy if lens is None else lens.distort(xy)


def seen_by(frame: Sight, lens: Lens | None, xy: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Where a frame shows stars: xy of the pinhole of the reference, `at` on its sensor."""
    bend = frame.transform.bend
    if lens is not None and isinstance(bend, LensBend):
        return lens.distort(apply(frame.transform.matrix, xy))
    return frame.transform(at)


def sky_px(frame: Sight, lens: Lens | None, xy: np.ndarray) -> np.ndarray:
    """Where the pinhole of the reference shows what a frame has at xy."""
    if lens is not None and isinstance(frame.transform.bend, LensBend):
        return apply(np.linalg.inv(frame.transform.matrix), lens.undistort(xy))
    at = frame.transform.inverse(xy)
    return at if lens is None else lens.undistort(at)
