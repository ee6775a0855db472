"""The scale of a dark: closed form, its standard error, and when it is not believed."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import darkscale as oracle
from scipy.optimize import minimize_scalar

from masterlight.calibration import kernels
from masterlight.calibration.calibrate import ImageCalibration
from masterlight.calibration.darkscale import DarkScale, accept, expected_scale, fit, kinds_of
from masterlight.core.errors import FrameError
from masterlight.core.frame import ArrayFrame, Meta

SEEDS = st.integers(0, 2**32 - 1)
SHAPE = (240, 300)
GAIN = 1.5
READ_E = 6.0


def sensor(rng, pattern=None, hot=0.006, shape=SHAPE):
    """Dark current in DN of the dark's exposure, and the bias level, of a sensor with hot pixels."""
    dark = np.full(shape, 4.0)
    spots = rng.random(shape) < hot
    dark[spots] += rng.exponential(600, spots.sum()) + 20
    bias = 500 + rng.normal(0, 2, shape[1])[None, :] + rng.normal(0, 1, shape)
    return dark, bias


def exposed(rng, mean_dn, bias):
    """A raw frame: shot noise, read noise, rounding."""
    electrons = rng.poisson(mean_dn * GAIN) + rng.normal(0, READ_E, mean_dn.shape)
    return np.round(electrons / GAIN + bias)


