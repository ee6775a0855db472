"""Places of many frames as one least-squares problem over the stars that pairs of them have in common.

Frames of one lens and target are views of one sphere: beside its shift, turn and scale a frame has the perspective of
the tangent plane, which one number for all tells, how much sky a pixel sees. So few numbers keep a long chain of panels
straight, where a free transform for each would let errors grow with every link.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from masterlight.alignment.bend import shift_matrix
from masterlight.alignment.transform import Transform, apply, fit, jacobian

STEPS, SETTLED_PX, TRIED_PX = 40, 1e-4, 0.01
"""Steps of Levenberg and Marquardt at most, the change of a corner that ends them, and that which tells derivatives."""
FADING = 2.0
"""Stars so many times the usual distance off count the less, the farther off they are (Huber 1964)."""
WORSE = 1.5
"""Views of one sphere are believed while stars lie no more than so many times as far apart as free transforms of each
pair leave them."""


ALIKE, SCALE_SIGMA, FOCAL_SIGMA = 0.01, 3e-4, 0.05
"""Frames whose scales differ by less than the first are of one camera, and their scales differ by about the second:
focus, air. A focal length in a header is right to about the third. Without these hardly anything tells the curvature of
a straight chain of panels; its seams fit all the same."""


class Edge(NamedTuple):
    """Stars that two frames have in common."""

    a: int
    b: int
    xy_a: np.ndarray
    """(n, 2) px of the first frame."""
    xy_b: np.ndarray
    sigma_px: np.ndarray
    """(n,) error of their distance along each axis."""
    found: Transform
    """From the first frame to the second, by these stars alone."""


@dataclass(frozen=True)
class Adjusted:
    """What came of an adjustment."""

    matrices: dict[int, np.ndarray]
    """3x3 of each frame, from the reference to it."""
    rms_px: dict[int, float]
    """How far the stars of a frame lie from those of its neighbours, both axes, in pixels of the reference."""
    corner_error_px: dict[int, float]
    total_rms_px: float
    chi2: float
    curved: bool
    """Whether frames were taken as views of one sphere."""


def adjusted(
    places: Mapping[int, Transform], shapes: Mapping[int, tuple[int, int]], reference: int, edges: Sequence[Edge],
    focal_px: float | None = None,
) -> Adjusted:  # fmt: skip
    """Solve the places of all frames but the reference, from where they lie about: as views of one sphere, or where
    these do not fit, each free.

    places: from the reference to each frame; shapes: rows and columns of each; focal_px: focal length in pixels of the
    reference as headers tell it, which need not be exact.
    """
    back = {i: t.inverse.matrix for i, t in places.items()}
    alone = np.sqrt(np.average([e.found.rms_px**2 for e in edges], weights=[len(e.xy_a) for e in edges]))
    sphere = solved(Sphere(flat_places(edges, reference), shapes, reference, focal_px), edges, shapes, reference)
    if sphere.total_rms_px <= WORSE * max(alone, 0.02):
        return sphere
    free = solved(Free(back, shapes, reference), edges, shapes, reference)
    return min((sphere, free), key=lambda one: one.total_rms_px)


def flat_places(edges: Sequence[Edge], reference: int) -> dict[int, np.ndarray]:
    """3x3 similarities from each frame to the reference, from pair to pair, those with most stars in common first.

    Where two views of one sphere overlap they have the same scale, so that of one camera's frames is kept.
    """
    places, last = {reference: np.eye(3)}, {reference}
    order = sorted(edges, key=lambda e: -len(e.xy_a))
    while last:
        found: dict[int, np.ndarray] = {}
        for e in order:
            for one, other, to, xy in ((e.a, e.b, e.xy_a, e.xy_b), (e.b, e.a, e.xy_b, e.xy_a)):
                if one in last and other not in places and other not in found:
                    step = fit("similarity", xy, to, mirrored=e.found.mirrored)
                    found[other] = places[one] @ at_scale_one(step, xy.mean(axis=0))
        places, last = places | found, set(found)
    return places


def at_scale_one(matrix: np.ndarray, around: np.ndarray) -> np.ndarray:
    """A similarity that is nearly of scale 1 with exactly that, about a point; another one as it is."""
    scale = np.sqrt(abs(np.linalg.det(matrix[:2, :2])))
    if abs(np.log(scale)) > ALIKE:
        return matrix
    out = matrix.copy()
    out[:2, :2] /= scale
    out[:2, 2] = apply(matrix, around) - out[:2, :2] @ around
    return out


class Sphere:
    """Frames as views of one sphere: (x, y, log scale, turn) of the middle of each, and the curvature of all.

    The curvature is (radians per pixel)^2 of the reference: at 0 the sky is flat.
    """

    each, shared = 4, 1

    def __init__(
        self, back: Mapping[int, np.ndarray], shapes: Mapping[int, tuple[int, int]], reference: int,
        focal_px: float | None = None,
    ):  # fmt: skip
        """back: similarities from each frame to the reference, where it lies on a flat sky."""
        self.numbers = [i for i in back if i != reference]
        self.middle = {i: middle_of(shapes[i]) for i in back}
        self.home, self.sign = self.middle[reference], {}
        start = []
        for i in self.numbers:
            at, (a, b, c, e) = jacobian(back[i], *self.middle[i])
            self.sign[i] = 1.0 if a * e - b * c > 0 else -1.0
            start.append([*(at - self.home), 0.5 * np.log(abs(a * e - b * c)), np.arctan2(c, a)])
        self.start = np.array([*np.ravel(start), 0.0])
        size = max(max(shape) for shape in shapes.values())
        reach = max(size, float(np.abs(start).max()))
        self.step = np.array([*np.tile([TRIED_PX, TRIED_PX, TRIED_PX / size, TRIED_PX / size], len(start)), 0.0])
        self.step[-1] = TRIED_PX / size / reach**2
        self.known = np.append(np.ravel([[0, 0, abs(one[2]) < ALIKE, 0] for one in start]), 0.0) / SCALE_SIGMA**2
        self.expected = np.zeros(self.start.size)
        if focal_px:
            self.start[-1] = self.expected[-1] = focal_px**-2
            self.known[-1] = (2 * FOCAL_SIGMA * self.expected[-1]) ** -2

    @staticmethod
    def held(p: np.ndarray) -> np.ndarray:
        """Numbers that were found, as far as they can be true: no sky is curved the other way."""
        return np.append(p[:-1], max(p[-1], 0.0))

    def matrix(self, i: int, p: np.ndarray, shared: np.ndarray) -> np.ndarray:
        """3x3 from a frame to the reference."""
        x, y, log_scale, turn = p
        c, s = np.exp(log_scale) * np.array([np.cos(turn), np.sin(turn)])
        k = self.sign[i]
        own = np.array([[c, -k * s, 0], [s, k * c, 0], [0, 0, 1.0]]) @ shift_matrix(*-self.middle[i])
        q = float(shared[0])
        norm = np.sqrt(1 + q * (x * x + y * y))
        # the sphere turned so that its pole comes to (x, y), all lengths in pixels: finite for q = 0 as well
        fall = 1 / (norm * (norm + 1)) * q
        view = np.array([
            [1 - fall * x * x, -fall * x * y, x / norm],
            [-fall * x * y, 1 - fall * y * y, y / norm],
            [-q * x / norm, -q * y / norm, 1 / norm],
        ])  # fmt: skip
        return shift_matrix(*self.home) @ view @ own


class Free:
    """Frames each by a homography of its own: eight numbers, from its pixels to those of the reference."""

    each, shared = 8, 0

    def __init__(self, back: Mapping[int, np.ndarray], shapes: Mapping[int, tuple[int, int]], reference: int):
        self.numbers = [i for i in back if i != reference]
        size = max(max(shape) for shape in shapes.values())
        self.unit = np.array([1, 1, size, 1, 1, size, 1 / size, 1 / size])
        self.start = np.ravel([(back[i] / back[i][2, 2]).ravel()[:8] / self.unit for i in self.numbers])
        self.step = np.full(self.start.size, 1e-6)
        self.known = self.expected = np.zeros(self.start.size)

    @staticmethod
    def held(p: np.ndarray) -> np.ndarray:
        """Numbers that were found, as far as they can be true."""
        return p

    def matrix(self, i: int, p: np.ndarray, shared: np.ndarray) -> np.ndarray:
        return np.append(p * self.unit, 1.0).reshape(3, 3)


def middle_of(shape: tuple[int, int]) -> np.ndarray:
    return (np.array(shape[::-1], float) - 1) / 2


def solved(
    model: Sphere | Free, edges: Sequence[Edge], shapes: Mapping[int, tuple[int, int]], reference: int
) -> Adjusted:
    """The least squares of the distances of stars in common, each seen from its two frames, on the reference."""
    p, corners = model.start.copy(), {i: corners_of(shapes[i]) for i in shapes}
    place = {i: slice(model.each * k, model.each * (k + 1)) for k, i in enumerate(model.numbers)}
    damping, cost = 1e-6, cost_of(model, place, p, edges, reference)
    for _ in range(STEPS):
        normal, right, _ = normal_equations(model, place, p, edges, reference)
        scale = np.diag(np.maximum(np.diag(normal), 1e-300))
        while damping < 1e6:
            tried = model.held(p + np.linalg.solve(normal + damping * scale, right))
            if (new := cost_of(model, place, tried, edges, reference)) <= cost:
                break
            damping *= 10
        before, after = matrices_at(model, place, p), matrices_at(model, place, tried)
        far = max(np.abs(apply(after[i], corners[i]) - apply(before[i], corners[i])).max() for i in before)
        if not new <= cost:
            break
        p, cost, damping = tried, new, max(damping / 30, 1e-12)
        if far < SETTLED_PX:
            break
    normal, _, left = normal_equations(model, place, p, edges, reference)
    return told(model, place, p, edges, corners, normal, left, reference)


def cost_of(model: Sphere | Free, place, p: np.ndarray, edges: Sequence[Edge], reference: int) -> float:
    """What the least squares make small: squares of distances over their errors, outliers faded."""
    matrices, total = (
        matrices_at(model, place, p) | {reference: np.eye(3)},
        float(model.known @ (p - model.expected) ** 2),
    )
    for e in edges:
        usual = np.hypot(*(apply(matrices[e.a], e.xy_a) - apply(matrices[e.b], e.xy_b)).T) / e.sigma_px
        total += float(np.where(usual < FADING, usual**2, FADING * (2 * usual - FADING)).sum())
    return total


def matrices_at(model: Sphere | Free, place: Mapping[int, slice], p: np.ndarray) -> dict[int, np.ndarray]:
    """3x3 of each frame to the reference."""
    shared = p[len(p) - model.shared :]
    return {i: model.matrix(i, p[at], shared) for i, at in place.items()}


def normal_equations(model, place, p: np.ndarray, edges: Sequence[Edge], reference: int):
    """(normal matrix, right side, (n, 2) distances of each edge) about a solution, outliers faded."""
    normal, right, left = np.diag(model.known), model.known * (model.expected - p), []
    matrices = matrices_at(model, place, p) | {reference: np.eye(3)}
    for e in edges:
        off = apply(matrices[e.a], e.xy_a) - apply(matrices[e.b], e.xy_b)
        left.append(off)
        usual = np.hypot(*off.T) / e.sigma_px
        weight = np.minimum(1, FADING / np.maximum(usual, 1e-12)) / e.sigma_px**2
        design, columns = design_of(model, place, p, e, reference)
        twice = np.repeat(weight, 2)
        normal[np.ix_(columns, columns)] += design.T @ (design * twice[:, None])
        right[columns] -= design.T @ (twice * off.ravel())
    return normal, right, left


def design_of(model, place, p: np.ndarray, e: Edge, reference: int) -> tuple[np.ndarray, np.ndarray]:
    """How the distances of an edge's stars change with each number that they hang on: (2 n, m), and which these are."""
    base = p.size - model.shared
    parts, columns = [], []
    common = np.zeros((2 * len(e.xy_a), model.shared))
    for i, xy, sign in ((e.a, e.xy_a, 1.0), (e.b, e.xy_b, -1.0)):
        if i == reference:
            continue
        at, shared = place[i], p[base:]
        here = apply(model.matrix(i, p[at], shared), xy)
        for k in range(model.each):
            more = p[at].copy()
            more[k] += model.step[at][k]
            parts.append(sign * (apply(model.matrix(i, more, shared), xy) - here).ravel() / model.step[at][k])
            columns.append(at.start + k)
        for k in range(model.shared):
            more = shared.copy()
            more[k] += model.step[base + k]
            common[:, k] += sign * (apply(model.matrix(i, p[at], more), xy) - here).ravel() / model.step[base + k]
    design = np.column_stack([*parts, common]) if parts else common
    return design, np.array([*columns, *range(base, p.size)])


