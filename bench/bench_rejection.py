"""Rejection and combination: ours against a sort-per-pixel loop and against astropy, on one core.

python bench/bench_rejection.py
"""

import time

import numpy as np
from numba import njit

from masterlight.kernels import combine, rejection

PIXELS = 1_000_000
NOISE = 10.0
SETTINGS = {
    "Winsorized, noise known": (rejection.WINSORIZED, NOISE),
    "Winsorized": (rejection.WINSORIZED, 0.0),
    "sigma clipping": (rejection.SIGMA, 0.0),
}
"""Algorithm and floor of sigma; the walk knows the noise of its frames, and most pixels then need no judging."""


@njit(nogil=True)
def sort_per_pixel(samples, low, high, image, column, work):
    """The plain way: gather a pixel's samples, sort them, Winsorize a copy, clip, average; again until nothing goes."""
    n, pixels = samples.shape
    for p in range(pixels):
        for i in range(n):
            column[i] = samples[i, p]
        ordered = np.sort(column)
        a, b = 0, n
        while b - a >= 3:
            centre = 0.5 * (ordered[(a + b - 1) // 2] + ordered[(a + b) // 2])
            work[a:b] = ordered[a:b]
            sigma = np.std(work[a:b]) * np.sqrt((b - a) / (b - a - 1))
            for k in range(100):
                for j in range(a, b):
                    work[j] = min(max(work[j], centre - 1.5 * sigma), centre + 1.5 * sigma)
                new = 1.134 * np.std(work[a:b]) * np.sqrt((b - a) / (b - a - 1))
                done = k >= 1 and abs(sigma - new) < 0.0005 * sigma
                sigma = new
                if done:
                    break
            start, stop = a, b
            while a < b and centre - ordered[a] > low * sigma:
                a += 1
            while b > a and ordered[b - 1] - centre > high * sigma:
                b -= 1
            if b - a == stop - start:
                break
        image[p] = np.mean(ordered[a:b])


def frames(n, pixels, seed=0):
    rng = np.random.default_rng(seed)
    samples = rng.standard_normal((n, pixels), np.float32) * np.float32(NOISE) + np.float32(1000)
    samples[rng.random((n, pixels), np.float32) < 0.002] += 500
    return samples


def ours(samples, algorithm, floor):
    n, pixels = samples.shape
    one, zero = np.ones(n, np.float32), np.zeros(n, np.float32)
    columns = combine.Columns(one, zero, one, zero, one, one, one)
    rule = rejection.Rule(algorithm, 4.0, 3.0, 20, 0.5, -np.inf, np.inf, 10, 0.0, 0.0, 0.0, 0.0, floor)
    kinds = (np.float32, np.float32, np.uint16, np.uint16, np.uint16)
    planes = combine.Planes(*(np.empty(pixels, kind) for kind in kinds))
    combine.integrate(samples, columns, rule, combine.AVERAGE, planes, np.zeros((3, n), np.int64))
    return planes.image


def twin(samples):
    n, pixels = samples.shape
    image = np.empty(pixels, np.float32)
    sort_per_pixel(samples, 4.0, 3.0, image, np.empty(n, np.float32), np.empty(n, np.float32))
    return image


def astropy_clip(samples):
    from astropy.stats import sigma_clip

    clipped = sigma_clip(samples, sigma_lower=4, sigma_upper=3, maxiters=None, cenfunc="median", axis=0)
    return np.asarray(clipped.mean(axis=0))


def seconds(task, *given, repeats=3):
    task(given[0][:, :200].copy(), *given[1:])
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        task(*given)
        best = min(best, time.perf_counter() - start)
    return best


def rows():
    """(name, ours_s, rival_s, ratio, note) of each comparison; rival and ratio are NaN where there is none."""
    table = []
    samples = frames(50, PIXELS)
    mine = {name: seconds(ours, samples, *setting) for name, setting in SETTINGS.items()}
    for rival, task, pixels in (
        ("sort per pixel, numba", twin, 50_000),
        ("astropy.stats.sigma_clip", astropy_clip, 20_000),
    ):
        slab = np.ascontiguousarray(samples[:, :pixels])
        other = seconds(task, slab, repeats=2) * PIXELS / pixels
        for name in list(SETTINGS)[:2] if task is twin else SETTINGS:
            note = f"50 x {PIXELS / 1e6:g} Mpx, one core; rival measured on {pixels} pixels and scaled"
            table.append((f"{name} against {rival}", mine[name], other, other / mine[name], note))
    del samples
    for n in (10, 20, 50, 100, 1000):
        pixels = 4_000_000 // n
        slab = frames(n, pixels)
        for name, setting in SETTINGS.items():
            took = seconds(ours, slab, *setting, repeats=7)
            note = f"{took / slab.size * 1e9:.2f} ns/sample"
            table.append((f"{name}, {n} frames of {pixels} pixels", took, np.nan, np.nan, note))
    return table


def main():
    for name, mine, other, ratio, note in rows():
        print(f"{name:48s} {mine:8.3f} s  {other:8.3f} s  {ratio:6.1f} x  {note}")


if __name__ == "__main__":
    main()
