"""The lens that all frames of a set share: found by what they show of the same stars, believed when it pays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from masterlight.alignment.bend import Lens, LensBend, apply
from masterlight.alignment.lens.bundle import ALL_TERMS, HARD_STEPS, HELD, NO_LENS, ONE_TERM, Bundle, adjust
from masterlight.alignment.lens.catalogue import Paired, Sight, Sky, half_px, paired, sky_of, to_half
from masterlight.alignment.lens.outcome import FEWEST_PAIRS, SharedLens
from masterlight.alignment.lens.poses import Known, held_by, likened, posed
from masterlight.alignment.lens.residuals import ResidualMap
from masterlight.alignment.models.fits import MOST_CHI2
from masterlight.alignment.models.growth import SIGMA_FLOOR_PX
from masterlight.alignment.transform import Transform, fit, jacobian

if TYPE_CHECKING:
    from masterlight.alignment.align import StarAlignment
    from masterlight.subframes.measurement import StarList

MOST_FRAMES, MOST_SIGHTINGS = 40, 6000
"""Frames of which a lens is made; more where they show few stars, so that they show so many together."""
FEWEST = 3
"""A frame that shows fewer stars of the reference was laid by way of others."""
FEWEST_REFIT = 6
"""Frames, the reference aside, that tell stars and poses so well that frames without a lens are laid on them anew."""
ALIKE_ROUNDS = 3
"""How often it is asked what poses have in common: what the reference's own errors feign fades."""
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
    return share_lens(sights[0], sights[1:], settings.tolerance_px, still_px, steps, trusted, settings.model)


def share_lens(
    reference: Sight, frames: Sequence[Sight], tolerance_px: float = 3.0, still_px: float = 0.005,
    most_steps: int = 20, trusted: bool = False, model: str = "auto",
) -> SharedLens:  # fmt: skip
    """Fit one lens to all frames of a set together with their poses, and lay them anew when it pays.

    Without a lens they are laid anew, too, on where all of them show the stars, if there are enough for that to help.
    reference: its transform is the identity; frames: the others, of any optics: those of another size, scale or
    parity are left where they are. still_px: the adjustment ends when stars move by less; trusted: whether the lens
    is taken without asking whether it pays; model: what a pose may be, as the user wants it.
    """
    given, still, held = tuple(frame.transform for frame in frames), still_px / half_px(reference.shape), held_by(model)
    found, size, laid = SharedLens(given, None), 0, {}
    beyond = {i for i, frame in enumerate(frames) if is_beyond(reference, frame)}
    every = {i: cKDTree(frame.xy) for i, frame in enumerate(frames) if i in beyond or is_alike(reference, frame)}
    for turn in range(ROUNDS):
        trees = {i: tree for i, tree in every.items() if is_alike(reference, frames[i])}
        sky, pairs = paired(sky_of(reference, found.lens), frames, trees, found.lens, tolerance_px)
        start, stars = bundle_of(reference, frames, sky, pairs, found.lens)
        if start is None or len(start.star) <= GROWTH * size:
            break
        size = len(start.star)
        bundle, steps, moved = ladder(start, still, most_steps)
        found = judged(found, bundle, reference.shape, steps, moved, trusted)
        if not found.believed:
            laid = {}
            straight = [i for i in trees if frames[i].transform.bend is None]
            if turn or len(start.poses) <= FEWEST_REFIT or len(straight) < len(trees) / 2:
                break
            bundle, _, _ = adjust(without_lens(bundle), still, most_steps)
        bundle = alike_in_pose(bundle, held, still, most_steps)
        known = known_of(bundle, held, reference.shape, tolerance_px)
        done = posed(told_by(sky, bundle, stars, reference), reference, frames, pairs, known)
        laid, left = done.transforms, ResidualMap.of(done.at_px, done.left_px, done.weight, reference.shape)
        found = replace(found, left=left)
        if not found.believed:
            break
        frames, found = moved_along(frames, laid, every, known.lens), replace(found, lens=known.lens)
    if beyond - set(laid):
        return replace(found, believed=False, apart=found.believed)
    return replace(found, transforms=tuple(laid.get(i, one) for i, one in enumerate(given)))


