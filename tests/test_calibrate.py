"""ImageCalibration: the sums and the traps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import calibrate as oracle

from masterlight.errors import FrameError
from masterlight.frame import ArrayFrame, Frame, Meta, Stored
from masterlight.io import read, write
from masterlight.kernels import calibrate as kernels
from masterlight.processes.calibrate import ImageCalibration
from masterlight.processes.masters import trimmed_mean

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
@given(st.integers(1, 9), st.integers(1, 9), st.booleans(), st.booleans(), SEEDS)
def test_oracle_calibrate(rows, cols, swapped, everywhere, seed):
    rng = np.random.default_rng(seed)
    stored = rng.integers(-32768, 32768, (rows, cols)).astype(np.int16)
    size = (rows, cols) if everywhere else (1, 1)
    subtract = rng.normal(500, 5, size).astype(np.float32)
    factor = rng.uniform(0.5, 2, size).astype(np.float32)
    out = np.empty((rows, cols), np.float32)
    kernels.calibrate(stored, swapped, 32768.0, 1.0, subtract, factor, 7.0, out)
    expected = oracle.calibrate(stored, swapped, 32768.0, 1.0, subtract, factor, 7.0)
    assert np.allclose(out, expected, rtol=3e-7, atol=2e-2)  # 3 float32 roundings at up to 131,000 DN


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_oracle_flat_factor(seed):
    rng = np.random.default_rng(seed)
    flat = rng.choice([0, 1, np.nan, np.inf, 20000, 30000], (5, 6)).astype(np.float32)
    out = np.empty_like(flat)
    kernels.flat_factor(flat, np.float32(25000), np.float32(250), out)
    assert np.allclose(out, oracle.flat_factor(flat, 25000, 250), equal_nan=True)


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
