"""Rejection and combination: ours against a sort-per-pixel loop and against astropy, on one core.

python bench/bench_rejection.py
"""

import time

import numpy as np
from numba import njit

from masterlight.integration.kernels import combine, ranked, spread

PIXELS = 1_000_000
NOISE = 10.0
SETTINGS = {
    "Winsorized, noise known": (spread.WINSORIZED, NOISE),
    "Winsorized": (spread.WINSORIZED, 0.0),
    "sigma clipping": (spread.SIGMA, 0.0),
    "MAD": (spread.MAD, 0.0),
    "percentile": (spread.PERCENTILE, 0.0),
    "min/max": (spread.MINMAX, 0.0),
    "noise model": (spread.NOISE, NOISE),
    "linear fit": (spread.LINEAR, 0.0),
    "ESD": (spread.ESD, 0.0),
    "Chauvenet": (spread.CHAUVENET, 0.0),
    "average alone": (spread.NONE, 0.0),
}
"""Algorithm and floor of sigma; the walk knows the noise of its frames, and most pixels then need no judging."""
LIMITS = {spread.MINMAX: (1.0, 1.0), spread.PERCENTILE: (0.2, 0.1), spread.LINEAR: (5.0, 4.0)}
IN_CACHE = 300_000
"""Samples of a tile that stays in the cache."""


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
    one, zero, level = np.ones(n, np.float32), np.zeros(n, np.float32), np.ones((3, pixels), np.float32)
    level[0] = 1000
    excess, factor = np.full(n + 1, 3, np.float32), np.ones(n + 1, np.float32)
    columns = combine.Columns(one, zero, one, zero, one, one * np.float32(floor**2), one, zero, excess, factor)
    low, high = LIMITS.get(algorithm, (4.0, 3.0))
    rule = spread.Rule(
        algorithm=algorithm,
        low=low,
        high=high,
        clip_low=True,
        clip_high=True,
        passes=1 if algorithm == spread.PERCENTILE else 20,
        keep_fraction=0.5,
        range_low=-np.inf,
        range_high=np.inf,
        few=10,
        noise_variance=floor**2,
        noise_slope=0.0,
        noise_fraction=0.0,
        floor=floor,
        esd_fraction=0.3,
        esd_relaxation=1.0,
    )
    kinds = (np.float32, np.float32, np.uint16, np.uint16, np.uint16)
    planes = combine.Planes(*(np.empty(pixels, kind) for kind in kinds), np.empty(0, np.float32))
    table, verdicts = ranked.table_for(algorithm, n), np.empty((0, 0), np.uint8)
    counts = np.zeros((3, n), np.int64)
    combine.integrate(samples, samples, level, columns, rule, table, combine.AVERAGE, planes, verdicts, counts)
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
    mine = {name: seconds(ours, samples, *SETTINGS[name]) for name in list(SETTINGS)[:3]}
    slab = np.ascontiguousarray(samples[:, :20_000])
    other = seconds(astropy_clip, slab, repeats=2) * PIXELS / 20_000
    for name, took in mine.items():
        note = f"50 x {PIXELS / 1e6:g} Mpx, one core; rival measured on 20000 pixels and scaled"
        table.append((f"{name} against astropy.stats.sigma_clip", took, other, other / took, note))
    del samples
    for n in (20, 50, 100, 1000):
        slab = frames(n, IN_CACHE // n)
        other = seconds(twin, slab, repeats=5)
        for name, setting in SETTINGS.items():
            took = seconds(ours, slab, *setting, repeats=15)
            note = f"{took / slab.size * 1e9:.2f} ns/sample; rival sorts each pixel and Winsorizes, numba"
            rival = other if "Winsorized" in name else np.nan
            table.append((f"{name}, {n} frames", took, rival, rival / took, note))
    return table


def main():
    for name, mine, other, ratio, note in rows():
        print(f"{name:48s} {1e3 * mine:9.2f} ms  {1e3 * other:9.2f} ms  {ratio:6.1f} x  {note}")


if __name__ == "__main__":
    main()