def moved_along(frames: Sequence[Sight], laid: Mapping[int, Transform], trees, lens: Lens) -> list[Sight]:
    """Frames where they are laid; those that share too few stars for it move along with the nearest that is, or that
    moved itself."""
    middle = {i: frame_middle(frames[i]) for i in trees}
    out = [frame._replace(transform=laid.get(i, frame.transform)) for i, frame in enumerate(frames)]
    placed, left = set(laid), set(trees) - set(laid) if laid else set()
    while left:
        _, i, near = min((float(np.hypot(*(middle[k] - middle[i]))), i, k) for i in left for k in placed)
        matrix = beside(frames[i], frames[near], out[near].transform.matrix, lens)
        out[i] = out[i]._replace(transform=replace(out[i].transform, matrix=matrix, bend=LensBend(matrix, lens, lens)))
        left.remove(i)
        placed.add(i)
    return out


def beside(frame: Sight, near: Sight, matrix: np.ndarray, lens: Lens) -> np.ndarray:
    """The 3x3 matrix of a frame seen through the lens, from where it lay beside another whose matrix is known."""
    rows, cols = frame.shape
    lines = np.linspace(0, 1, 12)
    at = np.stack(np.meshgrid(lines * (cols - 1), lines * (rows - 1)), axis=-1).reshape(-1, 2)
    there = near.transform(frame.transform.inverse(at))
    common = ((there >= 0) & (there <= (cols - 1, rows - 1))).all(axis=1)
    common = common if common.sum() >= FEWEST_PAIRS else np.ones(len(at), bool)
    sky = apply(np.linalg.inv(matrix), lens.undistort(there[common]))
    return fit("homography", sky, lens.undistort(at[common]))


def frame_middle(frame: Sight) -> np.ndarray:
    """Where the pinhole of the reference shows the middle of a frame."""
    return apply(np.linalg.inv(frame.transform.matrix), [(frame.shape[1] - 1) / 2, (frame.shape[0] - 1) / 2])


def is_beyond(reference: Sight, frame: Sight) -> bool:
    """Whether a frame shows hardly a star of the reference, so that it was laid by way of others."""
    at = frame.transform(reference.xy)
    return int(((at >= 0) & (at <= (frame.shape[1] - 1, frame.shape[0] - 1))).all(axis=1).sum()) < FEWEST


def alike_in_pose(bundle: Bundle, held: np.ndarray, still: float, most_steps: int) -> Bundle:
    """The bundle with what its poses have in common."""
    bundle = replace(bundle, held=np.tile(held, (len(bundle.poses), 1)))
    for _ in range(ALIKE_ROUNDS):
        bundle, _, _ = adjust(likened(bundle), still, most_steps, hard=HARD_STEPS)
    return bundle


def known_of(bundle: Bundle, held: np.ndarray, shape: tuple[int, int], tolerance_px: float) -> Known:
    """What a bundle tells before all frames are posed; terms that were held at nothing are nothing."""
    bundle = replace(bundle, lens=np.where(bundle.prior > HELD, bundle.lens, 0.0))
    return Known(lens_of(bundle, shape), bundle.uncertainty(), held, bundle.camera, shape, tolerance_px)


def is_alike(reference: Sight, frame: Sight) -> bool:
    """Whether a frame may have been taken through the same lens: same size, scale and parity."""
    t = frame.transform
    return frame.shape == reference.shape and not t.mirrored and abs(scale_of(t.matrix, frame.shape) - 1) < OTHER_SCALE


def scale_of(matrix: np.ndarray, shape: tuple[int, int]) -> float:
    """Pixels along one of the reference: the mean of what it is in the middle of either, from where both cameras have
    turned by as much, so that perspective does not count."""
    middle = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    there = apply(np.linalg.inv(matrix), middle)
    sizes = [jacobian(matrix, *at)[1] for at in (middle, there)]
    return float(np.prod([abs(a * e - b * c) for a, b, c, e in sizes]) ** 0.25)


