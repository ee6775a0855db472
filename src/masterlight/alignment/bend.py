"""Bend: how far the place of a pixel in a source differs from where a 3x3 matrix expects it, by lenses and air."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

Box: TypeAlias = tuple[float, float, float, float]
"""(x0, y0, x1, y1) px: centres of the first and of the last pixel."""

MOST_STEPS, SETTLED_PX = 60, 1e-10
BEYOND_PX = 128
"""So far beyond its box a bend goes on; from there on the displacement stays what it is. A coarse grid's cells at the
border of the box reach no farther, so that no kink lies in them."""
FARTHEST = 1.5
"""Beyond so many radii of the frame a lens magnifies no further."""


def apply(matrix: np.ndarray, xy: ArrayLike) -> np.ndarray:
    """Positions (n, 2) sent through a 3x3 matrix."""
    xy = np.asarray(xy, float)
    at = xy @ matrix[:, :2].T + matrix[:, 2]
    return at[..., :2] / at[..., 2:]


def through(matrix: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """As `apply`, term by term: the bits of a position do not depend on which others are asked for at once."""
    x, y = xy[..., 0], xy[..., 1]
    u, v, z = (row[0] * x + row[1] * y + row[2] for row in matrix)
    return np.stack([u / z, v / z], axis=-1)


class Bend(ABC):
    """A displacement in pixels of the source as a function of pixels of the reference; frozen, pure data.

    `bend(xy)` gives it for positions (..., 2), every position by itself, so that its bits do not depend on the others.
    """

    kind: ClassVar[str]

    @abstractmethod
    def __call__(self, xy: ArrayLike) -> np.ndarray:
        """The displacement (..., 2) px at positions (..., 2) px."""


@dataclass(frozen=True, eq=False)
class Polynomial(Bend):
    """Legendre polynomials of order 2 to 4 on the reference's box; constant and linear terms are the matrix's."""

    kind: ClassVar[str] = "polynomial"
    box: Box
    coefficients: np.ndarray
    """(2, n) px along x and y of the source, for the terms of `exponents`."""

    @property
    def order(self) -> int:
        """The highest total degree, 2 to 4."""
        return next(n for n in (2, 3, 4) if len(exponents(n)) == self.coefficients.shape[1])

    def __call__(self, xy: ArrayLike) -> np.ndarray:
        return weighted_sum(legendre(self.box, self.order, xy), self.coefficients)


@dataclass(frozen=True, eq=False)
class Spline(Bend):
    """Thin plates: r^2 log r about each node, and a plane (Duchon 1977; Wahba 1990 for smoothing)."""

    kind: ClassVar[str] = "spline"
    nodes: np.ndarray
    """(n, 2) px of the reference."""
    weights: np.ndarray
    """(2, n) px along x and y of the source."""
    plane: np.ndarray
    """(2, 3) px: of 1, x and y, in units of `scaled`."""
    box: Box

    def __call__(self, xy: ArrayLike) -> np.ndarray:
        at = scaled(self.box, xy)
        own = scaled(self.box, self.nodes)
        total = self.plane[:, 0] + at[..., :1] * self.plane[:, 1] + at[..., 1:] * self.plane[:, 2]
        for node, weight in zip(own, self.weights.T, strict=True):
            total += thin_plate((at[..., 0] - node[0]) ** 2 + (at[..., 1] - node[1]) ** 2)[..., None] * weight
        return total


@dataclass(frozen=True, eq=False)
class Lens:
    """What a lens does to positions on its sensor: radial terms about a centre, and decentring (Brown 1971)."""

    centre_px: tuple[float, float]
    """(x, y)"""
    radius_px: float
    """Distance that counts as 1, half the diagonal of the frame."""
    radial: tuple[float, ...]
    """k1, k2, ...: a position at r radii lies at r (1 + k1 r^2 + k2 r^4 + ...)."""
    decentring: tuple[float, float] = (0.0, 0.0)
    """p1, p2, in radii."""

    @property
    def bends(self) -> bool:
        """Whether it moves anything."""
        return any(self.radial) or any(self.decentring)

    def displacement(self, xy: np.ndarray) -> np.ndarray:
        """How far ideal positions (..., 2) px are moved by the lens, px."""
        at = (xy - np.asarray(self.centre_px)) / self.radius_px
        size = np.hypot(at[..., 0], at[..., 1])
        near = at * (FARTHEST / np.maximum(size, FARTHEST))[..., None]
        x, y = near[..., 0], near[..., 1]
        square, total = x**2 + y**2, 0.0
        for k in reversed(self.radial):
            total = (total + k) * square
        p1, p2 = self.decentring
        along = total * at[..., 0] + p1 * (square + 2 * x**2) + 2 * p2 * x * y
        across = total * at[..., 1] + p2 * (square + 2 * y**2) + 2 * p1 * x * y
        return self.radius_px * np.stack([along, across], axis=-1)

    def distort(self, xy: ArrayLike) -> np.ndarray:
        """Where ideal positions (..., 2) px come to lie on the sensor."""
        xy = np.asarray(xy, float)
        return xy + self.displacement(xy)

    def undistort(self, xy: ArrayLike) -> np.ndarray:
        """The ideal positions (..., 2) px of those on the sensor."""
        xy = np.asarray(xy, float)
        return settled(lambda at: xy - self.displacement(at), xy)


@dataclass(frozen=True, eq=False)
class LensBend(Bend):
    """A lens that all frames of a set share: undistort in the reference, project, distort in the source."""

    kind: ClassVar[str] = "lens"
    matrix: np.ndarray
    """3x3, between ideal positions; the same as that of the transform."""
    reference: Lens | None
    source: Lens | None

    def __call__(self, xy: ArrayLike) -> np.ndarray:
        xy = np.asarray(xy, float)
        at = through(self.matrix, xy if self.reference is None else self.reference.undistort(xy))
        return (at if self.source is None else self.source.distort(at)) - through(self.matrix, xy)


Step: TypeAlias = tuple[np.ndarray, Bend | None]
"""A matrix and the bend beside it."""


@dataclass(frozen=True, eq=False)
class Chain(Bend):
    """What is left of several transforms one after the other, the first one first, beside the product of matrices."""

    kind: ClassVar[str] = "chain"
    steps: tuple[Step, ...]

    @cached_property
    def matrix(self) -> np.ndarray:
        """The product of the matrices, as the transform has it."""
        whole = np.eye(3)
        for matrix, _ in self.steps:
            whole = matrix @ whole
            whole = whole / whole[2, 2]
        return whole

    def __call__(self, xy: ArrayLike) -> np.ndarray:
        at = xy = np.asarray(xy, float)
        for step in self.steps:
            at = moved(step, at)
        return at - through(self.matrix, xy)


@dataclass(frozen=True, eq=False)
class Back(Bend):
    """What is left of the way back, beside the inverse of the matrix."""

    kind: ClassVar[str] = "back"
    there: Step

    @cached_property
    def matrix(self) -> np.ndarray:
        """The inverse of the matrix, as the transform has it."""
        back = np.linalg.inv(self.there[0])
        return back / back[2, 2]

    def __call__(self, xy: ArrayLike) -> np.ndarray:
        xy, bend = np.asarray(xy, float), self.there[1]
        start = through(self.matrix, xy)
        return settled(lambda at: through(self.matrix, xy - bend(at)), start) - start


def shift_matrix(x: float, y: float) -> np.ndarray:
    """3x3, moves positions by (x, y) px."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def moved(step: Step, xy: np.ndarray) -> np.ndarray:
    """Positions (..., 2) px sent through a matrix and the bend beside it, each by itself."""
    matrix, bend = step
    at = through(matrix, xy)
    return at if bend is None else at + bend(xy)


