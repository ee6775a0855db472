"""Nights of star lists through a lens of known terms: what each frame saw, and where its pixels truly lie."""

from dataclasses import dataclass

import numpy as np

from masterlight.alignment.bend import Lens, LensBend, apply
from masterlight.alignment.lens.shared import Sight
from masterlight.alignment.transform import Transform, robust_fit, similarity_matrix

SHAPE = (4000, 6000)
MIDDLE = np.array([2999.5, 1999.5])


@dataclass(frozen=True)
class Lensed:
    """Sights of a night, the reference first, with transforms fitted without a lens; and the truth of each."""

    sights: list[Sight]
    truth: list[Transform]

    def corners_px(self, transforms) -> np.ndarray:
        """How far the worst corner of each frame but the reference lies from where it truly does."""
        rows, cols = self.truth[0].shape
        at = np.array([[0, 0], [cols - 1, 0], [0, rows - 1], [cols - 1, rows - 1]], float)
        pairs = zip(transforms, self.truth[1:], strict=True)
        return np.array([np.hypot(*(one(at) - true(at)).T).max() for one, true in pairs])


def lensed_night(
    k=0.0, stars=500, frames=12, sigma_px=0.05, flip=True, outliers=0.02, k2=0.0, axis_px=(60.0, -40.0), seed=0,
    shape=SHAPE,
) -> Lensed:  # fmt: skip
    """Dithers of 30 px and turns of 0.3 deg, every second half after a flip; so many stars lie in a frame."""
    rng, (rows, cols) = np.random.default_rng(seed), shape
    middle = np.array([(cols - 1) / 2, (rows - 1) / 2])
    half = float(np.hypot(*shape)) / 2
    lens = Lens(tuple((middle + np.multiply(axis_px, half / 3606)).tolist()), half, (k, k2))
    sky = rng.uniform(-0.15, 1.15, (int(stars * 1.69), 2)) * (cols, rows)
    matrices = [np.eye(3)]
    for f in range(1, frames):
        turned = flip and f >= frames / 2
        turn = np.exp(1j * np.radians(rng.normal(0, 0.3) + 180 * turned))
        to = middle + rng.uniform(-30, 30, 2) + np.multiply((40, 25), turned)
        matrix = similarity_matrix(turn, complex(*to) - turn * complex(*middle))
        matrix[2, :2] = rng.normal(0, 2e-8, 2)
        matrices.append(matrix)
    truth = [Transform(m, shape=shape, bend=LensBend(m, lens, lens)) for m in matrices]
    seen = [seen_through(lens, apply(m, sky), sigma_px, outliers, shape, rng) for m in matrices]
    sights = []
    for number, (names, xy, sigma) in enumerate(seen):
        _, a, b = np.intersect1d(seen[0][0], names, return_indices=True)
        matrix = robust_fit("homography", seen[0][1][a], xy[b], sigma[b])[0] if number else np.eye(3)
        sights.append(Sight(xy, sigma, shape, Transform(matrix, shape=shape, matched=len(a))))
    return Lensed(sights, truth)


def seen_through(lens, ideal, sigma_px, outliers, shape, rng):
    """Numbers, positions and their sigma of those stars that a frame sees: nine of ten, some of them far off."""
    sigma = sigma_px * np.exp(rng.normal(0, 0.5, len(ideal)))
    xy = lens.distort(ideal) + rng.normal(0, 1, ideal.shape) * sigma[:, None]
    off = rng.random(len(xy)) < outliers
    xy[off] += rng.uniform(-3, 3, (int(off.sum()), 2))
    there = ((xy >= 0) & (xy <= (shape[1] - 1, shape[0] - 1))).all(axis=1) & (rng.random(len(xy)) > 0.1)
    return np.flatnonzero(there), xy[there], sigma[there]
