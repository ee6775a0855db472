import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import noise as oracle

from masterlight.core.statistics import noise as statistics

TEN = np.array([0.10, 0.11, 0.12, 0.12, 0.13, 0.14, 0.15, 0.16, 0.18, 0.40])


def test_truth_of_ten_numbers():
    # Published to seven digits.
    assert statistics.two_sided_scale(TEN) == pytest.approx((0.135, 0.0229993, 0.0308719), abs=5e-8)


def test_truth_two_sided_scale_of_gaussian_noise_is_its_sigma():
    # sqrt(BWMV) of a normal sample is 1.009 sigma; 1e6 samples scatter by 0.1 %.
    centre, low, high = statistics.two_sided_scale(np.random.default_rng(1).normal(100, 5, 1_000_000))
    assert centre == pytest.approx(100, abs=0.05)
    assert (low / 5, high / 5) == pytest.approx((1.009, 1.009), abs=0.01)


@given(st.lists(st.floats(-1e4, 1e4) | st.just(np.nan) | st.sampled_from([0.0, 1.0, 2.0]), max_size=60))
@settings(max_examples=60, deadline=None)
def test_oracle_two_sided_scale(values):
    x = np.array(values)
    assert statistics.two_sided_scale(x) == pytest.approx(oracle.two_sided_scale(x), rel=1e-9, abs=1e-9, nan_ok=True)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 2, 4, 8]))
@settings(max_examples=30, deadline=None)
def test_oracle_starlet_smooth(rows, cols, gap):
    image = np.random.default_rng(rows * 41 + cols).normal(50, 5, (rows, cols)).astype(np.float32)
    work, out = np.empty_like(image), np.empty_like(image)
    statistics.starlet_smooth(image, gap, work, out)
    # float32 sums of ten terms near 50
    np.testing.assert_allclose(out, oracle.starlet_smooth(image, gap), atol=5e-5)


@pytest.mark.parametrize("shape", [(64, 80), (128, 33), (300, 301)])
def test_oracle_noise_mrs(shape):
    image = np.random.default_rng(2).normal(1000, 10, shape).astype(np.float32)
    image[20:24, 20:24] += 500
    # The limit at 3 sigma is sharp: single pixels fall on either side in float32.
    assert statistics.noise_mrs(image) == pytest.approx(oracle.noise_mrs(image), rel=2e-3)


def test_truth_noise_mrs_of_white_noise():
    image = np.random.default_rng(3).normal(0.1, 0.01, (1024, 1024)).astype(np.float32)
    sigma, fraction = statistics.noise_mrs(image)
    assert sigma == pytest.approx(0.01004, rel=0.01)
    assert fraction > 0.97
    y, x = np.mgrid[:1024, :1024]
    rng = np.random.default_rng(4)
    for cx, cy, peak in zip(*rng.uniform(20, 1000, (2, 500)), 10 ** rng.uniform(-2, 0, 500), strict=True):
        box = np.s_[int(cy) - 12 : int(cy) + 13, int(cx) - 12 : int(cx) + 13]
        image[box] += peak * np.exp(-((x[box] - cx) ** 2 + (y[box] - cy) ** 2) / (2 * 1.5**2))
    assert statistics.noise_mrs(image)[0] == pytest.approx(0.01004, rel=0.01)


def test_truth_noise_mrs_keeps_its_value_with_missing_and_saturated_pixels():
    rng = np.random.default_rng(5)
    image = rng.normal(1000, 10, (600, 700)).astype(np.float32)
    image += np.linspace(0, 300, 700, dtype=np.float32)
    image[rng.random(image.shape) < 0.01] = np.nan
    image[100:140, 200:260] = 65535
    image[:50] = np.nan
    assert statistics.noise_mrs(image, 60000.0)[0] == pytest.approx(10, rel=0.015)


def test_truth_noise_windows_agree_with_the_whole_frame(monkeypatch):
    rng = np.random.default_rng(6)
    y, x = np.mgrid[-1:1:2200j, -1:1:2000j].astype(np.float32)
    vignetted = 10 * (1 - 0.2 * (x * x + y * y))
    image = (1000 + vignetted * rng.standard_normal(x.shape, np.float32)).astype(np.float32)
    windows = statistics.noise_mrs(image)[0]
    monkeypatch.setattr(statistics, "WHOLE_PIXELS", image.size)
    assert windows == pytest.approx(statistics.noise_mrs(image)[0], rel=0.02)


@pytest.mark.parametrize("shape", [(400, 500), (1200, 1500)])
def test_truth_where_the_sky_is_free_of_structure(shape):
    rng, (rows, cols) = np.random.default_rng(7), shape
    y, x = np.mgrid[:rows, :cols]
    image = rng.normal(100, 5, shape)
    image[:, cols // 2 :] += 200 * np.sin(x / 3)[:, cols // 2 :] * np.sin(y / 3)[:, cols // 2 :]
    sigma, fraction, free = statistics.noise_and_free(image.astype(np.float32))
    assert sigma == pytest.approx(5, rel=0.02)
    half = free.shape[1] // 2
    assert (free[:, : half - 1] > 0.9).all() and (free[:, half:] < 0.1).all()
    assert fraction == pytest.approx(free.mean(), abs=0.02)
    assert statistics.noise_mrs(image.astype(np.float32)) == (sigma, fraction)


def test_truth_noise_windows_hardly_differ_under_a_nebula(monkeypatch):
    rng = np.random.default_rng(8)
    y, x = np.mgrid[:1400, :1800]
    light = 300 + 0.1 * x + 900 * np.exp(-((y - 600) ** 2 + (x - 800) ** 2) / 250**2)
    image = rng.normal(light, np.sqrt(light)).astype(np.float32)
    windows, _, free = statistics.noise_and_free(image)
    monkeypatch.setattr(statistics, "WHOLE_PIXELS", image.size)
    assert windows == pytest.approx(statistics.noise_mrs(image)[0], rel=0.015)
    assert free.shape == (statistics.WINDOWS,) * 2


def test_truth_noise_of_a_constant_frame_is_zero():
    assert statistics.noise_mrs(np.full((50, 50), 7, np.float32))[0] == 0


def test_truth_sample_skips_missing_pixels_and_sees_every_colour():
    mosaic = np.zeros((2000, 3000), np.float32)
    mosaic[::2, 1::2], mosaic[1::2, ::2], mosaic[1::2, 1::2] = 1, 2, 3
    mosaic[:200] = np.nan
    values, missing = statistics.sample(mosaic)
    assert values.size >= 0.9 * statistics.SAMPLES
    assert missing == pytest.approx(0.1, abs=0.001)
    assert np.bincount(values.astype(int)) / values.size == pytest.approx([0.25] * 4, abs=0.01)
    assert statistics.sample(np.full((3, 3), np.nan, np.float32))[1] == 1
    assert statistics.sample(np.full((3, 3), 5, np.float32))[0].tolist() == [5] * 9