def settled(better, start: np.ndarray) -> np.ndarray:
    """Positions (..., 2) px that `better` leaves where they are, each improved until it moves no more."""
    at, going = start, np.ones(start.shape[:-1], bool)
    for _ in range(MOST_STEPS):
        new = better(at)
        change = np.abs(new - at).max(axis=-1)
        at = np.where(going[..., None], new, at)
        going = going & (change > SETTLED_PX)
        if not going.any():
            break
    return at


def exponents(order: int) -> tuple[tuple[int, int], ...]:
    """Degrees along x and y of the terms of a polynomial of this order, without constant and linear ones."""
    return tuple((n - j, j) for n in range(2, order + 1) for j in range(n + 1))


def scaled(box: Box, xy: ArrayLike) -> np.ndarray:
    """Positions (..., 2) px on a scale where the longer side of the box is -1 to 1; none is farther out than may be."""
    low, high = np.array(box[:2], float), np.array(box[2:], float)
    half = max(float((high - low).max()) / 2, 0.5)
    return (np.clip(np.asarray(xy, float), low - BEYOND_PX, high + BEYOND_PX) - (low + high) / 2) / half


def legendre(box: Box, order: int, xy: ArrayLike) -> np.ndarray:
    """Terms (..., n) of `exponents` at positions (..., 2) px, both sides of the box -1 to 1."""
    sides = np.array([box[2] - box[0], box[3] - box[1]], float)
    at = scaled(box, xy) * (max(sides.max(), 1) / np.maximum(sides, 1))
    along, across = (legendre_to(order, at[..., axis]) for axis in (0, 1))
    return np.stack([along[i] * across[j] for i, j in exponents(order)], axis=-1)


def legendre_to(order: int, x: np.ndarray) -> list[np.ndarray]:
    """Legendre polynomials P0 to that of this order at x."""
    out = [np.ones_like(x), x]
    for n in range(2, order + 1):
        out.append(((2 * n - 1) * x * out[-1] - (n - 1) * out[-2]) / n)
    return out


def weighted_sum(terms: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Sum of terms (..., n) with coefficients (2, n), term by term: (..., 2)."""
    total = np.zeros((*terms.shape[:-1], 2))
    for k in range(terms.shape[-1]):
        total += terms[..., k, None] * coefficients[:, k]
    return total


def thin_plate(square: np.ndarray) -> np.ndarray:
    """r^2 log r of squared distances."""
    return 0.5 * square * np.log(np.where(square > 0, square, 1.0))
