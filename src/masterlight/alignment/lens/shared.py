"""The lens that all frames of a set share: found by what they show of the same stars, believed when it pays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from masterlight.alignment.bend import Lens, LensBend, apply
from masterlight.alignment.lens.bundle import ALL_TERMS, NO_LENS, ONE_TERM, Bundle, adjust
from masterlight.alignment.lens.outcome import FEWEST_PAIRS, SharedLens
from masterlight.alignment.models.evidence import unexplained_px
from masterlight.alignment.models.fits import Fit, Pairs, corner_error_px
from masterlight.alignment.models.growth import SIGMA_FLOOR_PX, pair_up
from masterlight.alignment.transform import DEGREES, Transform, robust_fit

if TYPE_CHECKING:
    from masterlight.alignment.align import StarAlignment
    from masterlight.subframes.measurement import StarList

MOST_FRAMES, MOST_STARS = 40, 500
"""Frames and stars of which a lens is made."""
FEWEST = 3
"""A frame that shares fewer does not lie on the reference by its own stars."""
OTHER_SCALE = 0.02
"""Frames of another scale are of other optics."""
COSTS, PAYS, PAYS_PX = 10.0, 0.98, 0.02
"""A lens is believed when the squares of all stars fall by so much more than its terms cost (Schwarz 1978), those of
stars that it was not made of by as much and to this share at most, and when it lays some corner elsewhere by so much.
"""
BLOCKS = 8
"""Blocks along the longer side, every other one of which is left out to see what a lens is worth for it."""
FARTHEST_CENTRE = 0.1
"""An optical axis farther from the middle, in half diagonals, is told by decentring alone."""


TRUSTED = 0.1
"""A star of which less than this is left, against what the reference alone tells, is where the reference has it."""
ROUNDS, GROWTH, FEW_STEPS = 8, 1.01, 2
"""Rounds in which stars are paired anew, as long as this finds so many times as many; steps with the same weights."""


class Sight(NamedTuple):
    """Stars of one frame, and where it lies as far as is known."""

    xy: np.ndarray
    """(n, 2) px, brightest first."""
    sigma_px: np.ndarray
    """(n,) error of a position, per axis."""
    shape: tuple[int, int]
    """Rows and columns."""
    transform: Transform


def of_frames(settings: StarAlignment, reference: StarList, frames: Sequence[tuple[StarList, Transform]]) -> SharedLens:
    """`share_lens` for star lists, as far as the settings want one."""
    transforms = tuple(transform for _, transform in frames)
    if settings.distortion == "none" or (settings.distortion == "auto" and settings.model != "auto"):
        return SharedLens(transforms, None)
    most, anchor = settings.max_stars, Transform.identity(tuple(reference.shape))
    sights = [
        Sight(np.asarray(stars.xy[:most], float), np.asarray(stars.sigma_px[:most], float), tuple(stars.shape), t)
        for stars, t in ((reference, anchor), *frames)
    ]
    still_px, steps = settings.distortion_tolerance_px, settings.distortion_iterations
    trusted = settings.distortion == "lens"
    return share_lens(sights[0], sights[1:], settings.tolerance_px, still_px, steps, trusted)


def share_lens(
    reference: Sight, frames: Sequence[Sight], tolerance_px: float = 3.0, still_px: float = 0.005,
    most_steps: int = 20, trusted: bool = False,
) -> SharedLens:  # fmt: skip
    """Fit one lens to all frames of a set together with their poses, and lay them anew when it pays.

    reference: its transform is the identity; frames: the others, of any optics: those of another size, scale or
    parity are left where they are. still_px: the adjustment ends when stars move by less; trusted: whether the lens
    is taken without asking whether it pays.
    """
    found, size = SharedLens(tuple(frame.transform for frame in frames), None), 0
    alike = {i: cKDTree(frame.xy) for i, frame in enumerate(frames) if is_alike(reference, frame)}
    for _ in range(ROUNDS):
        pairs = {i: paired(frames[i].transform, reference.xy, tree, tolerance_px) for i, tree in alike.items()}
        start = bundle_of(reference, frames, pairs, found.lens)
        apart = any(len(star) < FEWEST for star, _ in pairs.values())  # laid by way of others: all, or none
        if apart or start is None or len(start.star) <= GROWTH * size:
            break
        size = len(start.star)
        bundle, steps, moved = ladder(start, still_px / half_px(reference.shape), most_steps)
        found = judged(found, bundle, reference.shape, steps, moved, trusted)
        if not found.believed:
            break
        places = places_of(reference, bundle, found.lens)
        laid = [posed(places, frame, found.lens, alike.get(i), tolerance_px) for i, frame in enumerate(frames)]
        frames = [frame._replace(transform=transform) for frame, transform in zip(frames, laid, strict=True)]
        found = replace(found, transforms=tuple(laid))
    return found


def is_alike(reference: Sight, frame: Sight) -> bool:
    """Whether a frame may have been taken through the same lens: same size, scale and parity."""
    t = frame.transform
    return frame.shape == reference.shape and not t.mirrored and abs(t.scale - 1) < OTHER_SCALE


def half_px(shape: tuple[int, int]) -> float:
    """Half the diagonal: the unit of all distances in a bundle."""
    return float(np.hypot(*shape)) / 2


def to_half(shape: tuple[int, int]) -> np.ndarray:
    """3x3, from pixels to half diagonals from the middle."""
    half, (rows, cols) = half_px(shape), shape
    return np.array([[1, 0, -(cols - 1) / 2], [0, 1, -(rows - 1) / 2], [0, 0, half]]) / half


def paired(transform: Transform, xy: np.ndarray, tree: cKDTree, tolerance_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of stars of the reference, and of those of a frame that lie next to where they should."""
    return pair_up(transform(xy), tree, tolerance_px)


