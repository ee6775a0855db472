"""Every mode of ImageIntegration as a whole: local, frames that drop out, trails."""

from dataclasses import replace

import numpy as np
import pytest

from masterlight.core.errors import NothingUsable, ParameterError
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.integration.integrate import ImageIntegration
from masterlight.integration.normalize import LocalNormalization
from masterlight.integration.rejection import KINDS, LargeScaleRejection, Rejection
from masterlight.subframes.measurement import Measurement

SHAPE, NOISE = (260, 320), 6.0


def stack(settings, frames, known=None, **how):
    *_, last = settings(frames, known, **how)
    return last.result


def field(shape=SHAPE, count=40, fwhm_px=3.0):
    rng = np.random.default_rng(1)
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.zeros(shape)
    for flux in np.geomspace(4000, 60000, count):
        u, v, s = rng.uniform(15, shape[1] - 15), rng.uniform(15, shape[0] - 15), fwhm_px / 2.3548
        image += flux / (2 * np.pi * s**2) * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * s**2))
    return image


def night(count=8, gradient=0.0, rays=0.0, trail=(), seed=2):
    """Frames of one field with differing gradients, rays and trails; the truth has the sky of the first."""
    rng, image = np.random.default_rng(seed), field()
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    frames, known = [], []
    for i in range(count):
        tilt = 0.0 if i == 0 else gradient
        sky = 500 + tilt * (rng.normal() * x / SHAPE[1] + rng.normal() * y / SHAPE[0])
        light = rng.uniform(0.8, 1) if i else 1.0
        pixels = rng.normal(sky + light * image, NOISE)
        pixels[rng.random(SHAPE) < rays] += 300
        if i in trail:
            pixels += 45 * np.exp(-(((y - 0.6 * x - 10 * i) / 2.5) ** 2) / 2)
        frames.append(ArrayFrame.of(pixels, f"frame {i}", Meta(gain_e_per_dn=1.0, exposure_s=60.0)))
        level = float(np.median(sky))
        known.append(Measurement(f"frame {i}", level, NOISE, NOISE, 60.0, light, fwhm_px=3.0))
    return frames, known, image + 500


LOCAL = LocalNormalization(scale_px=64, min_stars=5)


@pytest.mark.parametrize(
    "output, judged", [("local", "local"), ("local", "scale+zero offset"), ("additive+scaling", "local")]
)
def test_truth_gradients_that_differ_are_levelled_for_output_and_for_rejection(output, judged):
    frames, known, truth = night(12, gradient=150.0, rays=1e-3)
    settings = ImageIntegration(
        normalization=output, local=LOCAL, rejection=Rejection(algorithm="winsorized", normalization=judged)
    )
    result = stack(settings, frames, known, reference=0)
    sky = truth < 503
    tilt = result.image - truth
    level = [np.median(tilt[part][sky[part]]) for part in (np.s_[:80, :80], np.s_[-80:, -80:])]
    if output == "local":
        assert np.abs(level).max() < 1.0
    else:
        assert np.abs(level).max() > 3.0  # the mean of the gradients stays in
    lost = 1 - result.coverage[sky].mean() / 12
    # one sample in a thousand is a ray
    assert lost < 0.004
    if output == judged == "local":
        assert np.median(result.variance[sky]) == pytest.approx(np.var(tilt[sky]), rel=0.1)


def test_truth_range_limits_are_of_raw_values_under_local_normalization():
    frames, known, _ = night(6, gradient=100.0)
    frames[2].array[:50] = 0.0
    rule = Rejection(range_low=0.0, range_high=40000.0, normalization="local")
    result = stack(ImageIntegration(normalization="local", local=LOCAL, rejection=rule), frames, known, reference=0)
    assert (result.rejected_low[:50] >= 1).all() and result.coverage[:50].max() <= 5
    assert np.isfinite(result.image).all()


def test_truth_a_frame_without_common_stars_is_left_out_and_told():
    frames, known, _ = night(6)
    frames[4] = ArrayFrame.of(np.random.default_rng(3).normal(500, NOISE, SHAPE), "clouded out")
    known[4] = replace(known[4], source="clouded out", flux_ratio=None)
    result = stack(ImageIntegration(normalization="local", local=LOCAL), frames, known, reference=0, verdicts=True)
    assert [lost.source for lost in result.lost] == ["clouded out"] and result.n == 5
    assert [row.weight > 0 for row in result.frames] == [True, True, True, True, False, True]
    others = [f for f in frames if f.source != "clouded out"]
    alone = stack(
        ImageIntegration(normalization="local", local=LOCAL), others, [k for k in known if k.source != "clouded out"],
        reference=0,
    )  # fmt: skip
    np.testing.assert_array_equal(result.image, alone.image)


