"""Surfaces over an image: levels of cells, splines through them, and the surface applied, against slow twins."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import surface as oracle

from masterlight.integration.kernels import surface

NONE = np.empty((0, 0))


def sky(seed, shape=(16, 200), missing=0.1):
    """Noise with bright outliers and missing pixels."""
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 10, shape).astype(np.float32)
    image[rng.random(shape) < 0.05] += 300
    image[rng.random(shape) < missing] = np.nan
    return image


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 40), st.sampled_from([0.0, 0.2, 1.0]))
def test_oracle_small_steps(seed, h, w, missing):
    block, f = sky(seed, (h, w), missing), seed / 10**6
    values = np.empty(block.size + 1, np.float32)
    n, at_x, at_y = surface.gather(block, values)
    expected = oracle.gather(block)
    np.testing.assert_array_equal(values[:n], expected[0])
    assert (at_x, at_y) == expected[1:]
    assert surface.count_outside(block[0], 95.0, 120.0) == oracle.count_outside(block[0], 95.0, 120.0)
    weights = np.empty(4)
    surface.spline_weights(f, weights)
    np.testing.assert_allclose(weights, oracle.spline_weights(f), atol=1e-15)
    coefficients = np.random.default_rng(seed).normal(0, 50, (h + 3, 7))
    row, pitches = np.empty(w, np.float32), (1.7, (w + 2) / 4)
    surface.surface_row(coefficients, h, 2, *pitches, row)
    # Four float32 roundings of numbers up to 200.
    np.testing.assert_allclose(row, oracle.surface_row(coefficients, h, 2, *pitches, w), atol=2e-4)


@settings(max_examples=20)
@given(
    st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 150), st.integers(1, 7), st.sampled_from([0.0, 0.3, 1])
)
def test_oracle_cell_levels(seed, h, cols, cells, missing):
    cells = min(cells, cols)
    reference, target = sky(seed, (h, cols), missing), sky(seed + 1, (h, cols))
    gain = np.linspace(0.5, 2.0, cells)
    out = np.empty((cells, 5))
    surface.cell_levels(reference, target, gain, 4.7, 1, out)
    expected = oracle.cell_levels(reference, target, gain, 4.7, 1)
    np.testing.assert_array_equal(out[:, 2], expected[:, 2])
    np.testing.assert_allclose(out[:, 3:], expected[:, 3:], atol=1e-9)
    # As for the level of one cell; the sigma of a sample is about 20, in small cells with outliers 200.
    np.testing.assert_allclose(out[:, :2], expected[:, :2], atol=1.2)


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 40), st.integers(0, 3))
def test_oracle_blank_outside(seed, h, cols, reach):
    strip = sky(seed, (h, cols))
    high, low = (np.array(a)[: min(3, cols)] for a in ([120.0, 350.0, 90.0], [80.0, -np.inf, 60.0]))
    out, expected = np.empty_like(strip), oracle.blank_outside(strip, low, high, reach)
    found = surface.blank_outside(strip, low, high, reach, out)
    np.testing.assert_array_equal(out, expected)
    assert (found > 0) == (np.isnan(expected).sum() > np.isnan(strip).sum())


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 6))
def test_oracle_normal_equations(seed, ny, nx):
    rng = np.random.default_rng(seed)
    v, u = np.append(rng.uniform(0, ny, 20), [0, ny]), np.append(rng.uniform(0, nx, 20), [0, nx])
    values, weights = rng.normal(0, 5, 22), rng.uniform(0, 2, 22) * (rng.random(22) > 0.2)
    p = (ny + 3) * (nx + 3)
    band, right = np.zeros((3 * (nx + 3) + 4, p)), np.zeros(p)
    surface.normal_equations(v, u, values, weights, ny, nx, band, right)
    full, side = oracle.normal_equations(v, u, values, weights, ny, nx)
    np.testing.assert_allclose(right, side, atol=1e-12)
    for k, row in enumerate(band):
        np.testing.assert_allclose(row[: p - k], np.diagonal(full, -k), atol=1e-12)
    assert all(np.abs(np.diagonal(full, -k)).max() == 0 for k in range(len(band), p))


def test_oracle_fit_surface():
    rng = np.random.default_rng(5)
    v, u = rng.uniform(0, 5, 60), rng.uniform(0, 7, 60)
    values, weights = rng.uniform(-1, 1, 60), rng.uniform(0.5, 1, 60)
    # Uniform noise and so wide a limit: no point is left out, and the first weights are all 1.
    fitted, kept = surface.fit_surface(v, u, values, weights, 5, 7, 1e6, 10.0)
    assert kept == 60
    expected = oracle.fit_surface(v, u, values, weights, 5, 7)
    # The penalty on first differences is 1e-6 of the others, which costs six of sixteen digits.
    np.testing.assert_allclose(fitted, expected, atol=1e-6)
    out = np.empty(60)
    surface.surface_at(fitted, v, u, out)
    np.testing.assert_allclose(out, oracle.surface_at(expected, v, u), atol=1e-8)


def test_truth_quadratic_surfaces_are_followed():
    v, u = (a.ravel() + 0.5 for a in np.mgrid[:16, :24])

    def truth(v, u):
        return 3 + u - 0.2 * v + 0.05 * u * u - 0.03 * v * v + 0.01 * u * v

    fitted, _ = surface.fit_surface(v, u, truth(v, u), np.ones(v.size), 16, 24, 6.0, 0.0)
    v, u, out = np.array([0.0, 16.0, 0.0, 8.3]), np.array([0.0, 24.0, 24.0, 1.7]), np.empty(4)
    surface.surface_at(fitted, v, u, out)
    # To the very corners; the penalty on slopes bends it by 1e-4 of the rise of one cell.
    np.testing.assert_allclose(out, truth(v, u), atol=0.02)


def test_truth_outlying_cells_do_not_bend_the_surface():
    rng = np.random.default_rng(2)
    v, u = (a.ravel() + 0.5 for a in np.mgrid[:16, :24])
    values = rng.normal(0, 1, v.size)
    outliers = rng.choice(v.size, 12, replace=False)
    bent = values.copy()
    bent[outliers] += 100
    bent[200:204] -= 30
    (without, _), (with_, kept) = (
        surface.fit_surface(v, u, z, np.ones(v.size), 16, 24, 6.0, 0.1) for z in (values, bent)
    )
    assert v.size - 22 <= kept <= v.size - 15
    # Without 4 % of its points the surface moves by a part of its own noise, about 0.4 of a point's.
    assert np.abs(with_ - without)[2:-2, 2:-2].max() < 0.5


def test_oracle_fit_shrunk():
    rng = np.random.default_rng(7)
    v, u = rng.uniform(0, 4, 300), rng.uniform(0, 6, 300)
    truth, sigma = 0.2 * np.tanh(u - 3), np.full(300, 0.01)
    fitted = surface.fit_shrunk(v, u, truth + rng.normal(0, 0.01, 300), sigma, 4, 6)
    out = np.empty(300)
    surface.surface_at(fitted, v, u, out)
    # 300 stars of 1 % tell 60 numbers to half a percent.
    assert np.sqrt(np.mean((out - truth) ** 2)) < 0.008
    # Points are within 2 sigma of the twin at the best of 41 steps of tau^2, except where Huber's weights bite.
    twins = [oracle.surface_at(oracle.fit_shrunk(v, u, truth, sigma, 4, 6, t), v, u) for t in np.logspace(-8, 2, 41)]
    assert min(np.abs(out - twin).max() for twin in twins) < 0.02


def test_truth_no_surface_in_noise_alone():
    rng = np.random.default_rng(8)
    found = 0
    for _ in range(20):
        v, u = rng.uniform(0, 6, 200), rng.uniform(0, 8, 200)
        found += surface.fit_shrunk(v, u, rng.normal(0, 0.02, 200), np.full(200, 0.02), 6, 8).size > 0
    # Three units of log likelihood by chance: e^-3 at most.
    assert found <= 2


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_oracle_apply_surface(seed, ny, nx, varies):
    rng = np.random.default_rng(seed)
    rows, cols = int(rng.integers(ny, 120)), int(rng.integers(nx, 150))
    offset, gain = rng.normal(0, 50, (ny + 3, nx + 3)), rng.normal(1, 0.1, (4, 5)) if varies else NONE
    image = sky(seed, (rows, cols))
    pitches = rows / 1, cols / 2, offset, rows / ny, cols / nx
    whole, expected = image.copy(), oracle.apply_surface(image, 0, 0, 1.3, gain, *pitches)
    surface.apply_surface(whole, 0, 0, 1.3, gain, *pitches)
    # Four float32 roundings of numbers up to 1000.
    np.testing.assert_allclose(whole, expected, atol=1e-3)
    for _ in range(10):
        y, x = int(rng.integers(0, rows)), int(rng.integers(0, cols))
        h, w = rng.integers(1, 60, 2)
        box = image[y : y + h, x : x + w].copy()
        surface.apply_surface(box, y, x, 1.3, gain, *pitches)
        np.testing.assert_array_equal(box, whole[y : y + h, x : x + w])
