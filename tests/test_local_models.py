"""Local normalization by hand keeps every frame that one scale and one level would keep."""

from dataclasses import replace

import numpy as np
import pytest
from test_integration_truth import stars

from masterlight.core.frame import ArrayFrame
from masterlight.integration.integrate import ImageIntegration
from masterlight.integration.normalize import LocalNormalization
from masterlight.integration.rejection import Rejection
from masterlight.subframes.measure import measure

SHAPE, SKY, NOISE = (300, 400), 1000.0, 20.0
CLEAR = (1.0, 0.7, 0.9, 0.8)
LOCAL = ImageIntegration(
    normalization="local", local=LocalNormalization(min_stars=30), rejection=Rejection(normalization="local")
)


def night(ratios):
    """Frames of 20 stars, fewer than are wanted, under skies that tilt; and what is known of them."""
    rng, light = np.random.default_rng(1), stars(3.0, SHAPE, count=20)[0]
    x = np.linspace(-1, 1, SHAPE[1])
    frames = [
        ArrayFrame.of((SKY * (1 + 0.02 * i * x) + t * light + rng.normal(0, NOISE, SHAPE)).astype(np.float32), f"{i}")
        for i, t in enumerate(CLEAR)
    ]
    known = [replace(measure(f)[0], flux_ratio=r, fwhm_px=3.0) for f, r in zip(frames, ratios, strict=True)]
    return frames, known, light


def stack(frames, known, settings=LOCAL):
    *_, last = settings(frames, known, reference=0)
    return last.result


def test_truth_the_scale_that_alignment_found_is_taken():
    frames, known, light = night(CLEAR)
    result = stack(frames, known)
    assert result.n == 4
    assert not result.lost
    np.testing.assert_allclose([model.scale[0] for model in result.models], 1 / np.array(CLEAR), rtol=1e-6)
    assert not any("its scale" in note for note in result.notes)
    bright = light > 300
    assert (result.image - np.median(result.image))[bright].sum() / light[bright].sum() == pytest.approx(1, abs=0.02)
    sky = np.where(light < 0.5, result.image, np.nan)
    assert abs(np.nanmean(sky[:, :100]) - np.nanmean(sky[:, 300:])) < 1.5


def test_truth_where_the_scale_shall_vary_and_few_stars_tell_it_that_of_alignment_is_taken_and_told():
    frames, known, _ = night(CLEAR)
    result = stack(frames, known, replace(LOCAL, local=replace(LOCAL.local, local_scale=True)))
    np.testing.assert_allclose([model.scale[0] for model in result.models], 1 / np.array(CLEAR), rtol=1e-6)
    assert sum("stars tell its scale, too few" in note for note in result.notes) == 4


def test_truth_the_stars_are_not_asked_again_where_their_light_is_known(monkeypatch):
    frames, known, _ = night(CLEAR)
    monkeypatch.setattr("masterlight.integration.local.fit.forced_fluxes", None)
    assert stack(frames, known).n == 4


def test_truth_without_it_the_dispersion_tells():
    frames, known, _ = night((None,) * 4)
    result = stack(frames, known)
    assert result.n == 4
    assert not result.lost


def test_truth_a_frame_with_hardly_anything_in_common_is_levelled_by_one_number():
    frames, known, _ = night(CLEAR)
    few = np.full(SHAPE, np.nan, np.float32)
    few[:70, :70] = frames[3].array[:70, :70]
    frames[3] = ArrayFrame.of(few, "3")
    known[3] = replace(known[3], location_dn=float(np.nanmedian(few)))
    result = stack(frames, known)
    assert result.n == 4
    assert any("its sky is levelled by one number" in note for note in result.notes)
    assert abs(np.median(result.image[:70, :70]) - np.median(result.image[80:150, :70])) < 8
