"""Kernels as tables: what each of them does to slopes, to stars and to pixels that are finer than the result's."""

import numpy as np
import pytest
from test_warp import stars_at, turn, warped

from masterlight.alignment.align import StarAlignment
from masterlight.alignment.transform import Transform
from masterlight.alignment.warping.weights import CUBIC, LANES, PHASES, TAPS, Kernel, noise_gain, shape_of, weights
from masterlight.core.frame import ArrayFrame, Meta

LANCZOS = "lanczos3", "lanczos4", "lanczos5"


def first_moments(kernel):
    """How far each phase of a kernel moves a slope, px."""
    away = np.arange(TAPS) - 4 - np.arange(PHASES + 1)[:, None] / PHASES
    return (weights(kernel).reshape(-1, LANES)[:, :TAPS].astype(float) * away).sum(axis=1)


@pytest.mark.parametrize("name", LANCZOS)
def test_truth_with_its_first_moment_a_kernel_keeps_slopes_and_stars(name):
    usual, kept = np.abs(first_moments(name)).max(), np.abs(first_moments(Kernel(name, first_moment=True))).max()
    assert usual > 0.01 and kept < 2e-7  # float32
    y, x = np.mgrid[:120, :120].astype(np.float32)
    m = turn(33.0, (120, 120), 0.37, -0.21)
    truth = 1000 + m[0, 0] * x + m[0, 1] * y + m[0, 2]
    inner = (slice(40, 80), slice(40, 80))
    for first_moment, limit_dn in ((True, 1e-3), (False, 0.025)):
        out = warped((1000 + x).astype(np.float32), m, kernel=Kernel(name, first_moment=first_moment))
        assert np.abs(out - truth)[inner].max() < limit_dn


@pytest.mark.parametrize("name", LANCZOS)
@pytest.mark.parametrize("fwhm_px", [2.5, 3.5, 5.0, 8.0])
def test_truth_stars_stay_where_they_are_when_slopes_do(name, fwhm_px):
    moved = {}
    for first_moment in (False, True):
        shifts = []
        for dx in (0.15, 0.3, 0.45):
            m = turn(0, (80, 80), dx, 0.0)
            out = warped(
                stars_at([(40 + dx, 40)], (80, 80), fwhm_px, 1000.0), m, kernel=Kernel(name, 1.0, first_moment)
            )
            x, core = np.mgrid[:80, :80][1] - 40, stars_at([(40, 40)], (80, 80), fwhm_px)
            shifts.append(2 * np.nansum(out * core * x) / np.nansum(out * core))
        moved[first_moment] = np.abs(shifts).max()
    assert moved[True] < 0.005
    assert fwhm_px < 5 or moved[True] < moved[False]  # of narrow stars both are a few thousandths of a pixel


@pytest.mark.parametrize("name", CUBIC)
def test_truth_cubic_kernels_sum_to_one_and_keep_slopes(name):
    phase = np.linspace(0, 1, 101)[:, None]
    away = np.arange(-4, 6) - phase
    np.testing.assert_allclose(shape_of(name, away).sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose((shape_of(name, away) * away).sum(axis=1), 0, atol=1e-12)


def test_truth_finer_pixels_are_averaged():
    """Of frames with half as wide pixels, lanczos5 takes the noise of one pixel where four are there."""
    noise = np.random.default_rng(4).normal(100, 10, (400, 400)).astype(np.float32)
    half = Transform(matrix=np.array([[2, 0, 0.7], [0, 2, 0.2], [0, 0, 1.0]]), shape=(190, 190))
    left = {}
    for name in ("lanczos5", "auto", "bspline"):
        view = StarAlignment(interpolation=name).registered(ArrayFrame.of(noise, "fine"), half, (190, 190), 10.0, 3.0)
        left[name] = np.nanstd(np.asarray(view)[10:-10, 10:-10]) / 10
        assert left[name] == pytest.approx(view.noise_gain, rel=0.03)
    assert left["lanczos5"] > 0.7 and left["auto"] < 0.45 and left["bspline"] < 0.3


@pytest.mark.parametrize("stretch", [1.0, 1.5, 2.5])
def test_truth_a_stretched_filter_keeps_a_flat_sky_flat(stretch):
    flat = np.full((60, 60), 700.0, np.float32)
    out = warped(flat, turn(12.0, flat.shape), kernel=Kernel("mitchell", stretch))
    assert np.nanmax(np.abs(out / 700 - 1)) < 2e-6
    assert noise_gain(Kernel("mitchell", stretch)) == pytest.approx(0.6815 / stretch, rel=0.02)


def test_surface_auto_chooses_by_width_and_scale():
    chosen = {(s, f): StarAlignment().kernel(s, f) for s, f in ((1, None), (1, 1.3), (1, 1.0), (2, 3.0), (9, 3.0))}
    assert [k.name for k in chosen.values()] == ["lanczos5", "lanczos3", "bilinear", "mitchell", "mitchell"]
    assert [k.stretch for k in chosen.values()] == [1, 1, 1, 2, 2.5]
    assert StarAlignment(first_moment=True).kernel(1.0) == Kernel("lanczos5", 1.0, True)
    assert StarAlignment(interpolation="bicubic").kernel(2.0) == Kernel("bicubic")
    assert StarAlignment(interpolation="catmull-rom").kernel(2.0) == Kernel("catmull-rom", 2.0)


def test_truth_registered_frames_leave_stars_their_rings():
    """As a night does it: by the width of its stars and the saturation of its sensor, bright stars keep their flux."""
    image = stars_at([(40.2, 40.4)], (80, 80), 2.0, 150_000.0, 100.0)
    place, fluxes = Transform(matrix=turn(0.3, (80, 80), 0.4, 0.3), shape=(80, 80)), {}
    for saturation_dn in (None, 65_535.0, 30_000.0):
        frame = ArrayFrame.of(image, "bright", Meta(kind="light", saturation_dn=saturation_dn))
        view = StarAlignment(interpolation="lanczos5").registered(frame, place, (80, 80), 20.0, 2.0)
        fluxes[saturation_dn] = np.nansum(np.asarray(view)[25:55, 25:55] - 100) / 150_000
    assert fluxes[65_535.0] == pytest.approx(1, abs=5e-4)
    assert fluxes[None] == fluxes[30_000.0] > 1.002  # what is saturated, or may be, has a floor without exception
