"""Where each pixel of one frame lies in another: `Transform`, and the matrices that are fitted to common stars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from masterlight.alignment.bend import Back, Bend, Chain, apply, moved, shift_matrix

DEGREES = {"shift": 2, "similarity": 4, "affine": 6, "homography": 8}
"""Kinds of matrix, each with the numbers that it is free to choose."""
MODELS = (*DEGREES, "polynomial2", "polynomial3", "polynomial4", "lens", "spline")
"""Kinds of transform, the plainest first."""
GRID_ERROR_PX, STEPS_PX = 0.002, (128, 64, 32, 16, 8, 4)
"""How wrong a position between nodes of a grid may be, and the distances of nodes that come into question."""


class Grid(NamedTuple):
    """Positions on nodes at whole multiples of a step, so that all boxes share them; linear between."""

    positions: np.ndarray
    """(ny, nx, 2) px of the source, float64."""
    y0: int
    x0: int
    """Pixel of the reference where the first node lies."""
    step_px: int

    def at(self, xy: ArrayLike) -> np.ndarray:
        """Positions (..., 2) px of the source for those (..., 2) px of the reference, linear between the nodes."""
        place = (np.asarray(xy, float) - (self.x0, self.y0)) / self.step_px
        rows, cols = self.positions.shape[:2]
        cell = np.clip(np.floor(place).astype(int), 0, (cols - 2, rows - 2))
        u, v = np.moveaxis(place - cell, -1, 0)[..., None]
        i, j = cell[..., 0], cell[..., 1]
        upper = self.positions[j, i] * (1 - u) + self.positions[j, i + 1] * u
        return upper * (1 - v) + (self.positions[j + 1, i] * (1 - u) + self.positions[j + 1, i + 1] * u) * v


@dataclass(frozen=True, eq=False)
class Transform:
    """Where each pixel of the reference lies in a source frame, and how well that is known.

    `t(xy)` maps positions, `t.inverse` maps them back, and `t @ u` is u first, then t. Who needs pixels asks for
    `t.matrix` where `t.bend` is None, else for `t.grid` or `t.affine` of a box.
    """

    matrix: np.ndarray
    """3x3, sends (x, y, 1) of the reference to the source, in pixels."""
    rms_px: float = 0.0
    """Root mean square distance of matched stars, in source pixels, over both axes."""
    matched: int = 0
    """Stars in common that the transform was fitted to."""
    log10_p: float = 0.0
    """log10 of the chance that so many stars agree by accident."""
    mirrored: bool = False
    method: str = "identity"
    """What found it: guess, shift, flip or quads."""
    flux_ratio: float = 1.0
    """Flux of a star in the source over its flux in the reference."""
    flux_ratio_error: float = 0.0
    flux_pairs: int = 0
    model: str = "homography"
    chi2: float = float("nan")
    """Squared distances over what the stars' position errors predict, per degree of freedom; near 1 in calm air."""
    corner_error_px: float = float("nan")
    """Expected error of the transform in the corners of the frame."""
    shape: tuple[int, int] = (0, 0)
    """Rows and columns of the reference."""
    bend: Bend | None = None
    """What is added to where the matrix sends a position, in pixels of the source; None for nothing."""

    @classmethod
    def identity(cls, shape: tuple[int, int] = (0, 0)) -> Transform:
        """The transform of the reference itself."""
        return cls(matrix=np.eye(3), shape=tuple(shape))

    def __call__(self, xy: ArrayLike) -> np.ndarray:
        """Positions (n, 2) or (2,) px of the reference, in the source."""
        at = apply(self.matrix, xy)
        return at if self.bend is None else at + self.bend(xy)

    to_source = __call__

    @property
    def inverse(self) -> Transform:
        """The way back: positions of the source, in the reference."""
        known = {"mirrored": self.mirrored, "method": "inverse", "model": self.model}
        if isinstance(self.bend, Back):
            matrix, bend = self.bend.there
            return Transform(matrix, bend=bend, **known)
        if self.bend is not None:
            back = Back((self.matrix, self.bend))
            return Transform(back.matrix, bend=back, **known)
        matrix = np.linalg.inv(self.matrix)
        return Transform(matrix / matrix[2, 2], **known)

    def __matmul__(self, first: Transform) -> Transform:
        """`t @ u` maps what u maps, then by t: from the reference of u to the source of t."""
        model, mirrored = max(self.model, first.model, key=MODELS.index), self.mirrored != first.mirrored
        known = {"mirrored": mirrored, "method": "composed", "model": model, "shape": first.shape}
        if self.bend is not None or first.bend is not None:
            chain = Chain(((first.matrix, first.bend), (self.matrix, self.bend)))
            return Transform(chain.matrix, bend=chain, **known)
        matrix = self.matrix @ first.matrix
        return Transform(matrix / matrix[2, 2], **known)

    def residuals(self, xy: ArrayLike, source_xy: ArrayLike) -> np.ndarray:
        """How far stars lie from where the transform expects them, (n,) source px; both lists (n, 2) px."""
        return np.hypot(*(np.asarray(source_xy, float) - self(xy)).T)

    def grid(self, y0: int, y1: int, x0: int, x1: int, step_px: int | None = None) -> Grid:
        """Positions in the source on a coarse grid over the box of pixels [y0:y1, x0:x1] of the reference.

        step_px: distance of the nodes; None for one that keeps linear interpolation right to 0.002 px.
        """
        step = step_px or self.step_px
        (top, rows), (left, cols) = (
            (low // step, max(-(-(high - 1) // step), low // step + 1) - low // step + 1)
            for low, high in ((y0, y1), (x0, x1))
        )
        nodes = np.stack(np.meshgrid(np.arange(cols) + left, np.arange(rows) + top), axis=-1) * float(step)
        return Grid(moved((self.matrix, self.bend), nodes), top * step, left * step, step)

    @cached_property
    def step_px(self) -> int:
        """Distance of nodes between which linear interpolation is right to 0.002 px, all over the reference."""
        step, (rows, cols) = STEPS_PX[1], (max(n, 1) for n in self.shape)
        at = self.grid(0, rows + 2 * step, 0, cols + 2 * step, step).positions
        # the second difference of nodes is eight times the error in the middle between two of them
        error = sum(np.abs(np.diff(at, 2, axis)).max() for axis in (0, 1)) / 8
        return next((s for s in STEPS_PX if error * (s / step) ** 2 <= GRID_ERROR_PX), STEPS_PX[-1])

    def affine(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """The 3x3 matrix nearest to the transform on the box of pixels [y0:y1, x0:x1] of the reference.

        Where nothing is bent it is the transform's own. Else it is affine, and meets the transform at the corners of
        the box as well as an affine map can.
        """
        if self.bend is None:
            return self.matrix
        corners = np.array([(x, y) for y in (y0, y1 - 1) for x in (x0, max(x1 - 1, x0 + 1))], float)
        if y1 - 1 <= y0:
            corners[2:, 1] = y0 + 1
        a, b, c, d = moved((self.matrix, self.bend), corners)
        width, height = corners[3] - corners[0]
        along, across = (b - a + d - c) / (2 * width), (c - a + d - b) / (2 * height)
        start = (a + b + c + d) / 4 - along * corners[:, 0].mean() - across * corners[:, 1].mean()
        return np.array([[along[0], across[0], start[0]], [along[1], across[1], start[1]], [0, 0, 1.0]])

    @property
    def centre_px(self) -> tuple[float, float]:
        """(x, y) of the middle of the reference."""
        return (max(self.shape[1], 1) - 1) / 2, (max(self.shape[0], 1) - 1) / 2

    @property
    def middle_affine(self) -> np.ndarray:
        """The 3x3 matrix nearest to the transform in the middle of the reference."""
        x, y = (int(v) for v in self.centre_px)
        return self.affine(y - 8, y + 9, x - 8, x + 9)

    @property
    def rotation_deg(self) -> float:
        """Angle of the reference's x axis in the source, from x towards y."""
        _, (a, _, c, _) = jacobian(self.middle_affine, *self.centre_px)
        return float(np.degrees(np.arctan2(c, a)))

    @property
    def scale(self) -> float:
        """Source pixels per reference pixel."""
        _, (a, b, c, e) = jacobian(self.middle_affine, *self.centre_px)
        return float(np.sqrt(abs(a * e - b * c)))

    @property
    def dx_px(self) -> float:
        """Shift of the image centre along x."""
        return float(self(self.centre_px)[0] - self.centre_px[0])

    @property
    def dy_px(self) -> float:
        """Shift of the image centre along y."""
        return float(self(self.centre_px)[1] - self.centre_px[1])

    def shift_px(self, shape: Sequence[int]) -> tuple[float, float]:
        """Shift of the image centre along x and y, in pixels of a source of this shape (..., rows, cols)."""
        at = self(self.centre_px)
        return float(at[0] - (shape[-1] - 1) / 2), float(at[1] - (shape[-2] - 1) / 2)


Transforms = Transform | Sequence[Transform]
"""Where a frame lies: one transform for all its planes, or one for each."""


def each_of(transforms: Transforms) -> tuple[Transform, ...]:
    """One transform or several as a tuple."""
    return (transforms,) if isinstance(transforms, Transform) else tuple(transforms)


def jacobian(h: np.ndarray, x: float, y: float) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """Where a matrix sends (x, y), and its derivatives (du/dx, du/dy, dv/dx, dv/dy) there."""
    u, v, z = h @ (x, y, 1.0)
    at = np.array([u, v]) / z
    return at, tuple(((h[:2, :2] - np.outer(at, h[2, :2])) / z).ravel())


def as_complex(xy):
    return xy[..., 0] + 1j * xy[..., 1]


def similarity_matrix(a, b, mirrored=False):
    """The 3x3 matrix of w = a z + b, or w = a conj(z) + b."""
    sign = -1 if mirrored else 1
    return np.array([[a.real, -sign * a.imag, b.real], [a.imag, sign * a.real, b.imag], [0, 0, 1.0]])


def normaliser(xy):
    """The matrix that centres positions and makes their mean distance sqrt(2) (Hartley 1997)."""
    centre = xy.mean(axis=0)
    size = np.hypot(*(xy - centre).T).mean()
    k = np.sqrt(2) / size if size > 0 else 1.0
    return np.array([[k, 0, -k * centre[0]], [0, k, -k * centre[1]], [0, 0, 1.0]])


def fit(model, xy_ref, xy, weight=None, mirrored=False) -> np.ndarray:
    """The 3x3 matrix of a model that sends xy_ref to xy with the least weighted squared error, in pixels of the source.

    model: shift, similarity, affine or homography; xy_ref, xy (n, 2) px; weight (n,), the inverse variances.
    """
    weight = np.ones(len(xy)) if weight is None else weight
    n_ref, n_src = (np.eye(3), np.eye(3)) if model == "shift" else (normaliser(xy_ref), normaliser(xy))
    p, q, m = apply(n_ref, xy_ref), apply(n_src, xy), None
    for _ in range(5 if model == "homography" else 1):
        m = solve(model, p, q, weight, mirrored, m)
    return in_pixels(m, n_ref, n_src)


def in_pixels(m, n_ref, n_src):
    """A matrix between normalised positions as one between pixels."""
    m = np.linalg.inv(n_src) @ m @ n_ref
    return m / m[2, 2]


def solve(model, p, q, weight, mirrored=False, start=None):
    """One linear least-squares solution in normalised positions; a homography takes one step from `start`."""
    if model == "shift":
        return shift_matrix(*(weight @ (q - p) / weight.sum()))
    if model == "similarity":
        z, w, total = as_complex(p), as_complex(q), max(weight.sum(), 1e-300)
        z = z.conj() if mirrored else z
        z0, w0 = weight @ z / total, weight @ w / total
        a = (weight * (z - z0).conj()) @ (w - w0) / max(weight @ np.abs(z - z0) ** 2, 1e-300)
        return similarity_matrix(a, w0 - a * z0, mirrored)
    if model == "homography" and start is not None:
        return start + homography_step(start, p, q, weight)
    terms = np.column_stack([p, np.ones(len(p))])
    weighted = terms * weight[:, None]
    return np.vstack([np.linalg.lstsq(weighted.T @ terms, weighted.T @ q, rcond=None)[0].T, [0, 0, 1.0]])


def homography_step(m, p, q, weight):
    """One Gauss-Newton step of the eight parameters on the reprojection error; positions are normalised."""
    terms, zero = np.column_stack([p, np.ones(len(p))]), np.zeros((len(p), 3))
    at = terms @ m.T
    z = at[:, 2:]
    u = at[:, :2] / z
    along = np.hstack([terms, zero, -u[:, :1] * p]) / z
    across = np.hstack([zero, terms, -u[:, 1:] * p]) / z
    design, twice = np.concatenate([along, across]), np.tile(weight, 2)
    weighted = design * twice[:, None]
    step = np.linalg.lstsq(weighted.T @ design, weighted.T @ (q - u).T.ravel(), rcond=None)[0]
    return np.append(step, 0.0).reshape(3, 3)


def robust_fit(model, xy_ref, xy, sigma_px, mirrored=False) -> tuple[np.ndarray, np.ndarray, float]:
    """`fit` with weights 1/sigma^2 that fade for outliers: Huber's, then Tukey's, with the scale from the median.

    Returns the matrix, the errors (n,) in units of sigma, and their robust scale per axis (1 when sigma is honest).
    """
    n_ref, n_src = (np.eye(3), np.eye(3)) if model == "shift" else (normaliser(xy_ref), normaliser(xy))
    p, q, unit = apply(n_ref, xy_ref), apply(n_src, xy), n_src[0, 0] * sigma_px
    fade, m = np.ones(len(xy)), None
    for step in range(8):
        m = solve(model, p, q, fade / unit**2, mirrored, m)
        error = np.hypot(*(apply(m, p) - q).T) / unit
        fade, scale = fading(error, step)
    return in_pixels(m, n_ref, n_src), error, scale


def fading(error: np.ndarray, step: int) -> tuple[np.ndarray, float]:
    """Weights (n,) that fade for large errors, Huber's in the first three steps, then Tukey's, and their scale."""
    scale = max(float(np.median(error)) / 1.1774, 1e-9)
    t = error / scale
    return np.minimum(1, 2.0 / np.maximum(t, 1e-12)) if step < 3 else np.clip(1 - (t / 5.5) ** 2, 0, None) ** 2, scale