def bundle_of(
    reference: Sight, frames: Sequence[Sight], sky: Sky, pairs: Paired, lens: Lens | None
) -> tuple[Bundle | None, np.ndarray]:  # fmt: skip
    """What the reference and those frames that share enough with others saw of bright stars, and which stars these
    are, by their numbers; None for too few.

    lens: what is known of it, to start from.
    """
    to = to_half(reference.shape)
    bright = {i: (star[sky.bright[star]], own[sky.bright[star]]) for i, (star, own) in pairs.items()}
    matrices = {i: frames[i].transform.matrix for i, (star, _) in bright.items() if len(star) >= FEWEST_PAIRS}
    usual = np.median([len(star) for star, _ in bright.values()]) if bright else 1
    chosen = sorted(farthest(matrices, reference.shape, max(MOST_FRAMES, int(MOST_SIGHTINGS / max(usual, 1)))))
    if not chosen:
        return None, np.zeros(0, int)
    own = np.unique(np.concatenate([bright[i][0] for i in chosen]))
    own = own[own < sky.own]
    sights = [(own, reference, own)] + [(bright[i][0], frames[i], bright[i][1]) for i in chosen]
    sigma = np.concatenate([np.maximum(sight.sigma_px[k], SIGMA_FLOOR_PX) for _, sight, k in sights])
    poses = np.array([np.eye(3)] + [to @ matrices[i] @ np.linalg.inv(to) for i in chosen])
    stars, star = np.unique(np.concatenate([star for star, _, _ in sights]), return_inverse=True)
    known = np.zeros(5) if lens is None else np.array([*lens.radial, *lens.decentring])
    return Bundle(
        frame=np.repeat(np.arange(len(sights)), [len(star) for star, _, _ in sights]),
        star=star,
        at=apply(to, np.concatenate([sight.xy[k] for _, sight, k in sights])),
        sigma=sigma / half_px(reference.shape), weight=np.ones(len(sigma)), poses=poses / poses[:, 2:, 2:],
        sky=apply(to, sky.xy[stars]), lens=known, prior=ONE_TERM,
        centre=np.zeros(2) if lens is None else apply(to, np.asarray(lens.centre_px)),
        held=np.zeros((len(sights), 6)), camera=np.zeros(3),
    ), stars  # fmt: skip


def farthest(matrices: dict[int, np.ndarray], shape: tuple[int, int], most: int = MOST_FRAMES) -> list[int]:
    """Frames that differ most in where they lie, so many at most: all where there are no more."""
    if len(matrices) <= most:
        return list(matrices)
    rows, cols = shape
    corners = np.array([[0, 0], [cols - 1, 0], [0, rows - 1]], float)
    at = np.array([apply(matrix, corners).ravel() for matrix in matrices.values()])
    away, chosen = np.linalg.norm(at - corners.ravel(), axis=1), []
    for _ in range(most):
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
        left = replace(b.of(out), poses=made.poses, lens=made.lens).placed().placed()
        squares.append(float(np.minimum(left.weight * left.squares(), MOST_CHI2).sum()))
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


def told_by(sky: Sky, bundle: Bundle, stars: np.ndarray, reference: Sight) -> Sky:
    """The stars where the bundle has them; fainter ones where the reference does. stars: numbers of the bundle's."""
    half, weight = half_px(reference.shape), np.bincount(bundle.star, bundle.weight, len(stars))
    told = weight * np.minimum(sky.sigma_px[stars] / half, 1.0) ** 2 > TRUSTED
    xy, sigma_px, own = sky.xy.copy(), sky.sigma_px.copy(), stars[told]
    xy[own] = apply(np.linalg.inv(to_half(reference.shape)), bundle.sky[told])
    sigma_px[own] = half / np.sqrt(weight[told])
    return sky._replace(xy=xy, sigma_px=sigma_px)
