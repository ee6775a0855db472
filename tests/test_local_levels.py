"""Skies that differ from frame to frame: levelled by what was measured of them, on nights whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from test_integration_truth import stars

from masterlight.core.frame import ArrayFrame, Meta
from masterlight.integration.integrate import ImageIntegration
from masterlight.integration.rejection import Rejection
from masterlight.subframes.measure import measure

SHAPE, SKY, NOISE = (400, 600), 1000.0, 30.0
STARS = stars(3.0, SHAPE, count=80)[0]
Y, X = np.mgrid[-1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j]


def moonlit(i, count):
    """A gradient that a meridian flip turns."""
    return SKY * (1 + (0.05 if i < count // 2 else -0.05) * X + 0.002 * i * Y)


def cloudy(i, count):
    """Every fourth frame has a cloud of its own."""
    own = np.random.default_rng(i).uniform(-0.5, 0.5, 2)
    return SKY * (1 + 0.08 * np.exp(-((X - own[0]) ** 2 + (Y - own[1]) ** 2) / 0.4)) if i % 4 == 1 else moonless()


def moonless(*_):
    return SKY * (1 + 0.01 * X)


def night(sky, count=12, seed=1, transparency=1.0, more=0.0):
    """(frames, what was measured of them, their skies)"""
    rng = np.random.default_rng(seed)
    clear = np.broadcast_to(transparency, count)
    skies = [sky(i, count) for i in range(count)]
    made = [s + t * STARS + more + rng.normal(0, NOISE, SHAPE) for s, t in zip(skies, clear, strict=True)]
    frames = [ArrayFrame.of(pixels.astype(np.float32), f"light_{i}.fits") for i, pixels in enumerate(made)]
    known = [replace(measure(f)[0], flux_ratio=float(t), fwhm_px=3.0) for f, t in zip(frames, clear, strict=True)]
    return frames, known, skies


def stack(settings, frames, known=None, **how):
    *_, last = settings(frames, known, **how)
    return last.result


def noise_of(image, sky):
    """Noise of a result whose sky is known but for a constant, away from stars: of pixels, and of means of 8 x 8."""
    off = np.where(STARS < 0.5, image - sky, np.nan)
    off -= np.nanmedian(off)
    boxes = off.reshape(SHAPE[0] // 8, 8, SHAPE[1] // 8, 8).mean(axis=(1, 3))
    return float(np.nanstd(off)), 8 * float(np.nanstd(boxes))


def test_truth_vignetting_that_moves_with_the_dither_is_told_of_and_by_how_much():
    """An even sky without a flat: registered, frames do differ by the slope of the vignetting times their shifts."""

    def vignetted(i, count):
        turn, away = 2.4 * i, 0.03 * i / count
        u, v = X - away * np.cos(turn), Y - away * np.sin(turn)
        return SKY * (1 - 0.3 * (u**2 + v**2) / 2)

    frames, known, skies = night(vignetted)
    own = np.array(skies) - np.mean(skies, axis=0)
    apart = max(np.ptp(sky) for sky in own) / NOISE
    (note,) = stack(ImageIntegration(), frames, known).notes
    assert float(note.split("up to ")[1].split(" sigma")[0]) == pytest.approx(apart, rel=0.2)
    assert "vignetting does so without a flat" in note and len(note) < 300
    flattened = [ArrayFrame.of(f.array, f.source, Meta(calibration="BDF")) for f in frames]
    assert "vignetting" not in stack(ImageIntegration(), flattened, known).notes[0]


def sky_left(result, skies):
    """The true sky of a result: the mean of those of its frames, levelled as these were."""
    levelled = [sky.astype(np.float32) for sky in skies]
    for sky, model in zip(levelled, result.models, strict=True):
        model.apply(sky, 0, 0)
    return np.average(levelled, axis=0, weights=result.terms[0].weights)


@pytest.mark.parametrize("sky", [moonlit, cloudy])
@pytest.mark.parametrize("count", [4, 12])
def test_truth_skies_that_differ_cost_nothing(sky, count):
    frames, known, skies = night(sky, count)
    result = stack(ImageIntegration(), frames, known, reference=0)
    assert any("skies differ over the field by up to" in note for note in result.notes)
    common = sky_left(result, skies)
    bound = NOISE / np.sqrt(count)
    fine, coarse = noise_of(result.image, common)
    assert fine < 1.015 * bound
    # Surfaces of some 20 free numbers through 250 cells of 1000 pixels add 1 % to the noise of 8 x 8 pixels.
    assert coarse < 1.04 * bound
    away = STARS < 0.5
    assert np.var((result.image - common)[away]) / result.variance[away].mean() == pytest.approx(1, abs=0.06)
    assert np.mean(result.image[away] < np.median(result.image) - 6 * bound - 60) == 0


def test_truth_skies_alike_change_nothing_and_tell_nothing():
    frames, known, _ = night(moonless)
    result = stack(ImageIntegration(rejection=Rejection(algorithm="none")), frames, known, reference=0)
    globally = stack(
        ImageIntegration(normalization="additive+scaling", rejection=Rejection(algorithm="none")), frames, known,
        reference=0,
    )  # fmt: skip
    assert not any("skies" in note for note in result.notes)
    np.testing.assert_array_equal(result.image, globally.image)


def test_truth_what_is_set_by_hand_wins():
    frames, known, _ = night(moonlit)
    result = stack(ImageIntegration(normalization="additive+scaling"), frames, known, reference=0)
    assert not any("are levelled" in note for note in result.notes)
    assert not result.models


@pytest.mark.parametrize("amount", [0.002, 0.05])
def test_truth_no_dark_band_where_a_trail_is_cut(amount):
    """Where a sample is lost the others stand for it, also on nights whose skies are nearly alike."""

    def sky(i, count):
        return SKY * (1 + (amount if i else -4 * amount) * X)

    frames, known, _ = night(sky, 8)
    band = slice(180, 190)
    lit = np.array(frames[0].array)
    lit[band] += 400
    frames[0] = ArrayFrame.of(lit, frames[0].source)
    image = stack(ImageIntegration(), frames, known, reference=1).image
    off = np.where(STARS < 0.5, image, np.nan)
    inside, beside = np.nanmean(off[band], axis=0), np.nanmean(np.r_[off[150:174], off[196:220]], axis=0)
    step = (inside - beside).reshape(6, 100).mean(axis=1)
    # 10 x 100 pixels of 7 frames tell their mean to 0.36 DN, those beside to 0.16.
    assert np.abs(step).max() < 4 * 0.4
    assert abs(np.polyfit(np.arange(6), step, 1)[0]) < 4 * 0.4 / 4


def test_truth_no_single_gradient_is_imprinted():
    def sky(i, count):
        return SKY * (1 + (0.3 if i == 3 else 0.01) * X)

    frames, known, _ = night(sky, 9)
    result = stack(ImageIntegration(), frames, known, reference=3)
    left = noise_of(result.image, moonless())
    assert left[0] < 1.05 * NOISE / 3
    assert np.median(result.image) == pytest.approx(known[3].location_dn, abs=10)


def test_truth_scales_and_partial_cover():
    """Frames seen through cloud, one of them covering half of the field."""
    clear = np.array([1.0, 0.6, 0.9, 0.8, 1.0, 0.7])
    frames, known, skies = night(moonlit, 6, transparency=clear)
    half = np.array(frames[2].array)
    half[:, :290] = np.nan
    frames[2] = ArrayFrame.of(half, frames[2].source)
    known[2] = replace(measure(frames[2])[0], flux_ratio=0.9, fwhm_px=3.0)
    result = stack(ImageIntegration(), frames, known, reference=0)
    seen = np.where(STARS < 0.5, result.image, np.nan)
    bright = STARS > 300
    plain = np.nanmedian(seen)
    ratio = np.sum((result.image - plain)[bright]) / STARS[bright].sum()
    assert ratio == pytest.approx(1, abs=0.01)
    # No step where the half frame begins: 400 x 60 px on either side of frames of 30 to 50 DN.
    left, right = np.nanmean(seen[:, 225:285]), np.nanmean(seen[:, 295:355])
    assert abs(left - right) < 3


def test_truth_borders_that_some_frames_miss_are_levelled_too():
    """Dithered frames do not reach the border cells' middles, and are levelled there all the same."""
    frames, known, skies = night(moonlit, 8)
    for i in (1, 2, 6):
        cut = np.array(frames[i].array)
        cut[:26] = cut[:, -23:] = np.nan
        frames[i] = ArrayFrame.of(cut, frames[i].source)
        sky = measure(frames[i])[0].sky_dn
        assert np.isnan(sky[0]).all()
        known[i] = replace(known[i], sky_dn=sky)
    result = stack(ImageIntegration(), frames, known, reference=0)
    left = []
    for sky, model in zip(skies, result.models, strict=True):
        left.append(sky.astype(np.float32))
        model.apply(left[-1], 0, 0)
    apart = np.abs(np.array(left) - np.mean(left, axis=0))
    assert apart[:, 17:, :-15].max() < 0.25 * NOISE