def bundle_of(reference: Sight, frames: Sequence[Sight], pairs, lens: Lens | None) -> Bundle | None:
    """What the reference and those frames that share enough with it saw of its brightest stars; None for too few.

    pairs: for the numbers of frames, the stars in common; lens: what is known of it, to start from.
    """
    count, to = min(len(reference.xy), MOST_STARS), to_half(reference.shape)
    bright = {i: (a[a < count], b[a < count]) for i, (a, b) in pairs.items()}
    matrices = {i: frames[i].transform.matrix for i, (a, _) in bright.items() if len(a) >= FEWEST_PAIRS}
    chosen = sorted(farthest(matrices, reference.shape))
    if not chosen:
        return None
    seen = np.unique(np.concatenate([bright[i][0] for i in chosen]))
    sights = [(seen, reference, seen)] + [(bright[i][0], frames[i], bright[i][1]) for i in chosen]
    sigma = np.concatenate([np.maximum(sight.sigma_px[own], SIGMA_FLOOR_PX) for _, sight, own in sights])
    poses = np.array([np.eye(3)] + [to @ matrices[i] @ np.linalg.inv(to) for i in chosen])
    places = reference.xy[:count] if lens is None else lens.undistort(reference.xy[:count])
    known = np.zeros(5) if lens is None else np.array([*lens.radial, *lens.decentring])
    return Bundle(
        frame=np.repeat(np.arange(len(sights)), [len(star) for star, _, _ in sights]),
        star=np.concatenate([star for star, _, _ in sights]),
        at=apply(to, np.concatenate([sight.xy[own] for _, sight, own in sights])),
        sigma=sigma / half_px(reference.shape), weight=np.ones(len(sigma)), poses=poses / poses[:, 2:, 2:],
        sky=apply(to, places), lens=known, prior=ONE_TERM,
        centre=np.zeros(2) if lens is None else apply(to, np.asarray(lens.centre_px)),
    )  # fmt: skip


