"""Presets of ImageCalibration: the usual ways to calibrate give the pixels of the reference."""

import numpy as np
import pytest

from masterlight.calibration.calibrate import ImageCalibration, needs, preset
from masterlight.core.errors import ParameterError
from masterlight.core.frame import ArrayFrame, Meta


def frame(value, shape=(8, 10), **meta):
    pixels = np.broadcast_to(np.asarray(value, np.float32), shape)
    return ArrayFrame.of(pixels, meta.pop("source", "frame"), Meta(**meta))


def scenario_frames(k=0.5, shape=(240, 240)):
    """A light with k times the dark's hot pixels, a bias of 500, a dark of 560 with hot pixels, a flat: no noise."""
    rng = np.random.default_rng(12)
    current = np.full(shape, 60.0)
    spots = rng.random(shape) < 0.01
    current[spots] += rng.exponential(400, spots.sum()) + 50
    spots[0, 0], current[0, 0] = False, 60
    light = 1500 - 60 * k + k * current + rng.normal(0, 1, shape)
    light[0, 0] = 1500
    flat = np.full(shape, 25000.0)
    flat[0, 0] = 22000
    frames = {"light": light, "bias": np.full(shape, 500.0), "dark": 500 + current, "flat": flat}
    told = {"bias": {"contains_bias": True}, "dark": {"contains_bias": True}, "flat": {"contains_bias": False}}
    return {n: ArrayFrame.of(v, n, Meta(kind=n, exposure_s=300.0, **told.get(n, {}))) for n, v in frames.items()}


@pytest.mark.parametrize(
    ("name", "expected", "equation"),
    [
        ("light-bias-flat", 1136.3636, "C = (L - B) * mean(F) / F"),
        ("light-dark-flat", 1068.1818, "C = (L - D) * mean(F) / F"),
        ("light-scaled-dark-flat", 1102.2727, "C = (L - B - k (D - B)) * mean(F) / F"),
    ],
)
def test_truth_presets_of_lights(name, expected, equation):
    """The reference pixel; the factor 0.5 of the third is found from hot pixels, though the exposures say 1."""
    calibration, frames = preset(name), scenario_frames()
    assert set(needs(name)) == {word for word in ("bias", "dark", "flat") if word in name} | (
        {"bias"} if "scaled" in name else set()
    )
    view = calibration(frames["light"], calibration.masters(frames["bias"], frames["dark"], frames["flat"]))
    assert view.equation == equation
    tolerance = 2e-4
    if "scaled" in name:
        assert view.dark_scale.accepted
        assert view.dark_scale.k == pytest.approx(0.5, abs=3 * view.dark_scale.sigma)
        tolerance = 3 * view.dark_scale.sigma * 60 * 25 / 22 + 2e-4
        assert tolerance < 0.05
    assert np.asarray(view)[0, 0] == pytest.approx(expected, abs=tolerance)  # float32 at 1000 DN resolves 6e-5


def test_truth_scaled_dark_by_hand_gives_the_reference_pixel():
    frames, calibration = scenario_frames(), ImageCalibration(dark_scale=0.5)
    view = calibration(frames["light"], calibration.masters(frames["bias"], frames["dark"], frames["flat"]))
    assert np.asarray(view)[0, 0] == pytest.approx(1102.2727, abs=2e-4)
    same, matched = ImageCalibration(dark_scale=1.0), preset("light-dark-flat")
    scaled = same(frames["light"], same.masters(frames["bias"], frames["dark"], frames["flat"]))
    plain = matched(frames["light"], matched.masters(dark=frames["dark"], flat=frames["flat"]))
    assert np.allclose(scaled, plain, atol=1e-3)


@pytest.mark.parametrize(("name", "expected"), [("flat-bias", 24500), ("flat-darkflat", 24480)])
def test_truth_presets_of_flats(name, expected):
    calibration = preset(name)
    assert needs(name) == (("bias",) if name == "flat-bias" else ("flatdark",))
    masters = calibration.masters(frame(500, kind="bias"), frame(520, kind="flatdark", contains_bias=True))
    view = calibration(frame(25000, kind="flat"), masters)
    assert np.all(np.asarray(view) == expected)
    assert view.meta.contains_bias is False


def test_bad_preset_names_the_others():
    with pytest.raises(ParameterError, match="'moon' is not known; there are flat-bias"):
        preset("moon")
