"""What is settled before lights are measured: whether a dark of another exposure is scaled, what is repaired."""

import numpy as np
import pytest
from sky import CALM, written

from masterlight import Recipe, build, run
from masterlight.calibration.darkscale import DarkScale, why_not_scaled

HOT = {**CALM, "hot_fraction": 0.005, "lights": 4}


def walked(folder, out, **knobs):
    """The report of a run and all that was said on the way."""
    events = list(run(folder, out, build(Recipe, {"workers": "serial", **knobs})))
    return events[-1].result, "\n".join(event.message for event in events)


def test_truth_a_dark_of_another_exposure_is_scaled_by_itself(tmp_path):
    """Lights of 120 s and darks of 300 s are as quiet as with darks of 120 s."""
    truth, right = written(**HOT, dark_exposure_s=300.0), written(**HOT)
    report, told = walked(truth.folder, tmp_path / "other")
    assert "C = (L - B - k (D - B)) * mean(F) / F" in told and "is scaled to 4 lights by its hot pixels, x 0." in told
    for row in report.frames:
        assert row.dark_scale == pytest.approx(truth.k, abs=4 * row.dark_scale_error)
    alike, told = walked(right.folder, tmp_path / "alike")
    assert "C = (L - D) * mean(F) / F" in told and alike.frames[0].dark_scale is None
    assert report.lights[0].noise == pytest.approx(alike.lights[0].noise, rel=0.03)


@pytest.mark.parametrize(
    ("knobs", "equation", "words"),
    [
        ({"biases": 0, "flats": 0, "dark_exposure_s": 300.0}, "C = L;", "or bias frames to scale it by"),
        ({"darks": 2, "dark_exposure_s": 13.0}, "C = (L - B) * mean(F) / F;", "% noisier; only its hot pixels are"),
        ({"darks": 2, "dark_exposure_s": 13.0, "hot_fraction": 0.0002}, "C = (L - B) * mean(F) / F;", "hot pixels to"),
    ],
)
def test_truth_a_dark_that_is_not_scaled_gives_its_hot_pixels_to_the_repair(tmp_path, knobs, equation, words):
    truth = written(**HOT | knobs)
    report, told = walked(truth.folder, tmp_path)
    assert words in told and equation in told and "hot and" in told
    assert report.frames[0].dark_scale is None and report.lights[0].frames_used == 4


def test_surface_scaling_by_hand_wins(tmp_path):
    truth = written(**HOT, dark_exposure_s=300.0)
    report, told = walked(truth.folder, tmp_path / "none", **{"calibrate.dark_scaling": "none"})
    assert "darks are scaled only when ImageCalibration.dark_scaling says so" in told and "C = (L - B) *" in told
    assert report.frames[0].dark_scale is None and "hot and" in told
    report, _ = walked(truth.folder, tmp_path / "half", **{"calibrate.dark_scale": 0.5})
    assert {row.dark_scale for row in report.frames} == {0.5}


def test_truth_evidence_is_a_majority_in_the_range_and_no_noise():
    sure, lost = DarkScale(1.5, 0.01, 300, 0.9, 1.5, True), DarkScale(1.5, reason="only 3 hot pixels; by exposure")
    assert why_not_scaled([sure, sure, lost], 1.0) == ""
    assert why_not_scaled([sure, lost], 1.0) == "only 3 hot pixels"
    assert "12 % noisier" in why_not_scaled([sure], 1.12)
    assert "11.2 cannot be right" in why_not_scaled([DarkScale(11.2, 0.01, 300, 0.9, None, True)], 1.0)


def test_truth_noise_that_a_scaled_dark_brings_is_measured():
    from masterlight.calibration.calibrate import ImageCalibration
    from masterlight.core.frame import ArrayFrame, Meta

    rng, shape = np.random.default_rng(5), (200, 300)
    light = ArrayFrame.of(rng.normal(900, 10, shape), "light", Meta(kind="light", exposure_s=90.0))
    bias = ArrayFrame.of(np.full(shape, 500.0), "bias", Meta(kind="bias", contains_bias=True))
    dark = ArrayFrame.of(rng.normal(510, 5, shape), "dark", Meta(kind="dark", exposure_s=45.0, contains_bias=True))
    calibration = ImageCalibration(dark_scale=2.0)
    view = calibration(light, calibration.masters(bias, dark))
    assert view.noise_by_dark() == pytest.approx(np.sqrt(2), rel=0.05)  # 10 DN beside 2 x 5 DN; 14,400 pixels know 2 %
