"""Profiles of stars, and what frames are worth by them."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.optimize import minimize
from test_photometry import SHAPE, SIGMA, field

from masterlight.alignment.warping.warp import warp
from masterlight.alignment.warping.weights import shape_of
from masterlight.core.frame import ArrayFrame
from masterlight.simulate.kernels import render_stars
from masterlight.subframes.measurement import Measurement
from masterlight.subframes.photometry import forced_fluxes, standards
from masterlight.subframes.radial import (
    AREAS_PX2,
    BLUR_PX2,
    RADII_PX,
    fitted_width,
    half_radius,
    moffat_profile,
    point_weights,
    profile_of_stars,
    resampling,
    rescaled,
    sharp_weights,
    weights_of_width,
    width_of,
    worth_of,
)
from masterlight.subframes.select import SubframeSelector
from masterlight.subframes.weights import profiles_of, weights_of

RNG = np.random.default_rng(8)


def night(count=9, spread=0.2, noise=0.2):
    """(noise, profiles) of frames whose seeing and noise differ."""
    rng = np.random.default_rng(count)
    widths = 3 * np.exp(spread * rng.standard_normal(count))
    return np.exp(noise * rng.standard_normal(count)), np.array([moffat_profile(w, 3.5) for w in widths])


def overlap(one, other):
    return float(AREAS_PX2 @ (np.asarray(one) * other))


def trailed(length_px=6.0, steps=13):
    """Stars that moved along x while they were exposed."""
    moves = np.linspace(-length_px / 2, length_px / 2, steps)
    return np.mean([field(40 + k, shift=(dx, 0.0)) for k, dx in enumerate(moves)], axis=0).astype(np.float32)


@pytest.mark.parametrize(("fwhm", "beta"), [(1.6, 4.0), (3.0, 4.0), (3.0, 2.5), (5.0, 6.0)])
def test_truth_profile_is_that_of_the_stars(fwhm, beta):
    _, stars = SubframeSelector().measure(field(3, fwhm=fwhm, beta=beta))
    found, true = np.array(profile_of_stars(field(3, fwhm=fwhm, beta=beta), stars)), moffat_profile(fwhm, beta)
    # The light of a star counts from its fit, which is sure to 1 %; wings beyond six widths are a hundredth of it.
    assert AREAS_PX2 @ found == pytest.approx(1, abs=0.03)
    assert overlap(found, true) == pytest.approx(overlap(true, true), rel=0.02)
    assert 2 * half_radius(found) == pytest.approx(2 * half_radius(true), rel=0.015)


def test_truth_a_model_has_the_width_of_its_name():
    for fwhm, near in ((1.5, 0.06), (2.2, 0.03), (3.0, 0.02), (6.0, 0.02)):  # squares add for Gaussian blurs alone
        assert np.sqrt(4 * half_radius(moffat_profile(fwhm, 4.0)) ** 2 - BLUR_PX2) == pytest.approx(fwhm, rel=near)
        assert AREAS_PX2 @ moffat_profile(fwhm, 4.0) == pytest.approx(1, abs=0.006)


def test_truth_a_trailed_frame_has_the_mean_over_all_directions():
    image = trailed()
    _, stars = SubframeSelector().measure(image)
    found = np.array(profile_of_stars(image, stars))
    x, y = np.meshgrid(*2 * [np.arange(-40, 41, 0.25)])
    still, moves = moffat_profile(3.0, 4.0), np.linspace(-3, 3, 61)
    plane = np.mean([np.interp(np.hypot(x - dx, y), RADII_PX, still) for dx in moves], axis=0)
    ring = np.rint(np.hypot(x, y) * 2).astype(int)
    true = np.bincount(ring.ravel(), plane.ravel()) / np.bincount(ring.ravel())
    assert found[RADII_PX == 0] == pytest.approx(true[0], rel=0.05)
    near = RADII_PX < 8
    assert found[near] == pytest.approx(np.interp(RADII_PX[near], np.arange(len(true)) / 2, true), abs=0.04 * true[0])


def test_truth_cosmic_rays_missing_pixels_and_neighbours_do_not_count():
    image = field(9)
    _, stars = SubframeSelector().measure(image)
    clean = np.array(profile_of_stars(image, stars))
    rng = np.random.default_rng(1)
    image[rng.integers(0, SHAPE[0], 800), rng.integers(0, SHAPE[1], 800)] += 4000
    image[rng.random(SHAPE) < 0.01] = np.nan
    assert overlap(profile_of_stars(image, stars), clean) == pytest.approx(overlap(clean, clean), rel=0.015)


def test_truth_too_few_stars_tell_nothing():
    image = field(3)
    _, stars = SubframeSelector().measure(image)
    assert profile_of_stars(image, stars[:2]) is None
    assert profile_of_stars(image, replace(stars, saturated=np.ones(len(stars), bool))) is None
    assert profile_of_stars(image[:200, :30], stars[:5]) is None


def test_truth_a_registered_frame_tells_the_same_profile():
    image = field(4)
    _, stars = SubframeSelector().measure(image)
    [registered] = forced_fluxes(ArrayFrame.of(image), standards(stars)).profiles
    own = np.array(profile_of_stars(image, stars))
    assert half_radius(np.array(registered)) == pytest.approx(half_radius(own), rel=0.02)
    assert overlap(registered, own) == pytest.approx(overlap(own, own), rel=0.03)


def test_truth_a_profile_in_other_pixels_keeps_its_light():
    coarse, fine = moffat_profile(3.0, 3.5), np.array(rescaled(tuple(moffat_profile(3.0, 3.5)), 2.0))
    assert AREAS_PX2 @ fine == pytest.approx(AREAS_PX2 @ coarse, rel=0.01)
    assert half_radius(fine) == pytest.approx(2 * half_radius(coarse), rel=1e-3)
    assert rescaled(None, 2.0) is None and rescaled((1.0, 2.0), 1.0) == (1.0, 2.0)


@pytest.mark.parametrize(("kernel", "wider"), [("lanczos5", 1.0), ("lanczos3", 1.01), ("bilinear", 1.1)])
def test_truth_interpolation_widens_stars_by_what_is_told(kernel, wider):
    """Stars of 2.4 px, shifted at random and laid back by a kernel of the warp: their mean, measured, and as told."""
    rng, alpha = np.random.default_rng(2), 1.2 / np.sqrt(2 ** (1 / 3.5) - 1)
    y, x = (v.ravel() + rng.random(v.size) for v in np.mgrid[25:400:30, 25:400:30])
    total, before = np.zeros((420, 420), np.float32), []
    for shift in rng.uniform(-2, 2, (12, 2)):
        image = rng.normal(100, 3, total.shape).astype(np.float32)
        light = np.full(x.size, 2e4)
        render_stars(image, x + shift[0], y + shift[1], light, alpha, alpha, 0.0, 3.5, 1e-4)
        before.append(SubframeSelector().measure(image)[0])
        back, laid = np.eye(3), np.empty_like(total)
        back[:2, 2] = shift
        warp(image, 0, 0, back, laid, 0, 0, kernel)
        total += laid / 12
    own = np.mean([m.profile for m in before], axis=0)
    told = float(fitted_width((own @ resampling(partial(shape_of, kernel)).T)[None])[0] / fitted_width(own[None])[0])
    found = SubframeSelector().measure(total[10:-10, 10:-10])[0].fwhm_px / np.mean([m.fwhm_px for m in before])
    assert told == pytest.approx(found, abs=0.02 if kernel == "bilinear" else 0.01) and told > wider


def test_truth_a_fit_to_a_profile_finds_its_width():
    """Of a mixture of narrow and wide stars a fit finds more than its width at half of its height."""
    for fwhm, beta in ((2.0, 2.5), (3.0, 4.0), (6.0, 8.0)):
        assert fitted_width(moffat_profile(fwhm, beta)[None])[0] == pytest.approx(fwhm, rel=0.035)
    mixed = np.mean([moffat_profile(fwhm, 3.5) for fwhm in (2.6, 3.2, 3.7, 4.0, 4.0, 4.0, 4.1, 4.2)], axis=0)
    assert 1.005 < fitted_width(mixed[None])[0] / width_of(half_radius(mixed)) < 1.02


# --- weights ----------------------------------------------------------------------------------------------------------


def point_snr(weights, noise, profiles):
    """Of a matched filter, as its definition has it."""
    mean = weights @ profiles
    return np.sqrt(AREAS_PX2 @ mean**2 / np.sum((weights * noise) ** 2))


@pytest.mark.parametrize("count", [2, 5, 30])
def test_oracle_point_weights_are_the_eigenvector(count):
    noise, profiles = night(count)
    matrix = (profiles * AREAS_PX2) @ profiles.T / np.outer(noise, noise)
    vector = np.abs(np.linalg.eigh(matrix)[1][:, -1]) / noise
    found = point_weights(noise, profiles)
    assert found / found.sum() == pytest.approx(vector / vector.sum(), rel=1e-5)


def test_truth_point_is_never_below_noise():
    for count in range(2, 30):
        noise, profiles = night(count, spread=0.02 * count)
        assert point_snr(point_weights(noise, profiles), noise, profiles) >= point_snr(noise**-2.0, noise, profiles)


def test_truth_alike_frames_weigh_by_noise_alone():
    noise, profiles = night(6, spread=0.0)
    for found in (point_weights(noise, profiles), sharp_weights(noise, profiles, 0.01)):
        assert found / found.sum() == pytest.approx(noise**-2.0 / np.sum(noise**-2.0), rel=1e-6)


@pytest.mark.parametrize("give", [0.003, 0.01, 0.05])
def test_oracle_sharp_weights_are_the_narrowest_of_their_depth(give):
    noise, profiles = night(5)
    found = worth_of(sharp_weights(noise, profiles, give), noise, profiles)
    assert found.depth == pytest.approx(1 - give, abs=2e-4)

    def width(free):
        return half_radius(np.abs(free) / np.abs(free).sum() @ profiles)

    def depth(free):
        return worth_of(np.abs(free), noise, profiles).depth - (1 - give)

    rule = {"type": "ineq", "fun": depth}
    best = min(
        minimize(width, RNG.dirichlet(np.ones(5)), constraints=rule, method="COBYLA", tol=1e-7).fun for _ in range(4)
    )
    assert half_radius(sharp_weights(noise, profiles, give) @ profiles) == pytest.approx(best, rel=1e-3)


def test_oracle_weights_of_a_width_by_bisection():
    for seed in range(50):
        rng = np.random.default_rng(seed)
        count = int(rng.integers(2, 40))
        least, rise = rng.exponential(size=count), rng.standard_normal(count) + 0.5
        found = weights_of_width(least, rise)
        if (least * rise).sum() <= 0 or (rise >= 0).all():
            assert found is (least if (least * rise).sum() <= 0 else None)
            continue
        low, high = 0.0, 1e9
        for _ in range(200):
            middle = 0.5 * (low + high)
            above = (least * np.maximum(0, 1 - middle * rise) * rise).sum() > 0
            low, high = (middle, high) if above else (low, middle)
        assert found == pytest.approx(least * np.maximum(0, 1 - high * rise), rel=1e-6, abs=1e-12)


def test_truth_more_depth_given_makes_narrower_stars():
    noise, profiles = night(20)
    told = [worth_of(sharp_weights(noise, profiles, give), noise, profiles) for give in (0, 0.01, 0.05, 0.2, 0.5)]
    widths = [one.fwhm_px for one in told]
    assert widths == sorted(widths, reverse=True) and widths[-1] < 0.9 * widths[0]
    assert told[0].differs is False and told[0].depth == pytest.approx(1)
    assert str(told[1]).startswith("depth -1.0 %, point sources ")


def test_truth_a_trailed_frame_is_weighed_down():
    frames = []
    for image in (field(1), field(2), trailed()):
        measured, _ = SubframeSelector().measure(image)
        frames.append(replace(measured, noise_dn=SIGMA, flux_ratio=1.0))
    for mode in ("point", "sharp"):
        weights = weights_of(mode, frames, np.ones(3), give=5.0)
        assert weights[2] < 0.8 * weights[0]


def test_truth_point_sources_gain_what_is_told():
    """Photons: a faint star by a matched filter in real noise, by either kind of weight."""
    images = [field(seed, fwhm=fwhm) for seed, fwhm in ((51, 2.2), (52, 3.0), (53, 4.5), (54, 4.8))]
    frames = [replace(SubframeSelector().measure(image)[0], flux_ratio=1.0) for image in images]
    factor = np.ones(4)
    point, noise = (weights_of(mode, frames, factor) for mode in ("point", "noise"))
    told = worth_of(point, np.array([m.noise_dn for m in frames]), profiles_of(frames, factor))
    true = [moffat_profile(fwhm, 4.0) for fwhm in (2.2, 3.0, 4.5, 4.8)]
    sigma = np.full(4, SIGMA)
    gain = point_snr(point, sigma, np.array(true)) / point_snr(noise, sigma, np.array(true))
    assert gain > 1.03 and told.point_snr == pytest.approx(gain, abs=0.005)
    mean = sum(w * image for w, image in zip(point / point.sum(), images, strict=True))
    _, stars = SubframeSelector().measure(mean)
    assert np.median(stars.fwhm_px[:40]) == pytest.approx(told.fwhm_px, rel=0.04)


def test_truth_unknown_profiles_are_those_of_the_others():
    def frame(profile, ratio=1.0):
        return Measurement("a.fits", 100.0, (5.0, 5.0), 5.0, flux_ratio=ratio, profile=profile)

    narrow, wide = tuple(moffat_profile(2.0).tolist()), tuple(moffat_profile(4.0).tolist())
    one = np.ones(3)
    assert profiles_of([frame(None), frame(None), frame(wide)], one) is None
    assert weights_of("point", [frame(None), frame(None), frame(wide)], one).tolist() == 3 * [1 / 25]
    known = weights_of("point", [frame(narrow), frame(None), frame(wide)], one)
    assert known[0] > known[1] > known[2]
    # A star behind cloud that nothing scales up counts for less.
    clouded = weights_of("point", [frame(wide), frame(wide), frame(wide, 0.5)], one)
    assert clouded[2] == pytest.approx(0.5 * clouded[0])