def farthest(matrices: dict[int, np.ndarray], shape: tuple[int, int]) -> list[int]:
    """Frames that differ most in where they lie, so many as a lens is made of: all where there are no more."""
    if len(matrices) <= MOST_FRAMES:
        return list(matrices)
    rows, cols = shape
    corners = np.array([[0, 0], [cols - 1, 0], [0, rows - 1]], float)
    at = np.array([apply(matrix, corners).ravel() for matrix in matrices.values()])
    away, chosen = np.linalg.norm(at - corners.ravel(), axis=1), []
    for _ in range(MOST_FRAMES):
        chosen.append(int(np.argmax(away)))
        away = np.minimum(away, np.linalg.norm(at - at[chosen[-1]], axis=1))
    return [list(matrices)[k] for k in chosen]


def ladder(start: Bundle, still: float, most_steps: int) -> tuple[Bundle, int, float]:
    """The bundle with one radial term, or with all of them where those pay; with steps, and how far the last moved."""
    one, steps, moved = adjust(start, still, most_steps)
    more, further, last = adjust(replace(one, prior=ALL_TERMS), still, most_steps)
    plain, steps = replace(one, weight=more.weight).step(), steps + further
    best, moved = (more, last) if plain.chi2() - more.chi2() > COSTS + 2 * np.log(len(start.star)) else (one, moved)
    axis = -best.lens[3:] / best.lens[0]
    if not np.hypot(*(best.centre + axis)) <= FARTHEST_CENTRE:
        return best, steps, moved
    lens = np.array([*best.lens[:3], 0.0, 0.0])
    best, again, moved = adjust(replace(best, centre=best.centre + axis, lens=lens), still, most_steps)
    return best, steps + again, moved


def settled(bundle: Bundle) -> Bundle:
    """The bundle after a few steps with the same weights."""
    for _ in range(FEW_STEPS):
        bundle = bundle.step()
    return bundle


def judged(found: SharedLens, bundle: Bundle, shape, steps: int, moved: float, trusted: bool) -> SharedLens:
    """What the bundle tells of its lens, and whether that is believed."""
    half, plain = half_px(shape), settled(without_lens(bundle))
    rms_px, before_px = (half * np.sqrt(b.weight @ b.squares() / b.weight.sum()) for b in (bundle, plain))
    gain_px = half * farthest_moved(bundle, plain, shape)
    pays = plain.chi2() - bundle.chi2() > COSTS + 5 * np.log(len(bundle.star)) and gain_px > PAYS_PX
    kept, lost = np.sum([unseen(bundle, odd) for odd in (0, 1)], axis=0) if pays or trusted else (np.nan, np.nan)
    pays = pays and kept < min(PAYS * lost, lost - COSTS)
    return replace(
        found, lens=lens_of(bundle, shape), believed=bool(trusted or pays), frames=len(bundle.poses),
        stars=len(np.unique(bundle.star)), steps=steps, moved_px=moved * half, rms_px=float(rms_px),
        before_px=float(before_px), unseen=float(kept / lost), gain_px=float(gain_px),
    )  # fmt: skip


def without_lens(bundle: Bundle) -> Bundle:
    """The same sightings as seen through a pinhole."""
    return replace(bundle, lens=np.zeros(5), prior=NO_LENS)


def unseen(bundle: Bundle, odd: int) -> tuple[float, float]:
    """Squares of every other block of stars, with a lens and without: poses and lens are made of the other blocks."""
    x, y = (np.floor((bundle.sky[bundle.star] + 1) * BLOCKS / 2)).astype(int).T
    out = (x + y) % 2 == odd
    squares = []
    for b in (bundle, without_lens(bundle)):
        made = settled(b.of(~out))
        squares.append(replace(b.of(out), poses=made.poses, lens=made.lens).placed().placed().chi2())
    return squares[0], squares[1]


def farthest_moved(one: Bundle, other: Bundle, shape) -> float:
    """How far a corner of a frame lies from where another adjustment lays it, at most."""
    rows, cols = shape
    corners = apply(to_half(shape), np.array([[0, 0], [cols - 1, 0], [0, rows - 1], [cols - 1, rows - 1]], float))
    at = []
    for bundle in (one, other):
        lens = lens_in(bundle, bundle.centre, 1.0)
        ideal = lens.undistort(corners)
        at.append([lens.distort(apply(pose, ideal)) for pose in bundle.poses])
    return float(np.linalg.norm(np.subtract(*at), axis=-1).max())


