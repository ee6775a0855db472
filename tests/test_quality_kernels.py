"""Kernels of quality and the robust scales, against their slow twins and known noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from oracles import quality as oracle
from truecamera import VALUES

from masterlight.core.statistics import scale
from masterlight.doctor.quality import kernels


@settings(deadline=None, max_examples=60)
@given(hnp.arrays(np.float32, st.integers(0, 40), elements=VALUES))
def test_oracle_robust_scales(x):
    assert scale.sn(x) == pytest.approx(oracle.sn(x), rel=1e-5, abs=1e-3)  # float32 differences
    assert scale.qn(x) == pytest.approx(oracle.qn(x), rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 3), st.sampled_from([0.0, 1.0, 4.0]), st.integers(0, 99))
def test_oracle_block_noise(rows, cols, stride, step, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(500, 4, (2, rows, cols)).round().astype(np.float32)
    a[rng.random(a.shape) < 0.2] = np.nan
    level, noise = np.empty((2, 4, 20), np.float32)
    counts = kernels.block_noise(a, b, 0.9, step, stride, level, noise)
    for k, expected in enumerate(oracle.block_noise(a, b, 0.9, step, stride)):
        assert counts[k] == len(expected)
        found = np.column_stack([level[k, : counts[k]], noise[k, : counts[k]]])
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)  # float32 differences of values near 500


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(-500, 4000), max_size=12),
    st.sampled_from([1.0, 4.0, 16.0, 6.0]),
    st.sampled_from([None, np.nan, 0.5]),
)
def test_oracle_common_step(numbers, factor, odd):
    x = np.array([n * factor + 3 for n in numbers] + [odd] * (odd is not None), np.float32)
    assert kernels.common_step(x) == oracle.common_step(x)


@settings(deadline=None, max_examples=40)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.sampled_from([0, -1, 1, 5, 7, np.nan, np.inf]),
    ),
    st.sampled_from([[[0]], [[0, 1], [1, 2]]]),
)
def test_oracle_tally(image, group):
    group = np.array(group)
    n = group.max() + 1
    counts, sums, extremes, places = (
        np.zeros((n, 5), np.int64),
        np.zeros(n),
        np.tile([np.inf, -np.inf], (n, 1)),
        np.zeros((n, 4), np.int64),
    )
    kernels.tally(image, group, 5.0, counts, sums, extremes, places)
    for g, (count, total, ends) in enumerate(oracle.tally(image, group, 5.0)):
        assert counts[g].tolist() == count
        assert sums[g] == total
        if ends is not None:
            assert tuple(extremes[g]) == ends
            assert (image[tuple(places[g, :2])], image[tuple(places[g, 2:])]) == ends


def test_truth_robust_scales_tell_gaussian_sigma_and_withstand_outliers():
    x = np.random.default_rng(1).normal(100, 3, 20001).astype(np.float32)
    assert scale.sn(x) == pytest.approx(3, rel=0.02)  # 2.5 sigma: Sn is sure to sigma / sqrt(2 * 0.58 * n) = 0.7 %
    assert scale.qn(x) == pytest.approx(3, rel=0.015)
    x[:6000] = 1e6
    assert scale.sn(x) < 3 * 2 and scale.qn(x) < 3 * 3  # a third is wrong: biased, but finite and of that order
