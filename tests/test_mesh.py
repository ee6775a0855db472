import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import stars as oracle

from masterlight.core.statistics import mesh


def noisy(shape, seed=1, missing=0.0):
    rng = np.random.default_rng(seed)
    image = rng.normal(1000, 10, shape).astype(np.float32)
    image[rng.random(shape) < missing] = np.nan
    return image


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("bright", [0, 30, 150])
def test_oracle_tile_level(missing, bright):
    x = noisy((512,), bright, missing)
    x[:bright] += 300
    level, noise = mesh.tile_level(x, 32, np.empty_like(x))
    truth = oracle.tile_level(x, 32)
    # Of an even count the lower of both middle values, 2.5 times: less than the 0.55 by which a median of 512 errs.
    assert level == pytest.approx(truth[0], abs=0.4)
    assert noise == pytest.approx(truth[1], rel=0.05)


def test_truth_tile_level():
    nothing = np.full(100, np.nan, np.float32)
    assert np.isnan(mesh.tile_level(nothing, 10, np.empty_like(nothing))).all()
    level, noise = mesh.tile_level(np.full(100, 7, np.float32), 10, np.empty(100, np.float32))
    assert (level, noise) == (7, 0)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(20, 70), st.integers(20, 70))
@settings(max_examples=40, deadline=None)
def test_oracle_mesh_at_and_mesh_row(ny, nx, rows, cols):
    grid = np.random.default_rng(ny * 7 + nx).normal(100, 10, (ny, nx)).astype(np.float32)
    truth = oracle.mesh_at(grid, (rows, cols))
    line = np.empty(cols, np.float32)
    for y in (0, rows // 2, rows - 1):
        mesh.mesh_row(grid, y, rows, line)
        np.testing.assert_allclose(line, truth[y], rtol=1e-5)
        assert mesh.mesh_at(grid, y, cols // 3, rows, cols) == pytest.approx(truth[y, cols // 3], rel=1e-5)


def test_truth_mesh_follows_the_sky_and_not_a_galaxy():
    y, x = np.mgrid[:400, :600]
    sky = 1000 + 0.2 * x + 0.1 * y
    image = (sky + np.random.default_rng(1).normal(0, 2, sky.shape)).astype(np.float32)
    galaxy = image + 3000 * np.exp(-((x - 300) ** 2 + (y - 200) ** 2) / (2 * 8.0**2)).astype(np.float32)
    level, noise = mesh.mesh(galaxy)
    # The edge tiles' centres lie 16 px inside; a median of 512 correlated values is true to 0.1 sigma.
    assert np.abs(oracle.mesh_at(level, image.shape) - sky)[20:-20, 20:-20].max() < 8
    assert np.median(noise) == pytest.approx(2, rel=0.05)
    half = image.copy()
    half[:, :300] = np.nan
    assert np.isfinite(mesh.mesh(half)[0]).all()
