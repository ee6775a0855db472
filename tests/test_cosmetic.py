"""CosmeticCorrection and the finding of defects."""

import pickle

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import defects as oracle

from masterlight.frame import ArrayFrame, Meta
from masterlight.kernels import defects as kernels
from masterlight.processes.calibrate import ImageCalibration
from masterlight.processes.cosmetic import CosmeticCorrection, Defects

SEEDS = st.integers(0, 2**32 - 1)


def test_surface_view_is_lazy_and_picklable():
    rng = np.random.default_rng(2)
    raw = ArrayFrame.of(rng.normal(1000, 10, (50, 60)), "light", Meta(kind="light"))
    dark = ArrayFrame.of(rng.normal(500, 1, (50, 60)), "dark", Meta(kind="dark"))
    calibration = ImageCalibration()
    view = CosmeticCorrection()(
        calibration(raw, calibration.masters(dark=dark)), Defects.of(rng.random((50, 60)) < 0.02)
    )
    whole = np.asarray(view)
    again = pickle.loads(pickle.dumps(view))
    assert np.array_equal(again[7:31, 5:44], whole[7:31, 5:44])
    assert len(view.cards) == 2


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 1), SEEDS)
def test_oracle_replace_defects(rows, cols, fraction, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 10, (rows, cols)).astype(np.float32)
    image[rng.random((rows, cols)) < 0.1] = np.nan
    mask = rng.random((rows, cols)) < fraction
    view = CosmeticCorrection()(ArrayFrame.of(image.copy()), Defects.of(mask))
    assert np.allclose(np.asarray(view), oracle.replace_defects(image, mask, 3), equal_nan=True)


def test_truth_defects_are_found_through_amplifier_glow():
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:300, :400]
    dark = rng.normal(500, 2, y.shape) + 300 * np.exp(-((x - 400) ** 2 + y**2) / 2 / 80**2)
    hot = rng.random(y.shape) < 1e-3
    dark[hot] += rng.uniform(100, 5000, hot.sum())
    dark[10, 20] = 0
    found = CosmeticCorrection().defects(ArrayFrame.of(dark, "dark"))
    assert np.all(found.mask[hot & (dark > 0)] == 1)
    assert found.mask[10, 20] == 2
    assert len(found) <= hot.sum() + 1 + 3  # the steepest corner of the glow may cost a few good pixels


def test_truth_row_and_column_defects_have_finite_neighbours():
    image = np.random.default_rng(4).normal(100, 1, (40, 90)).astype(np.float32)
    mask = np.zeros(image.shape, bool)
    mask[11, :] = True
    mask[:, 70] = True
    image[mask] = 60000
    repaired = np.asarray(CosmeticCorrection()(ArrayFrame.of(image), Defects.of(mask)))
    assert np.isfinite(repaired).all()
    assert abs(repaired - 100).max() < 6


def test_truth_hot_threshold_can_be_switched_off():
    dark = np.full((64, 64), 500, np.float32) + np.random.default_rng(0).normal(0, 1, (64, 64))
    dark[5, 5] = 9000
    assert len(CosmeticCorrection(hot=None, cold=None).defects(ArrayFrame.of(dark))) == 0


def test_truth_too_many_defects_keep_the_worst():
    rng = np.random.default_rng(6)
    dark = rng.normal(500, 1, (200, 200))
    dark[rng.random(dark.shape) < 0.2] += 100
    dark[50, 60] += 5000
    found = CosmeticCorrection(max_fraction=0.01).defects(ArrayFrame.of(dark, "dark"))
    assert 0 < len(found) <= 400
    assert found.mask[50, 60] == 1


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(2, 9), SEEDS)
def test_oracle_departures(rows, cols, seed):
    image = np.random.default_rng(seed).normal(100, 10, (rows, cols)).astype(np.float32)
    ys, xs = np.nonzero(np.ones_like(image))
    assert np.allclose(kernels.departures(image, ys, xs, 3), oracle.departures(image, ys, xs, 3), atol=1e-4)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), SEEDS)
def test_oracle_outside(rows, cols, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 10, (rows, cols)).astype(np.float32)
    image[rng.random(image.shape) < 0.2] = np.nan
    found = kernels.outside(image, np.full((2, 3), 100, np.float32), -12.0, 9.0)
    assert np.array_equal(found, oracle.outside(image, 100, -12, 9))


def test_truth_repairs_leave_the_array_of_the_user_alone():
    image = np.full((40, 50), 100, np.float32)
    image[5, 5] = 9999
    view = CosmeticCorrection()(
        ArrayFrame(source="mine", meta=Meta(shape=image.shape), array=image), Defects.of(image > 500)
    )
    assert view[0:20, 0:20][5, 5] == 100
    assert np.asarray(view)[5, 5] == 100
    assert image[5, 5] == 9999
