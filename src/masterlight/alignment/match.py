"""Match: which star is which in two lists, and the transform between them.

Proposals (the last transform, a shift, equal quads) are believed when so many stars agree that chance cannot explain
them; the best is then grown to the final model on all common stars, with the errors of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import lgamma, log
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import betainc, gammainc

from masterlight.alignment.align import StarAlignment
from masterlight.alignment.models.growth import grown, pair_up
from masterlight.alignment.quads import (
    FEWEST_STARS,
    TIERS,
    Reference,
    pair_proposals,
    proposals,
    quads_of,
    shift_proposal,
)
from masterlight.alignment.sensor import FIXED_PX, STAYS_PX, is_fixed, is_of_sensor, repeated
from masterlight.alignment.transform import Transform, apply, fit
from masterlight.core.errors import Rejected
from masterlight.subframes.wings import matched_flux_ratio

if TYPE_CHECKING:
    from masterlight.subframes.measurement import StarList

CERTAIN = -15.0
DOUBTFUL, BESIDE = -3.0, 10.0
"""From this log10 of a chance on it is counted closer; places within so many tolerances of the proposed one are beside
it, where doubled stars that are the same meet as well."""
LEFT_OVER_CHI2 = 9.0
"""What is left when all that stays at its pixels is taken out, and stays nearly there itself, agrees worse than so: no
stars that moved, but the spots and faint stars that noise moved."""
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
        return Rejected(source, "align", told + todo, "NO_STARS")
    moving, left_over, of_sensor = without_fixed(settings, reference, stars), None, False
    for of_ref, of_src in (moving, (reference, stars)) if moving else ((reference, stars),):
        pose, method = best_pose(settings, of_ref, of_src, guess)
        if pose.log10_p > settings.significance:
            continue
        found = refine(settings, of_ref, of_src, source, pose, method)
        if found and of_ref is not reference and stays(found) and found.chi2 > LEFT_OVER_CHI2:
            left_over = found if found.rms_px <= FIXED_PX else None
            of_sensor = left_over is None
            continue
        of_sensor = stays(found) and is_of_sensor(of_ref, of_src)
        if not of_sensor:
            return found
    if left_over:
        return left_over
    if of_sensor:
        return Rejected(source, "align", SENSOR, "SENSOR")
    return not_significant(settings, pose, source, counts)


def stays(found: Transform | Rejected) -> bool:
    """Whether a transform moves nothing in the middle and hardly turns, so that it may be of the sensor with itself."""
    return bool(found) and max(abs(found.dx_px), abs(found.dy_px), abs(found.rotation_deg)) < STAYS_PX


def not_significant(settings: StarAlignment, pose: Pose, source: str, counts: tuple[int, int]) -> Rejected:
    """Why the best pose is not believed, as a sentence with a hint."""
    code = "NOT_SIGNIFICANT" if pose.expected else "NO_HYPOTHESIS"
    if pose.expected == 0:
        text = f"no pattern of its {counts[0]} stars is found among the reference's {counts[1]}"
    else:
        best = Transform(matrix=pose.matrix)
        turned = f"turned by {best.rotation_deg:.1f} deg, scale {best.scale:.3f}"
        text = f"no match with the reference: at best {pose.agreed} of {pose.expected} stars agree ({turned}), "
        text += f"which may be an accident (log10 P = {pose.log10_p:.1f}, needed {settings.significance:g})"
    mirrored = "" if settings.mirror else " Mirrored frames were not tried: allow them with mirror."
    text = f"{text}. Is it the same target and field? Look for clouds and trailed stars.{mirrored}"
    return Rejected(source, "align", text, code)


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
    if guess is not None and not settings.mirror and np.linalg.det(guess.matrix[:2, :2]) < 0:
        guess = None
    for matrix, trials, method in cheap_tries(reference, xy, guess):
        pose = verify(matrix, reference.xy, tree, shape, settings.tolerance_px, 2, trials, rigid)
        if pose.log10_p <= settings.significance:
            return pose, method
        best = min(best, (pose, method), key=lambda b: b[0].log10_p)
    if rigid:
        return best
    return min(best, (search(settings, reference, xy, tree, shape), "quads"), key=lambda b: b[0].log10_p)


def cheap_tries(reference: Reference, xy: np.ndarray, guess: Transform | None) -> Iterator[tuple[np.ndarray, int, str]]:
    """Transforms worth trying first, with their number of trials: the guess, a shift from there, a shift, a flip."""
    pairs = min(len(xy), 100) * min(len(reference.xy), 100)
    if guess is not None:
        yield guess.matrix, 1, "guess"
        yield shift_proposal(apply(guess.matrix, reference.xy), xy) @ guess.matrix, pairs, "guess"
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
    """Grow a pose to the final model on all common stars, if that is a plausible view of the sky."""
    found = grown(settings, reference, stars, pose.matrix)
    if found is None:
        return not_significant(settings, pose, source, (len(stars), len(reference.stars)))
    if found.reason:
        return Rejected(source, "align", found.reason, found.code)
    light = matched_flux_ratio(reference.stars[found.of_ref], stars[found.of_src])
    return Transform(
        matrix=found.fit.matrix, bend=found.fit.bend, model=found.fit.model, method=method, shape=reference.shape,
        mirrored=bool(np.linalg.det(pose.matrix[:2, :2]) < 0), log10_p=pose.log10_p, matched=len(found.of_ref),
        rms_px=float(np.sqrt(np.mean(found.error_px**2))), chi2=found.chi2, corner_error_px=found.corner_error_px,
        flux_ratio=light.ratio, flux_ratio_error=light.error, flux_pairs=light.stars,
    )  # fmt: skip


def log10_chance(agreed: int, expected: float, clumping: float = 1.0) -> float:
    """log10 of the chance that `agreed` or more stars agree where accident makes `expected` agree.

    Poisson's, or, where the variance of such accidents is `clumping` times their mean, of the negative binomial.
    """
    if agreed <= 0:
        return 0.0
    if clumping > 1.0 + 1e-6:
        tail = betainc(agreed, expected / (clumping - 1.0), 1.0 - 1.0 / clumping)
        return float(np.log10(max(tail, 1e-300)))
    tail = gammainc(agreed, expected)
    if tail > 1e-290:
        return float(np.log10(tail))
    return (agreed * log(max(expected, 1e-300)) - expected - lgamma(agreed + 1)) / log(10)


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
        of_ref, of_src = pair_up(at, tree, reach * tolerance_px)
        on[of_ref] = True  # also where that star stands a little beside the edge
        agreed, inside = len(of_ref), int(on.sum())
        expected = inside * tree.n / (rows * cols) * np.pi * (reach * tolerance_px) ** 2
        log10_p = log10_chance(agreed - free, expected) + np.log10(trials)
        if agreed < 3 or log10_p > -1:
            break
        refit = fit(model, xy_ref[of_ref], tree.data[of_src], mirrored=np.linalg.det(matrix[:2, :2]) < 0)
        if not np.isfinite(refit).all():
            break
        matrix = refit
    if log10_p < DOUBTFUL:
        log10_p = max(log10_p, sober_chance(agreed - free, at[on], tree, shape, tolerance_px) + np.log10(trials))
    return Pose(matrix, float(log10_p), agreed, inside)


def sober_chance(agreed: int, at: np.ndarray, tree: cKDTree, shape, tolerance_px: float) -> float:
    """log10 of the chance that so many of some places (n, 2) have a star of the source near them, closely counted.

    Where stars crowd they meet by accident more often, and where they are doubled or lie in heaps they meet together.
    """
    expected = crowding(at, tree, shape, tolerance_px)
    chance = log10_chance(agreed, expected)
    if not -40 < chance < DOUBTFUL:
        return chance
    return log10_chance(agreed, expected, clumping(at, np.asarray(tree.data), shape, tolerance_px))


def clumping(at: np.ndarray, xy: np.ndarray, shape, tolerance_px: float) -> float:
    """How many times more than of stars strewn at random the number that agree varies, were the source elsewhere.

    At every shift (around the frame) but those beside 0 it counts which of the places `at` (n, 2) meet a star `xy` of
    the source. 1 for a sky at random, also a dense one; more where stars are doubled, trailed or heaped.
    """
    rows, cols = shape
    moves = (xy[None] - at[:, None]).reshape(-1, 2)
    moves -= np.round(moves / (cols, rows)) * (cols, rows)
    moves = moves[(np.abs(moves) > BESIDE * tolerance_px).any(axis=1)]
    cells = np.maximum(np.array([cols, rows]) / (np.sqrt(np.pi) * tolerance_px), 1.0).astype(int)
    far = max(cells.prod() * (1.0 - (2 * BESIDE * tolerance_px) ** 2 / (rows * cols)), 1.0)
    more = []
    for offset in (0.0, 0.5):
        x, y = (np.floor(moves / (cols, rows) * cells + offset).astype(int) % cells).T
        count = np.unique(y * cells[0] + x, return_counts=True)[1].astype(float)
        more.append((count**2).sum() / max(count.sum(), 1.0) - count.sum() / far)
    return max(1.0, float(np.mean(more)))


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