def test_truth_colours_stay_together():
    rng, planes = np.random.default_rng(4), np.array([1.0, 0.6, 0.3])
    count, frames, known = 6, [], [[], [], []]
    for i in range(count):
        sky = np.stack([p * moonlit(i, count) * (1 + 0.03 * X * (p < 1) * (i > 2)) for p in planes])
        pixels = sky + planes[:, None, None] * STARS + rng.normal(0, NOISE, (3, *SHAPE))
        frames.append(ArrayFrame.of(pixels.astype(np.float32), f"light_{i}.fits"))
        for plane, m in zip(known, measure(frames[-1]), strict=True):
            plane.append(replace(m, flux_ratio=1.0, fwhm_px=3.0))
    image = stack(ImageIntegration(), frames, known, reference=0).image
    sky = [np.median(plane[STARS < 0.5]) for plane in image]
    np.testing.assert_allclose(sky, planes * SKY, rtol=0.006)
    bright = STARS > 300
    light = [(plane - s)[bright].sum() / STARS[bright].sum() for plane, s in zip(image, sky, strict=True)]
    np.testing.assert_allclose(light, planes, atol=0.01)


def test_truth_frames_whose_noise_nobody_can_tell_are_levelled_by_one_number():
    rng, frames = np.random.default_rng(1), []
    for i in range(5):
        image = np.full((200, 200), 100.0)
        image[rng.integers(0, 200, 300), rng.integers(0, 200, 300)] += 1
        frames.append(ArrayFrame.of(image + np.linspace(0, 1.4, 200).round() * (i == 2), f"{i}"))
    *_, done = ImageIntegration()(frames)
    assert np.isfinite(done.result.image).all() and 100 <= done.result.image.min() < done.result.image.max() < 101