def corners_of(shape: tuple[int, int]) -> np.ndarray:
    rows, cols = shape
    return np.array([[0, 0], [cols - 1, 0], [0, rows - 1], [cols - 1, rows - 1]], float)


def told(model, place, p, edges, corners, normal, left, reference: int) -> Adjusted:
    """The result of a solution with the errors that the stars' own leave."""
    matrices, base = matrices_at(model, place, p), p.size - model.shared
    if not model.known[base:].any():  # a bend of all that no focal length tells parts no frames from each other
        normal = normal.copy()
        normal[base:, :base] = normal[:base, base:] = 0.0
        normal[base:, base:] = 1e300
    unit = np.sqrt(np.maximum(np.diag(normal), 1e-300))
    covariance = np.linalg.pinv(normal / np.outer(unit, unit)) / np.outer(unit, unit)
    squares = {i: [] for i in [*place, reference]}
    for e, off in zip(edges, left, strict=True):
        squares[e.a].append((off**2).sum(axis=1))
        squares[e.b].append((off**2).sum(axis=1))
    errors = {i: corner_error_px(model, place, p, i, corners[i], covariance) for i in place}
    every = np.concatenate([(off**2).sum(axis=1) for off in left])
    sigma = np.concatenate([e.sigma_px for e in edges])
    freedom = max(2 * every.size - p.size, 1)
    back = {i: np.linalg.inv(m) for i, m in matrices.items()}
    return Adjusted(
        {reference: np.eye(3)} | {i: m / m[2, 2] for i, m in back.items()},
        {i: float(np.sqrt(np.mean(np.concatenate(s)))) if s else 0.0 for i, s in squares.items()},
        errors, float(np.sqrt(every.mean())), float((every / sigma**2).sum() / freedom), isinstance(model, Sphere),
    )  # fmt: skip


