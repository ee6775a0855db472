"""The calibrated view of a frame: the equation, what is refused, what a header is told."""

import numpy as np
import pytest

from masterlight.calibration.calibrate import ImageCalibration
from masterlight.calibration.calibrated import auto_pedestal
from masterlight.core.errors import FrameError
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.io import read, write


def frame(value, shape=(8, 10), **meta):
    pixels = np.broadcast_to(np.asarray(value, np.float32), shape)
    return ArrayFrame.of(pixels, meta.pop("source", "frame"), Meta(**meta))


def master_flat(at_pixel=22000.0, mean=25000.0):
    """A flat whose trimmed mean is `mean` and whose pixel (0, 0) is `at_pixel`."""
    pixels = np.full((40, 40), mean, np.float32)
    pixels[0, 0] = at_pixel
    return ArrayFrame.of(pixels, "flat", Meta(kind="flat", calibration="B", contains_bias=False))


@pytest.mark.parametrize(
    ("bias", "dark", "expected", "equation"),
    [
        (500, None, 1136.3636, "C = (L - B) * mean(F) / F"),
        (None, 560, 1068.1818, "C = (L - D) * mean(F) / F"),
        (500, 560, 1068.1818, "C = (L - D) * mean(F) / F"),
    ],
    ids=["bias and flat", "matched dark and flat", "bias offered beside a dark that holds it"],
)
def test_truth_reference_pixel(bias, dark, expected, equation):
    calibration = ImageCalibration()
    shape = (40, 40)
    masters = calibration.masters(
        None if bias is None else frame(bias, shape, kind="bias"),
        None if dark is None else frame(dark, shape, kind="dark", contains_bias=True),
        master_flat(),
    )
    assert masters.equation == equation
    pixel = np.asarray(calibration(frame(1500, shape, kind="light"), masters))[0, 0]
    assert pixel == pytest.approx(expected, abs=2e-4)  # float32 at 1000 DN resolves 6e-5


def test_truth_dark_without_bias_takes_the_bias_too():
    calibration = ImageCalibration()
    masters = calibration.masters(frame(500, kind="bias"), frame(60, kind="dark", contains_bias=False))
    assert masters.equation == "C = L - B - D"
    assert np.all(np.asarray(calibration(frame(1500), masters)) == 940)


def test_surface_nothing_is_subtracted_twice():
    calibration = ImageCalibration()
    masters = calibration.masters(frame(500, kind="bias"))
    once = calibration(frame(1500, source="light_7.fits"), masters)
    assert once.meta.calibration == "B"
    assert once.meta.contains_bias is False
    with pytest.raises(FrameError, match=r"light_7.fits: is already calibrated \(CALSTAT 'B'\)"):
        calibration(once, masters)


def test_truth_negatives_and_zero_mean_survive():
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 10, (200, 200)).astype(np.float32)
    calibration = ImageCalibration()
    view = calibration(ArrayFrame.of(500 + noise), calibration.masters(frame(500, (200, 200))))
    result = np.asarray(view)
    assert result.min() < -30
    assert result.mean() == pytest.approx(noise.mean(), abs=1e-3)  # float32 rounding of 500 + noise


@pytest.mark.parametrize("sign", [-100, 100])
def test_truth_pedestal_of_either_sign_is_taken_off(sign):
    meta = Meta.from_header({"PEDESTAL": sign, "IMAGETYP": "Light Frame"}, "x.fits", (8, 10))
    raw = ArrayFrame.of(np.full((8, 10), 1100, np.float32), "x.fits", meta)
    calibration = ImageCalibration()
    assert np.all(np.asarray(calibration(raw, calibration.masters())) == 1000)


def test_bad_size_names_both_files():
    calibration = ImageCalibration()
    with pytest.raises(FrameError, match=r"light.fits: is 10 x 8 pixels but the master dark.fits is 20 x 8"):
        calibration(frame(1, source="light.fits"), calibration.masters(dark=frame(1, (8, 20), source="dark.fits")))


