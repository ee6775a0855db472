"""The sky in coarse cells: levels that nothing bends, against slow twins; and how they are brought to another grid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import cells as oracle

from masterlight.core.statistics import cells


def sky(seed, shape, missing=0.1):
    """Noise with bright outliers and missing pixels."""
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 10, shape).astype(np.float32)
    image[rng.random(shape) < 0.05] += 300
    image[rng.random(shape) < missing] = np.nan
    return image


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 1500), st.sampled_from([2.0, 4.7, 8.0]))
def test_oracle_levels(seed, n, limit):
    values = sky(seed, (n,), 0.0)
    level, sigma = cells.quick_level(values)
    expected = oracle.quick_level(values)
    # Differences of float32 numbers about 100.
    assert (level, sigma) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    # Sums of float32 differences.
    assert cells.bisquare_mean(values, 101.0, 30.0) == pytest.approx(
        oracle.bisquare_mean(values, 101.0, 30.0), rel=1e-6
    )
    settled, twin = cells.settled_level(values, level, sigma, limit), oracle.settled_level(values, *expected, limit)
    # A stop that comes one pass earlier: within the step that counts as rest.
    assert settled == pytest.approx(twin, abs=2 * cells.SETTLED * max(sigma, 0.01))


def test_truth_levels():
    rng = np.random.default_rng(1)
    values = rng.normal(50, 4, 4000).astype(np.float32)
    rng.shuffle(values)
    values[rng.choice(4000, 1000, replace=False)] += 500
    level = cells.settled_level(values, *cells.quick_level(values), 4.7)
    # 3,000 good samples tell their mean to 4 / sqrt(3000) / sqrt(0.9), and the 25 % far off cost no more.
    assert abs(level - 50) < 4 * 4 / np.sqrt(3000)
    assert cells.quick_level(np.full(9, 7, np.float32)) == (7.0, 0.0)
    assert np.isnan(cells.quick_level(values[:0])[0])


@settings(max_examples=20)
@given(
    st.integers(0, 10**6), st.integers(3, 70), st.integers(3, 70), st.integers(1, 5), st.sampled_from([0, 0.3, 0.6, 1])
)
def test_oracle_fill_cells(seed, rows, cols, step, missing):
    image, out = sky(seed, (rows, cols), missing), np.empty((1 + rows // 20, 1 + cols // 20), np.float32)
    cells.fill_cells(image, step, 4.0, out)
    expected = oracle.fill_cells(image, step, 4.0, out.shape)
    # A stop one pass earlier, of a sigma that outliers may stretch.
    np.testing.assert_allclose(out, expected, atol=1.0)


@pytest.mark.parametrize("shape", [(96, 96), (600, 800), (800, 601), (97, 3000)])
@pytest.mark.parametrize("step", [0.0, 2.0])
def test_truth_a_slope_with_stars_is_told_at_any_place_and_through_a_turn(shape, step):
    rng = np.random.default_rng(1)
    y, x = np.mgrid[: shape[0], : shape[1]]
    plane = 1000 + 0.05 * x - 0.03 * y
    image = (plane + rng.normal(0, 10, shape)).astype(np.float32)
    image[rng.random(shape) < 0.02] += 5000
    mesh = cells.sky_cells(np.rint(image / 2) * 2 if step else image, step)
    assert mesh.shape == cells.grid_of(shape)
    middles = cells.centres(mesh.shape, shape)
    turned = np.array(shape[::-1]) - 1 - middles
    for xy in (middles, turned, middles[:1] * 0 - 0.4):
        told, true = cells.cells_at(mesh, shape, xy), 1000 + 0.05 * xy[:, 0] - 0.03 * xy[:, 1]
        # 32 x 32 px a cell tell its level to 10 / 32; of hundreds of cells one is 4 sigma off.
        np.testing.assert_allclose(told, true, atol=(2.0 if step else 1.6) * (1.6 if len(xy) == 1 else 1))
    assert np.isnan(cells.cells_at(mesh, shape, np.array([[-30.0, 5.0], [5.0, shape[0] + 9.0]]))).all()


def test_truth_small_frames_and_missing_cells():
    assert cells.sky_cells(np.ones((60, 300), np.float32)) is None
    image = np.ones((200, 300), np.float32)
    image[:, :100] = np.nan
    mesh = cells.sky_cells(image)
    assert np.isnan(mesh[:, :3]).all()
    assert (mesh[:, 4:] == 1).all()
