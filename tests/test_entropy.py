import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import entropy as oracle

from masterlight.core.errors import ParameterError
from masterlight.core.frame import ArrayFrame
from masterlight.integration.entropy import BAND, LEAST, entropy_grid, entropy_weights
from masterlight.integration.kernels import entropy


def test_truth_of_squares_that_can_be_counted():
    image = np.zeros((21, 84), np.float32)
    image[:, 21:42] = np.arange(441).reshape(21, 21)
    image[:, 42:63].flat[:147] = 7
    image[:, 63:] = np.nan
    grid = entropy_grid(ArrayFrame.of(image))
    # All alike: q = 1. All different: 441 pixels of -1/441 log2 1/441. A third of 7 and two thirds of 0, each counted
    # for every pixel that has it.
    third = 147 * np.log2(3) / 3 + 294 * np.log2(1.5) * 2 / 3
    np.testing.assert_allclose(grid[0, :3], [0, np.log2(441), third], rtol=1e-6)
    assert np.isnan(grid[0, 3])


def test_truth_saturated_places_count_nothing_and_noisy_ones_little():
    rng = np.random.default_rng(1)
    images = [np.full((63, 63), 65535.0), *(rng.normal(1000, sigma, (63, 63)) for sigma in (300, 30, 3))]
    means = [entropy_weights(entropy_grid(ArrayFrame.of(i)), i.shape, 0, 63, 0, 63).mean() for i in images]
    assert means == sorted(means)
    assert means[0] == pytest.approx(LEAST)
    # Pixels that share a value by chance are few at a noise of 300 DN: little more than log2(441).
    assert 8.8 < means[1] < 12


def test_truth_steps_scale_with_the_data():
    image = np.random.default_rng(2).integers(900, 1100, (50, 70)).astype(np.float32)
    grid = entropy_grid(ArrayFrame.of(image))
    np.testing.assert_array_equal(grid, entropy_grid(ArrayFrame.of(image / 65536), step_dn=1 / 65536))
    assert entropy_grid(ArrayFrame.of(image / 65536)).max() == 0


@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from([0.0, 0.5, 3.0, 300.0, 1e9, 1e30]),
    st.sampled_from([1.0, 0.25, 7.0]),
    st.floats(0, 1),
)
@settings(max_examples=40)
def test_oracle_square_entropy(rows, cols, spread, step_dn, missing):
    rng = np.random.default_rng(rows * 71 + cols)
    image = (rng.normal(size=(rows, cols)) * spread).astype(np.float32)
    image[rng.random((rows, cols)) < missing] = np.nan
    image[rng.random((rows, cols)) < 0.01] = np.inf
    out = np.empty((-(-rows // 21), -(-cols // 21)), np.float32)
    entropy.square_entropy(image, step_dn, out)
    clipped = np.where(np.isfinite(image), np.clip(image, -(2.0**53) * step_dn, 2.0**53 * step_dn), np.nan)
    # float32 of sums of up to 441 terms of float64
    np.testing.assert_allclose(out, oracle.square_entropy(clipped, step_dn), rtol=1e-6, atol=1e-6)


@given(st.integers(1, 90), st.integers(1, 90), st.floats(0, 0.7), st.integers(0, 99))
@settings(max_examples=25)
def test_oracle_pixel_entropy(rows, cols, missing, seed):
    rng = np.random.default_rng(seed)
    grid = rng.uniform(0, 50, (-(-rows // 21), -(-cols // 21))).astype(np.float32)
    grid[rng.random(grid.shape) < missing] = np.nan
    found = entropy_weights(grid, (rows, cols), 0, rows, 0, cols)
    for y, x in rng.integers(0, (rows, cols), (50, 2)):
        assert found[y, x] == pytest.approx(oracle.pixel_entropy(grid, LEAST, y, x), rel=1e-6)


def test_truth_weights_do_not_depend_on_the_box():
    grid = np.random.default_rng(3).uniform(5, 50, (4, 6)).astype(np.float32)
    whole = entropy_weights(grid, (3, 80, 120), 0, 80, 0, 120)
    for y0, y1, x0, x1 in ((0, 1, 0, 120), (20, 43, 7, 8), (63, 80, 100, 120)):
        assert np.array_equal(entropy_weights(grid, (3, 80, 120), y0, y1, x0, x1), whole[y0:y1, x0:x1])


def test_truth_a_grid_is_the_same_read_in_bands_and_for_each_plane():
    image = np.random.default_rng(4).normal(1000, 20, (3, BAND + 50, 40)).astype(np.float32)
    frame = ArrayFrame.of(image)
    for plane in range(3):
        whole = np.empty((-(-(BAND + 50) // 21), 2), np.float32)
        entropy.square_entropy(image[plane], 1.0, whole)
        assert np.array_equal(entropy_grid(frame, plane), whole)


def test_surface_what_cannot_be_asked():
    frame = ArrayFrame.of(np.zeros((30, 30)), "light")
    with pytest.raises(ParameterError, match="plane=1: light has 1, counted from 0"):
        entropy_grid(frame, 1)
    with pytest.raises(ParameterError, match="step_dn=0 must be above 0"):
        entropy_grid(frame, 0, 0.0)
    with pytest.raises(ParameterError, match=r"a grid of \(2, 2\) squares is not that of a frame of \(50, 50\)"):
        entropy_weights(np.zeros((2, 2), np.float32), (50, 50), 0, 1, 0, 1)
