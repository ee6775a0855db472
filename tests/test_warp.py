"""The warp: flat skies stay flat, stars keep flux and place, and both roads agree with the slow twin."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import warp as oracle
from scipy.ndimage import map_coordinates

from masterlight.alignment.warping.taps import ratio_clamp
from masterlight.alignment.warping.warp import HALO, warp
from masterlight.alignment.warping.weights import NO_RING, Ring, noise_gain

KERNELS = ("lanczos5", "lanczos4", "lanczos3", "bicubic", "catmull-rom", "mitchell", "bspline", "bilinear", "nearest")
CLAMPS = "none", "floor", "ring", "pixinsight"


def turn(angle_deg, shape, dx=0.0, dy=0.0, scale=1.0):
    """Rotation about the centre of a frame, then a shift."""
    c, s = scale * np.cos(np.radians(angle_deg)), scale * np.sin(np.radians(angle_deg))
    x0, y0 = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    return np.array([[c, -s, x0 - c * x0 + s * y0 + dx], [s, c, y0 - s * x0 - c * y0 + dy], [0, 0, 1.0]])


def stars_at(xy, shape, fwhm_px, flux=1.0, sky=0.0):
    """Gaussian stars."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    s = fwhm_px / 2.3548
    image = np.full(shape, sky, float)
    for u, v in xy:
        image += flux * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * s**2)) / (2 * np.pi * s**2)
    return image.astype(np.float32)


def warped(source, matrix, shape=None, **how):
    out = np.full(shape or source.shape, -1e9, np.float32)
    warp(source, 0, 0, matrix, out, **how)
    return out


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("angle", [0.0, 0.4, 30.0, 180.2])
def test_truth_a_flat_sky_stays_flat(kernel, angle):
    flat = np.full((150, 170), 1234.5, np.float32)
    out = warped(flat, turn(angle, flat.shape, 0.3, 0.6), kernel=kernel)
    good = ~np.isnan(out)
    assert good.mean() > 0.6
    assert np.abs(out[good] / 1234.5 - 1).max() < 2e-6  # ten float32 sums


def test_truth_a_ramp_stays_a_ramp():
    y, x = np.mgrid[:200, :200].astype(np.float32)
    m = turn(0.3, (200, 200), 0.37, -0.21)
    out = warped(1000 + 0.01 * x, m)[20:-20, 20:-20]
    truth = 1000 + 0.01 * (m[0, 0] * x + m[0, 1] * y + m[0, 2])[20:-20, 20:-20]
    assert np.abs(out - truth).max() / 1000 < 1e-5  # a Lanczos kernel moves a slope by up to 0.01 px


@pytest.mark.parametrize(
    ("kernel", "fwhm_px", "limit_px"), [("lanczos5", 2.5, 2e-3), ("lanczos4", 2.5, 2e-3), ("lanczos3", 2.5, 5e-3)]
)
@pytest.mark.parametrize("angle", [0.0, 0.3, 20.0])
@pytest.mark.parametrize("margin_dn", [np.inf, 0.02])  # the noise of a star of SNR 150
def test_truth_stars_keep_flux_and_place(kernel, fwhm_px, limit_px, angle, margin_dn):
    shape, rng = (160, 160), np.random.default_rng(5)
    m = turn(angle, shape, 0.3, -0.4)
    centres = [(40 * i + 20 + rng.random(), 40 * j + 20 + rng.random()) for i in range(4) for j in range(4)]
    centres = [c for c in centres if np.hypot(c[0] - 80, c[1] - 80) < 65]
    at = [tuple((m @ (*c, 1.0))[:2]) for c in centres]
    out = warped(stars_at(at, shape, fwhm_px, 100.0), m, kernel=kernel, margin_dn=margin_dn)
    y, x = np.mgrid[:160, :160]
    for u, v in centres:
        near = np.hypot(x - u, y - v) < 4 * fwhm_px
        weight = np.where(near, np.nan_to_num(out), 0)
        core = weight * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * (fwhm_px / 2.3548) ** 2))
        assert abs(weight.sum() / 100 - 1) < 1e-3
        shift = 2 * np.hypot((core * (x - u)).sum(), (core * (y - v)).sum()) / core.sum()
        assert shift < limit_px


