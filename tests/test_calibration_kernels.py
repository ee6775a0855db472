"""The calibration equation on boxes of a frame: kernels equal their slow twins."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import calibrate as oracle

from masterlight.calibration import kernels
from masterlight.calibration.calibrate import ImageCalibration
from masterlight.core.frame import ArrayFrame, Frame, Meta, Stored

SEEDS = st.integers(0, 2**32 - 1)


def frame(value, shape=(8, 10), **meta):
    pixels = np.broadcast_to(np.asarray(value, np.float32), shape)
    return ArrayFrame.of(pixels, meta.pop("source", "frame"), Meta(**meta))


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
