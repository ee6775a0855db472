"""Integrations of whole numbers whose noise is about one step: weights, claims, and what rejection leaves."""

from dataclasses import replace

import numpy as np
import pytest

from masterlight.core.frame import ArrayFrame
from masterlight.integration.integrate import ImageIntegration
from masterlight.integration.normalize import LocalNormalization
from masterlight.integration.rejection import KINDS, Rejection
from masterlight.subframes.measure import measure
from masterlight.subframes.weights import MODES

SHAPE = (300, 400)


def rounded(sigmas, step=1.0, level=100.3, drift=0.2, seed=1):
    """Frames of one night whose sky rises from one to the next, all in steps."""
    rng = np.random.default_rng(seed)
    noises = [rng.normal(level + i * drift, s, SHAPE) for i, s in enumerate(sigmas)]
    return [ArrayFrame.of((step * np.rint(x)).astype(np.float32), f"{i}") for i, x in enumerate(noises)]


def photons(mean, count=10, seed=2):
    rng = np.random.default_rng(seed)
    return [ArrayFrame.of(rng.poisson(mean, SHAPE).astype(np.float32), f"{i}") for i in range(count)]


def stack(settings, frames, **how):
    *_, last = settings(frames, **how)
    return last.result


def noise_of(frames, kind="light"):
    before = [None, *frames] if kind != "light" else [None] * len(frames)
    return [measure(f, kind=kind, before=b)[0].noise_dn for f, b in zip(frames, before, strict=False)]


@pytest.mark.parametrize("step", [1.0, 4.0, 16.0])
@pytest.mark.parametrize("kind", ["light", "bias", "dark"])
def test_truth_noise_of_a_frame(kind, step):
    for sigma in (0.9, 1.04, 1.33):
        frames = rounded([sigma] * 2, step)
        assert noise_of(frames, kind)[1] == pytest.approx(np.asarray(frames[1]).std(), rel=0.05)
    for sigma in (0.3, 0.6):
        frames = rounded([sigma] * 2, step)
        assert noise_of(frames, kind)[1] == pytest.approx(np.asarray(frames[1]).std(), rel=0.10)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_truth_weights_of_frames_of_0_6_and_1_2_dn(seed):
    # Rounding is noise as well: frames that scatter by 0.6 and 1.2 DN in all, and those that did before rounding.
    for rounding, wanted in ((1 / 12, 4.0), (0.0, (1.2**2 + 1 / 12) / (0.6**2 + 1 / 12))):
        sigmas = [np.sqrt(s * s - rounding) for s in (0.6, 1.2, 0.6, 1.2)]
        result = stack(ImageIntegration(normalization="additive"), rounded(sigmas, seed=seed))
        a, b, c, d = (row.weight for row in result.frames)
        assert (a + c) / (b + d) == pytest.approx(wanted, rel=0.10)


@pytest.mark.parametrize("sigma", [0.45, 0.6, 0.85, 1.04, 1.33, 2.5])
@pytest.mark.parametrize("step", [1.0, 16.0])
def test_truth_variance_is_that_of_the_stack(sigma, step):
    for seed in (1, 2):
        frames = rounded([sigma] * 10, step, seed=seed)
        result = stack(ImageIntegration(), frames)
        assert result.variance.mean() == pytest.approx(result.image.var(dtype=float), rel=0.05)
        assert result.image.mean() == pytest.approx(step * (100.3 + 0.2 * int(result.reference)), abs=0.05 * step)


@pytest.mark.parametrize("algorithm", [name for name in KINDS if name != "ccd"])
def test_truth_half_a_count_a_pixel_with_any_rejection(algorithm):
    frames = photons(0.5)
    result = stack(ImageIntegration(rejection=Rejection(algorithm=algorithm)), frames)
    lost = 0.5 - float(result.image.mean())
    if KINDS[algorithm].limits and KINDS[algorithm].takes == "sigma":
        assert lost < 0.025  # 4 and more, which one in 600 has, may go
    if algorithm in ("none", "auto", "winsorized", "sigma"):
        assert result.variance.mean() == pytest.approx(result.image.var(dtype=float), rel=0.10)
    assert np.isfinite(result.image).all()


@pytest.mark.parametrize("settings", [
    ImageIntegration(normalization="none", weights="none", rejection=Rejection(algorithm="none")),
    ImageIntegration(normalization="additive"), ImageIntegration(weights="snr"),
    *(ImageIntegration(weights=mode) for mode in MODES if mode in ("noise", "average", "average-deviation")),
    *(ImageIntegration(scale=scale) for scale in ("bwmv", "avgdev", "mad", "pbmv", "sn", "qn", "ikss")),
])  # fmt: skip
def test_truth_half_a_count_a_pixel_with_any_weight_and_scale(settings):
    result = stack(settings, photons(0.5))
    assert result.image.mean() == pytest.approx(0.5, abs=0.03)
    weights = [row.weight for row in result.frames]
    assert min(weights) > 0.85


def test_truth_rejection_still_finds_rays_among_few_counts():
    frames = photons(0.5)
    frames[3] = ArrayFrame.of(np.asarray(frames[3]) + 8 * (np.indices(SHAPE).sum(axis=0) % 50 == 0), "3")
    result = stack(ImageIntegration(), frames)
    assert result.frames[3].rejected_high_fraction > 0.019
    assert max(row.rejected_high_fraction for i, row in enumerate(result.frames) if i != 3) < 0.005


def test_truth_a_tenth_of_a_count_is_not_nothing():
    result = stack(ImageIntegration(), photons(0.1))
    assert result.image.mean() == pytest.approx(0.1, abs=0.003)


def test_truth_offsets_follow_the_sky_by_parts_of_a_step():
    result = stack(ImageIntegration(normalization="additive"), rounded([0.6] * 8), reference=0)
    np.testing.assert_allclose([row.offset for row in result.frames], -0.2 * np.arange(8), atol=0.04)


def test_truth_frames_whose_noise_cannot_be_told_weigh_as_most_do_and_it_is_told():
    frames = rounded([0.6] * 4)
    known = [measure(f)[0] for f in frames]
    silent = replace(known[1], noise_dn=0.0)
    terms = ImageIntegration(scale="bwmv").terms([known[0], silent, *known[2:]])
    assert terms.weights == pytest.approx(np.ones(4), abs=0.1)
    assert "1: nearly all pixels have the same value" in " ".join(terms.notes)
    terms = ImageIntegration(scale="bwmv").terms([replace(one, noise_dn=0.0) for one in known])
    assert terms.weights == pytest.approx(np.ones(4), abs=0.1)
    assert terms.notes[0].startswith("0 and 3 more: ")


@pytest.mark.parametrize("sigma", [0.3, 0.6])
def test_truth_local_normalization_levels_gradients_of_parts_of_a_step(sigma):
    rng, (y, x) = np.random.default_rng(5), np.mgrid[:300, :400] / 300
    frames = [
        ArrayFrame.of(np.rint(100.3 + 0.2 * i * (x + y) + rng.normal(0, sigma, SHAPE)).astype(np.float32), f"{i}")
        for i in range(6)
    ]
    local = LocalNormalization(no_scale=True, scale_px=64)
    settings = ImageIntegration(normalization="local", local=local, rejection=Rejection(normalization="local"))
    image = stack(settings, frames, reference=0).image
    cells = image.reshape(6, 50, 8, 50).mean(axis=(1, 3))  # before rounding, the reference is flat
    assert cells.std() < 0.04
    assert cells.mean() == pytest.approx(np.asarray(frames[0]).mean(), abs=0.03)