def sky(rng, shape=SHAPE, pattern=None):
    """Sky with a gradient and stars, colours of unlike brightness."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = 200 + 150 * x / shape[1] + 80 * y / shape[0]
    for _ in range(60):
        x0, y0, flux = rng.uniform(0, shape[1]), rng.uniform(0, shape[0]), 2000 * rng.pareto(1.3) + 500
        near = np.s_[max(0, int(y0) - 12) : int(y0) + 13, max(0, int(x0) - 12) : int(x0) + 13]
        image[near] += flux / 25 * np.exp(-((x[near] - x0) ** 2 + (y[near] - y0) ** 2) / 8)
    if pattern:
        image *= np.array([[0.6, 1.0], [1.0, 0.7]])[y % 2, x % 2]
    return image


def night(rng, k, pattern=None, hot=0.006):
    """A light, a master bias of 40 frames and a master dark of 30, as frames."""
    dark, bias = sensor(rng, pattern, hot)
    master_dark = rng.poisson(dark * GAIN * 30) / GAIN / 30 + bias + rng.normal(0, READ_E / GAIN / 30**0.5, SHAPE)
    master_bias = bias + rng.normal(0, READ_E / GAIN / 40**0.5, SHAPE)
    light = exposed(rng, sky(rng, pattern=pattern) + k * dark, bias)
    for _ in range(25):
        y, x = rng.integers(0, SHAPE[0]), rng.integers(0, SHAPE[1] - 4)
        light[y, x : x + rng.integers(1, 5)] += rng.exponential(1500)
    meta = Meta(pattern=pattern, saturation_dn=65535.0)
    return (
        ArrayFrame.of(np.minimum(light, 65535), "light", meta.with_(kind="light", exposure_s=300.0 * k)),
        ArrayFrame.of(master_bias, "bias", meta.with_(kind="bias", contains_bias=True)),
        ArrayFrame.of(master_dark, "dark", meta.with_(kind="dark", contains_bias=True, exposure_s=300.0)),
    )


def test_truth_closed_form_of_five_pixels():
    d = np.array([100.0, 250, 400, 900, 1600])
    t = 700 + 0.6 * d + np.array([4.0, -4, 4, -4, 0])
    k, _, _, r = kernels.slope(d, t, np.ones(5), 0.0)
    assert k == pytest.approx(0.598255, abs=5e-7)
    assert r > 0.99


def test_truth_closed_form_is_where_the_deviation_is_least():
    rng = np.random.default_rng(3)
    d = rng.exponential(300, 2000)
    t = 0.43 * d + rng.normal(0, 12, 2000)
    least = minimize_scalar(lambda k: np.std(t - k * d), bounds=(0, 2), method="bounded", options={"xatol": 1e-7}).x
    assert kernels.slope(d, t, np.ones(2000), 0.0)[0] == pytest.approx(least, abs=5e-4)
    assert fit(d, t)[0] == pytest.approx(least, abs=5e-4)  # weights change little where noise is even


def trials(pattern, count):
    """(k - truth) / sigma of simulated nights, and sigma / k."""
    calibration = ImageCalibration(dark_scaling="fit")
    pulls, errors = [], []
    for seed in range(count):
        rng = np.random.default_rng([9, seed])
        truth = rng.uniform(0.2, 1.5)
        light, bias, dark = night(rng, truth, pattern)
        scale = calibration(light, calibration.masters(bias, dark)).dark_scale
        assert scale.accepted, scale.reason
        pulls.append((scale.k - truth) / scale.sigma)
        errors.append(scale.sigma / scale.k)
    return np.array(pulls), np.array(errors)


def test_truth_k_is_within_its_two_sigma():
    """200 nights with stars, gradient, cosmic rays: 95 % within 2 sigma, and sigma is not made large for it."""
    pulls, errors = trials(None, 200)
    assert np.mean(np.abs(pulls) < 2) >= 0.95
    assert 0.75 < np.std(pulls) < 1.1  # 200 trials know it to 5 %
    assert np.median(errors) < 0.01


def test_truth_k_on_a_colour_mosaic():
    pulls, errors = trials("RGGB", 60)
    assert np.mean(np.abs(pulls) < 2) >= 0.9  # 60 trials of 95 %: 2.8 % is one sigma
    assert 0.7 < np.std(pulls) < 1.2
    assert np.median(errors) < 0.01


def test_truth_scaled_dark_leaves_no_hot_pixels():
    light, bias, dark = night(np.random.default_rng(4), 0.5)
    calibration = ImageCalibration(dark_scaling="fit")
    view = calibration(light, calibration.masters(bias, dark))
    assert view.equation == "C = L - B - k (D - B)"
    current = dark.array - bias.array
    hot = current > 300
    left = np.asarray(view)[hot] - np.median(np.asarray(view))
    sure = np.abs(left) < 6 * np.sqrt((0.5 * current[hot] + 400) / GAIN)  # shot noise; the others lie under stars
    assert sure.mean() > 0.9
    assert abs(np.median(left)) < 15  # the scatter of the sky is 60 DN over its gradient


@pytest.mark.parametrize(
    ("exposure_s", "temperature_c", "expected"),
    [(150, -10.0, 0.5), (300, -4.0, 2.0), (300, None, 1.0), (None, -10.0, None)],
)
def test_truth_expected_scale(exposure_s, temperature_c, expected):
    light = Meta(exposure_s=exposure_s, temperature_c=temperature_c)
    assert expected_scale(light, Meta(exposure_s=300, temperature_c=-10.0), 6.0) == expected


def test_surface_a_fit_that_is_not_believed_falls_back():
    light, bias, dark = night(np.random.default_rng(5), 0.5, hot=0.0002)
    calibration = ImageCalibration(dark_scaling="fit")
    scale = calibration(light, calibration.masters(bias, dark)).dark_scale
    assert not scale.accepted
    assert scale.k == scale.expected == 0.5
    assert "hot pixels to fit to (100 are needed); taken by exposure" in scale.reason
    assert accept(0.01, 0.002, 500, 0.1, None) == DarkScale(
        1.0, 0.002, 500, 0.1, None, False,
        "the hot pixels of the dark hardly show in the light (correlation 0.10); the dark is taken as it is",
    )  # fmt: skip
    assert "too uncertain (0.500 ± 0.060)" in accept(0.5, 0.06, 500, 0.9, 0.5).reason
    assert "is the dark of this camera" in accept(0.9, 0.01, 500, 0.9, 0.5).reason


def test_truth_scale_by_exposure_and_by_hand():
    light, bias, dark = night(np.random.default_rng(6), 0.25)
    for calibration in (ImageCalibration(dark_scaling="exposure"), ImageCalibration(dark_scale=0.25)):
        view = calibration(light, calibration.masters(bias, dark))
        assert view.dark_scale.k == 0.25
        expected = light.array - bias.array - 0.25 * (dark.array - bias.array)
        assert np.allclose(view, expected, atol=0.01)  # float32 at 60,000 DN resolves 0.004


def test_surface_only_lights_are_scaled():
    light, bias, dark = night(np.random.default_rng(7), 0.25)
    calibration = ImageCalibration(dark_scaling="fit")
    flat = ArrayFrame.of(light.array, "flat", light.meta.with_(kind="flat"))
    view = calibration(flat, calibration.masters(bias, dark))
    assert view.dark_scale is None
    assert view.equation == "C = L - D"


def test_bad_dark_with_bias_is_not_scaled_without_a_bias():
    light, _, dark = night(np.random.default_rng(8), 0.25)
    calibration = ImageCalibration(dark_scaling="fit")
    with pytest.raises(FrameError, match="light: the master dark still holds its bias level, .* add a master bias"):
        calibration(light, calibration.masters(dark=dark))


def test_surface_view_is_picklable_and_scaled_once():
    light, bias, dark = night(np.random.default_rng(10), 0.5)
    calibration = ImageCalibration(dark_scaling="fit")
    view = calibration(light, calibration.masters(bias, dark))
    again = pickle.loads(pickle.dumps(view))
    with ThreadPoolExecutor(2) as pool:
        assert len({id(scale) for scale in pool.map(lambda _: view.dark_scale, range(8))}) == 1
    assert again.dark_scale == view.dark_scale
    assert pickle.loads(pickle.dumps(view))._made.made["dark_scale"] == view.dark_scale
    assert np.array_equal(again[20:50, 7:90], np.asarray(view)[20:50, 7:90])


def test_truth_window_and_amplifier_glow():
    """Glow in a corner is no hot pixel, and a central window sees as much of the sensor as it is wide."""
    rng = np.random.default_rng(11)
    light, bias, dark = night(rng, 0.5)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    glow = 400 * np.exp(-(y + x) / 60)
    dark = ArrayFrame.of(dark.array + glow, "dark", dark.meta)
    masters = ImageCalibration(dark_scaling="fit").masters(bias, dark)
    whole, middle = masters.hot_pixels(8.0, 0), masters.hot_pixels(8.0, 100)
    assert abs(len(whole.rows) - 0.006 * light.array.size) < 80
    assert middle.rows.min() >= 70
    assert middle.columns.max() < 200
    assert 40 < len(middle.rows) < 80


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(1, 30), st.sampled_from([2, 4]), SEEDS)
def test_oracle_peaks(rows, cols, distance, seed):
    rng = np.random.default_rng(seed)
    image = rng.choice([0, 1, 5, np.nan, 9], (rows, cols), p=[0.5, 0.2, 0.1, 0.1, 0.1]).astype(np.float32)
    assert np.array_equal(kernels.peaks(image, distance, 2.5), oracle.peaks(image, distance, 2.5))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from([None, "RGGB", "GGRGGBGGBGGRBRGRBGGGBGGRGGRGGBRBGBRG"]),
    SEEDS,
)
def test_oracle_excesses(rows, cols, pattern, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 10, (rows, cols)).astype(np.float32)
    image[rng.random((rows, cols)) < 0.1] = np.nan
    y, x = np.nonzero(rng.random((rows, cols)) < 0.5)
    kinds, radius = kinds_of(pattern)
    found = kernels.excesses(image, 5, y + 5, x, kinds, radius)
    expected = oracle.excesses(image, 5, y + 5, x, kinds, radius)
    assert np.allclose(found, expected, equal_nan=True, atol=1e-4)  # float32 at 100


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 50), st.floats(0, 3), SEEDS)
def test_oracle_slope(n, noise, seed):
    rng = np.random.default_rng(seed)
    d, t, w = rng.exponential(100, n) + 10 * np.arange(n), rng.normal(0, 50, n), rng.uniform(0.1, 1, n)
    assert np.allclose(kernels.slope(d, t, w, noise), oracle.slope(d, t, w, noise), rtol=1e-6)


def test_surface_slope_of_nothing_is_unknown():
    assert np.isnan(kernels.slope(np.ones(5), np.ones(5), np.ones(5), 0.0)[0])
    assert np.isnan(kernels.slope(np.ones(5), np.ones(5), np.zeros(5), 0.0)[0])
    assert np.isnan(fit(np.full(200, np.nan), np.ones(200))[0])
    assert not accept(*fit(np.ones(200), np.ones(200)), 1.0).accepted