def test_truth_frames_of_next_to_no_weight_are_left_out():
    frames, known, _ = night(6)
    known[3] = replace(known[3], noise_dn=200.0)
    result = stack(ImageIntegration(), frames, known, reference=0)
    assert [lost.source for lost in result.lost] == ["frame 3"] and result.n == 5 == result.coverage.max()
    assert stack(ImageIntegration(min_weight=0.0), frames, known, reference=0).n == 6


def test_truth_a_frame_of_which_most_is_rejected_leaves_and_the_others_are_integrated_again():
    frames, known, truth = night(7)
    frames[3].array[:, :160] += 80
    fixed = {"normalization": "additive+scaling"}
    result = stack(ImageIntegration(**fixed), frames, known)
    assert [lost.source for lost in result.lost] == ["frame 3"] and result.n == 6 == result.coverage.max()
    assert "% of its samples were rejected (ImageIntegration.max_rejected 0.33)" in result.lost[0].reason
    places = [i for i in range(7) if i != 3]
    alone = stack(ImageIntegration(**fixed), [frames[i] for i in places], [known[i] for i in places])
    np.testing.assert_array_equal(result.image, alone.image)
    kept = stack(ImageIntegration(**fixed, max_rejected=1.0), frames, known)
    assert not kept.lost and "of its samples were rejected" in " ".join(kept.notes)
    assert not stack(ImageIntegration(**fixed), frames, known, reference=3).lost  # what is named stays
    for i in (0, 1):
        frames[i].array[:, :160] += 80  # half of six frames: nobody knows who is right
    assert not stack(ImageIntegration(**fixed), frames[:6], known[:6]).lost


def test_truth_no_clean_frame_leaves_whatever_rejects():
    frames, known, _ = night(25)
    for name, kind in KINDS.items():
        if name in ("none", "ccd"):
            continue
        sides = {"low": 5, "high": 5} if kind.takes == "samples" and name == "minmax" else {}
        rule = Rejection(algorithm=name, large_scale=LargeScaleRejection(trails=False), **sides)
        assert not stack(ImageIntegration(rejection=rule), frames, known, reference=0).lost, name


@pytest.mark.parametrize("name", [name for name in KINDS if name != "ccd"])
def test_truth_every_algorithm_rejects_rays(name):
    frames, known, truth = night(25, rays=2e-3)
    more = {"large_scale": LargeScaleRejection(trails=False)} if name != "none" else {}
    rule = Rejection(algorithm=name, **more)
    result = stack(ImageIntegration(rejection=rule), frames, known, reference=0)
    rays = sum(f.array > truth + 150 for f in frames)
    struck = (rays > 0) & (truth < 505)
    if name == "none":
        assert result.coverage.min() == 25
        return
    assert struck.sum() > 1000
    assert (result.rejected_high[struck] >= np.minimum(rays[struck], 1)).mean() > 0.98
    core = truth > 0.5 * truth.max()
    ratio = (result.image[core] - 500).mean() / (truth[core] - 500).mean()
    # averaging without the highest and lowest of 25, or within 20 % of the level, moves the mean of even noise not
    assert ratio == pytest.approx(1, abs=0.005)


def test_truth_the_model_of_a_sensor_takes_gain_and_read_noise_from_headers():
    rng, gain, read = np.random.default_rng(4), 2.0, 8.0
    level = np.linspace(50, 5000, 320)[None, :] * np.ones((100, 1))
    frames = []
    for i in range(6):
        pixels = rng.poisson(level * gain) / gain + rng.normal(0, read / gain, level.shape)
        frames.append(ArrayFrame.of(pixels, f"{i}"))
    known = [
        Measurement(f.source, 2500.0, 1400.0, 30.0, 60.0, 1.0, gain_e_per_dn=gain, read_noise_e=read) for f in frames
    ]
    rule = Rejection(algorithm="ccd", low=3.0, high=3.0, normalization="none")
    settings = ImageIntegration(normalization="none", weights="none", rejection=rule)
    result = stack(settings, frames, known, reference=0)
    lost = (result.rejected_low + result.rejected_high).mean(axis=0) / 6
    # some 0.3 % of six samples lie 3 sigma from their median, at every level alike
    assert lost[:80].mean() == pytest.approx(lost[-80:].mean(), abs=1e-3)
    assert 2e-4 < lost.mean() < 5e-3
    with pytest.raises(ParameterError, match="0: .*read noise.*Rejection.read_noise_e"):
        stack(settings, frames, [replace(k, read_noise_e=None) for k in known])


