"""Fits: each kind of transform by least squares on common stars, and how far its corners may be off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from masterlight.alignment.bend import Bend, Box, Polynomial, apply, exponents, legendre, scaled
from masterlight.alignment.models.splines import spline_beside
from masterlight.alignment.transform import DEGREES, fading, fit, robust_fit

MOST_CHI2 = 25.0
"""What one star may count for, so that no wrong pair decides."""


class Pairs(NamedTuple):
    """Common stars: positions (n, 2) px in the reference and in the source, and errors of the latter (n,) px."""

    xy_ref: np.ndarray
    xy: np.ndarray
    sigma_px: np.ndarray
    mirrored: bool = False
    box: Box = (0.0, 0.0, 1.0, 1.0)
    """Of the reference."""

    def part(self, which: np.ndarray) -> Pairs:
        """Some of them."""
        return self._replace(xy_ref=self.xy_ref[which], xy=self.xy[which], sigma_px=self.sigma_px[which])


@dataclass(frozen=True, eq=False)
class Fit:
    """A model fitted to pairs."""

    model: str
    matrix: np.ndarray
    bend: Bend | None = None
    free: float = 0.0
    """Numbers that it was free to choose."""

    def __call__(self, xy: np.ndarray) -> np.ndarray:
        """Positions (n, 2) px in the source."""
        at = apply(self.matrix, xy)
        return at if self.bend is None else at + self.bend(xy)

    def error(self, pairs: Pairs) -> np.ndarray:
        """Distances (n,) of the pairs in units of their errors."""
        return np.hypot(*(self(pairs.xy_ref) - pairs.xy).T) / pairs.sigma_px

    def chi2(self, pairs: Pairs) -> float:
        """Squared distances over squared errors, so much at most for each pair."""
        return float(np.minimum(self.error(pairs) ** 2, MOST_CHI2).sum())


def order_of(model: str) -> int:
    """Highest degree of a polynomial model, 0 for others."""
    return int(model[-1]) if model.startswith("polynomial") else 0


def fitted(model: str, pairs: Pairs, weight: np.ndarray | None = None) -> Fit:
    """A model with the least weighted squared distance; weight (n,): 1 / sigma^2 for None."""
    weight = 1 / pairs.sigma_px**2 if weight is None else weight
    if order_of(model):
        return polynomial_fit(model, pairs, weight)
    if model == "spline":
        base = fit("homography", pairs.xy_ref, pairs.xy, weight, pairs.mirrored)
        spline, free = spline_beside(base, pairs.xy_ref, pairs.xy, weight, pairs.box)
        return Fit(model, base, spline, free)
    return Fit(model, fit(model, pairs.xy_ref, pairs.xy, weight, pairs.mirrored), None, DEGREES[model])


def robust(model: str, pairs: Pairs) -> tuple[Fit, float]:
    """The model with weights that fade for outliers, and the robust scale of the errors per axis, in sigma."""
    if model in DEGREES:
        matrix, _, scale = robust_fit(model, pairs.xy_ref, pairs.xy, pairs.sigma_px, pairs.mirrored)
        return Fit(model, matrix, None, DEGREES[model]), scale
    found, scale, fade = None, 1.0, np.ones(len(pairs.xy))
    for step in range(8 if model != "spline" else 4):
        found = fitted(model, pairs, fade / pairs.sigma_px**2)
        fade, scale = fading(found.error(pairs), max(step, 2 * step - 1) if model == "spline" else step)
    return found, scale


def polynomial_fit(model: str, pairs: Pairs, weight: np.ndarray) -> Fit:
    """Affine and Legendre terms by one linear least-squares solution; these are nearly orthogonal, so that normal
    equations are as good as rows, and ten times as fast."""
    order, (x0, y0, x1, y1) = order_of(model), pairs.box
    terms = polynomial_terms(order, pairs.box, pairs.xy_ref)
    weighted, middle = terms * weight[:, None], pairs.xy.mean(axis=0)
    solved = np.linalg.lstsq(weighted.T @ terms, weighted.T @ (pairs.xy - middle), rcond=None)[0].T
    solved[:, 0] += middle
    half = max(x1 - x0, y1 - y0, 1.0) / 2
    to_scaled = np.array([[1 / half, 0, -(x0 + x1) / 2 / half], [0, 1 / half, -(y0 + y1) / 2 / half], [0, 0, 1.0]])
    affine = np.vstack([solved[:, [1, 2, 0]], [0, 0, 1.0]])
    free = 2 * terms.shape[1]
    return Fit(model, affine @ to_scaled, Polynomial(pairs.box, np.ascontiguousarray(solved[:, 3:])), free)


def polynomial_terms(order: int, box: Box, xy: np.ndarray) -> np.ndarray:
    """1, x, y on the scale of the box and the Legendre terms (n, 3 + ...)."""
    return np.column_stack([np.ones(len(xy)), scaled(box, xy), legendre(box, order, xy)])


def corner_error_px(found: Fit, pairs: Pairs) -> float:
    """Expected distance of the fit from the truth in the corners of the reference, px of the source: their mean.

    By the errors of the pairs and by where they stand: a few stars in one place tell little of the corners.
    """
    x0, y0, x1, y1 = pairs.box
    corners = np.array([(x0, y0), (x1, y0), (x0, y1), (x1, y1)])
    rows, there = design(found, pairs.xy_ref, pairs.box), design(found, corners, pairs.box)
    weighted = rows / np.tile(pairs.sigma_px, 2)[:, None]
    r = np.linalg.qr(weighted, mode="r")
    spread = np.linalg.lstsq(r.T, there.T, rcond=None)[0]
    return float(np.sqrt((spread**2).sum() / len(corners)))


def design(found: Fit, xy: np.ndarray, box: Box) -> np.ndarray:
    """How x and then y of positions in the source change with the numbers of a model, (2 n, k)."""
    model = {"spline": "polynomial4", "lens": "homography"}.get(found.model, found.model)
    at, one = scaled(box, xy), np.ones((len(xy), 1))
    zero = np.zeros_like(one)
    if model == "shift":
        return np.block([[one, zero], [zero, one]])
    if model == "similarity":
        x, y = at[:, :1], at[:, 1:]
        return np.block([[one, zero, x, -y], [zero, one, y, x]])
    terms = polynomial_terms(order_of(model), box, xy) if order_of(model) else np.hstack([one, at])
    zeros = np.zeros_like(terms)
    linear = np.block([[terms, zeros], [zeros, terms]])
    if model != "homography":
        return linear
    there = apply(found.matrix, xy)
    centre = there - there.mean(axis=0)
    size = max(float(np.abs(centre).max()), 1.0)
    return np.hstack([linear, np.vstack([centre[:, :1] / size * at, centre[:, 1:] / size * at])])


def terms_of(order: int) -> int:
    """How many numbers a polynomial of this order chooses."""
    return 6 + 2 * len(exponents(order))
