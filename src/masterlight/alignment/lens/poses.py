"""Poses of all frames of a set, the lens being known: by their stars, and by what a camera that turns can do.

A frame with few stars tells little of its shear and perspective. All frames of a set tell how much of either there is:
none that a focal length common to all does not explain, where a camera turned about itself, more where air compressed
the sky. Each frame's pose keeps to that as far as its own stars do not tell otherwise (Efron and Morris 1973).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from masterlight.alignment.bend import Lens, LensBend, apply
from masterlight.alignment.lens.bundle import DEPARTURES, NO_LENS, TERMS, Bundle
from masterlight.alignment.lens.catalogue import Paired, Sight, Sky, half_px, to_half
from masterlight.alignment.lens.outcome import FEWEST_PAIRS
from masterlight.alignment.models.evidence import by_evidence, unexplained_px
from masterlight.alignment.models.fits import Pairs
from masterlight.alignment.models.growth import SIGMA_FLOOR_PX
from masterlight.alignment.transform import DEGREES, Transform

PLAUSIBLE = 0.02
"""Shear and perspective of a pose, 1 sigma, before any frame is seen."""
HELD_FIRMLY = 1e18
"""Of what the user's kind of model has not: the inverse variance."""
SIGNIFICANT = 9.0
"""A frame departs by itself where its own stars tell so by three sigma."""
STEPS, ROUNDS = 2, 3
NUDGE, OFF_AXIS = 1e-5, 0.03
"""By so much a camera is changed to see what that does; how far its axis may be from the centre of its lens,
1 sigma."""
FEWEST_POSED = 4
"""Stars by which a frame is posed."""
FREE_OF = {"shift": (), "similarity": (4, 5), "affine": (0, 1, 4, 5)}
"""Departures that a kind of model has; others have all."""
PARTS = (0, 1), (2, 3), (4,), (5,)
"""Shear, perspective, scale and turn: of each it is asked how far poses depart."""


def held_by(model: str) -> np.ndarray:
    """(6,) inverse variances of departures before any frame is seen: of a kind of model."""
    held = np.full(DEPARTURES, HELD_FIRMLY)
    held[list(FREE_OF.get(model, range(DEPARTURES)))] = PLAUSIBLE**-2
    if held[5] < HELD_FIRMLY:
        held[5] = 0.0
    return held


def likened(bundle: Bundle) -> Bundle:
    """The bundle with what its poses have in common: a focal length, and how far they depart from it.

    How far is estimated from all together, with its own error on top: a few frames bind each other little.
    """
    free = [list(part) for part in PARTS if bundle.held[0, part[0]] < HELD_FIRMLY]
    if not free or len(bundle.poses) < 2:
        return bundle
    change, variance = by_own_stars(bundle)
    for _ in range(ROUNDS):
        away, by = bundle.departures()
        away = away + (by @ change[:, :, None])[:, :, 0]
        widths = [spread(away[1:, part], variance[1:, part]) for part in free]  # the reference is the measure
        if [2, 3] in free:
            bundle = focused(bundle, away[1:, 2:4], variance[1:, 2:4] + widths[free.index([2, 3])])
    held = bundle.held.copy()
    for part, width in zip(free, widths, strict=True):
        own = np.maximum(away[:, part] ** 2 - SIGNIFICANT * variance[:, part], width)
        held[:, part] = 1 / np.maximum(own, 1e-16)
        held[0, part] = 1 / max(width, 1e-16)
    return replace(bundle, held=held)


def focused(bundle: Bundle, away: np.ndarray, variance: np.ndarray) -> Bundle:
    """The bundle with the camera that explains perspective (frames, 2) of all frames but the reference best."""
    at, by = bundle.departures()[0][1:, 2:4], []
    for k in range(3):
        camera = bundle.camera.copy()
        camera[k] += NUDGE
        by.append((replace(bundle, camera=camera).departures()[0][1:, 2:4] - at) / NUDGE)
    by, expected = np.array(by).reshape(3, -1), np.append(0.0, OFF_AXIS**-2 * np.ones(2))
    scaled, off = by / variance.ravel(), bundle.camera - np.append(0.0, bundle.centre)
    normal = scaled @ by.T + np.diag(expected + 1e-9)
    camera = bundle.camera - np.linalg.solve(normal, scaled @ away.ravel() + expected * off)
    return replace(bundle, camera=np.append(max(camera[0], 0.0), camera[1:]))


def by_own_stars(bundle: Bundle) -> tuple[np.ndarray, np.ndarray]:
    """What the stars of each frame alone would change of its pose, (frames, 8), and the variances of departures that
    they would leave, (frames, 6)."""
    normal, right = bundle.of_poses()
    _, by = bundle.departures()
    size = np.sqrt(np.einsum("fii->fi", normal)) + 1.0
    unit = normal / size[:, :, None] / size[:, None, :] + 1e-9 * np.eye(8)
    by = by / size[:, None, :]
    change = np.linalg.solve(unit, (right / size)[:, :, None])[:, :, 0] / size
    return change, np.einsum("fij,fji->fi", by, np.linalg.solve(unit, by.transpose(0, 2, 1)))


