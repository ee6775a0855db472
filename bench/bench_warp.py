"""Warping against scipy and OpenCV, frames bent by a lens against others, matching against astroalign.

One thread, in CPU time: `python bench/bench_warp.py`. OpenCV takes part where it is installed.
"""

import time
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from masterlight.alignment import transform
from masterlight.alignment.align import StarAlignment
from masterlight.alignment.bend import Lens, LensBend
from masterlight.alignment.warping.warp import warp, whole_tiles
from masterlight.alignment.warping.weights import Ring

SHAPE = (4000, 6000)
PIECE = (1000, 1000)
POSES = {"rotation 0.3 deg": 0.3, "rotation 30 deg": 30.0, "meridian flip, 180.2 deg": 180.2, "pure shift": 0.0}
OPENCV_LANCZOS4 = 4
KERNELS = {
    "lanczos5": (5, OPENCV_LANCZOS4), "lanczos4": (5, OPENCV_LANCZOS4), "lanczos3": (4, None), "bicubic": (3, 2),
    "catmull-rom": (3, 2), "mitchell": (3, None), "bspline": (2, None), "bilinear": (1, 1), "nearest": (0, 0),
}  # fmt: skip
"""Our interpolations, the order of the spline of scipy that has as many taps or nearly so, and the flag of OpenCV."""
STAR_FWHM_PX, STAR_NOISE_DN = 2.0, 10.0


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


def best(task, repeats=5, clock=time.perf_counter):
    """Seconds of the fastest of some runs, after one to compile."""
    task()
    times = []
    for _ in range(repeats):
        start = clock()
        task()
        times.append(clock() - start)
    return min(times)


def pose(angle_deg, shape, shift=(10.37, -7.81)):
    """A turn about the middle of a frame, then a shift."""
    a, c = np.exp(1j * np.radians(angle_deg)), complex(shape[1] / 2, shape[0] / 2)
    return transform.similarity_matrix(a, c - a * c + complex(*shift))


def scipy_warp(image, at, order=5):
    """map_coordinates by splines at positions (x, y) of the source, each (rows, cols)."""
    return map_coordinates(image, at[::-1], np.float32, order=order, mode="nearest")


def scipy_s(image, matrix, order=5):
    """CPU seconds of map_coordinates for a piece of the frame, scaled to all of it; positions are ready."""
    piece, at = np.ascontiguousarray(image[: PIECE[0], : PIECE[1]]), positions(matrix, PIECE)
    return best(lambda: scipy_warp(piece, at, order), 1, time.process_time) * image.size / piece.size