def corner_error_px(model, place, p: np.ndarray, i: int, corners: np.ndarray, covariance: np.ndarray) -> float:
    """Expected error of a frame's place in the worst of its corners."""
    seen = Edge(i, -1, corners, corners, np.ones(4), Transform.identity())
    design, columns = design_of(model, place, p, seen, -1)
    own = covariance[np.ix_(columns, columns)]
    squares = np.einsum("ij,jk,ik->i", design, own, design).reshape(4, 2).sum(axis=1)
    return float(np.sqrt(max(squares.max(), 0.0)))


def light_ratios(edges: Sequence[Edge], reference: int) -> dict[int, tuple[float, float]]:
    """Light that each frame got of the same stars over that of the reference, and its error, from the ratios of all
    pairs together: the least squares of their logarithms."""
    numbers = sorted({i for e in edges for i in (e.a, e.b)} - {reference})
    at = {i: k for k, i in enumerate(numbers)}
    known = [e for e in edges if e.found.flux_pairs and e.found.flux_ratio > 0 and np.isfinite(e.found.flux_ratio)]
    normal, right = 1e-12 * np.eye(len(numbers)), np.zeros(len(numbers))
    for e in known:
        row = np.zeros(len(numbers))
        for i, sign in ((e.b, 1.0), (e.a, -1.0)):
            if i in at:
                row[at[i]] = sign
        weight = 1 / max(e.found.flux_ratio_error / e.found.flux_ratio, 1e-4) ** 2
        normal += weight * np.outer(row, row)
        right += weight * row * np.log(e.found.flux_ratio)
    found, errors = np.linalg.solve(normal, right), np.sqrt(np.diag(np.linalg.inv(normal)))
    out = {i: (float(np.exp(found[k])), float(np.exp(found[k]) * min(errors[k], 1.0))) for i, k in at.items()}
    return {reference: (1.0, 0.0)} | out