def test_truth_small_frames_and_hand_made_measurements_are_levelled_by_one_number():
    frames = [ArrayFrame.of(np.random.default_rng(i).normal(SKY, NOISE, (60, 90)), f"{i}") for i in range(4)]
    assert measure(frames[0])[0].sky_dn is None
    assert not stack(ImageIntegration(), frames).models


def test_truth_panels_are_levelled_where_they_overlap_also_where_local_normalization_is_asked_for():
    """Most of them show next to nothing of the reference, with which it compares."""
    frames, known, _ = night(lambda i, n: SKY + 60 * (i % 3), count=9)
    for i, frame in enumerate(frames):
        pixels = np.asarray(frame).copy()
        pixels[:, : 180 * (i % 3)] = pixels[:, 180 * (i % 3) + 240 :] = np.nan
        frames[i] = ArrayFrame.of(pixels, frame.source)
        known[i] = replace(measure(frames[i])[0], flux_ratio=1.0, fwhm_px=3.0)
    auto, local = (stack(ImageIntegration(normalization=how), frames, known, reference=0) for how in ("auto", "local"))
    assert np.array_equal(auto.image, local.image, equal_nan=True)
    assert any("normalization local cannot" in note for note in local.notes)
    assert not any("cannot" in note for note in auto.notes)
    flat = np.where(STARS < 0.5, local.image - SKY, np.nan)
    assert np.ptp([np.nanmedian(flat[:, x : x + 60]) for x in range(0, 600, 60)]) < 8