@pytest.mark.parametrize("fwhm_px", [2.0, 2.5, 3.5])
@pytest.mark.parametrize("snr", [150, 1500, 15_000])
@pytest.mark.parametrize("angle", [0.0, 0.2, 180.1, 25.0])
def test_truth_lanczos5_keeps_flux_and_width_and_the_floor(fwhm_px, snr, angle):
    """Flux to 0.05 %, the width in the mean over places between pixels to 0.5 %, and no pixel below the floor."""
    shape, rng, noise_dn = (260, 260), np.random.default_rng(8), 3.0
    centres = np.stack(np.meshgrid(np.arange(50, 211, 40), np.arange(50, 211, 40)), axis=-1).reshape(-1, 2)
    centres = centres + rng.random(centres.shape)
    m, flux = turn(angle, shape, 0.37, -0.21), snr * noise_dn * 2 * np.pi * (fwhm_px / 2.3548) ** 2
    at = (np.column_stack([centres, np.ones(len(centres))]) @ m.T)[:, :2]
    ring = Ring.of("lanczos5", fwhm_px, 1e6)
    out = warped(stars_at(at, shape, fwhm_px, flux, 100.0), m, margin_dn=noise_dn, ring=ring) - 100
    y, x = np.mgrid[:260, :260]
    fluxes, widths = [], []
    for u, v in centres:
        near, r2 = np.hypot(x - u, y - v) < 12, (x - u) ** 2 + (y - v) ** 2
        fluxes.append(out[near].sum() / flux)
        core = np.exp(-r2 / (fwhm_px / 2.3548) ** 2 / 2)
        widths.append(np.sqrt((out * core * r2)[near].sum() / (out * core)[near].sum()) / (fwhm_px / 2.3548))
    assert np.abs(np.array(fluxes) - 1).max() < 5e-4
    assert abs(np.mean(widths) - 1) < 0.005
    assert np.nanmin(out) >= -noise_dn - ring.share * snr * noise_dn - 1e-3


@pytest.mark.parametrize("angle", [0.3, 25.0])
def test_truth_only_rings_of_stars_are_left(angle):
    """Beside saturated stars, hot pixels, and stars finer than kernels know, the floor is what it is for all."""
    m, centres = turn(angle, (120, 120), 0.37, -0.21), [(60.3, 60.6)]
    at = [tuple((m @ (*c, 1.0))[:2]) for c in centres]
    star, ring = stars_at(at, (120, 120), 3.0, 3e6, 0.0), Ring.of("lanczos5", 3.0, 65_535)
    assert 0.001 < ring.share < 0.003
    saturated = np.minimum(star, 60_000)
    assert np.nanmin(warped(saturated, m)) < -500
    assert np.nanmin(warped(saturated, m, margin_dn=10.0, ring=ring)) >= -10.001
    hot = np.zeros((120, 120), np.float32)
    hot[55, 57] = 20_000
    assert np.nanmin(warped(hot, m)) < -1500 and np.nanmin(warped(hot, m, margin_dn=10.0, ring=ring)) > -55
    assert Ring.of("lanczos5", 1.9, 65_535).share == Ring.of("lanczos5", 3.0, None).share == 0
    assert Ring.of("lanczos5", None, 65_535).share == Ring.of("nearest", 3.0, 65_535).share == 0
    assert Ring.of("lanczos5", 2.0, 65_535).share < 0.01


def test_truth_noise_falls_by_the_published_gain():
    noise = np.random.default_rng(1).normal(0, 1, (600, 600)).astype(np.float32)
    gains = {"lanczos5": 0.934, "lanczos4": 0.914, "lanczos3": 0.893, "bilinear": 0.667}
    gains |= {"bicubic": 0.814, "mitchell": 0.682, "bspline": 0.479}
    for kernel, gain in gains.items():
        assert noise_gain(kernel) == pytest.approx(gain, rel=0.02)
        out = warped(noise, turn(1.7, noise.shape), kernel=kernel)
        assert np.sqrt(np.nanmean(out**2)) == pytest.approx(noise_gain(kernel), rel=0.02)  # phases are not quite even