def test_surface_a_written_calibrated_frame_says_so(tmp_path):
    """Written, read and calibrated again: refused, since its header tells what was done."""
    calibration = ImageCalibration(pedestal_dn=50)
    masters = calibration.masters(frame(500, (40, 40), kind="bias"))
    once = calibration(frame(1500, (40, 40), kind="light"), masters)
    write(tmp_path / "once.fits", once)
    again = read(tmp_path / "once.fits")
    assert again.meta.calibration == "B"
    assert again.meta.pedestal_dn == 50
    assert np.all(np.asarray(again) == 1050)
    with pytest.raises(FrameError, match="already calibrated"):
        calibration(again, masters)


CAST = {"R": 8000.0, "G": 24000.0, "B": 16000.0}


def mosaic(pattern, levels, shape):
    p = int(len(pattern) ** 0.5)
    y, x = np.mgrid[: shape[0], : shape[1]] % p
    return np.vectorize(levels.get)(np.array(list(pattern)).reshape(p, p)[y, x]).astype(float)


def test_truth_black_level_is_subtracted_once():
    black = (512.0, 510.0, 511.0, 514.0)
    raw = mosaic("RGGB", {"R": 700.0, "G": 900.0, "B": 600.0}, (8, 10))
    raw += np.array(black).reshape(2, 2)[np.arange(8) % 2][:, np.arange(10) % 2]
    light = ArrayFrame.of(raw, "raw", Meta(kind="light", pattern="RGGB", black_dn=black))
    calibration = ImageCalibration()
    view = calibration(light, calibration.masters())
    assert view.equation == "C = L - black"
    assert view.meta.calibration == "B"
    assert np.all(np.asarray(view)[::2, ::2] == 700)
    assert np.all(np.asarray(view)[1::2, 1::2] == 600)
    assert np.array_equal(view[1:5, 3:8], np.asarray(view)[1:5, 3:8])
    with pytest.raises(FrameError, match="already calibrated"):
        calibration(view, calibration.masters(frame(512)))
    with_dark = calibration(light, calibration.masters(dark=frame(512, kind="dark", contains_bias=True)))
    assert with_dark.equation == "C = L - D"
    assert ImageCalibration(black_level=False)(light, calibration.masters()) is light
    dark = ArrayFrame.of(raw, "raw", light.meta.with_(kind="dark"))
    assert calibration(dark, calibration.masters()) is dark


def test_truth_auto_pedestal():
    values = np.ones(20000)
    values[:5] = [-0.00052, -0.00031, -0.0002, -0.0001, 0]
    assert auto_pedestal(values * 65535) == 20
    assert auto_pedestal(np.abs(values)) == 0
    assert auto_pedestal(np.array([-3.4, 5, np.nan])) == 3
    assert auto_pedestal(np.full(100, -5000.0)) == 1000
    noise = np.random.default_rng(15).normal(0, 10, 100_000)
    left = np.mean(np.round(noise + auto_pedestal(noise)) < 0)
    assert left <= 1.1e-4


def test_surface_keywords_tell_what_was_done():
    rng = np.random.default_rng(16)
    shape = (256, 300)
    sigmas = mosaic("RGGB", {"R": 4.0, "G": 8.0, "B": 12.0}, shape)
    light = ArrayFrame.of(600 + rng.normal(0, 1, shape) * sigmas, "/a/l.fits", Meta(kind="light", pattern="RGGB"))
    bias = frame(600, shape, source="/masters/bias.fits", kind="bias")
    flat = ArrayFrame.of(mosaic("RGGB", CAST, shape), "/masters/flat.fits", Meta(contains_bias=False))
    calibration = ImageCalibration(dark_scale=0.5)
    dark = frame(0, shape, source="/masters/dark.fits", contains_bias=False)
    view = calibration(light, calibration.masters(bias, dark, flat))
    found = {key: value for key, value, _ in calibration.keywords(view)}
    assert found["CALSTAT"] == "BDF"
    assert (found["CALB"], found["CALD"], found["CALF"]) == ("bias.fits", "dark.fits", "flat.fits")
    assert found["CALK00"] == 0.5
    assert "CALKE00" not in found
    assert [found[f"CALS{i:02d}"] for i in range(3)] == [8000, 24000, 16000]
    assert [found[f"NOISE{i:02d}"] for i in range(3)] == pytest.approx([4, 8, 12], rel=0.04)  # 19,000 pixels of each
    assert found["CALNEG"] == pytest.approx(0.5, abs=0.01)
    assert found["CALPED"] == 0
    assert found["CALVER"]
    assert all(len(key) <= 8 for key in found)
    assert {key for key, *_ in calibration.keywords(light)} >= {"NOISE00", "CALNEG"}