def spread(away: np.ndarray, variance: np.ndarray) -> float:
    """The variance of departures beyond their errors, with the error of this number on top."""
    squares, errors, width = (away**2).ravel(), variance.ravel(), 0.0
    for _ in range(20):
        weight = 1 / (errors + width) ** 2
        width = max(float(weight @ (squares - errors) / weight.sum()), 0.0)
    return width + float(np.sqrt(2 / (1 / (errors + width) ** 2).sum()))


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of a set before its frames are posed."""

    lens: Lens
    unsure: np.ndarray
    """(5, 5) covariance of its terms."""
    held: np.ndarray
    """(6,) of `held_by`."""
    camera: np.ndarray
    """(3,) of a `Bundle`."""
    shape: tuple[int, int]
    """Rows and columns of the reference and of all frames."""
    tolerance_px: float
    """Stars that lie farther from each other are no pairs."""


class Posed(NamedTuple):
    """Frames that were posed, by their numbers, and what their stars leave."""

    transforms: dict[int, Transform]
    at_px: np.ndarray
    """(n, 2) where on the sensor stars were seen that agree."""
    left_px: np.ndarray
    """(n, 2) from where they were expected to where they were seen."""
    weight: np.ndarray
    """(n,) inverse variance, px^-2."""


def posed(sky: Sky, reference: Sight, frames: Sequence[Sight], pairs: Paired, known: Known) -> Posed:
    """Where frames lie by stars whose places are known; frames with too few of those are left out."""
    told = np.isfinite(sky.sigma_px)
    pairs = {i: (star[told[star]], own[told[star]]) for i, (star, own) in pairs.items()}
    chosen = [i for i, (star, _) in pairs.items() if len(star) >= FEWEST_POSED]
    first = np.flatnonzero(told[: sky.own])
    seen = [(first, reference, first), *((pairs[i][0], frames[i], pairs[i][1]) for i in chosen)]
    bundle = as_bundle(sky, seen, known)
    base = bundle.sigma
    for soft in (True, False, False):
        for _ in range(STEPS):
            bundle = bundle.weighed(soft).turned()
        bundle = widened(likened(bundle), base)
    for _ in range(STEPS):
        bundle = bundle.weighed(soft=False).turned()
    return told_of(frames, bundle, base, chosen, known)


def as_bundle(sky: Sky, seen: Sequence[tuple[np.ndarray, Sight, np.ndarray]], known: Known) -> Bundle:
    """Sightings of frames, the reference first, each with the error of its star's place in its own."""
    sigma = [np.hypot(sky.sigma_px[star], np.maximum(one.sigma_px[own], SIGMA_FLOOR_PX)) for star, one, own in seen]
    sigma[0] = np.maximum(seen[0][1].sigma_px[seen[0][2]], SIGMA_FLOOR_PX)
    to, half = to_half(known.shape), half_px(known.shape)
    poses = np.array([to @ one.transform.matrix @ np.linalg.inv(to) for _, one, _ in seen])
    return Bundle(
        frame=np.repeat(np.arange(len(seen)), [len(star) for star, _, _ in seen]),
        star=np.concatenate([star for star, _, _ in seen]),
        at=apply(to, np.concatenate([one.xy[own] for _, one, own in seen])),
        sigma=np.concatenate(sigma) / half, weight=np.ones(sum(map(len, sigma))),
        poses=poses / poses[:, 2:, 2:], sky=apply(to, np.where(np.isfinite(sky.xy), sky.xy, 0.0)),
        lens=np.array([*known.lens.radial, *known.lens.decentring]), prior=NO_LENS,
        centre=apply(to, np.asarray(known.lens.centre_px)), held=np.tile(known.held, (len(seen), 1)),
        camera=known.camera,
    )  # fmt: skip


def widened(bundle: Bundle, base: np.ndarray) -> Bundle:
    """The bundle with sigma as large as the stars of each frame scatter beyond what `base` explains."""
    sigma, error = base.copy(), np.sqrt(bundle.squares())
    for own in frames_of(bundle):
        extra = 0.0
        for _ in range(ROUNDS if own.stop > own.start else 0):
            wide = np.hypot(base[own], extra)
            extra = np.hypot(extra, unexplained_px(error[own] / wide, wide))
        sigma[own] = np.hypot(base[own], extra)
    return replace(bundle, sigma=sigma)