def test_truth_chauvenet_on_hundreds_of_frames_is_refused():
    with pytest.raises(ParameterError, match="take esd"):
        Rejection(algorithm="chauvenet").check(500)


def test_truth_adaptive_means_are_means():
    frames, known, truth = night(10)
    result = stack(ImageIntegration(combination="adaptive"), frames, known, reference=0)
    assert np.median(result.image - truth) == pytest.approx(0, abs=0.2)
    # faint frames are scaled up
    assert np.std((result.image - truth)[truth < 503]) == pytest.approx(NOISE / np.sqrt(10), rel=0.35)


@pytest.mark.parametrize(
    "settings",
    [
        ImageIntegration(),
        ImageIntegration(normalization="local", local=LOCAL, rejection=Rejection(normalization="local")),
        ImageIntegration(local=LOCAL, rejection=Rejection(normalization="local")),
        ImageIntegration(combination="median"),
        ImageIntegration(rejection=Rejection(algorithm="linear-fit")),
        ImageIntegration(rejection=Rejection(algorithm="esd")),
    ],
    ids=["usual", "local", "judged-local", "median", "linear", "esd"],
)
def test_truth_tiles_and_threads_change_nothing_with_trails(settings):
    frames, known, _ = night(14, gradient=40.0, rays=1e-3, trail=(2, 9))
    frames[5].array[:40] = np.nan
    whole = stack(settings, frames, known, reference=0, memory_mb=2000, verdicts=True)
    assert "frame 2" in {source for source, _, _ in whole.trails} <= {"frame 2", "frame 9"}
    for how in ({"memory_mb": 0.4}, {"memory_mb": 1.5, "aspect": 1}, {"memory_mb": 3, "pool": "threads:2"}):
        other = stack(settings, frames, known, reference=0, verdicts=True, **how)
        for name in ("image", "variance", "coverage", "rejected_low", "rejected_high"):
            np.testing.assert_array_equal(getattr(other, name), getattr(whole, name))
        assert other.frames == whole.frames
        for i in range(14):
            np.testing.assert_array_equal(other.verdicts.mask(i), whole.verdicts.mask(i))


def test_truth_verdicts_and_counts_agree():
    frames, known, _ = night(14, rays=1e-3, trail=(2, 9))
    result = stack(ImageIntegration(), frames, known, reference=0, verdicts=True)
    masks = np.array([result.verdicts.mask(i) for i in range(14)])
    assert (14 - (masks > 0).sum(axis=0) == result.coverage).all()
    for i in (2, 9):
        row = result.frames[i]
        assert row.large_scale_fraction == pytest.approx((masks[i] >= 4).mean(), rel=1e-2)
        assert row.rejected_high_fraction == pytest.approx(((masks[i] & 2) > 0).mean(), rel=1e-6)


def test_truth_nothing_can_be_normalized():
    frames = [ArrayFrame.of(np.random.default_rng(i).normal(500, 5, SHAPE), f"{i}") for i in range(4)]
    with pytest.raises((NothingUsable, ParameterError, Exception), match="star"):
        stack(ImageIntegration(normalization="local", scale="bwmv"), frames)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("combination", ["average", "median", "minimum", "maximum", "adaptive"])
def test_truth_few_frames_of_a_few_rows(count, combination):
    frames = [ArrayFrame.of(np.random.default_rng(i).normal(500, 5, (3, 40)), f"{i}") for i in range(count)]
    result = stack(ImageIntegration(combination=combination, scale="bwmv"), frames)
    assert np.isfinite(result.image).all() and (result.variance > 0).all()


