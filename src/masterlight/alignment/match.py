"""Match: which star is which in two lists, and the transform between them.

Proposals (the last transform, a shift, equal quads) are believed when so many stars agree that chance cannot explain
them; the best is then grown to the final model on all common stars, with the errors of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from math import lgamma, log
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.spatial import ConvexHull, QhullError, cKDTree
from scipy.special import gammainc

from masterlight.alignment.align import StarAlignment
from masterlight.alignment.quads import (
    FEWEST_STARS,
    TIERS,
    Reference,
    pair_proposals,
    proposals,
    quads_of,
    shift_proposal,
)
from masterlight.alignment.sensor import FIXED_PX, STAYS_PX, is_fixed, is_of_sensor, repeated, standing_alone
from masterlight.alignment.transform import DEGREES, Transform, apply, fit, robust_fit
from masterlight.core.errors import Rejected
from masterlight.subframes.wings import matched_flux_ratio

if TYPE_CHECKING:
    from masterlight.subframes.measurement import StarList

CORNER_GROWTH = {"shift": 1.0, "similarity": 4.0, "affine": 7.0, "homography": 13.8}
"""How much larger the variance of a fitted model is in the corners of the frame than that of its mean shift."""
SIGMA_FLOOR_PX, CERTAIN = 0.01, -15.0
ALONE = 10.0
"""Within so many tolerances of a brighter star one counts as the same evidence: doubled stars agree in pairs."""
SENSOR = (
    "it matches the reference only in spots that stay at their pixels: hot pixels, no stars. Darks of this sensor "
    "would take them out; without any, look for clouds, or set CosmeticCorrection.hot_auto"
)


class Pose(NamedTuple):
    """A proposed 3x3 matrix, log10 of the chance to agree so well by accident, and how many stars agree of how many."""

    matrix: np.ndarray
    log10_p: float
    agreed: int
    expected: int


NO_POSE = Pose(np.eye(3), 0.0, 0, 0)


def align(
    settings: StarAlignment, reference: Reference, stars: StarList, source: str, guess: Transform | None
) -> Transform | Rejected:
    """The transform of a frame whose stars are given, or why there is none."""
    counts = len(stars), len(reference.stars)
    if min(counts) < FEWEST_STARS:
        told = f"{counts[0]} stars found here and {counts[1]} in the reference, but {FEWEST_STARS} are needed. "
        todo = "Look for clouds, dew or lost focus, or lower SubframeSelector.sigma."
        return Rejected(source, "align", told + todo)
    moving, of_sensor = without_fixed(settings, reference, stars), False
    for of_ref, of_src in (moving, (reference, stars)) if moving else ((reference, stars),):
        pose, method = best_pose(settings, of_ref, of_src, guess)
        if pose.log10_p > settings.significance:
            continue
        found = refine(settings, of_ref, of_src, source, pose, method)
        left_over = of_ref is not reference and found and found.rms_px > FIXED_PX
        of_sensor = stays(found) and bool(left_over or is_of_sensor(of_ref, of_src))
        if not of_sensor:
            return found
    if of_sensor:
        return Rejected(source, "align", SENSOR, "SENSOR")
    return Rejected(source, "align", not_significant(settings, pose, counts))


def stays(found: Transform | Rejected) -> bool:
    """Whether a transform moves nothing in the middle and hardly turns, so that it may be of the sensor with itself."""
    return bool(found) and max(abs(found.dx_px), abs(found.dy_px), abs(found.rotation_deg)) < STAYS_PX


def not_significant(settings: StarAlignment, pose: Pose, counts: tuple[int, int]) -> str:
    """Why the best pose is not believed, as a sentence with a hint."""
    if pose.expected == 0:
        text = f"no pattern of its {counts[0]} stars is found among the reference's {counts[1]}"
    else:
        best = Transform(matrix=pose.matrix)
        turned = f"turned by {best.rotation_deg:.1f} deg, scale {best.scale:.3f}"
        text = f"no match with the reference: at best {pose.agreed} of {pose.expected} stars agree ({turned}), "
        text += f"which may be an accident (log10 P = {pose.log10_p:.1f}, needed {settings.significance:g})"
    mirrored = "" if settings.mirror else " Mirrored frames were not tried: allow them with mirror."
    return f"{text}. Is it the same target and field? Look for clouds and trailed stars.{mirrored}"


def without_fixed(settings: StarAlignment, reference: Reference, stars: StarList) -> tuple[Reference, StarList] | None:
    """Both lists without what repeats at the very same pixel, such as hot pixels; None if nothing suggests them."""
    of_ref, of_src = repeated(reference, stars)
    rows, cols = stars.shape
    accident = len(stars) * len(reference.stars) / (rows * cols) * np.pi * FIXED_PX**2
    if log10_chance(len(of_src), accident) > settings.significance:
        return None
    left, moving = np.ones(len(reference.stars), bool), np.ones(len(stars), bool)
    left[of_ref] = moving[of_src] = False
    if min(int(moving.sum()), int(left.sum())) < FEWEST_STARS + 2:
        return None
    if not is_fixed(stars.xy[of_src] - reference.stars.xy[of_ref]):
        return None
    return Reference.of(reference.stars[left], settings.max_stars), stars[moving]


def best_pose(
    settings: StarAlignment, reference: Reference, stars: StarList, guess: Transform | None
) -> tuple[Pose, str]:
    """The most significant rigid pose, from cheap tries to thorough ones, and which try found it."""
    xy = np.ascontiguousarray(stars.xy[: settings.max_stars], float)
    tree, shape = cKDTree(xy), tuple(stars.shape)
    rigid, best = settings.model == "shift", (NO_POSE, "")
    for matrix, trials, method in cheap_tries(reference, xy, guess):
        pose = verify(matrix, reference.xy, tree, shape, settings.tolerance_px, 2, trials, rigid)
        if pose.log10_p <= settings.significance:
            return pose, method
        best = min(best, (pose, method), key=lambda b: b[0].log10_p)
    if rigid:
        return best
    return min(best, (search(settings, reference, xy, tree, shape), "quads"), key=lambda b: b[0].log10_p)


def cheap_tries(reference: Reference, xy: np.ndarray, guess: Transform | None) -> Iterator[tuple[np.ndarray, int, str]]:
    """Transforms worth trying first, with their number of trials: the guess, a shift, a shift after a flip."""
    if guess is not None:
        yield guess.matrix, 1, "guess"
    pairs = min(len(xy), 100) * min(len(reference.xy), 100)
    yield shift_proposal(reference.xy, xy), pairs, "shift"
    yield shift_proposal(reference.xy, xy, -1), pairs, "flip"


def search(settings: StarAlignment, reference: Reference, xy: np.ndarray, tree: cKDTree, shape) -> Pose:
    """The most significant pose that quads propose: bright stars first, then ever fainter ones, at last their pairs."""
    best, trials, limits = NO_POSE, 0, (settings.scale_min, settings.scale_max)
    previous = 0
    for tiers in (TIERS[:3], TIERS[3:4], TIERS[4:]):
        if min(len(xy), tiers[-1]) <= previous:
            break
        previous = tiers[-1]
        for matrix in proposals(reference, quads_of(xy, tiers), xy, shape, limits, settings.mirror):
            trials += 1
            pose = verify(matrix, reference.xy, tree, shape, settings.tolerance_px, 4, trials)
            best = min(best, pose, key=lambda p: p.log10_p)
            if best.log10_p <= CERTAIN and best.agreed >= 8:
                return best
        if best.log10_p <= settings.significance:
            return best
    if not settings.scale_min <= 1 <= settings.scale_max:
        return best
    turns, trials = pair_proposals(reference.xy, xy, settings.mirror, shape)
    poses = (verify(turn, reference.xy, tree, shape, settings.tolerance_px, 2, trials) for turn in turns)
    return min((best, *poses), key=lambda p: p.log10_p)


def refine(
    settings: StarAlignment, reference: Reference, stars: StarList, source: str, pose: Pose, method: str
) -> Transform | Rejected:
    """Grow a pose to the final model on all common stars, and check that it is a plausible view of the sky."""
    xy = np.ascontiguousarray(stars.xy[: settings.max_stars], float)
    tree, matrix, mirrored = cKDTree(xy), pose.matrix, bool(np.linalg.det(pose.matrix[:2, :2]) < 0)
    scale = np.sqrt(abs(np.linalg.det(matrix[:2, :2])))
    sigma_ref = scale * np.maximum(reference.stars.sigma_px[: settings.max_stars], SIGMA_FLOOR_PX)
    sigma_src = np.maximum(stars.sigma_px[: settings.max_stars], SIGMA_FLOOR_PX)
    before, model, extra = None, "similarity", 0.0
    for reach in (2.0, 1.5, 1.0, 1.0, 1.0, 1.0):
        of_ref, of_src = pair_up(matrix, reference.xy, tree, reach * settings.tolerance_px)
        if len(of_ref) < 3:
            return Rejected(source, "align", not_significant(settings, pose, (len(stars), len(reference.stars))))
        model = model_for(settings, reference.xy[of_ref], model)
        base = np.hypot(sigma_ref[of_ref], sigma_src[of_src])
        sigma = np.hypot(base, extra)
        matrix, error, spread = robust_fit(model, reference.xy[of_ref], xy[of_src], sigma, mirrored)
        more = unexplained_px(error, sigma)
        key = (model, of_ref.tobytes(), of_src.tobytes())
        if key == before and more == 0:
            break
        before, extra = key, np.hypot(extra, more)
    keep = error < max(3.5, 3 * spread)
    of_ref, of_src, error_px, base, sigma = (v[keep] for v in (of_ref, of_src, error * sigma, base, sigma))
    reason = implausible(settings, matrix, reference, of_ref, stars.shape)
    if reason:
        return Rejected(source, "align", reason)
    freedom = max(2 * len(error_px) - DEGREES[model], 1)
    growth = CORNER_GROWTH[model] / (1 / sigma**2).sum()
    light = matched_flux_ratio(reference.stars[of_ref], stars[of_src])
    return Transform(
        matrix=matrix, rms_px=float(np.sqrt(np.mean(error_px**2))), matched=len(of_ref), log10_p=pose.log10_p,
        mirrored=mirrored, method=method, flux_ratio=light.ratio, flux_ratio_error=light.error, flux_pairs=light.stars,
        model=model, chi2=float(((error_px / base) ** 2).sum() / freedom), corner_error_px=float(np.sqrt(2 * growth)),
        shape=reference.shape,
    )  # fmt: skip


def model_for(settings: StarAlignment, xy: np.ndarray, before: str) -> str:
    """The model that these common stars can carry, at most one step beyond the one before."""
    if settings.model == "shift":
        return "shift"
    order = ("similarity", "affine", "homography")
    most = order.index(settings.model) if settings.model != "auto" else 2
    spread = np.sqrt(np.linalg.eigvalsh(np.cov(xy.T)))
    level = 2 if len(xy) >= 12 else 1 if len(xy) >= 8 else 0
    level = 0 if spread[0] < 0.1 * spread[1] else level
    return order[min(most, level, order.index(before) + 1)]


def implausible(settings: StarAlignment, matrix: np.ndarray, reference: Reference, of_ref, shape) -> str:
    """Why a transform cannot be a view of the same sky; empty when it can. shape: rows and columns of the source."""
    rows, cols = reference.shape
    lines = np.linspace(0, 1, 24)
    grid = np.stack(np.meshgrid(lines * (cols - 1), lines * (rows - 1)), axis=-1).reshape(-1, 2)
    at = apply(matrix, grid)
    overlap = ((at >= -0.5) & (at <= (shape[1] - 0.5, shape[0] - 0.5))).all(axis=1).mean() * rows * cols
    hull = 0.0
    with suppress(QhullError):  # stars on a line
        hull = float(ConvexHull(reference.xy[of_ref]).volume) / max(overlap, 1.0)
    if hull < 0.02:
        told = f"the {len(of_ref)} stars in common lie on a line or in a corner ({hull:.1%} of the common field)"
        return f"{told}, so the transform is not determined. More stars are needed: lower SubframeSelector.sigma."
    values = np.linalg.svd(matrix[:2, :2], compute_uv=False)
    shear, scale = values[0] / values[1] - 1, float(np.sqrt(values[0] * values[1]))
    bend, (low, high) = np.abs(matrix[2, :2]).max() * max(rows, cols), (settings.scale_min, settings.scale_max)
    if not (low <= scale <= high) or shear > settings.max_shear or bend > 0.02:
        told = f"scale {scale:.3f} (allowed {low:g} to {high:g}), shear {shear:.2%} (allowed {settings.max_shear:.0%})"
        told += f", perspective {bend:.2%} (allowed 2%). Was the frame taken with another optical train?"
        return f"the transform is implausible: {told}"
    return ""


def log10_chance(agreed: int, expected: float) -> float:
    """log10 of the chance that `agreed` or more stars agree where accident makes `expected` agree (Poisson)."""
    if agreed <= 0:
        return 0.0
    tail = gammainc(agreed, expected)
    if tail > 1e-290:
        return float(np.log10(tail))
    return (agreed * log(max(expected, 1e-300)) - expected - lgamma(agreed + 1)) / log(10)


def pair_up(matrix, xy_ref, tree, tolerance_px):
    """One-to-one pairs: indices in both lists of stars nearest to each other within the tolerance.

    tree: cKDTree of the source positions.
    """
    distance, nearest = tree.query(apply(matrix, xy_ref), distance_upper_bound=tolerance_px)
    of_ref = np.flatnonzero(np.isfinite(distance))
    of_ref = of_ref[np.lexsort((distance[of_ref], nearest[of_ref]))]
    of_src, first = np.unique(nearest[of_ref], return_index=True)
    return of_ref[first], of_src


def verify(matrix, xy_ref, tree, shape, tolerance_px, free=4, trials=1, rigid=False) -> Pose:
    """Refit a proposal to the stars that agree with it and tell how likely such agreement is by accident.

    free: stars that agree by construction; trials: proposals among which this one was chosen.
    """
    rows, cols = shape
    model = "shift" if rigid else "similarity"
    agreed = inside = 0
    for reach in (2.0, 2.0, 1.0):
        at = apply(matrix, xy_ref)
        on = ((at >= -0.5) & (at <= (cols - 0.5, rows - 0.5))).all(axis=1)
        inside = int(on.sum())
        of_ref, of_src = pair_up(matrix, xy_ref, tree, reach * tolerance_px)
        agreed = len(of_ref)
        expected = inside * tree.n / (rows * cols) * np.pi * (reach * tolerance_px) ** 2
        log10_p = log10_chance(agreed - free, expected) + np.log10(trials)
        if agreed < 3 or log10_p > -1:
            break
        refit = fit(model, xy_ref[of_ref], tree.data[of_src], mirrored=np.linalg.det(matrix[:2, :2]) < 0)
        if not np.isfinite(refit).all():
            break
        matrix = refit
    if -40 < log10_p < -3:
        alone = standing_alone(xy_ref, min(ALONE * tolerance_px, 0.5 * np.sqrt(rows * cols / max(tree.n, 1))))
        expected = crowding(at[on & alone], tree, shape, tolerance_px)
        sober = log10_chance(int(alone[of_ref].sum()) - free, expected) + np.log10(trials)
        log10_p = max(log10_p, sober)
    return Pose(matrix, float(log10_p), agreed, inside)


def crowding(at, tree, shape, tolerance_px) -> float:
    """How many of some places (n, 2) a star of the source has near it by accident, where stars crowd as they do there.

    Places beside each other share their stars, so it takes a ring around each, without what agrees with it.
    """
    rows, cols = shape
    near, far = 2.0 * tolerance_px, 12.0 * tolerance_px
    if len(at) == 0:
        return 0.0
    found = tree.query_ball_point(at, far, return_length=True) - tree.query_ball_point(at, near, return_length=True)
    density = max(found.mean() / (np.pi * (far**2 - near**2)), tree.n / (rows * cols))
    return float(len(at) * density * np.pi * tolerance_px**2)


def unexplained_px(error: np.ndarray, sigma: np.ndarray) -> float:
    """Scatter of the better-measured half of the stars, per axis, beyond what `sigma` explains: air, lens, tracking.

    error: distances in units of sigma. 0 when it is within a fifth of what is expected.
    """
    best = sigma <= np.median(sigma)
    spread = float(np.median(error[best])) / 1.1774
    return float(np.median(sigma[best]) * np.sqrt(spread**2 - 1)) if spread > 1.2 else 0.0