def frames_of(bundle: Bundle) -> list[slice]:
    """The sightings of each frame."""
    edges = np.searchsorted(bundle.frame, np.arange(len(bundle.poses) + 1))
    return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def told_of(frames: Sequence[Sight], bundle: Bundle, base: np.ndarray, chosen: Sequence[int], known: Known) -> Posed:
    """Transforms of frames, with their figures, from a bundle of them."""
    bundle, to, half = bundle.weighed(soft=False), to_half(known.shape), half_px(known.shape)
    error, away = np.sqrt(bundle.squares()) / bundle.sigma, np.sqrt(bundle.squares())
    corners, free = corner_errors_px(bundle, known)
    out, kept = {}, np.zeros(len(error), bool)
    for number, (i, own) in enumerate(zip(chosen, frames_of(bundle)[1:], strict=True), 1):
        keep = error[own] < max(3.5, 3 * float(np.median(error[own])) / 1.1774)
        distance, fewest = away[own][keep], min(FEWEST_PAIRS, max(FEWEST_POSED, frames[i].transform.matched / 2))
        rms_px = float(half * np.sqrt(np.mean(distance**2))) if len(distance) else np.inf
        if len(distance) < fewest or rms_px > known.tolerance_px:
            continue
        if frames[i].transform.bend is not None and not known.lens.bends:
            seen = bundle.of(bundle.frame == number)
            if is_bent(frames[i].transform.model, seen, keep, half):
                continue
        kept[own] = keep
        matrix = np.linalg.inv(to) @ bundle.poses[number] @ to
        matrix /= matrix[2, 2]
        bend = LensBend(matrix, known.lens, known.lens) if known.lens.bends else None
        plainest = next((m for m, count in DEGREES.items() if count + 0.5 > free[number]), "homography")
        out[i] = replace(
            frames[i].transform, matrix=matrix, bend=bend, model=plainest if bend is None else "lens",
            matched=int(keep.sum()), rms_px=rms_px,
            chi2=float(((distance / base[own][keep]) ** 2).sum() / max(2 * keep.sum() - free[number], 1)),
            corner_error_px=float(corners[number]),
        )  # fmt: skip
    left = half * (bundle.at - bundle.traced()[0])[kept]
    return Posed(out, apply(np.linalg.inv(to), bundle.at[kept]), left, bundle.weight[kept] / half**2)


def is_bent(model: str, seen: Bundle, keep: np.ndarray, half: float) -> bool:
    """Whether the places of stars that all frames tell speak for the bend of a frame, as those of the reference did."""
    at, xy = seen.sky[seen.star[keep]], seen.at[keep]
    box = (*at.min(axis=0).tolist(), *at.max(axis=0).tolist())
    pairs = Pairs(half * at, half * xy, half * seen.sigma[keep], box=tuple(half * edge for edge in box))
    return by_evidence(("homography", model), pairs)[0].bend is not None


def corner_errors_px(bundle: Bundle, known: Known) -> tuple[np.ndarray, np.ndarray]:
    """How far corners of each frame may be off, px, and how many numbers its stars chose, both (frames,).

    By the errors of its own stars, by those of the reference, on which it lies, and by what is not known of the lens.
    """
    (normal, _), (pull, _) = bundle.of_poses(), bundle.pulls()
    covariance = np.linalg.inv(normal + pull + np.eye(8))
    rows, cols = known.shape
    corners = known.lens.undistort([[0, 0], [cols - 1, 0], [0, rows - 1], [cols - 1, rows - 1]])
    at = looking(bundle, apply(to_half(known.shape), corners))
    by, by_lens = at.slopes()[1][:, :, TERMS:].reshape(-1, 8, 8), drift(at).reshape(-1, 8, TERMS)
    own, own_by_lens = bundle.slopes()[1][:, :, TERMS:], drift(bundle)
    for f, seen in enumerate(frames_of(bundle)):
        toward = np.einsum("n,nij,nik->jk", bundle.weight[seen], own[seen], own_by_lens[seen])
        by_lens[f] -= by[f] @ covariance[f] @ toward
    variance = np.einsum("fij,fjk,fik->f", by, covariance, by)
    variance += np.einsum("fij,jk,fik->f", by_lens, known.unsure, by_lens)
    variance[1:] += variance[0]
    return half_px(known.shape) * np.sqrt(variance / 4), np.einsum("fij,fji->f", covariance, normal)


def looking(bundle: Bundle, sky: np.ndarray) -> Bundle:
    """The same frames, all of them looking at these places (n, 2)."""
    frames, n = len(bundle.poses), len(sky)
    frame, star = np.repeat(np.arange(frames), n), np.tile(np.arange(n), frames)
    one = np.ones(frames * n)
    return replace(bundle, frame=frame, star=star, at=np.zeros((frames * n, 2)), sigma=one, weight=one, sky=sky)


def drift(bundle: Bundle) -> np.ndarray:
    """How the terms of the lens move sightings, (n, 2, 5), where the reference shows stars at the same pixels."""
    first = replace(bundle, poses=np.eye(3)[None], held=bundle.held[:1])
    _, by_first, first_by_sky = looking(first, bundle.sky).slopes()
    moved = -np.linalg.solve(first_by_sky, by_first[:, :, :TERMS])
    _, by, by_sky = bundle.slopes()
    return by[:, :, :TERMS] + by_sky @ moved[bundle.star]
