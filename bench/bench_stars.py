"""Star finding and fitting against SEP on the same frame, one thread each: `python bench/bench_stars.py`."""

import time

import numpy as np
from scipy.spatial import cKDTree

from masterlight.core.statistics import noise as statistics
from masterlight.subframes.select import SubframeSelector
from masterlight.subframes.stars import psf
from masterlight.subframes.stars.find import find_stars

NOISE_DN = 10.0


def field(shape, count, fwhm_px=3.0, beta=3.0, seed=1):
    """A frame of Moffat stars, integrated over the pixels, on a gradient with noise: (image float32, x, y, flux)."""
    rng = np.random.default_rng(seed)
    rows, cols = shape
    x, y = rng.uniform(20, cols - 21, count), rng.uniform(20, rows - 21, count)
    scale = 0.5 * fwhm_px / np.sqrt(psf.half_rho(beta))
    matched = NOISE_DN * np.sqrt(np.pi * scale**2 * (beta - 1) ** 2 / (2 * beta - 1))
    flux = matched * 7.0 / rng.uniform(0.001, 1.0, count) ** (1 / 1.2)
    image = np.add.outer(np.linspace(1000, 1300, rows), np.linspace(0, 200, cols)).astype(np.float32)
    half = int(6 * fwhm_px)
    nodes = (np.arange(5) - 2) / 5
    sub = (np.arange(-half, half + 1)[:, None] + nodes).ravel()
    for cx, cy, f in zip(x, y, flux, strict=True):
        ix, iy = round(cx), round(cy)
        rho = np.add.outer((sub + iy - cy) ** 2, (sub + ix - cx) ** 2) / scale**2
        stamp = ((1 + rho) ** -beta).reshape(2 * half + 1, 5, 2 * half + 1, 5).mean(axis=(1, 3))
        y0, x0 = max(0, half - iy), max(0, half - ix)
        part = stamp[y0 : rows - iy + half, x0 : cols - ix + half]
        top, left = max(0, iy - half), max(0, ix - half)
        image[top : top + part.shape[0], left : left + part.shape[1]] += f * (beta - 1) / (np.pi * scale**2) * part
    electrons = rng.standard_normal(shape, np.float32) * np.sqrt(NOISE_DN**2 + np.maximum(image - 1500, 0))
    return image + electrons, x, y, flux / matched


def with_sep(image):
    """Background, detection at its usual 1.5 sigma and windowed positions as SEP does them: x, y.

    Its window is set to the true FWHM of the frame, 3 px: faster and more exact than a radius measured star by star.
    """
    import sep

    sky = sep.Background(image)
    clean = image - sky
    objects = sep.extract(clean, 1.5, err=sky.globalrms)
    x, y, _ = sep.winpos(clean, objects["x"], objects["y"], 3.0 / 2.35)
    return x, y


def best_of(repeats, task, *args):
    """Shortest time of several runs, and the result."""
    shortest, result = np.inf, None
    for _ in range(repeats):
        start = time.perf_counter()
        result = task(*args)
        shortest = min(shortest, time.perf_counter() - start)
    return shortest, result


def errors(x, y, truth_x, truth_y):
    """For every true star the offset of the nearest found one, (n, 2), NaN beyond 1.5 px."""
    distance, at = cKDTree(np.stack([x, y], -1)).query(np.stack([truth_x, truth_y], -1), distance_upper_bound=1.5)
    found = np.isfinite(distance)
    out = np.full((len(truth_x), 2), np.nan)
    out[found] = np.stack([x[at[found]] - truth_x[found], y[at[found]] - truth_y[found]], -1)
    return out


def compare(name, image, x, y, snr, selector):
    """One row: our time, SEP's, the ratio, and how both centroids and completeness compare."""
    find_stars(selector, image)
    ours_s, (found, *_) = best_of(5, find_stars, selector, image)
    rival_s, (sep_x, sep_y) = best_of(3, with_sep, image)
    ours, rival = errors(found.x_px, found.y_px, x, y), errors(sep_x, sep_y, x, y)
    both = np.isfinite(ours[:, 0]) & np.isfinite(rival[:, 0]) & (snr > 10)
    rms = [1.4826 * np.median(np.abs(e[both])) for e in (ours, rival)]
    share = [100 * np.mean(np.isfinite(e[snr > 10, 0])) for e in (ours, rival)]
    tail = [np.sqrt(np.mean(e[both] ** 2)) for e in (ours, rival)]
    note = (
        f"centroid 1.48 MAD {rms[0]:.4f} / sep {rms[1]:.4f}, rms {tail[0]:.4f} / {tail[1]:.4f} px, {both.sum()} stars"
    )
    note += f"; found {share[0]:.1f} / {share[1]:.1f} % at SNR > 10"
    return name, ours_s, rival_s, rival_s / ours_s, note


def rows():
    """(name, ours_s, rival_s, ratio, note) for `bench/kernels`."""
    import numba

    numba.set_num_threads(1)
    out = []
    image, x, y, snr = field((4096, 4096), 3000)
    out.append(compare("stars 16 Mpx, all 3000 fitted", image, x, y, snr, SubframeSelector(max_stars=6000)))
    out.append(compare("stars 16 Mpx, 800 fitted", image, x, y, snr, SubframeSelector()))
    image, *_ = field((4000, 6000), 3000)
    SubframeSelector().measure(image)
    whole_s, _ = best_of(5, SubframeSelector().measure, image)
    out.append(
        ("measure 24 Mpx, everything", whole_s, np.nan, np.nan, "stars, fits, statistics and noise; target 0.2 s")
    )
    noise_s, noise = best_of(5, statistics.noise_mrs, image)
    out.append(("noise 24 Mpx", noise_s, np.nan, np.nan, f"MRS {noise[0]:.3f} DN of {NOISE_DN:g}"))
    return out


def main():
    for name, ours_s, rival_s, ratio, note in rows():
        print(f"{name:32s} {1e3 * ours_s:8.1f} ms  sep {1e3 * rival_s:8.1f} ms  {ratio:5.1f}x  {note}")


if __name__ == "__main__":
    main()
