"""What an integration must be worth, on skies whose truth is known: noise, claims, photometry, what is rejected."""

from dataclasses import replace

import numpy as np
import pytest

from masterlight.alignment.align import StarAlignment
from masterlight.alignment.transform import Transform
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.integration.integrate import ImageIntegration
from masterlight.integration.rejection import Rejection
from masterlight.subframes.measurement import Measurement

SKY, NOISE = 500.0, 8.0
SHAPE = (400, 500)


def stack(settings, frames, known=None, **how):
    *_, last = settings(frames, known, **how)
    return last.result


def known_of(frames, noise=NOISE, **more):
    noises = np.broadcast_to(noise, len(frames))
    return [
        Measurement(f.source, SKY, float(s), float(s), 60.0, 1.0, **more) for f, s in zip(frames, noises, strict=True)
    ]


def stars(fwhm_px, shape=SHAPE, count=60, beta=3.5, seed=3, brightest=60_000.0):
    """Moffat stars of fluxes from 2000 DN up, sampled at pixel centres, and their places and fluxes."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(30, np.array(shape[::-1]) - 30, (count, 2))
    flux = np.geomspace(2000, brightest, count)
    alpha = fwhm_px / (2 * np.sqrt(2 ** (1 / beta) - 1))
    image = np.zeros(shape)
    y, x = np.mgrid[-25:26, -25:26]
    for (u, v), f in zip(xy, flux, strict=True):
        i, j = int(u), int(v)
        r2 = (x + i - u) ** 2 + (y + j - v) ** 2
        image[j - 25 : j + 26, i - 25 : i + 26] += f * (beta - 1) / (np.pi * alpha**2) * (1 + r2 / alpha**2) ** -beta
    return image, xy, flux


def test_truth_noise_is_that_of_the_inverse_variance_bound():
    rng = np.random.default_rng(1)
    sigmas = rng.uniform(5, 15, 20)
    frames = [ArrayFrame.of(rng.normal(SKY, s, (700, 800)), f"{i}") for i, s in enumerate(sigmas)]
    result = stack(ImageIntegration(), frames, known_of(frames, sigmas))
    bound = 1 / np.sqrt((1 / sigmas**2).sum())
    # 560,000 pixels tell a sigma to 0.1 %
    assert 0.998 < result.image.std() / bound < 1.01
    assert np.mean((result.image - SKY) ** 2 / result.variance) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("combination", ["average", "median", "adaptive"])
@pytest.mark.parametrize("count", [5, 20])
def test_truth_variance_claims_of_registered_frames(combination, count):
    """Sub-pixel shifts and small turns lower the noise of pixels; claims know by how much, and for sums VARCORR."""
    rng = np.random.default_rng(count)
    align, frames, known = StarAlignment(), [], []
    for i in range(count):
        raw = ArrayFrame.of(rng.normal(SKY, NOISE, SHAPE), f"{i}")
        angle = np.radians(rng.normal(0, 0.3))
        shift = rng.uniform(-3, 3, 2) if i else np.zeros(2)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) if i else np.eye(2)
        matrix = np.eye(3)
        matrix[:2, :2], matrix[:2, 2] = turn, shift
        view = align.registered(raw, Transform(matrix=matrix, shape=SHAPE), SHAPE, NOISE)
        frames.append(view)
        known.append(Measurement(f"{i}", SKY, NOISE, NOISE, 60.0, 1.0, pixel_noise_dn=NOISE * view.noise_gain))
    result = stack(ImageIntegration(combination=combination), frames, known)
    inside = (slice(20, -20), slice(20, -20))
    error, variance = result.image[inside] - SKY, result.variance[inside]
    chi2 = float(np.mean(error**2 / variance))
    assert chi2 == pytest.approx(1, abs=0.03)
    if combination == "average":
        boxes = error[:360, :460].reshape(36, 10, 46, 10).sum(axis=(1, 3))
        claimed = variance.mean() * 100 * result.correlation
        assert boxes.var() == pytest.approx(claimed, rel=0.12)  # 1656 boxes tell a variance to 3.5 %, edges share noise


@pytest.mark.parametrize("combination", ["median", "minimum", "maximum"])
@pytest.mark.parametrize("count", [2, 3, 4, 9, 12, 20, 60])
@pytest.mark.parametrize("kind", ["equal", "half through cloud", "one through cloud"])
def test_truth_variance_of_one_sample_of_unequal_frames(combination, count, kind):
    sigmas = np.full(count, NOISE)
    sigmas[{"equal": [], "half through cloud": np.s_[1::2], "one through cloud": [-1]}[kind]] *= 3
    rng = np.random.default_rng(count)
    frames = [ArrayFrame.of(rng.normal(SKY, s, (250, 300)), f"{i}") for i, s in enumerate(sigmas)]
    frames[0].array[:, 200:] = frames[-1].array[:50] = np.nan
    settings = ImageIntegration(combination=combination, rejection=Rejection(algorithm="none"))
    result = stack(settings, frames, known_of(frames, sigmas))
    whole, part = np.s_[50:, :200], np.s_[:50, 200:]
    # 40,000 pixels tell a noise to 0.4 %, of extremes, whose tails are wide, to 0.8 %
    assert np.sqrt(result.variance[whole].mean()) == pytest.approx(result.image[whole].std(), rel=0.035)
    if combination == "median" and count > 4:  # of which samples are left counts the noise, too
        assert np.sqrt(result.variance[part].mean()) == pytest.approx(result.image[part].std(), rel=0.06)


def test_truth_variance_knows_photon_noise_and_weights():
    rng = np.random.default_rng(4)
    gain, scales = 1.5, np.array([1.0, 0.6, 0.9, 0.7, 1.0, 0.8, 0.95, 0.5, 1.0, 0.75])
    image, *_ = stars(3.0)
    frames, known = [], []
    for i, t in enumerate(scales):
        light = t * image + SKY
        frames.append(ArrayFrame.of(rng.normal(light, np.sqrt(NOISE**2 + t * image / gain)), f"{i}"))
        known.append(Measurement(f"{i}", SKY, NOISE, NOISE, 60.0, float(t), gain_e_per_dn=gain, fwhm_px=3.0))
    result = stack(ImageIntegration(), frames, known, reference=0)
    chi2 = (result.image - SKY - image) ** 2 / result.variance
    bright = image > 3 * NOISE
    assert bright.sum() > 1500
    assert chi2.mean() == pytest.approx(1, abs=0.03)
    assert chi2[bright].mean() == pytest.approx(1, abs=0.1)  # 1500 pixels tell it to 4 %


@pytest.mark.parametrize("count", [6, 20])
def test_truth_photometry_is_not_biased_where_the_seeing_varies_by_60_percent(count):
    rng = np.random.default_rng(5)
    fwhm = np.linspace(2.2, 2.2 * 1.6, count)
    frames, whole = [], []
    for width in rng.permutation(fwhm):
        image, xy, flux = stars(width)
        whole.append(image)
        frames.append(ArrayFrame.of(rng.normal(image + SKY, np.sqrt(NOISE**2 + image / 1.5)), f"{width}"))
    known = [
        Measurement(f.source, SKY, NOISE, NOISE, 60.0, 1.0, fwhm_px=float(f.source), gain_e_per_dn=1.5) for f in frames
    ]
    result = stack(ImageIntegration(), frames, known)
    mean, bright = np.mean(whole, axis=0), flux > 20_000
    yy, xx = np.mgrid[: SHAPE[0], : SHAPE[1]]
    slopes = []
    for radius in (2.0, 4.0, 8.0):
        ratios = []
        for u, v in xy[bright]:
            near = np.hypot(xx - u, yy - v) < radius
            ratios.append((result.image[near] - SKY).sum() / mean[near].sum())
        slopes.append(np.median(ratios))
    assert slopes == pytest.approx([1, 1, 1], abs=0.002)
    core = mean > 0.3 * mean.max()
    assert ((result.image - SKY)[core] / mean[core]).mean() == pytest.approx(1, abs=0.002)


def test_truth_trails_and_cosmic_rays_go_and_good_samples_stay():
    rng = np.random.default_rng(6)
    count, shape = 20, (600, 800)
    image, *_ = stars(2.8, shape)
    frames, trails, rays = [], [], []
    y, x = np.mgrid[: shape[0], : shape[1]]
    for i in range(count):
        pixels = rng.normal(image + SKY, np.sqrt(NOISE**2 + image / 1.5))
        trail = np.zeros(shape)
        if i % 3 == 0:
            angle, offset = rng.uniform(0, np.pi), rng.uniform(-150, 150)
            distance = (x - 400) * np.sin(angle) - (y - 300) * np.cos(angle) - offset
            trail = rng.uniform(6, 25) * NOISE * np.exp(-((distance / 1.6) ** 2) / 2)
        ray = np.where(rng.random(shape) < 3e-4, rng.uniform(5, 100, shape) * NOISE * 1.3, 0)
        frames.append(ArrayFrame.of(pixels + trail + ray, f"{i}"))
        trails.append(trail)
        rays.append(ray)
    known = [replace(s, gain_e_per_dn=1.5, fwhm_px=2.8) for s in known_of(frames)]
    result = stack(ImageIntegration(), frames, known, verdicts=True)
    gone = np.array([result.verdicts.mask(i) for i in range(count)]) > 0
    trails, rays = np.array(trails), np.array(rays)
    sky = image < NOISE
    bright_trail, struck = (trails > 5 * NOISE) & sky, (rays > 5 * NOISE) & sky & (trails < 0.2)
    assert gone[bright_trail].mean() > 0.95
    assert gone[struck].mean() > 0.99
    clean = (trails < 0.1 * NOISE) & (rays == 0)
    assert gone[clean].mean() < 0.003
    assert len(result.trails) >= 7


def test_truth_fewer_frames_reject_well_too():
    rng = np.random.default_rng(7)
    for count, missed in ((3, 0.03), (5, 0.01), (9, 0.01)):
        frames, rays = [], []
        for i in range(count):
            ray = np.where(rng.random(SHAPE) < 5e-4, 15 * NOISE, 0)
            rays.append(ray > 0)
            frames.append(ArrayFrame.of(rng.normal(SKY, NOISE, SHAPE) + ray, f"{i}"))
        result = stack(ImageIntegration(rejection=Rejection()), frames, known_of(frames), verdicts=True)
        gone = np.array([result.verdicts.mask(i) for i in range(count)]) > 0
        rays = np.array(rays)
        assert gone[rays].mean() > 1 - missed
        assert gone[~rays].mean() < 0.005


@pytest.mark.parametrize("normalization", ["additive+scaling", "multiplicative", "local"])
def test_truth_variance_claims_from_noise_that_is_measured(normalization):
    """Nothing is told of the frames: their noise is measured among stars, and brought to the reference's scale."""
    rng = np.random.default_rng(8)
    image, *_ = stars(3.0, (500, 700), count=150)
    lights = np.array([1.0, 0.8, 1.0, 0.9, 0.7, 1.0, 0.95, 0.85, 1.0, 0.9])
    frames = [
        ArrayFrame.of(rng.normal(t * (image + SKY), NOISE), f"{i}", Meta(gain_e_per_dn=1e6))
        for i, t in enumerate(lights)
    ]
    settings = ImageIntegration(normalization=normalization, scale="bwmv" if normalization != "local" else "stars")
    if normalization == "additive+scaling":
        settings = replace(settings, normalization="additive")
        frames = [ArrayFrame.of(f.array - t * (image + SKY) + image + SKY, f.source, f.meta)
                  for f, t in zip(frames, lights, strict=True)]  # fmt: skip
    result = stack(settings, frames, reference=0)
    sky = image < 1.0
    chi2 = ((result.image - SKY - image) ** 2 / result.variance)[sky]
    assert chi2.mean() == pytest.approx(1, abs=0.03)


def test_truth_colour_planes_claim_each_their_own_noise():
    rng, noises = np.random.default_rng(9), (5.0, 9.0, 14.0)
    frames = [ArrayFrame.of(np.stack([rng.normal(SKY, s, (300, 400)) for s in noises]), f"{i}") for i in range(8)]
    result = stack(ImageIntegration(scale="bwmv"), frames)
    chi2 = ((result.image - SKY) ** 2 / result.variance).mean(axis=(1, 2))
    assert chi2 == pytest.approx([1, 1, 1], abs=0.03)