def positions(matrix, shape):
    """Where each pixel lies in the source: (2, rows, cols) of x and y."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return transform.apply(matrix, np.column_stack([x.ravel(), y.ravel()])).T.reshape(2, *shape)


def opencv():
    """OpenCV on one thread; None where it is not installed."""
    try:
        import cv2
    except ImportError:
        return None
    cv2.setNumThreads(1)
    return cv2


def opencv_warp(image, matrix, flags):
    """warpPerspective; OpenCV knows places between pixels to 1/32 px."""
    return opencv().warpPerspective(image, matrix, image.shape[::-1], flags=flags | opencv().WARP_INVERSE_MAP)


def opencv_s(image, matrix, flags=OPENCV_LANCZOS4):
    """CPU seconds of warpPerspective; None where OpenCV is not installed."""
    return best(lambda: opencv_warp(image, matrix, flags), clock=time.process_time) if opencv() else None


def cpu_s(task, repeats=5):
    """CPU seconds of the fastest run, which other programs on the machine do not count in."""
    return best(task, repeats, time.process_time)


def warp_rows():
    image = np.random.default_rng(1).normal(500, 10, SHAPE).astype(np.float32)
    out = np.empty_like(image)
    for name, angle in POSES.items():
        matrix = pose(angle, SHAPE)
        ours = cpu_s(lambda m=matrix: warp(image, 0, 0, m, out, margin_dn=10.0))
        theirs = scipy_s(image, pose(angle, PIECE))
        note = f"{1e9 * ours / image.size:.1f} ns/pixel against {1e9 * theirs / image.size:.0f}"
        other = opencv_s(image, matrix)
        note += f", OpenCV Lanczos-4 {1e9 * other / image.size:.1f}" if other else ""
        yield f"warp 24 Mpx lanczos5, {name}", ours, theirs, theirs / ours, note


def kernel_rows():
    """Each interpolation beside the nearest that scipy and OpenCV have, in time and in what it does to stars."""
    image = np.random.default_rng(1).normal(500, 10, SHAPE).astype(np.float32)
    out, matrix = np.empty_like(image), pose(0.3, SHAPE)
    for kernel, (order, flags) in KERNELS.items():
        ours = cpu_s(lambda k=kernel: warp(image, 0, 0, matrix, out, kernel=k, margin_dn=10.0))
        theirs = scipy_s(image, pose(0.3, PIECE), order)
        tried = {"": lambda i, m, k=kernel: warped(i, m, k)}
        tried[f"spline of order {order}"] = lambda i, m, n=order: scipy_warp(i, positions(m, i.shape), n)
        if opencv() and flags is not None:
            tried["OpenCV"] = lambda i, m, f=flags: opencv_warp(i, m, f)
        found = (f"{name} {star_errors(task)}".strip() for name, task in tried.items())
        yield (
            f"warp 24 Mpx {kernel}, rotation 0.3 deg",
            ours,
            theirs,
            theirs / ours,
            "stars of 2 px: " + "; ".join(found),
        )


def warped(image, matrix, kernel):
    out = np.empty_like(image)
    warp(image, 0, 0, matrix, out, kernel=kernel, margin_dn=STAR_NOISE_DN, ring=Ring.of(kernel, STAR_FWHM_PX, 1e6))
    return out


def star_errors(task):
    """How far `task` moves bright stars, root mean square, and how much wider it makes them, in words."""
    rng, shape, s = np.random.default_rng(4), (400, 400), STAR_FWHM_PX / 2.3548
    xy = np.stack(np.meshgrid(np.arange(40, 361, 20), np.arange(40, 361, 20)), axis=-1).reshape(-1, 2) + rng.random(2)
    xy = xy + rng.random(xy.shape)
    matrix = pose(0.3, shape, (0.37, -0.21))
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.full(shape, 100, np.float32)
    for u, v in transform.apply(matrix, xy):
        image += 1500 * STAR_NOISE_DN * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * s**2)).astype(np.float32)
    seen, moved, wider = task(image, matrix) - 100, [], []
    for u, v in xy:
        near = (slice(int(v) - 9, int(v) + 11), slice(int(u) - 9, int(u) + 11))
        dx, dy = x[near] - u, y[near] - v
        core = seen[near] * np.exp(-(dx**2 + dy**2) / (2 * s**2))
        moved.append(2 * np.hypot((core * dx).sum(), (core * dy).sum()) / core.sum())
        wider.append((core * (dx**2 + dy**2)).sum() / core.sum() / s**2)
    # of a Gaussian of width w, weighted by one of width s: w^2 = m / (2 - m) for a moment m
    moment = np.mean(wider)
    return (
        f"moved {np.sqrt(np.mean(np.square(moved))):.4f} px, {100 * (np.sqrt(moment / (2 - moment)) - 1):+.1f} % wider"
    )


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
            ours = cpu_s(lambda m=affine, t=bent, b=box: warp(image, 0, 0, m, out, margin_dn=10.0, grid=t.grid(*b)))
            plain = cpu_s(lambda m=projective: warp(image, 0, 0, m, out, margin_dn=10.0))
            note = f"{1e9 * ours / image.size:.1f} ns/pixel against {1e9 * plain / image.size:.1f} of a homography"
            other = remap_s(image, bent)
            note += f", OpenCV remap {1e9 * other / image.size:.1f}" if other else ""
            yield f"warp bent by a lens, k = {k}, {name}", ours, plain, plain / ours, note


def remap_s(image, bent):
    """CPU seconds of OpenCV's remap, Lanczos-4, the place of every pixel ready; None where it is not installed."""
    if not opencv():
        return None
    grid, (rows, cols) = bent.grid(0, SHAPE[0], 0, SHAPE[1]), SHAPE
    bands = [grid.at(np.stack(np.meshgrid(np.arange(cols), np.arange(y, y + 500)), -1)) for y in range(0, rows, 500)]
    x, y = (np.concatenate([band[..., axis].astype(np.float32) for band in bands]) for axis in (0, 1))
    return cpu_s(lambda: opencv().remap(image, x, y, OPENCV_LANCZOS4), 3)


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
    return [*warp_rows(), *kernel_rows(), *bent_rows(), *match_rows()]


if __name__ == "__main__":
    for name, ours_s, rival_s, ratio, note in rows():
        print(f"{name:40s} {1e3 * ours_s:9.1f} ms {1e3 * rival_s:9.1f} ms {ratio:7.1f}x  {note}")
