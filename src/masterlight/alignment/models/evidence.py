"""Evidence: which kind of transform common stars carry.

A richer model is taken only when it explains the stars better than the numbers that it is free to choose would do by
chance, and when it foretells stars that it has not seen: whole parts of the field, left out in turn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from masterlight.alignment.models.fits import Fit, Pairs, fitted, order_of, robust, terms_of
from masterlight.alignment.transform import DEGREES, MODELS

FITTED = tuple(model for model in MODELS if model != "lens")
"""Models that one frame's stars alone can tell, the plainest first."""
CARRIED = {
    "shift": 3, "similarity": 3, "affine": 6, "homography": 9, "polynomial2": 18, "polynomial3": 30,
    "polynomial4": 45, "spline": 100,
}  # fmt: skip
"""How many common stars a model needs: more than its numbers, so that their errors do not become bends."""
COST, FOLDS, PARTS = 3.0, 5, ((9, 6), (6, 4), (4, 3), (3, 2))
"""What a number that is free costs of chi-square, in which chance saves one; how often stars are left out; columns and
rows of parts of the field."""


def carried(models: Sequence[str], xy_ref: np.ndarray) -> list[str]:
    """Of these models those that stars at (n, 2) px can tell, by their number and spread; never none."""
    spread = np.sqrt(np.abs(np.linalg.eigvalsh(np.cov(xy_ref.T))))
    narrow = spread[0] < 0.1 * spread[1]
    out = [m for m in models if len(xy_ref) >= CARRIED[m] and not (narrow and m not in ("shift", "similarity"))]
    return out or [min(models, key=FITTED.index)]


def by_evidence(models: Sequence[str], pairs: Pairs, start: Fit | None = None) -> list[Fit]:
    """Fits of these models, the one that the pairs speak for first, then plainer ones.

    start: the robust fit of the richest matrix among them, where it is known.

    Each model is held against the best so far: it must lower chi-square by `COST` for each number more, and foretell
    better what was left out. One that does not is passed over, and richer ones are tried all the same: what a lens
    does is of third order, and no second order comes before it. Who belongs to the pairs, and how far they scatter, is
    told by the richest matrix; where a bend pays, by the richest polynomial, since the stars in the corners that speak
    for it would be outliers else; for a spline, where stars side by side are off alike, by the spline.
    """
    plain, bent = ([m for m in models if kind(m)] for kind in (DEGREES.__contains__, order_of))
    start = start if start is not None and start.model == plain[-1] else robust(plain[-1], pairs)[0]
    judged = honest(start, pairs)
    seen = climbed([*plain, *bent], judged)
    if seen[0].bend is not None:
        judged = honest(robust(bent[-1], pairs)[0], pairs)
        seen = climbed([*plain, *bent], judged)
    if "spline" in models and uneven(seen[0], judged):
        spline = robust("spline", pairs)[0]
        judged = honest(spline, pairs)
        if pays(fitted(seen[0].model, judged), spline, judged):
            return [spline, *seen]
    return seen


def honest(found: Fit, pairs: Pairs) -> Pairs:
    """The pairs that agree with a fit, with errors that are no smaller than they scatter about it."""
    error = found.error(pairs)
    scale = max(float(np.median(error)) / 1.1774, 1e-9)
    inliers, error = pairs.part(error < max(3.5, 3 * scale)), error[error < max(3.5, 3 * scale)]
    best = inliers.sigma_px <= np.median(inliers.sigma_px)
    return inliers._replace(sigma_px=inliers.sigma_px * max(1.0, float(np.median(error[best])) / 1.1774))


def climbed(models: Sequence[str], pairs: Pairs) -> list[Fit]:
    """Fits of the models on the way up to the one that pairs speak for, that one first."""
    best = fitted(models[0], pairs)
    seen = [best]
    for model in models[1:]:
        if order_of(model) == 2 and not may_pay(best, models[-1], pairs):
            break
        new = fitted(model, pairs)
        if pays(best, new, pairs):
            best, seen = new, [new, *seen]
    return seen


def may_pay(best: Fit, richest: str, pairs: Pairs) -> bool:
    """Whether any polynomial may pay: if the richest does not save what the plainest costs, none does."""
    saved = best.chi2(pairs) - fitted(richest, pairs).chi2(pairs)
    return saved > COST * (terms_of(2) - best.free)


def pays(plain: Fit, rich: Fit, pairs: Pairs) -> bool:
    """Whether a richer model explains pairs better than its numbers cost, and foretells those that it has not seen."""
    saved, cost = plain.chi2(pairs) - rich.chi2(pairs), COST * (rich.free - plain.free)
    if saved <= max(cost, 0.0):
        return False
    foretold = foretold_by((plain.model, rich.model), pairs)
    return foretold[1] < foretold[0]


def foretold_by(models: Sequence[str], pairs: Pairs) -> np.ndarray:
    """Chi-square of each fifth of the field in a fit to all others, for each model."""
    total, (column, row) = np.zeros(len(models)), parts_of(pairs.xy_ref)
    fold = (2 * column + row) % FOLDS
    for k in np.unique(fold):
        known, left_out = pairs.part(fold != k), pairs.part(fold == k)
        total += [fitted(model, known).chi2(left_out) for model in models]
    return total


def parts_of(xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Column and row (n,) of the part of the field in which each star stands; all parts hold as many, three or more."""
    columns, rows = next((c, r) for c, r in PARTS if 3 * c * r <= len(xy) or (c, r) == PARTS[-1])
    column, row = np.empty(len(xy), int), np.empty(len(xy), int)
    for i, strip in enumerate(np.array_split(np.argsort(xy[:, 0], kind="stable"), columns)):
        column[strip] = i
        for j, members in enumerate(np.array_split(strip[np.argsort(xy[strip, 1], kind="stable")], rows)):
            row[members] = j
    return column, row


def uneven(found: Fit, pairs: Pairs) -> bool:
    """Whether what a fit leaves is alike in parts of the field, far more than chance would make it."""
    if len(pairs.xy) < CARRIED["spline"]:
        return False
    left = (found(pairs.xy_ref) - pairs.xy) / pairs.sigma_px[:, None]
    scale = max(float(np.median(np.abs(left))) / 0.6745, 1e-9)
    left = np.clip(left / scale, -4, 4)
    column, row = parts_of(pairs.xy_ref)
    part = column * (row.max() + 1) + row
    count = np.bincount(part)
    sums = [np.bincount(part, axis) ** 2 / count for axis in left.T]
    free = 2 * len(count) - found.free
    return bool(np.sum(sums) > free + 4 * np.sqrt(2 * max(free, 1)))


def unexplained_px(error: np.ndarray, sigma: np.ndarray) -> float:
    """Scatter of the better-measured half of the stars, per axis, beyond what `sigma` explains: air, lens, tracking.

    error: distances in units of sigma. 0 when it is within a fifth of what is expected.
    """
    best = sigma <= np.median(sigma)
    spread = float(np.median(error[best])) / 1.1774
    return float(np.median(sigma[best]) * np.sqrt(spread**2 - 1)) if spread > 1.2 else 0.0
