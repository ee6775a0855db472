"""Bundle: stars, poses of frames and the lens that all share, adjusted together to where each frame saw each star.

A pinhole shows the sky alike up to a homography, wherever it points. A lens moves its stars after that, always by as
much at the same place of the sensor. What dithers, turned fields and meridian flips show of a star at several places
tells the lens without a catalogue (Brown 1971 for the terms, Triggs et al. 2000 for the adjustment of bundles).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

TERMS = 5
"""Terms of the lens that are free: three radial ones and two of decentring."""
HELD = 1e-10
NO_LENS = np.full(TERMS, HELD)
ONE_TERM = np.array([0.03, HELD, HELD, 0.003, 0.003])
ALL_TERMS = np.array([0.03, 0.03, 0.03, 0.003, 0.003])
"""1 sigma of what is expected of them, in half diagonals: it holds what no star determines, or what shall be held."""
SHAPES = np.array([
    [1, 0, 0, 0, -1, 0, 0, 0, 0], [0, 1, 0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1, 0],
    [0.5, 0, 0, 0, 0.5, 0, 0, 0, 0], [0, -0.5, 0, 0.5, 0, 0, 0, 0, 0],
], float)  # fmt: skip
"""Shear, perspective, and scale times cosine and sine of the turn, of the nine numbers of a 3x3 matrix."""
DEPARTURES = 6
SOFT_STEPS, HARD_STEPS, NEARLY = 8, 2, 10
"""Outliers only fade in so many steps at most, or until stars move by no more than so many times what ends the
adjustment; then those beyond five and a half sigma are left out, in so many steps at least."""
HALVINGS = 3
EXPECTED_LEAST = 0.3
"""Sigma of a frame's stars may be too large by this factor at most."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """All sightings of stars and what is known of them so far; distances in half diagonals from the middle.

    Frame 0 is the reference, whose pose is fixed: it is the pinhole that all others are compared with.
    """

    frame: np.ndarray
    """(n,) the frame of each sighting, ascending."""
    star: np.ndarray
    """(n,) its star, no star twice in a frame."""
    at: np.ndarray
    """(n, 2) where it was seen."""
    sigma: np.ndarray
    """(n,) of it, per axis."""
    weight: np.ndarray
    """(n,) what it counts: the inverse variance, less for outliers."""
    poses: np.ndarray
    """(frames, 3, 3) from the pinhole of the reference to that of each frame."""
    sky: np.ndarray
    """(stars, 2) where the pinhole of the reference shows each star."""
    lens: np.ndarray
    """(5,) radial terms, and those of decentring."""
    prior: np.ndarray
    """(5,) 1 sigma of what is expected of them before any star is seen: around nothing."""
    centre: np.ndarray
    """(2,) the centre that they are about."""
    held: np.ndarray
    """(frames, 6) what each pose may depart from a camera that turned: the inverse variance of each `departure`."""
    camera: np.ndarray
    """(3,) the square of half diagonals over the focal length, by which a camera that points elsewhere makes
    perspective, and the point (x, y) about which it does."""

    def traced(self) -> tuple[np.ndarray, ...]:
        """Where stars should be seen (n, 2), and what their derivatives need from on the way there."""
        (x, y), h = self.sky.T[:, self.star], self.poses.reshape(-1, 9).T[:, self.frame]
        z = h[6] * x + h[7] * y + h[8]
        q = np.stack([h[0] * x + h[1] * y + h[2], h[3] * x + h[4] * y + h[5]], axis=1) / z[:, None]
        p, d, (p1, p2) = np.stack([x / z, y / z, 1 / z], axis=1), q - self.centre, self.lens[3:]
        x, y = d.T
        r2 = x * x + y * y
        more, slope = radial(self.lens[:3], r2)
        at = q + d * more[:, None]
        at[:, 0] += p1 * (r2 + 2 * x * x) + p2 * 2 * x * y
        at[:, 1] += p2 * (r2 + 2 * y * y) + p1 * 2 * x * y
        return at, p, q, d, more, slope, h

    def squares(self) -> np.ndarray:
        """(n,) squared distances of sightings from where they are expected."""
        return ((self.at - self.traced()[0]) ** 2).sum(axis=1)

    def chi2(self) -> float:
        """Their weighted sum, and those of the lens and of poses in units of what is expected."""
        expected = ((self.lens / self.prior) ** 2).sum() + (self.held * self.departures()[0] ** 2).sum()
        return float(self.weight @ self.squares() + expected)

    def slopes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What is left to explain (n, 2), and derivatives of where stars are seen: by lens and pose of the frame
        (n, 2, 13), and by the place of the star (n, 2, 2)."""
        at, p, q, d, more, slope, h = self.traced()
        (x, y), (p1, p2), r2, by = d.T, self.lens[3:], (d * d).sum(axis=1), np.zeros((len(at), 2, TERMS + 8))
        bent = (
            2 * slope * x * x + 1 + more + 2 * (3 * p1 * x + p2 * y),
            2 * slope * x * y + 2 * (p2 * x + p1 * y),
            2 * slope * y * y + 1 + more + 2 * (p1 * x + 3 * p2 * y),
        )
        for k in range(3):
            by[:, :, k] = d * (r2 ** (k + 1))[:, None]
        by[:, :, 3:TERMS] = decentred(d)
        by_sky = np.empty((len(at), 2, 2))
        for axis, (along, across) in enumerate((bent[:2], bent[1:])):
            by[:, axis, TERMS : TERMS + 3] = along[:, None] * p
            by[:, axis, TERMS + 3 : TERMS + 6] = across[:, None] * p
            turned = along * q[:, 0] + across * q[:, 1]
            by[:, axis, TERMS + 6 :] = -turned[:, None] * p[:, :2]
            for k in range(2):
                by_sky[:, axis, k] = (along * h[k] + across * h[3 + k] - turned * h[6 + k]) * p[:, 2]
        return self.at - at, by, by_sky

    def step(self) -> Bundle:
        """One step of Gauss and Newton for all at once, halved where it leads too far.

        Places of stars are eliminated (the complement of Schur), so that equations of poses and lens alone are solved.
        """
        left, by, by_sky = self.slopes()
        normal, right, cross = self.equations(left, by, by_sky)
        root, toward = self.of_stars(left, by_sky)
        through = (cross[:, :, :1] * root[:, 0] + cross[:, :, 1:] * root[:, 1]).reshape(len(cross), -1)
        change = np.linalg.solve(normal - through @ through.T, right - through @ toward.ravel())
        moved = toward - (change @ through).reshape(toward.shape)
        sky, poses = (root @ moved[:, :, None])[:, :, 0], np.zeros_like(self.poses)
        poses[1:].reshape(-1, 9)[:, :8] = change[TERMS:].reshape(-1, 8)
        before, part = self.chi2(), 1.0
        for _ in range(HALVINGS + 1):
            lens = self.lens + part * change[:TERMS]
            new = replace(self, sky=self.sky + part * sky, poses=self.poses + part * poses, lens=lens)
            if new.chi2() <= before:
                break
            part /= 2
        return new

    def uncertainty(self) -> np.ndarray:
        """The covariance (5, 5) of the terms of the lens, poses and places of stars being as unknown as they are."""
        left, by, by_sky = self.slopes()
        normal, _, cross = self.equations(left, by, by_sky)
        root, _ = self.of_stars(left, by_sky)
        through = (cross[:, :, :1] * root[:, 0] + cross[:, :, 1:] * root[:, 1]).reshape(len(cross), -1)
        return np.linalg.inv(normal - through @ through.T)[:TERMS, :TERMS]

    def equations(self, left, by, by_sky) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The normal equations of lens and poses: matrix (m, m), right side (m,), and what couples them to stars
        (m, stars, 2)."""
        size = TERMS + 8 * (len(self.poses) - 1)
        normal, right, cross = np.zeros((size, size)), np.zeros(size), np.zeros((size, len(self.sky), 2))
        edges = np.searchsorted(self.frame, np.arange(len(self.poses) + 1))
        for f in range(len(self.poses)):
            own, count = slice(edges[f], edges[f + 1]), TERMS + 8 if f else TERMS
            where = np.r_[0:TERMS, TERMS + 8 * (f - 1) : TERMS + 8 * f] if f else np.arange(TERMS)
            a = by[own, :, :count]
            scaled = a * self.weight[own, None, None]
            normal[np.ix_(where, where)] += scaled.reshape(-1, count).T @ a.reshape(-1, count)
            right[where] += scaled.reshape(-1, count).T @ left[own].ravel()
            coupled = scaled[:, 0, :, None] * by_sky[own, 0, None] + scaled[:, 1, :, None] * by_sky[own, 1, None]
            cross[where[:, None], self.star[own]] += coupled.transpose(1, 0, 2)
        pull, toward = self.pulls()
        for f in range(1, len(self.poses)):
            own = slice(TERMS + 8 * (f - 1), TERMS + 8 * f)
            normal[own, own] += pull[f]
            right[own] += toward[f]
        terms = np.arange(TERMS)
        normal[terms, terms] += self.prior**-2
        normal[TERMS:, TERMS:] += np.eye(size - TERMS)  # a frame without sightings stays where it is
        right[:TERMS] -= self.lens * self.prior**-2
        return normal, right, cross

    def of_stars(self, left, by_sky) -> tuple[np.ndarray, np.ndarray]:
        """The equations of each star alone: a root (stars, 2, 2) of the inverse of their matrix, and the right side
        (stars, 2) through it."""
        weighted, count = by_sky * self.weight[:, None, None], len(self.sky)
        v = [
            weighted[:, 0, i] * by_sky[:, 0, j] + weighted[:, 1, i] * by_sky[:, 1, j]
            for i, j in ((0, 0), (0, 1), (1, 1))
        ]
        b = [weighted[:, 0, i] * left[:, 0] + weighted[:, 1, i] * left[:, 1] for i in (0, 1)]
        xx, xy, yy, x, y = (np.bincount(self.star, values, count) for values in (*v, *b))
        xx, yy = xx + 1e-9, yy + 1e-9
        low = np.sqrt(xx)  # of Cholesky: v = L L', the root of the inverse is L'^-1
        side = xy / low
        end = np.sqrt(np.maximum(yy - side**2, 1e-12))
        root = np.zeros((count, 2, 2))
        root[:, 0, 0], root[:, 0, 1], root[:, 1, 1] = 1 / low, -side / (low * end), 1 / end
        return root, np.stack([root[:, 0, 0] * x, root[:, 0, 1] * x + root[:, 1, 1] * y], axis=1)

    def departures(self) -> tuple[np.ndarray, np.ndarray]:
        """How each pose differs from what the same camera sees that points elsewhere: shear (2), perspective (2),
        change of scale, and turn in radians from the next half turn, (frames, 6); and how that changes with the eight
        numbers of the pose, (frames, 6, 8).

        The turn by which the camera came to point elsewhere is taken off, a shift where its focal length is infinite.
        """
        tilt, axis = self.camera[0], self.camera[1:]
        there = np.array([[1, 0, axis[0]], [0, 1, axis[1]], [0, 0, 1]])
        back = np.linalg.inv(there)
        at = np.linalg.inv(self.poses) @ there[:, 2]
        c = at[:, :2] / at[:, 2:] - axis
        n = np.sqrt(1 + tilt * (c * c).sum(axis=1))
        turn = np.empty_like(self.poses)
        turn[:, :2, :2] = n[:, None, None] * np.eye(2) - tilt * c[:, :, None] * c[:, None] / (n + 1)[:, None, None]
        turn[:, :2, 2], turn[:, 2, :2], turn[:, 2, 2] = c, -tilt * c, 1
        left = back @ self.poses @ there @ turn
        by = np.einsum("ij,fkl->filjk", back, there @ turn).reshape(-1, 9, 9) / left[:, 2:, 2:]
        away, by = (left / left[:, 2:, 2:]).reshape(-1, 9) @ SHAPES.T, SHAPES @ by[:, :, :8]
        u, v, size = away[:, 4].copy(), away[:, 5].copy(), np.hypot(away[:, 4], away[:, 5])
        sign = np.where(u < 0, -1.0, 1.0)
        away[:, 4], away[:, 5] = size - 1, np.arctan2(sign * v, sign * u)
        along, across = np.stack([u, v], axis=1) / size[:, None], np.stack([-v, u], axis=1) / (size**2)[:, None]
        by[:, 4:] = np.stack([(part[:, :, None] * by[:, 4:]).sum(axis=1) for part in (along, across)], axis=1)
        return away, by

    def pulls(self) -> tuple[np.ndarray, np.ndarray]:
        """What is expected of poses as equations of each: matrices (frames, 8, 8) and right sides (frames, 8)."""
        away, by = self.departures()
        held = by * self.held[:, :, None]
        return held.transpose(0, 2, 1) @ by, -(held * away[:, :, None]).sum(axis=1)

    def of_poses(self) -> tuple[np.ndarray, np.ndarray]:
        """The equations of each pose alone: matrices (frames, 8, 8) and right sides (frames, 8)."""
        left, by, _ = self.slopes()
        edges = np.searchsorted(self.frame, np.arange(len(self.poses) + 1))
        normal, right = np.zeros((len(self.poses), 8, 8)), np.zeros((len(self.poses), 8))
        for f in range(len(self.poses)):
            own = slice(edges[f], edges[f + 1])
            a = by[own, :, TERMS:].reshape(-1, 8)
            scaled = a * np.repeat(self.weight[own], 2)[:, None]
            normal[f], right[f] = scaled.T @ a, scaled.T @ left[own].ravel()
        return normal, right

    def turned(self) -> Bundle:
        """The same with poses alone improved."""
        (normal, right), (pull, toward) = self.of_poses(), self.pulls()
        change = np.zeros_like(self.poses)
        solved = np.linalg.solve(normal + pull + np.eye(8), (right + toward)[:, :, None])
        change[1:].reshape(-1, 9)[:, :8] = solved[1:, :, 0]
        return replace(self, poses=self.poses + change)

    def placed(self) -> Bundle:
        """The same with the places of stars alone improved."""
        left, _, by_sky = self.slopes()
        root, toward = self.of_stars(left, by_sky)
        return replace(self, sky=self.sky + (root @ toward[:, :, None])[:, :, 0])

    def weighed(self, soft: bool) -> Bundle:
        """The same with weights that fade for outliers: Huber's or Tukey's, the scale of each frame from its median."""
        error, edges = np.sqrt(self.squares()) / self.sigma, np.searchsorted(self.frame, range(len(self.poses) + 1))
        pairs = zip(edges[:-1], edges[1:], strict=True)
        scale = np.array([np.median(error[a:b]) / 1.1774 if b > a else 1.0 for a, b in pairs])
        scale = np.maximum(scale, EXPECTED_LEAST)[self.frame]
        t = error / scale
        fade = np.minimum(1, 2.0 / np.maximum(t, 1e-12)) if soft else np.clip(1 - (t / 5.5) ** 2, 0, None) ** 2
        return replace(self, weight=fade / (self.sigma * scale) ** 2)

    def of(self, chosen: np.ndarray) -> Bundle:
        """The same with the chosen sightings (n,) bool alone."""
        parts = {name: getattr(self, name)[chosen] for name in ("frame", "star", "at", "sigma", "weight")}
        return replace(self, **parts)


def radial(terms: Sequence[float], r2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sum of terms times r^2, r^4 and r^6, and its derivative by r^2."""
    a, b, c = terms
    return r2 * (a + r2 * (b + r2 * c)), a + r2 * (2 * b + r2 * 3 * c)


def decentred(d: np.ndarray) -> np.ndarray:
    """What each of two terms of decentring adds to positions (n, 2) about the centre, (n, 2, 2) (Brown 1966)."""
    x, y = d.T
    r2, xy = x * x + y * y, 2 * x * y
    return np.stack([r2 + 2 * x * x, xy, xy, r2 + 2 * y * y], axis=1).reshape(-1, 2, 2)


def adjust(bundle: Bundle, still: float, most_steps: int, hard: int = 0) -> tuple[Bundle, int, float]:
    """Steps until expected places move by less than `still` (rms), at most so many: with how many, and by how much.

    hard: how many steps were done already in which outliers count for nothing."""
    step, moved = 0, np.inf
    while step < most_steps and (moved > still or hard < HARD_STEPS):
        hard += hard > 0 or moved <= NEARLY * still or step >= SOFT_STEPS
        before = bundle.weighed(soft=not hard)
        bundle, step = before.step(), step + 1
        moved = float(np.sqrt(np.mean((bundle.traced()[0] - before.traced()[0]) ** 2)))
    return bundle, step, moved