def test_truth_the_floor_removes_dark_rings_only():
    star = stars_at([(50.4, 50.6)], (100, 100), 1.6, 50000.0, 100.0)
    m = turn(0, star.shape, 0.45, 0.45)
    free, floored = warped(star, m), warped(star, m, margin_dn=1.0)
    assert np.nanmin(free) < 50 < 98 < np.nanmin(floored)
    sky = np.random.default_rng(2).normal(100, 3, (200, 200)).astype(np.float32)
    touched = np.abs(warped(sky, turn(0.2, sky.shape)) - warped(sky, turn(0.2, sky.shape), margin_dn=3.0)) > 0
    assert touched.mean() < 0.002


def test_truth_whole_shifts_and_flips_copy_pixels():
    image = np.random.default_rng(3).normal(0, 1, (40, 60)).astype(np.float32)
    out = warped(image, turn(0, image.shape, 3, -2))
    np.testing.assert_array_equal(out[2:, :57], image[:-2, 3:])
    assert np.isnan(out[:2]).all() and np.isnan(out[:, 57:]).all()
    np.testing.assert_array_equal(warped(image, turn(180, image.shape)), image[::-1, ::-1])
    mirror = np.array([[-1, 0, 59], [0, 1, 0], [0, 0, 1.0]])
    np.testing.assert_array_equal(warped(image, mirror), image[:, ::-1])
    quarter = np.array([[0, 1, 0], [-1, 0, 39], [0, 0, 1.0]])  # u = y, v = 39 - x
    np.testing.assert_array_equal(warped(image, quarter, (60, 40)), image[::-1].T)


def test_truth_nothing_outside_the_frame():
    image = np.ones((50, 50), np.float32)
    assert np.isnan(warped(image, turn(0.1, image.shape, 500.3, 0))).all()
    out = warped(image, turn(0, image.shape, 0.5, 0.25))
    assert np.abs(out[5:44, 5:44] - 1).max() < 1e-6
    assert np.isnan(out[:, 49]).all() and np.isnan(out[49]).all() and np.isnan(out[:49, :49]).mean() < 0.01


@pytest.mark.parametrize(("angle", "limit"), [(0.0, 1e-5), (0.1, 5e-4), (0.3, 1e-3), (180.3, 1e-3), (89.8, 1e-3)])
def test_oracle_two_passes_agree_with_the_direct_sum(angle, limit):
    rng = np.random.default_rng(4)
    image = stars_at(rng.uniform(10, 290, (40, 2)), (300, 300), 2.2, 1.0, 0.1)
    m = turn(angle, image.shape, 0.3, 0.4)
    fast, direct = warped(image, m), warped(image, m, fast=False)
    peak = image.max()
    assert np.array_equal(np.isnan(fast), np.isnan(direct))
    assert np.nanmax(np.abs(fast - direct)) < limit * peak


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(KERNELS),
    st.booleans(),
    st.sampled_from(["none", "floor", "ring", "pixinsight"]),
)
def test_oracle_warp(seed, kernel, fast, clamp):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(3, 40, 2))
    image = rng.uniform(0, 100, shape).astype(np.float32)
    image[rng.random(shape) < rng.choice([0, 0.02])] = np.nan
    matrix = turn(
        rng.choice([0.0, 90.0, rng.uniform(-180, 180)]), shape, *rng.uniform(-3, 3, 2), rng.choice([1.0, 0.9])
    )
    matrix[2, :2] = rng.uniform(-1e-4, 1e-4, 2)
    margin_dn, threshold = (2.0 if clamp in ("floor", "ring") else np.inf), (0.3 if clamp == "pixinsight" else -1.0)
    how = {"margin_dn": margin_dn, "threshold": threshold, "ring": Ring(0.05, 97.0) if clamp == "ring" else NO_RING}
    slow = oracle.warp(image.astype(float), matrix, (30, 35), kernel, **how)
    out = warped(image, matrix, (30, 35), kernel=kernel, fast=fast, **how)
    same = np.isnan(out) == np.isnan(slow)
    near = np.abs(np.nan_to_num(out) - np.nan_to_num(slow)) < 0.5  # phases of 1/4096 px on slopes of 100 DN
    # thresholds (half a pixel, 0.9 of the weight, 1e-3) may fall either way when a position is on them
    assert same.mean() > 0.99 and (near | ~same).mean() > 0.98


