import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import scale as oracle

from masterlight.core.statistics import noise as statistics
from masterlight.core.statistics import scale
from masterlight.core.statistics.mesh import mesh

TEN = np.array([0.10, 0.11, 0.12, 0.12, 0.13, 0.14, 0.15, 0.16, 0.18, 0.40])
ONE_SIDED = ("pbmv", "sn", "qn", "ikss")


@pytest.mark.parametrize(
    ("name", "location", "low", "high"),
    [
        ("avgdev", 0.135, 0.019, 0.071), ("mad", 0.135, 0.015, 0.025), ("bwmv", 0.135, 0.0229993, 0.0308719),
        ("pbmv", 0.135, 0.0336573, 0.0336573), ("sn", 0.135, 0.03, 0.03), ("qn", 0.135, 0.0144928, 0.0144928),
        ("ikss", 0.13, 0.0247497, 0.0247497),
    ],
)  # fmt: skip
def test_authority_ten_numbers(name, location, low, high):
    # Published to seven digits.
    centre, sides = scale.SCALES[name](TEN)
    assert centre == pytest.approx(location, abs=1e-12)
    assert sides == pytest.approx((low, high), abs=5e-8)


def test_authority_ten_numbers_without_sides():
    # Published to seven digits; of both sides together.
    assert scale.mad_about(TEN, 0.135) == pytest.approx(0.020, abs=1e-12)
    assert statistics.midvariance(TEN, 0.135, 0.020) ** 0.5 == pytest.approx(0.0262398, abs=5e-8)
    assert np.mean(scale.biweight(TEN)[1]) == pytest.approx(0.0269356, abs=5e-8)
    assert np.mean(scale.average_deviation(TEN)[1]) == pytest.approx(0.045, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("avgdev", 0.798), ("mad", 0.6745), ("bwmv", 1.009), ("pbmv", 1.03), ("sn", 0.8385), ("qn", 0.4501),
        ("ikss", 1.0),
    ],
)  # fmt: skip
def test_authority_large_normal_sample(name, expected):
    # Published to three digits; 4e5 values scatter by 0.2 % on each side, the 5e4 of Qn by 0.35 %.
    x = np.random.default_rng(1).normal(1000, 5, 400_000).astype(np.float32)
    centre, sides = scale.SCALES[name](x)
    assert centre == pytest.approx(1000, abs=0.05)
    assert np.array(sides) / 5 == pytest.approx([expected, expected], rel=0.01)


def test_truth_nebulae_do_not_count_below_the_median():
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(1000, 5, 90_000), 1000 + rng.exponential(200, 10_000)])
    for name in ("bwmv", "mad", "avgdev"):
        plain = scale.SCALES[name](x[:90_000])[1]
        _, (low, high) = scale.SCALES[name](x)
        assert low == pytest.approx(plain[0], rel=0.15)
        assert high > 1.03 * low


VALUES = st.lists(
    st.floats(-1e4, 1e4, width=32) | st.sampled_from([0.0, 1.0, 2.0, 1000.0]) | st.just(np.nan), max_size=40
)


@pytest.mark.parametrize("name", [n for n in scale.SCALES if n != "bwmv"])
@given(values=VALUES)
@settings(max_examples=60, deadline=None)
def test_oracle_scales(name, values):
    x = np.array([v for v in values if np.isfinite(v)])
    centre, sides = scale.SCALES[name](np.array(values))
    if not x.size:
        assert np.isnan([centre, *sides]).all()
        return
    expected = getattr(oracle, scale.SCALES[name].__name__)(x)
    # Sums of squares of values up to 1e4 in float64.
    assert (centre, *sides) == pytest.approx((expected[0], *expected[1]), rel=1e-7, abs=1e-7)


@given(VALUES)
@settings(max_examples=60, deadline=None)
def test_oracle_noise_sides(values):
    x = np.array([v for v in values if np.isfinite(v)])
    if x.size:
        assert scale.noise_sides(np.array(values)) == pytest.approx(oracle.noise_sides(x), rel=1e-9, abs=1e-9)
    else:
        assert np.isnan(scale.noise_sides(np.array(values))).all()


def test_authority_noise_sides_of_gaussian_noise():
    # 0.53 sigma by the integral over a normal distribution cut twice; published 0.529.
    x = np.random.default_rng(3).normal(1000, 5, 400_000).astype(np.float32)
    assert np.array(scale.noise_sides(x)) / 5 == pytest.approx([0.53, 0.53], abs=0.005)


def test_truth_fluctuation_of_white_noise_on_a_gradient():
    y, x = np.mgrid[:512, :640]
    rng = np.random.default_rng(4)
    image = (1000 + 0.05 * x + 0.02 * y + rng.normal(0, 5, y.shape)).astype(np.float32)
    m_star, n_star = scale.background_fluctuation(image)
    # Half a normal distribution has its median at 0.6745 sigma; the mesh ends at the centres of its outer tiles.
    assert (m_star / 5, n_star / 5) == pytest.approx((0.6745, 1.0), rel=0.02)
    image[rng.integers(0, 512, 800), rng.integers(0, 640, 800)] += 3000
    image[:40, :50] = np.nan
    assert scale.background_fluctuation(image) == pytest.approx((m_star, n_star), rel=0.01)


def test_oracle_background_fluctuation():
    image = np.random.default_rng(5).normal(100, 3, (50, 60)).astype(np.float32)
    level = float(mesh(image)[0][0, 0])
    expected = oracle.background_fluctuation(image, np.full(image.shape, level))
    # float32 pixels near 100
    assert scale.background_fluctuation(image) == pytest.approx(expected, rel=1e-5)


def test_truth_nothing_to_measure_is_nan():
    empty = np.full((40, 50), np.nan, np.float32)
    assert np.isnan(scale.background_fluctuation(empty)).all()
    assert np.isnan(scale.noise_sides(empty)).all()
