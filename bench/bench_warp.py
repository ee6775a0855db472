"""Warping against scipy and OpenCV, frames bent by a lens against others, matching against astroalign.

One thread: `python bench/bench_warp.py`. OpenCV takes part where it is installed.
"""

import time
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from masterlight.alignment import transform
from masterlight.alignment.align import StarAlignment
from masterlight.alignment.bend import Lens, LensBend
from masterlight.alignment.warping.warp import warp, whole_tiles

SHAPE = (4000, 6000)
PIECE = (1000, 1000)
POSES = {"rotation 0.3 deg": 0.3, "rotation 30 deg": 30.0, "meridian flip, 180.2 deg": 180.2, "pure shift": 0.0}


@dataclass(frozen=True, eq=False)
class Stars:
    """What alignment uses of a star list."""

    xy: np.ndarray
    flux_dn: np.ndarray
    sigma_px: np.ndarray
    saturated: np.ndarray
    snr: np.ndarray
    shape: tuple[int, int] = SHAPE
    beta: float = float("nan")
    light_shares: None = None

    @property
    def fwhm_px(self):
        return np.full(len(self), 3.0)

    @property
    def eccentricity(self):
        return np.zeros(len(self))

    theta_rad = eccentricity

    def __len__(self):
        return len(self.xy)

    def __getitem__(self, i):
        return Stars(self.xy[i], self.flux_dn[i], self.sigma_px[i], self.saturated[i], self.snr[i], self.shape)


def best(task, repeats=5):
    """Seconds of the fastest of some runs, after one to compile."""
    task()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return min(times)


def pose(angle_deg, shape, shift=(10.37, -7.81)):
    """A turn about the middle of a frame, then a shift."""
    a, c = np.exp(1j * np.radians(angle_deg)), complex(shape[1] / 2, shape[0] / 2)
    return transform.similarity_matrix(a, c - a * c + complex(*shift))


def scipy_s(image, matrix):
    """Seconds of map_coordinates, quintic spline, for a piece of the frame, scaled to all of it."""
    y, x = np.mgrid[: PIECE[0], : PIECE[1]]
    u, v = transform.apply(matrix, np.column_stack([x.ravel(), y.ravel()])).T
    piece = np.ascontiguousarray(image[: PIECE[0], : PIECE[1]])
    task = lambda: map_coordinates(piece, [v, u], np.float32, order=5, mode="nearest")  # noqa: E731
    return best(task, 1) * image.size / piece.size


def opencv_s(image, matrix):
    """Seconds of warpPerspective, 8 x 8 taps at 1/32 px, one thread; None where OpenCV is not installed."""
    try:
        import cv2
    except ImportError:
        return None
    cv2.setNumThreads(1)
    size, flags = image.shape[::-1], cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    return best(lambda: cv2.warpPerspective(image, matrix, size, flags=flags))


def warp_rows():
    image = np.random.default_rng(1).normal(500, 10, SHAPE).astype(np.float32)
    out = np.empty_like(image)
    for name, angle in POSES.items():
        matrix = pose(angle, SHAPE)
        ours = best(lambda m=matrix: warp(image, 0, 0, m, out, margin_dn=10.0))
        theirs = scipy_s(image, pose(angle, PIECE))
        note = f"{1e9 * ours / image.size:.1f} ns/pixel against {1e9 * theirs / image.size:.0f}"
        other = opencv_s(image, matrix)
        note += f", OpenCV Lanczos-4 {1e9 * other / image.size:.1f}" if other else ""
        yield f"warp 24 Mpx lanczos5, {name}", ours, theirs, theirs / ours, note


def bent_rows():
    """Frames and reference bent by one lens, beside a homography in the same pose; the grid is part of the time."""
    image = np.random.default_rng(1).normal(500, 10, SHAPE).astype(np.float32)
    out, (rows, cols) = np.empty_like(image), SHAPE
    for k in (0.005, 0.02):
        lens = Lens((0.51 * cols, 0.48 * rows), np.hypot(*SHAPE) / 2, (k,))
        for name, angle in POSES.items():
            matrix = pose(angle, SHAPE)
            projective = matrix + np.array([[0, 0, 0], [0, 0, 0], [2e-8, -1e-8, 0]])
            bent = transform.Transform(matrix, shape=SHAPE, bend=LensBend(matrix, lens, lens))
            box = whole_tiles(0, rows, 0, cols)
            affine = bent.affine(*box)
            ours = best(lambda m=affine, t=bent, b=box: warp(image, 0, 0, m, out, margin_dn=10.0, grid=t.grid(*b)))
            plain = best(lambda m=projective: warp(image, 0, 0, m, out, margin_dn=10.0))
            note = f"{1e9 * ours / image.size:.1f} ns/pixel against {1e9 * plain / image.size:.1f} of a homography"
            yield f"warp bent by a lens, k = {k}, {name}", ours, plain, plain / ours, note


def star_list(rng, xy, flux, matrix):
    at = transform.apply(matrix, xy) + rng.normal(0, 0.1, xy.shape)
    on = ((at >= 0) & (at <= (SHAPE[1] - 1, SHAPE[0] - 1))).all(axis=1) & (rng.random(len(at)) > 0.1)
    order = np.flatnonzero(on)[np.argsort(-flux[on])[:800]]
    flux = flux[order]
    return Stars(at[order], flux, np.full(len(order), 0.1), flux > 1e9, np.sqrt(flux))


def match_rows():
    import astroalign

    rng, process = np.random.default_rng(2), StarAlignment()
    xy, flux = rng.uniform([-3000, -3000], [9000, 7000], (5000, 2)), 1e3 * rng.pareto(1.2, 5000) + 100
    first = star_list(rng, xy, flux, np.eye(3))
    reference = process.prepare(first)
    for name, angle in {"dithered": 0.01, "meridian flip": 180.02, "rotated 77 deg": 77.0}.items():
        stars = star_list(rng, xy, flux, pose(angle, SHAPE))
        ours = best(lambda s=stars: process.align(reference, s, "light"))
        theirs = best(lambda s=stars: astroalign.find_transform(first.xy[:50], s.xy[:50]), 2)
        found = process.align(reference, stars, "light")
        note = f"{found.matched} pairs by {found.method}, homography; astroalign: 50 stars, similarity"
        yield f"match 800 stars, {name}", ours, theirs, theirs / ours, note


def rows():
    """(name, ours_s, rival_s, ratio, note) for each case."""
    return [*warp_rows(), *bent_rows(), *match_rows()]


if __name__ == "__main__":
    for name, ours_s, rival_s, ratio, note in rows():
        print(f"{name:40s} {1e3 * ours_s:9.1f} ms {1e3 * rival_s:9.1f} ms {ratio:7.1f}x  {note}")