@pytest.mark.parametrize("combination, count", [("minimum", 7), ("maximum", 12), ("median", 8)])
def test_truth_variance_of_medians_and_extremes(combination, count):
    frames = [ArrayFrame.of(np.random.default_rng(i).normal(500, 5, (200, 300)), f"{i}") for i in range(count)]
    known = [Measurement(f.source, 500.0, 5.0, 5.0, 60.0, 1.0) for f in frames]
    settings = ImageIntegration(combination=combination, rejection=Rejection(algorithm="none"))
    result = stack(settings, frames, known)
    # 60,000 pixels tell a variance to 0.6 %
    assert result.variance.mean() == pytest.approx(result.image.var(), rel=0.03)


@pytest.mark.parametrize("planes, bright", [(1, 0.45), (3, 0.45), (1, 0.9)])
def test_truth_a_trail_fainter_than_any_sample_leaves_no_line_and_no_step(planes, bright):
    rng, shape, count = np.random.default_rng(8), (480, 640), 8
    y, x = np.mgrid[: shape[0], : shape[1]]
    across = (y - 200 - 0.4 * x) * np.cos(np.arctan(0.4))
    frames, known = [], [[] for _ in range(planes)]
    for i in range(count):
        sky = 500 + rng.normal(0, 3) * x / shape[1] + rng.normal(0, 3) * y / shape[0]
        pixels = rng.normal(sky, NOISE, (planes, *shape))
        frames.append(pixels)
        for plane in known:
            level = float(np.median(sky))
            plane.append(Measurement(f"frame {i}", level, NOISE, NOISE, 60.0, 1.0, fwhm_px=3.0))
    images = []
    for peak in (0.0, bright * NOISE):
        given = [
            pixels + (peak if i == 3 else 0.0) * np.exp(-0.5 * (across / 1.7) ** 2) for i, pixels in enumerate(frames)
        ]
        given = [
            ArrayFrame.of(pixels if planes > 1 else pixels[0], f"frame {i}", Meta(exposure_s=60.0))
            for i, pixels in enumerate(given)
        ]
        result = stack(
            ImageIntegration(normalization="additive"), given, known if planes > 1 else known[0], reference=0
        )
        images.append(result.image.reshape(-1, *shape))
    assert {source for source, _, _ in result.trails} == {"frame 3"}
    over = images[1] - images[0]  # where the trail is cut, and its light has changed no other frame's scale
    left = over[:, abs(across) < 4].mean(axis=1) - np.median(over, axis=(1, 2))
    assert np.abs(left).max() < 0.1 * NOISE / np.sqrt(count) / 8
    assert abs(bright * 1.7 * 2.507 / 8 / count * NOISE) > 0.4 * NOISE / np.sqrt(count) / 8  # what would have stayed


@pytest.mark.parametrize("count, missing", [(2, 0), (3, 70)], ids=["two frames", "three, two of them at the border"])
def test_truth_a_trail_among_few_frames_goes_from_border_to_border(count, missing):
    """A trail of 1.8 sigma, 1.4 px wide, in the first frame; the last one has no samples in its topmost rows."""
    rng, shape = np.random.default_rng(12), (400, 600)
    y, x = np.mgrid[: shape[0], : shape[1]]
    across = (y - 200 + 1.4 * (x - 360)) * np.cos(np.arctan(1.4))
    pixels = rng.normal(500, NOISE, (count, *shape))
    pixels[-1, :missing] = np.nan
    known = [Measurement(f"frame {i}", 500.0, NOISE, NOISE, 60.0, 1.0, fwhm_px=3.0) for i in range(count)]
    images = []
    for peak in (0.0, 1.8 * NOISE):
        lit = pixels.copy()
        lit[0] += peak * np.exp(-0.5 * (across / 1.4) ** 2)
        given = [ArrayFrame.of(frame, f"frame {i}", Meta(exposure_s=60.0)) for i, frame in enumerate(lit)]
        result = stack(ImageIntegration(normalization="none"), given, known, reference=0)
        images.append(result.image)
    assert {source for source, _, _ in result.trails} == {"frame 0"}
    over = images[1] - images[0]
    for first in range(0, 400, 50):
        part = over[first : first + 50][abs(across[first : first + 50]) < 2]
        assert abs(part.mean()) < 0.15 * NOISE  # 0.1 is the error of the mean of 200 that are left out; 0.7 stood there
