"""ImageCalibration: the sums and the traps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import calibrate as oracle

from masterlight.calibration import kernels
from masterlight.calibration.calibrate import ImageCalibration, needs, preset
from masterlight.calibration.calibrated import auto_pedestal
from masterlight.calibration.masters import trimmed_mean
from masterlight.core.errors import FrameError, ParameterError
from masterlight.core.frame import ArrayFrame, Frame, Meta, Stored
from masterlight.io import read, write

SEEDS = st.integers(0, 2**32 - 1)


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


def test_truth_nothing_is_subtracted_twice():
    calibration = ImageCalibration()
    masters = calibration.masters(frame(500, kind="bias"))
    once = calibration(frame(1500, source="light_7.fits"), masters)
    assert once.meta.calibration == "B"
    assert once.meta.contains_bias is False
    with pytest.raises(FrameError, match=r"light_7.fits: is already calibrated \(CALSTAT 'B'\)"):
        calibration(once, masters)


def test_truth_flat_that_holds_bias_is_refused_or_mended():
    flat = ArrayFrame.of(np.full((8, 10), 25500, np.float32), "flat.fits", Meta(kind="flat", contains_bias=True))
    calibration = ImageCalibration()
    with pytest.raises(FrameError, match="add bias frames or flat-darks"):
        calibration.masters(flat=flat).factor()
    factor = calibration.masters(frame(500, kind="bias"), flat=flat).factor()
    assert np.allclose(factor, 1)


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


def test_bad_size_names_both_files():
    calibration = ImageCalibration()
    with pytest.raises(FrameError, match=r"light.fits: is 10 x 8 pixels but the master dark.fits is 20 x 8"):
        calibration(frame(1, source="light.fits"), calibration.masters(dark=frame(1, (8, 20), source="dark.fits")))


class StoredFrame(Frame):
    """A frame as a camera writes it: big-endian 16 bit with BZERO 32768."""

    def stored(self, y0, y1, x0, x1):
        rng = np.random.default_rng(5)
        values = rng.integers(0, 65536, self.shape)
        big_endian = (values - 32768).astype(">i2")
        return Stored(np.ascontiguousarray(big_endian[y0:y1, x0:x1]).view(np.int16), 32768.0, 1.0, True)


def test_oracle_calibrate_from_stored_pixels():
    raw = StoredFrame(source="raw", meta=Meta(shape=(30, 40)))
    values = np.random.default_rng(5).integers(0, 65536, (30, 40))
    calibration = ImageCalibration()
    masters = calibration.masters(dark=frame(123.5, (30, 40)), flat=master_flat_of(30, 40))
    result = np.asarray(calibration(raw, masters))
    assert np.allclose(result, (values - 123.5) * masters.factor(), rtol=1e-6)


def master_flat_of(rows, cols):
    ramp = np.linspace(15000, 30000, rows * cols).reshape(rows, cols)
    return ArrayFrame.of(ramp, "flat", Meta(contains_bias=False))


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 9), st.integers(2, 9), st.booleans(), st.booleans(), st.sampled_from([1, 2]), SEEDS)
def test_oracle_calibrate(rows, cols, swapped, everywhere, p, seed):
    rng = np.random.default_rng(seed)
    stored = rng.integers(-32768, 32768, (rows, cols)).astype(np.int16)
    size = (rows, cols) if everywhere else (1, 1)
    subtract, dark = rng.normal(500, 5, (2, *size)).astype(np.float32)
    factor = rng.uniform(0.5, 2, size).astype(np.float32)
    lines = rng.normal(20, 3, rows if everywhere else 1)
    level = rng.normal(30, 3, (p, cols) if everywhere else (1, 1)).astype(np.float32)
    out = np.empty((rows, cols), np.float32)
    arguments = stored, swapped, 32768.0, 1.0, lines, level, subtract, dark, 0.4, factor, 7.0
    kernels.calibrate(*arguments, out)
    assert np.allclose(out, oracle.calibrate(*arguments), rtol=5e-7, atol=5e-2)  # 6 roundings at up to 131,000 DN


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_oracle_flat_factor(seed):
    rng = np.random.default_rng(seed)
    flat = rng.choice([0, 1, np.nan, np.inf, 20000, 30000], (5, 6)).astype(np.float32)
    out = np.empty_like(flat)
    mean = rng.choice([25000, 12000], (2, 6)).astype(np.float32)
    kernels.flat_factor(flat, mean, out)
    assert np.allclose(out, oracle.flat_factor(flat, mean), equal_nan=True)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_oracle_sum_between(seed):
    image = np.random.default_rng(seed).choice([1, 5, np.nan, 9], (8, 7)).astype(np.float32)
    for plane in (image, image[1::2, ::2]):
        assert kernels.sum_between(plane, 2, 9) == oracle.sum_between(plane, 2, 9)


def test_truth_a_masters_own_pedestal_is_taken_off():
    calibration = ImageCalibration()
    dark = frame(600, kind="dark", contains_bias=True, pedestal_dn=100.0)
    assert np.all(np.asarray(calibration(frame(1500), calibration.masters(dark=dark))) == 1000)


def test_truth_a_written_calibrated_frame_says_so(tmp_path):
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


# --- the scenarios ----------------------------------------------------------------------------------------------------


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


# --- what a master does not say ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "holds", "expected"), [(503, True, 997), (40, False, 960), (300, True, 1200)])
def test_truth_a_silent_dark_is_known_by_its_level(level, holds, expected):
    rng = np.random.default_rng(13)
    bias = ArrayFrame.of(500 + rng.normal(0, 2, (60, 80)), "bias", Meta(kind="bias"))
    dark = ArrayFrame.of(np.full((60, 80), level), "dark", Meta(kind="dark"))
    calibration = ImageCalibration()
    masters = calibration.masters(bias, dark)
    assert masters.dark_holds_bias is holds
    assert np.median(calibration(frame(1500, (60, 80)), masters)) == pytest.approx(expected, abs=0.2)


# --- colours ----------------------------------------------------------------------------------------------------------

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


# --- levels and pedestals ---------------------------------------------------------------------------------------------


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


# --- keywords ---------------------------------------------------------------------------------------------------------


def test_truth_keywords_tell_what_was_done():
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


# --- bad input --------------------------------------------------------------------------------------------------------


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