def lens_in(bundle: Bundle, centre, radius: float) -> Lens:
    """The lens of a bundle about a centre, in the unit of the radius."""
    radial, decentring = bundle.lens[:3].tolist(), bundle.lens[3:].tolist()
    return Lens(tuple(np.asarray(centre, float).tolist()), radius, tuple(radial), tuple(decentring))


def lens_of(bundle: Bundle, shape: tuple[int, int]) -> Lens:
    """The lens of a bundle, in pixels of the sensor."""
    return lens_in(bundle, apply(np.linalg.inv(to_half(shape)), bundle.centre), half_px(shape))


class Places(NamedTuple):
    """Where a pinhole in place of the reference would show its stars."""

    on_sensor: np.ndarray
    """(n, 2) px, where the reference shows them."""
    xy: np.ndarray
    """(n, 2) px, from all frames that saw them."""
    sigma_px: np.ndarray
    shape: tuple[int, int]


def places_of(reference: Sight, bundle: Bundle, lens: Lens) -> Places:
    """Places of the reference's stars: those of the bundle from all frames, fainter ones from the reference."""
    xy, sigma_px = lens.undistort(reference.xy), np.maximum(reference.sigma_px, SIGMA_FLOOR_PX)
    weight = np.bincount(bundle.star, bundle.weight, len(bundle.sky))
    own = np.flatnonzero(weight * (sigma_px[: len(weight)] / half_px(reference.shape)) ** 2 > TRUSTED)
    xy[own] = apply(np.linalg.inv(to_half(reference.shape)), bundle.sky[own])
    sigma_px[own] = half_px(reference.shape) / np.sqrt(weight[own])
    return Places(reference.xy, xy, sigma_px, reference.shape)


def posed(places: Places, frame: Sight, lens: Lens, tree: cKDTree | None, tolerance_px: float) -> Transform:
    """Where a frame lies, the lens being known; where it lay before if that is another frame's lens."""
    t = frame.transform
    if tree is None:
        return t
    new, extra, ideal = t, 0.0, lens.undistort(frame.xy)
    for _ in range(FEW_STEPS):
        star, own = paired(new, places.on_sensor, tree, tolerance_px)
        model = next((m for m in models_below(t.model) if len(star) >= 2 * DEGREES[m]), None)
        if model is None:
            return t
        base = np.hypot(places.sigma_px[star], np.maximum(frame.sigma_px[own], SIGMA_FLOOR_PX))
        sigma = np.hypot(base, extra)
        matrix, error, spread = robust_fit(model, places.xy[star], ideal[own], sigma, t.mirrored)
        extra = np.hypot(extra, unexplained_px(error, sigma))
        new = replace(t, matrix=matrix, bend=LensBend(matrix, lens, lens))
    keep = error < max(3.5, 3 * spread)
    distance, freedom = (error * sigma)[keep], max(2 * int(keep.sum()) - DEGREES[model], 1)
    box = (0.0, 0.0, places.shape[1] - 1.0, places.shape[0] - 1.0)
    own_pairs = Pairs(places.xy[star][keep], ideal[own][keep], sigma[keep], box=box)
    return replace(
        new, model="lens", matched=int(keep.sum()), rms_px=float(np.sqrt(np.mean(distance**2))),
        chi2=float(((distance / base[keep]) ** 2).sum() / freedom),
        corner_error_px=corner_error_px(Fit(model, matrix), own_pairs),
    )  # fmt: skip


def models_below(model: str) -> list[str]:
    """Kinds of matrix for a frame, the richest first: none richer than it has, all if it was bent."""
    kinds = list(DEGREES)
    return kinds[: kinds.index(model) + 1 if model in kinds else None][::-1]
