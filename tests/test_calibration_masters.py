"""Master frames bound together: what of them is subtracted, multiplied, and how bright saturation is after it."""

import numpy as np
import pytest

from masterlight.calibration.calibrate import ImageCalibration
from masterlight.calibration.masters import trimmed_mean
from masterlight.core.errors import FrameError
from masterlight.core.frame import ArrayFrame, Meta


def frame(value, shape=(8, 10), **meta):
    pixels = np.broadcast_to(np.asarray(value, np.float32), shape)
    return ArrayFrame.of(pixels, meta.pop("source", "frame"), Meta(**meta))


def test_truth_flat_that_holds_bias_is_refused_or_mended():
    flat = ArrayFrame.of(np.full((8, 10), 25500, np.float32), "flat.fits", Meta(kind="flat", contains_bias=True))
    calibration = ImageCalibration()
    with pytest.raises(FrameError, match="add bias frames or flat-darks"):
        calibration.masters(flat=flat).factor()
    factor = calibration.masters(frame(500, kind="bias"), flat=flat).factor()
    assert np.allclose(factor, 1)


def test_truth_dead_flat_pixels_become_missing():
    pixels = np.full((40, 40), 20000, np.float32)
    pixels[3, 4], pixels[5, 6] = 0, np.nan
    flat = ArrayFrame.of(pixels, "flat", Meta(contains_bias=False))
    calibration = ImageCalibration()
    result = np.asarray(calibration(frame(100, (40, 40)), calibration.masters(flat=flat)))
    assert np.isnan(result[3, 4])
    assert np.isnan(result[5, 6])
    assert np.isfinite(result).sum() == 1598


def test_truth_trimmed_mean_of_flat():
    assert trimmed_mean([np.array([[10.0, *[20000.0] * 18, 65535.0]])], 0.05) == 20000


def test_oracle_trimmed_mean_of_a_large_flat():
    rng = np.random.default_rng(8)
    flat = rng.normal(20000, 500, (1500, 1500)).astype(np.float32)
    flat[rng.random(flat.shape) < 0.01] = 65535
    whole = np.sort(flat.ravel())
    cut = int(0.05 * whole.size)
    exact = whole[cut:-cut].mean(dtype=float)
    assert trimmed_mean([flat], 0.05) == pytest.approx(exact, abs=500 / np.sqrt(1e6) * 3)  # cuts come from a sample


def test_truth_a_masters_own_pedestal_is_taken_off():
    calibration = ImageCalibration()
    dark = frame(600, kind="dark", contains_bias=True, pedestal_dn=100.0)
    assert np.all(np.asarray(calibration(frame(1500), calibration.masters(dark=dark))) == 1000)


@pytest.mark.parametrize(("level", "holds", "expected"), [(503, True, 997), (40, False, 960), (300, True, 1200)])
def test_truth_a_silent_dark_is_known_by_its_level(level, holds, expected):
    rng = np.random.default_rng(13)
    bias = ArrayFrame.of(500 + rng.normal(0, 2, (60, 80)), "bias", Meta(kind="bias"))
    dark = ArrayFrame.of(np.full((60, 80), level), "dark", Meta(kind="dark"))
    calibration = ImageCalibration()
    masters = calibration.masters(bias, dark)
    assert masters.dark_holds_bias is holds
    assert np.median(calibration(frame(1500, (60, 80)), masters)) == pytest.approx(expected, abs=0.2)


XTRANS = "GGRGGBGGBGGRBRGRBGGGBGGRGGRGGBRBGBRG"


CAST = {"R": 8000.0, "G": 24000.0, "B": 16000.0}


def mosaic(pattern, levels, shape):
    p = int(len(pattern) ** 0.5)
    y, x = np.mgrid[: shape[0], : shape[1]] % p
    return np.vectorize(levels.get)(np.array(list(pattern)).reshape(p, p)[y, x]).astype(float)


@pytest.mark.parametrize("shape", [(72, 90), (71, 89)], ids=["even", "odd"])
@pytest.mark.parametrize("pattern", ["RGGB", "GBRG", XTRANS])
def test_truth_colour_cast_of_the_flat_stays_out_of_the_light(pattern, shape):
    y, x = np.mgrid[: shape[0], : shape[1]]
    vignette = 1 - 0.3 * ((y / shape[0] - 0.5) ** 2 + (x / shape[1] - 0.5) ** 2)
    colours = {"R": 700.0, "G": 1000.0, "B": 500.0}
    light = ArrayFrame.of(mosaic(pattern, colours, shape) * vignette, "light", Meta(pattern=pattern))
    flat = ArrayFrame.of(mosaic(pattern, CAST, shape) * vignette, "flat", Meta(kind="flat", contains_bias=False))
    calibration = ImageCalibration()
    result = np.asarray(calibration(light, calibration.masters(flat=flat)))
    truth = mosaic(pattern, colours, shape)
    ratio = result / truth
    assert np.ptp(ratio) < 0.004  # trimmed means of the vignette over each colour's own places
    single = ImageCalibration(separate_colours=False)
    mixed = np.asarray(single(light, single.masters(flat=flat))) / truth
    red, green = mixed[truth == 700].mean(), mixed[truth == 1000].mean()
    assert red / green == pytest.approx(3, rel=0.01)


def test_truth_other_colours_and_odd_patterns():
    """Sensors that are not red, green and blue can be calibrated; a pattern that is no square cannot be understood."""
    levels = {"C": 9e3, "Y": 12e3, "G": 15e3, "M": 7e3}
    flat = ArrayFrame.of(mosaic("CYGM", levels, (31, 40)), "flat", Meta(contains_bias=False))
    calibration = ImageCalibration()
    masters = calibration.masters(flat=flat)
    assert np.allclose(calibration(frame(800, (31, 40), pattern="CYGM"), masters), 800)
    with pytest.raises(FrameError, match="light: has colour pattern 'RGB'; 4 letters or 36 are understood"):
        calibration(frame(800, (31, 40), source="light", pattern="RGB"), masters)


def test_truth_saturation_is_the_least_of_all_colours():
    flat = ArrayFrame.of(mosaic("RGGB", CAST, (60, 60)), "flat", Meta(contains_bias=False))
    light = frame(1000, (60, 60), kind="light", pattern="RGGB", saturation_dn=10000.0)
    dark = frame(500, (60, 60), contains_bias=True)
    for separate, least in ((True, 1.0), (False, 164 / 216)):  # trimmed mean of 20 x 8, 25 x 16, 45 x 24
        calibration = ImageCalibration(separate_colours=separate, pedestal_dn=7)
        masters = calibration.masters(dark=dark, flat=flat)
        expected = (9800 - 500) * least + 7
        assert calibration.saturation(light, masters) == pytest.approx(expected, rel=1e-6)
        assert calibration(light, masters).meta.saturation_dn == calibration.saturation(light, masters)


def test_truth_saturated_pixels_of_a_vignetted_frame_are_above_the_saturation():
    rng = np.random.default_rng(14)
    y, x = np.mgrid[:200, :300]
    flat = ArrayFrame.of(20000 * (1 - 0.4 * np.hypot(y - 100, x - 150) / 180), "flat", Meta(contains_bias=False))
    dark = ArrayFrame.of(500 + rng.normal(0, 3, (200, 300)), "dark", Meta(contains_bias=True))
    light = frame(65535, (200, 300), kind="light", saturation_dn=65535.0)
    calibration = ImageCalibration()
    view = calibration(light, calibration.masters(dark=dark, flat=flat))
    assert np.mean(np.asarray(view) > view.meta.saturation_dn) > 0.98
