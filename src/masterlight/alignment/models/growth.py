"""Growth: from a pose that a few stars agree on to the transform that all common stars carry, and whether it can be."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.spatial import ConvexHull, QhullError, cKDTree

from masterlight.alignment.bend import apply
from masterlight.alignment.models.evidence import FITTED, by_evidence, carried, unexplained_px
from masterlight.alignment.models.fits import Fit, Pairs, corner_error_px, robust
from masterlight.alignment.transform import DEGREES, fit, robust_fit

if TYPE_CHECKING:
    from masterlight.alignment.align import StarAlignment
    from masterlight.alignment.quads import Reference
    from masterlight.subframes.measurement import StarList

SIGMA_FLOOR_PX = 0.01
GROWING = "similarity", "affine", "homography"
"""Models by which pairs are found, one more in each round."""
KEPT = 0.8
"""Share of the pairs that a plainer model must explain within the tolerance to take the place of an implausible one."""


class Lists(NamedTuple):
    """Stars of the reference and of a frame that may be the same, with their errors."""

    xy_ref: np.ndarray
    xy: np.ndarray
    tree: cKDTree
    """Of xy."""
    sigma_ref: np.ndarray
    """px of the source"""
    sigma_src: np.ndarray
    mirrored: bool
    shape: tuple[int, int]
    """Rows and columns of the reference."""

    def pairs(self, of_ref: np.ndarray, of_src: np.ndarray) -> Pairs:
        """Those that are the same."""
        sigma, (rows, cols) = np.hypot(self.sigma_ref[of_ref], self.sigma_src[of_src]), self.shape
        box = (0.0, 0.0, float(cols - 1), float(rows - 1))
        return Pairs(self.xy_ref[of_ref], self.xy[of_src], sigma, self.mirrored, box)


@dataclass(frozen=True, eq=False)
class Grown:
    """What a pose has grown to."""

    fit: Fit
    of_ref: np.ndarray
    of_src: np.ndarray
    error_px: np.ndarray
    """Distances of those pairs."""
    chi2: float
    corner_error_px: float
    code: str = ""
    reason: str = ""
    """Why the transform cannot be believed; empty when it can."""


def grown(settings: StarAlignment, reference: Reference, stars: StarList, matrix: np.ndarray) -> Grown | None:
    """The transform that all common stars carry, from a pose that some agree on; None when fewer than 3 are found."""
    lists = lists_of(settings, reference, stars, matrix)
    known = grown_pairs(settings, lists, matrix)
    if known is None:
        return None
    start, *found = known
    models = wanted(settings)
    fits = candidates(models, lists.pairs(*found), start)
    if fits[0].bend is not None:
        found = bent_pairs(settings, lists, fits[0], found)
        fits = candidates(models, lists.pairs(*found))
    first = None
    for one in fits:
        done = finished(settings, reference, stars.shape, lists, one, found)
        if first is None:
            first = done
        if not done.reason and (done is first or explains(settings, one, lists.pairs(*found))):
            return done
    return first


def lists_of(settings: StarAlignment, reference: Reference, stars: StarList, matrix: np.ndarray) -> Lists:
    """What takes part, and how well each position is known."""
    xy = np.ascontiguousarray(stars.xy[: settings.max_stars], float)
    turn = np.linalg.det(matrix[:2, :2])
    sigma_ref = np.sqrt(abs(turn)) * np.maximum(reference.stars.sigma_px[: settings.max_stars], SIGMA_FLOOR_PX)
    sigma_src = np.maximum(stars.sigma_px[: settings.max_stars], SIGMA_FLOOR_PX)
    return Lists(reference.xy, xy, cKDTree(xy), sigma_ref, sigma_src, bool(turn < 0), reference.shape)


def wanted(settings: StarAlignment) -> tuple[str, ...]:
    """Models that may be taken, the plainest first: all for auto, else the one that is named and plainer ones."""
    if settings.model == "shift":
        return ("shift",)
    if settings.model == "auto":
        return FITTED
    return FITTED[1 : FITTED.index(settings.model) + 1]


def grown_pairs(settings: StarAlignment, lists: Lists, matrix: np.ndarray) -> tuple[Fit, np.ndarray, np.ndarray] | None:
    """The richest matrix and indices of pairs in both lists, found by ever richer models and ever closer.

    None when there are fewer than 3.
    """
    known = [m for m in wanted(settings) if m in ("shift", *GROWING)]
    before, level, extra = None, 0, 0.0
    order = [m for m in GROWING if m in known] or known
    for reach in (2.0, 1.5, 1.0, 1.0, 1.0, 1.0):
        of_ref, of_src = pair_up(apply(matrix, lists.xy_ref), lists.tree, reach * settings.tolerance_px)
        if len(of_ref) < 3:
            return None
        pairs = lists.pairs(of_ref, of_src)
        model = carried(order[: level + 1], pairs.xy_ref)[-1]
        level = order.index(model) + 1
        sigma = np.hypot(pairs.sigma_px, extra)
        matrix, error, _ = robust_fit(model, pairs.xy_ref, pairs.xy, sigma, pairs.mirrored)
        more = unexplained_px(error, sigma)
        key = (model, of_ref.tobytes(), of_src.tobytes())
        if key == before and more == 0:
            break
        before, extra = key, np.hypot(extra, more)
    return Fit(model, matrix, None, DEGREES[model]), of_ref, of_src


def bent_pairs(settings: StarAlignment, lists: Lists, place: Fit, found):
    """Pairs found by a bent transform, until they are the same again: also where a matrix leads too far astray."""
    for _ in range(5):
        before = found
        at = place(lists.xy_ref)
        found = pair_up(at, lists.tree, settings.tolerance_px)
        if len(found[0]) < len(before[0]):
            return before
        if np.array_equal(found[0], before[0]) and np.array_equal(found[1], before[1]):
            break
        place, _ = robust(place.model, lists.pairs(*found))
    return found


def candidates(models: tuple[str, ...], pairs: Pairs, start: Fit | None = None) -> list[Fit]:
    """Fits of the models that may be taken, the best first, then plainer ones."""
    able = carried(models, pairs.xy_ref)
    if models[0] == "shift" and len(models) > 1:
        return by_evidence(able, pairs, start)
    return [robust(model, pairs)[0] for model in reversed(able)]


def finished(settings, reference, shape, lists: Lists, start: Fit, found) -> Grown:
    """A model fitted to all pairs with the errors that they turn out to have, and what speaks against it."""
    pairs, extra, one, spread = lists.pairs(*found), 0.0, start, 1.0
    for _ in range(3):
        sigma = np.hypot(pairs.sigma_px, extra)
        one, spread = robust(start.model, pairs._replace(sigma_px=sigma))
        more = unexplained_px(one.error(pairs) * pairs.sigma_px / sigma, sigma)
        if more == 0:
            break
        extra = np.hypot(extra, more)
    own = pairs._replace(sigma_px=sigma)
    error = one.error(own)
    keep = error < max(3.5, 3 * spread)
    of_ref, of_src = found[0][keep], found[1][keep]
    error_px, base = (error * sigma)[keep], pairs.sigma_px[keep]
    freedom = max(2 * len(of_ref) - one.free, 1)
    code, reason = implausible(settings, one, reference, of_ref, shape)
    return Grown(
        one, of_ref, of_src, error_px, float(((error_px / base) ** 2).sum() / freedom),
        corner_error_px(one, own.part(keep)), code, reason,
    )  # fmt: skip


def explains(settings: StarAlignment, found: Fit, pairs: Pairs) -> bool:
    """Whether most pairs lie within the tolerance where a model expects them."""
    away = found.error(pairs) * pairs.sigma_px
    return bool(np.mean(away <= settings.tolerance_px) >= KEPT)


def implausible(settings, found: Fit, reference: Reference, of_ref, shape) -> tuple[str, str]:
    """Code and reason why a transform cannot be a view of the same sky; empty when it can. shape: of the source."""
    rows, cols = reference.shape
    lines = np.linspace(0, 1, 24)
    grid = np.stack(np.meshgrid(lines * (cols - 1), lines * (rows - 1)), axis=-1).reshape(-1, 2)
    at = found(grid)
    overlap = ((at >= -0.5) & (at <= (shape[1] - 0.5, shape[0] - 0.5))).all(axis=1).mean() * rows * cols
    hull = 0.0
    with suppress(QhullError):  # stars on a line
        hull = float(ConvexHull(reference.xy[of_ref]).volume) / max(overlap, 1.0)
    if hull < 0.02:
        told = f"the {len(of_ref)} stars in common lie on a line or in a corner ({hull:.1%} of the common field)"
        todo = "so the transform is not determined. More stars are needed: lower SubframeSelector.sigma."
        return "DEGENERATE", f"{told}, {todo}"
    # of a bent one the affine map that is nearest to it; what is beyond is bounded by its folds below
    matrix = found.matrix if found.bend is None else fit("affine", grid, at)
    values = np.linalg.svd(matrix[:2, :2], compute_uv=False)
    shear, scale = values[0] / values[1] - 1, float(np.sqrt(values[0] * values[1]))
    bend, (low, high) = np.abs(matrix[2, :2]).max() * max(rows, cols), (settings.scale_min, settings.scale_max)
    if not (low <= scale <= high) or shear > settings.max_shear or bend > 0.02 or folded(at):
        told = f"scale {scale:.3f} (allowed {low:g} to {high:g}), shear {shear:.2%} (allowed {settings.max_shear:.0%})"
        told += f", perspective {bend:.2%} (allowed 2%). Was the frame taken with another optical train?"
        return "IMPLAUSIBLE", f"the transform is implausible: {told}"
    return "", ""


def folded(at: np.ndarray) -> bool:
    """Whether positions of an even 24 x 24 grid are pressed to a third of the area or spread to three times it."""
    nodes = at.reshape(24, 24, 2)
    along, across = np.diff(nodes, axis=1)[:-1], np.diff(nodes, axis=0)[:, :-1]
    area = np.abs(along[..., 0] * across[..., 1] - along[..., 1] * across[..., 0])
    return bool(area.min() < np.median(area) / 3 or area.max() > 3 * np.median(area))


def pair_up(at: np.ndarray, tree: cKDTree, tolerance_px: float) -> tuple[np.ndarray, np.ndarray]:
    """One-to-one pairs: indices in both lists of stars nearest to each other within the tolerance.

    at (n, 2) px: where stars of the reference are expected in the source; tree: of the positions there.
    """
    distance, nearest = tree.query(at, distance_upper_bound=tolerance_px)
    of_ref = np.flatnonzero(np.isfinite(distance))
    of_ref = of_ref[np.lexsort((distance[of_ref], nearest[of_ref]))]
    of_src, first = np.unique(nearest[of_ref], return_index=True)
    return of_ref[first], of_src
