import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import stars as oracle
from test_detect import noisy

from masterlight.subframes.stars import maxima


@given(st.integers(2, 31), st.integers(2, 31), st.sampled_from([0.0, 0.3, 1.0]))
@settings(max_examples=30, deadline=None)
def test_oracle_bin_by_2(rows, cols, missing):
    image = noisy((rows, cols), rows * 32 + cols, missing)
    np.testing.assert_allclose(maxima.bin_by_2(image), oracle.bin_by_2(image), rtol=1e-6)


@given(st.integers(1, 25), st.integers(1, 25))
@settings(max_examples=30, deadline=None)
def test_oracle_smooth(rows, cols):
    image = noisy((rows, cols), rows * 32 + cols)
    np.testing.assert_allclose(maxima.smooth(image), oracle.smooth(image), rtol=1e-6)


@given(st.integers(3, 40), st.integers(3, 80), st.sampled_from([0.0, 0.1]), st.booleans())
@settings(max_examples=30, deadline=None)
def test_oracle_find_maxima(rows, cols, missing, ties):
    image = noisy((rows, cols), rows * 100 + cols, missing)
    image = np.float32(10) * np.round(image / 10) if ties else image
    threshold = np.full((1, 1), 1005, np.float32)
    at = np.empty((rows * cols, 2), np.int64)
    found = maxima.find_maxima(image, threshold, at)
    np.testing.assert_array_equal(at[:found], oracle.find_maxima(image, np.full(image.shape, 1005)))
    assert maxima.find_maxima(image, threshold, at[:1]) == found