@pytest.mark.parametrize(
    ("mine", "theirs", "words"),
    [
        ({"gain": 100.0}, {"gain": 200.0}, "light: has gain 100 but the master dark has 200"),
        ({"offset": 10.0}, {"offset": 50.0}, "light: has offset 10 but the master dark has 50"),
        ({"binning": (2, 2)}, {"binning": (1, 1), "camera": "c"}, "light: has binning 2x2 but the master dark has 1x1"),
        ({"pattern": "RGGB"}, {"pattern": "BGGR"}, "light: has colour pattern RGGB but the master dark has BGGR"),
    ],
)
def test_bad_dark_of_other_settings_names_both(mine, theirs, words):
    calibration = ImageCalibration()
    masters = calibration.masters(dark=frame(500, source="dark", kind="dark", **theirs))
    with pytest.raises(FrameError, match=words):
        calibration(frame(1500, source="light", kind="light", **mine), masters)
    assert calibration(frame(1500, kind="light"), masters).meta.calibration == "BD"  # unknown excludes nothing
    if "gain" in mine or "offset" in mine:
        assert ImageCalibration(force=True)(frame(1500, **mine), masters).meta.calibration == "BD"


def test_bad_flat_of_another_filter_or_colour():
    calibration = ImageCalibration()
    light = frame(1500, (40, 40), source="light", kind="light", filter="Ha")
    flat = ArrayFrame.of(np.full((40, 40), 2e4), "flat", Meta(filter="OIII", contains_bias=False))
    with pytest.raises(FrameError, match="light: has filter Ha but the master flat has OIII"):
        calibration(light, calibration.masters(flat=flat))
    assert ImageCalibration(force=True)(light, calibration.masters(flat=flat)).meta.calibration == "F"
    three = ArrayFrame.of(np.full((3, 40, 40), 2e4), "flat", Meta(contains_bias=False))
    with pytest.raises(FrameError, match="light: has one plane but the master flat has 3; give the mosaic itself"):
        calibration(light, calibration.masters(flat=three))
    with pytest.raises(FrameError, match="is a colour image; calibration works on the raw frame of one plane"):
        calibration(three, calibration.masters())


def test_bad_masters_do_not_crash():
    """A dark below its bias gives negative currents; a flat without light is refused."""
    calibration = ImageCalibration(dark_scaling="fit")
    bias = frame(500, (40, 40), kind="bias")
    dark = frame(490, (40, 40), kind="dark", contains_bias=True, exposure_s=1.0)
    view = calibration(frame(1500, (40, 40), kind="light", exposure_s=0.5), calibration.masters(bias, dark))
    assert np.all(np.asarray(view) == 1005)
    assert "0 hot pixels" in view.dark_scale.reason
    with pytest.raises(FrameError, match="it saw no light"):
        plain = ImageCalibration()
        np.asarray(plain(frame(1500, (40, 40)), plain.masters(flat=frame(0, (40, 40), contains_bias=False))))


def test_bad_bias_level_that_would_stay_in_is_refused():
    """A dark without bias, or a flat alone: dividing would scale the bias level too."""
    calibration = ImageCalibration()
    light = frame(1500, (40, 40), kind="light", source="light.fits")
    free = frame(60, (40, 40), kind="dark", contains_bias=False)
    for masters in (calibration.masters(dark=free, flat=master_flat()), calibration.masters(flat=master_flat())):
        with pytest.raises(FrameError, match=r"light.fits: its bias level would stay in .* add a master bias"):
            calibration(light, masters)
    forced = ImageCalibration(force=True)
    assert np.asarray(forced(light, forced.masters(flat=master_flat())))[5, 5] == pytest.approx(1500, abs=0.01)
    assert calibration(light, calibration.masters(frame(500, (40, 40)), free, master_flat())).meta.calibration == "BDF"
