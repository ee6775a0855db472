"""Nights of star lists through a lens of known terms: what each frame saw, and where its pixels truly lie."""

from dataclasses import dataclass

import numpy as np

from masterlight.alignment.bend import Lens, LensBend, apply
from masterlight.alignment.lens.catalogue import Sight
from masterlight.alignment.transform import Transform, robust_fit, similarity_matrix

SHAPE = (4000, 6000)
MIDDLE = np.array([2999.5, 1999.5])


@dataclass(frozen=True)
class Lensed:
    """Sights of a night, the reference first, with transforms fitted without a lens; and the truth of each."""

    sights: list[Sight]
    truth: list[Transform]

    def seams_px(self, transforms) -> np.ndarray:
        """How far places of one frame lie in each other that shows them from where they truly do, at worst."""
        rows, cols = self.truth[0].shape
        every, out = [self.truth[0], *transforms], []
        at = np.stack(np.meshgrid(np.linspace(0, cols - 1, 7), np.linspace(0, rows - 1, 5)), axis=-1).reshape(-1, 2)
        for i in range(len(every)):
            for j in range(i + 1, len(every)):
                true = (self.truth[j] @ self.truth[i].inverse)(at)
                both = ((true >= 0) & (true <= (cols - 1, rows - 1))).all(axis=1)
                if both.sum() > 4:
                    out.append(np.hypot(*(every[j](every[i].inverse(at[both])) - true[both]).T).max())
        return np.array(out)

    def corners_px(self, transforms) -> np.ndarray:
        """How far the worst corner of each frame but the reference lies from where it truly does."""
        rows, cols = self.truth[0].shape
        at = np.array([[0, 0], [cols - 1, 0], [0, rows - 1], [cols - 1, rows - 1]], float)
        pairs = zip(transforms, self.truth[1:], strict=True)
        return np.array([np.hypot(*(one(at) - true(at)).T).max() for one, true in pairs])


def lensed_night(
    k=0.0, stars=500, frames=12, sigma_px=0.05, flip=True, outliers=0.02, k2=0.0, axis_px=(60.0, -40.0), seed=0,
    shape=SHAPE, focal_px=None, turn_deg=0.3,
) -> Lensed:  # fmt: skip
    """Dithers of 30 px and turns of 0.3 deg (1 sigma), every second half after a flip; so many stars lie in a frame.

    focal_px: of a camera that turns about itself; None for perspective that comes of nothing.
    """
    rng, (rows, cols) = np.random.default_rng(seed), shape
    middle = np.array([(cols - 1) / 2, (rows - 1) / 2])
    half = float(np.hypot(*shape)) / 2
    lens = Lens(tuple((middle + np.multiply(axis_px, half / 3606)).tolist()), half, (k, k2))
    sky = rng.uniform(-0.15, 1.15, (int(stars * 1.69), 2)) * (cols, rows)
    matrices = [np.eye(3)]
    for f in range(1, frames):
        turned = flip and f >= frames / 2
        turn = np.exp(1j * np.radians(rng.normal(0, turn_deg) + 180 * turned))
        to = middle + rng.uniform(-30, 30, 2) + np.multiply((40, 25), turned)
        matrix = similarity_matrix(turn, complex(*to) - turn * complex(*middle))
        matrix[2, :2] = rng.normal(0, 2e-8, 2)
        matrices.append(matrix if focal_px is None else turned_to(to - middle, turn, focal_px, lens.centre_px))
    truth = [Transform(m, shape=shape, bend=LensBend(m, lens, lens)) for m in matrices]
    seen = [seen_through(lens, apply(m, sky), sigma_px, outliers, shape, rng) for m in matrices]
    sights = []
    for number, (names, xy, sigma) in enumerate(seen):
        _, a, b = np.intersect1d(seen[0][0], names, return_indices=True)
        matrix = robust_fit("homography", seen[0][1][a], xy[b], sigma[b])[0] if number else np.eye(3)
        sights.append(Sight(xy, sigma, shape, Transform(matrix, shape=shape, matched=len(a))))
    return Lensed(sights, truth)


def turned_to(off_px, turn, focal_px, axis_px):
    """3x3 of a camera whose axis came to show off_px what it showed on the axis, and that rolled about it."""
    camera = np.array([[focal_px, 0, axis_px[0]], [0, focal_px, axis_px[1]], [0, 0, 1]])
    x, y = np.divide(off_px, focal_px)
    roll = np.array([[turn.real, -turn.imag, 0], [turn.imag, turn.real, 0], [0, 0, 1]])
    about_y, about_x = np.arctan(x), np.arctan(y * np.cos(np.arctan(x)))
    c, s = np.cos(about_y), np.sin(about_y)
    yaw = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    c, s = np.cos(about_x), np.sin(about_x)
    matrix = camera @ yaw @ np.array([[1, 0, 0], [0, c, s], [0, -s, c]]) @ roll @ np.linalg.inv(camera)
    return matrix / matrix[2, 2]


def seen_through(lens, ideal, sigma_px, outliers, shape, rng):
    """Numbers, positions and their sigma of those stars that a frame sees: nine of ten, some of them far off."""
    sigma = sigma_px * np.exp(rng.normal(0, 0.5, len(ideal)))
    xy = lens.distort(ideal) + rng.normal(0, 1, ideal.shape) * sigma[:, None]
    off = rng.random(len(xy)) < outliers
    xy[off] += rng.uniform(-3, 3, (int(off.sum()), 2))
    there = ((xy >= 0) & (xy <= (shape[1] - 1, shape[0] - 1))).all(axis=1) & (rng.random(len(xy)) > 0.1)
    return np.flatnonzero(there), xy[there], sigma[there]


def lensed_panels(k, panels=3, each=2, stars=200, focal_px=20000.0, step=0.6, sigma_px=0.05, seed=0) -> Lensed:
    """Panels in a row, each by `step` of a frame from the last, laid by way of their neighbours without a lens."""
    rng, (rows, cols) = np.random.default_rng(seed), SHAPE
    lens = Lens(tuple((MIDDLE + (60, -40)).tolist()), float(np.hypot(*SHAPE)) / 2, (k,))
    wide = panels * step + 1
    sky = rng.uniform(-0.15, 1.15, (int(stars * 1.69 * wide), 2)) * (cols * wide, rows)
    matrices = [np.eye(3)]
    for f in range(1, panels * each):
        turn, off = np.exp(1j * np.radians(rng.normal(0, 0.3))), rng.uniform(-30, 30, 2)
        matrices.append(turned_to(off - ((f // each) * step * cols, 0), turn, focal_px, lens.centre_px))
    truth = [Transform(m, shape=SHAPE, bend=LensBend(m, lens, lens)) for m in matrices]
    seen = [seen_through(lens, apply(m, sky), sigma_px, 0.02, SHAPE, rng) for m in matrices]
    places, sights = [], []
    for f, (names, xy, sigma) in enumerate(seen):
        near = max(f // each - 1, 0) * each
        _, a, b = np.intersect1d(seen[near][0], names, return_indices=True)
        step_to = robust_fit("homography", seen[near][1][a], xy[b], sigma[b])[0] if f else np.eye(3)
        places.append(step_to @ places[near] if f else step_to)
        sights.append(Sight(xy, sigma, SHAPE, Transform(places[-1] / places[-1][2, 2], shape=SHAPE, matched=len(a))))
    return Lensed(sights, truth)