def test_oracle_boxes_of_source_and_result_change_nothing():
    rng = np.random.default_rng(6)
    image = rng.uniform(0, 100, (200, 220)).astype(np.float32)
    m = turn(10.0, image.shape, 1.3, 2.2)
    whole = warped(image, m, fast=False)
    stack = np.zeros((3, 40, 50), np.float32)
    at = (m @ np.array([(x, y, 1.0) for x in (60, 109) for y in (70, 109)]).T)[:2]
    x0, y0 = np.floor(at.min(axis=1)).astype(int) - HALO
    x1, y1 = np.ceil(at.max(axis=1)).astype(int) + HALO + 1
    warp(image[y0:y1, x0:x1], x0, y0, m, stack[1], 60, 70, fast=False)
    np.testing.assert_allclose(stack[1], whole[70:110, 60:110], atol=1e-4)  # ten float32 sums of 100 DN
    assert (stack[[0, 2]] == 0).all()


@given(st.floats(0, 10), st.floats(0, 10), st.floats(0.1, 2), st.floats(0, 0.09))
def test_oracle_ratio_clamp(plus, minus, w_plus, w_minus):
    ours, slow = ratio_clamp(plus, minus, w_plus, w_minus, 0.3), oracle.ratio_clamp(plus, minus, w_plus, w_minus, 0.3)
    assert ours == pytest.approx(slow, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("angle", [0.2, 33.0])
def test_authority_scipy_on_smooth_data(angle):
    image = stars_at([(60.3, 70.1), (90.2, 40.7)], (128, 128), 6.0, 1000.0, 10.0)
    m = turn(angle, image.shape, 0.3, 0.1)
    y, x = np.mgrid[:128, :128]
    at = np.einsum("ij,jyx->iyx", m, np.stack([x, y, np.ones_like(x)]).astype(float))
    theirs = map_coordinates(image.astype(float), at[[1, 0]], order=5, cval=np.nan)
    inner = (slice(25, 100), slice(25, 100))
    difference = np.abs(warped(image, m)[inner] - theirs[inner])
    assert difference.max() < 2e-3 * image.max()


@pytest.mark.parametrize("angle", [0.0, 0.3, 180.2, 90.1, 30.0])
def test_truth_boxes_of_the_result_may_be_cut_anywhere(angle):
    image = np.random.default_rng(7).normal(500, 10, (300, 400)).astype(np.float32)
    m = turn(angle, image.shape, 1.3, 2.2)
    whole, parts = warped(image, m), np.zeros_like(image)
    for y in range(0, 300, 73):
        for x in range(0, 400, 91):
            warp(image, 0, 0, m, parts[y : y + 73, x : x + 91], x, y)
    assert np.array_equal(np.isnan(whole), np.isnan(parts))
    differs = np.nan_to_num(np.abs(whole - parts))
    # float64 rounding may tip one phase in a million over to its neighbour, 1/4096 px away
    assert differs.max() < 0.1 and (differs > 0).mean() < 1e-3


def test_surface_any_array_may_be_filled_and_read():
    image = np.random.default_rng(8).normal(500, 10, (60, 512)).astype(np.float32)
    for angle in (0.2, 25.0):
        m = turn(angle, image.shape)
        whole, strided = warped(image, m), np.zeros((60, 1024), np.float32)
        image.flags.writeable = False
        warp(image, 0, 0, m, strided[:, ::2])
        np.testing.assert_array_equal(strided[:, ::2], whole)
        warp(np.asfortranarray(image), 0, 0, m, strided[:, :512])
        np.testing.assert_array_equal(strided[:, :512], whole)
