"""Colours: how red and blue lie on green, through the lens that all frames share and the air of each.

A lens moves them on the sensor, in all frames alike; air moves all stars of a frame alike, in each frame its own way
(Filippenko 1982, PASP 94, 715: 0.8" between 450 and 650 nm at 45 degrees from the zenith).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from masterlight.alignment.bend import shift_matrix
from masterlight.alignment.models.evidence import COST, by_evidence, carried, honest
from masterlight.alignment.models.fits import Fit, Pairs, corner_error_px
from masterlight.alignment.transform import Transform

if TYPE_CHECKING:
    from masterlight.subframes.fringes import Fringes

MODELS = ("shift", "similarity", "affine", "polynomial3")
"""What a lens may do to a colour: another scale, a tilt, and what grows with the third power of the radius."""
FEWEST, MOST = 20, 1500
"""Stars of all frames together that tell it, and so many at most that are asked."""
FRINGE_PX, SURE = 0.1, 5.0
"""Colours that lie farther apart somewhere draw a fringe of a twentieth of a star's height: they are worth laying each
its own way, if that is so many times its error."""
FADE, FEWEST_OWN = 3.0, 3
"""Stars that scatter more than so many times as others do tell nothing; so many must tell what air did to a frame."""


@dataclass(frozen=True, eq=False)
class Spread:
    """How far red and blue lie from green in each of some frames of one optic."""

    transforms: tuple[tuple[Transform, Transform], ...] = ()
    """For each frame where its red and blue lie for places of its green; () where too few stars tell it."""
    farthest_px: float = 0.0
    """The farthest that a colour lies from green in any of them."""
    error_px: float = float("nan")
    """Expected error in the corners."""
    by_air: bool = False
    """Whether that differs from frame to frame."""

    def __bool__(self) -> bool:
        return bool(self.transforms)

    @property
    def pays(self) -> bool:
        """Whether it is seen, and no accident."""
        return self.farthest_px > max(FRINGE_PX, SURE * self.error_px)


def spread_of(fringes: Sequence[Fringes], shape: tuple[int, int]) -> Spread:
    """What the fringes of frames of one optic, all of this shape (rows, cols), tell of its colours."""
    rows, cols = shape[-2:]
    box = (0.0, 0.0, float(cols - 1), float(rows - 1))
    parts = [[pairs_of(one, colour, box) for one in fringes] for colour in range(2)]
    if min(sum(len(pairs.xy) for pairs in part) for part in parts) < FEWEST:
        return Spread()
    found = [colour_of(part) for part in parts]
    places = np.array([(x, y) for y in (0, (rows - 1) / 2, rows - 1) for x in (0, (cols - 1) / 2, cols - 1)], float)
    made, farthest = [], 0.0
    for i in range(len(fringes)):
        both = []
        for fit, shifts, _ in found:
            one = Transform(shift_matrix(*shifts[i]) @ fit.matrix, bend=fit.bend, model=fit.model, shape=(rows, cols))
            farthest = max(farthest, float(np.hypot(*(one(places) - places).T).max()))
            both.append(one)
        made.append((both[0], both[1]))
    air = any(np.any(shifts) for _, shifts, _ in found)
    return Spread(tuple(made), farthest, max(error for *_, error in found), air)


def pairs_of(fringes: Fringes, colour: int, box: tuple[float, float, float, float]) -> Pairs:
    """The stars of a frame whose red (0) or blue (1) is known, from their green."""
    away, sigma = fringes.away_px[colour], fringes.sigma_px[colour]
    known = np.isfinite(sigma)
    return Pairs(fringes.xy[known], (fringes.xy + away)[known], sigma[known], False, box)


def colour_of(parts: Sequence[Pairs]) -> tuple[Fit, np.ndarray, float]:
    """What the lens does to a colour, what the air of each frame adds (n, 2) px, and the error in the corners.

    Of frames whose colours air moves no more than chance would the second is 0.
    """
    shifts = np.zeros((len(parts), 2))
    fit, pairs = lens_of(parts, shifts)
    for _ in range(2):
        left, error = zip(*(left_of(fit, part) for part in parts), strict=True)
        shifts, error = np.array(left), np.array(error)
        weight = np.where(np.isfinite(error), 1 / error**2, 0.0)
        shifts = np.where(weight[:, None] > 0, shifts - weight @ shifts / weight.sum(), 0.0)
        saved = float((weight[:, None] * shifts**2).sum())
        if saved <= COST * 2 * max(np.count_nonzero(weight) - 1, 1):
            shifts = np.zeros_like(shifts)
            break
        fit, pairs = lens_of(parts, shifts)
    return fit, shifts, corner_error_px(fit, pairs)


def lens_of(parts: Sequence[Pairs], shifts: np.ndarray) -> tuple[Fit, Pairs]:
    """What stars of all frames have in common, once what is each frame's own is taken off; and these stars."""
    xy = np.concatenate([part.xy_ref for part in parts])
    there = np.concatenate([part.xy - shift for part, shift in zip(parts, shifts, strict=True)])
    every = -(-len(xy) // MOST)
    sigma = np.concatenate([part.sigma_px for part in parts])
    pairs = parts[0]._replace(xy_ref=xy[::every], xy=there[::every], sigma_px=sigma[::every])
    fit = by_evidence(carried(MODELS, pairs.xy_ref), pairs)[0]
    return fit, honest(fit, pairs)


def left_of(fit: Fit, pairs: Pairs) -> tuple[np.ndarray, float]:
    """How far the stars of a frame lie from where a fit sends them, in the mean (2,) px, and the error per axis."""
    if len(pairs.xy) < FEWEST_OWN:
        return np.zeros(2), np.inf
    off = pairs.xy - fit(pairs.xy_ref)
    away = np.hypot(*(off - np.median(off, axis=0)).T) / pairs.sigma_px
    scale = max(float(np.median(away)) / 1.1774, 1.0)
    good = away <= FADE * scale
    weight = 1 / pairs.sigma_px[good] ** 2
    return weight @ off[good] / weight.sum(), scale / float(np.sqrt(weight.sum()))
