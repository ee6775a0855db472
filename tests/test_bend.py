"""Bends: what a lens, a polynomial or a spline adds to a matrix, there and back, alone and one after the other."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.polynomial import legendre as numpys

from masterlight.alignment import bend
from masterlight.alignment.bend import Lens, LensBend, Polynomial, Spline
from masterlight.alignment.transform import Transform, similarity_matrix

SHAPE = (400, 600)
BOX = (0.0, 0.0, 599.0, 399.0)
MATRIX = similarity_matrix(1.01 * np.exp(0.05j), 12.5 - 7.25j)
XY = np.random.default_rng(1).uniform([0, 0], [599, 399], (60, 2))


def a_polynomial(order=3):
    rng = np.random.default_rng(order)
    return Polynomial(BOX, rng.normal(0, 0.3, (2, len(bend.exponents(order)))))


def a_spline():
    rng = np.random.default_rng(4)
    nodes = rng.uniform([0, 0], [599, 399], (12, 2))
    away = np.column_stack([np.ones(12), bend.scaled(BOX, nodes)])
    weights = rng.normal(0, 2, (2, 12))
    weights -= weights @ away @ np.linalg.pinv(away)  # so that it is flat far away
    return Spline(nodes, weights, rng.normal(0, 1, (2, 3)), BOX)


def a_lens(k=0.02):
    lens = Lens((310.0, 190.0), 360.0, (k, -k / 4), (1e-4, -2e-4))
    return LensBend(MATRIX, lens, Lens((296.0, 204.0), 360.0, (k,)))


BENDS = {"polynomial2": a_polynomial(2), "polynomial4": a_polynomial(4), "spline": a_spline(), "lens": a_lens()}


def bent(name):
    return Transform(MATRIX, shape=SHAPE, model=name if name != "lens" else "lens", bend=BENDS[name])


def test_oracle_polynomials_are_those_of_numpy():
    polynomial = a_polynomial(4)
    u, v = XY[:, 0] / 299.5 - 1, XY[:, 1] / 199.5 - 1
    for axis in (0, 1):
        table = np.zeros((5, 5))
        for (i, j), c in zip(bend.exponents(4), polynomial.coefficients[axis], strict=True):
            table[i, j] = c
        np.testing.assert_allclose(polynomial(XY)[:, axis], numpys.legval2d(u, v, table), atol=1e-12)
    assert [a_polynomial(n).order for n in (2, 3, 4)] == [2, 3, 4]


def test_truth_a_lens_is_undone():
    lens = Lens((310.0, 190.0), 360.0, (0.03, -0.01), (1e-3, -5e-4))
    np.testing.assert_allclose(lens.undistort(lens.distort(XY)), XY, atol=1e-8)
    corner = np.array([670.0, 190.0])  # one radius from the centre
    assert Lens((310.0, 190.0), 360.0, (0.02,)).distort(corner)[0] - 670 == pytest.approx(0.02 * 360)


def test_truth_a_shared_lens_undistorts_projects_and_distorts():
    t, reference, source = bent("lens"), BENDS["lens"].reference, BENDS["lens"].source
    ideal = XY
    np.testing.assert_allclose(t(reference.distort(ideal)), source.distort(Transform(MATRIX)(ideal)), atol=1e-8)


@pytest.mark.parametrize("name", BENDS)
def test_truth_a_bend_is_tame_far_outside(name):
    far = np.array([[1e5, 200.0], [300.0, -1e5]])
    assert np.abs(BENDS[name](far)).max() < 0.06 * 1e5 and np.isfinite(BENDS[name](far)).all()


@pytest.mark.parametrize("name", BENDS)
def test_truth_the_inverse_of_a_bent_transform_leads_back(name):
    t = bent(name)
    np.testing.assert_allclose(t.inverse(t(XY)), XY, atol=1e-6)
    np.testing.assert_allclose(t(t.inverse(XY)), XY, atol=1e-6)
    np.testing.assert_array_equal(t.inverse.inverse(XY), t(XY))


@pytest.mark.parametrize("name", BENDS)
def test_truth_bent_transforms_compose(name):
    t, u = bent(name), Transform(similarity_matrix(np.exp(-0.1j), 3 + 4j), shape=(300, 300))
    np.testing.assert_allclose((t @ u)(XY), t(u(XY)), atol=1e-8)
    np.testing.assert_allclose((u @ t)(XY), u(t(XY)), atol=1e-8)
    np.testing.assert_allclose((t @ t)(XY), t(t(XY)), atol=1e-8)
    assert (t @ u).model == (u @ t).model == name and (t @ u).shape == (300, 300)
    both = t @ t.inverse
    assert both and np.abs(both(XY) - XY).max() < 1e-6


@pytest.mark.parametrize("name", BENDS)
def test_truth_a_grid_is_right_to_two_thousandths_of_a_pixel(name):
    t = bent(name)
    grid = t.grid(30, 330, 17, 555)
    y, x = np.mgrid[30:330:7, 17:555:7]
    xy = np.stack([x, y], axis=-1).astype(float)
    assert np.abs(grid.at(xy) - t(xy)).max() < 0.002 and grid.positions.dtype == float
    assert grid.y0 <= 30 and grid.x0 <= 17 and grid.y0 % grid.step_px == grid.x0 % grid.step_px == 0


@pytest.mark.parametrize("name", BENDS)
def test_truth_a_grid_of_the_way_back_leads_back(name):
    t = bent(name)
    back = replace(t.inverse, shape=SHAPE)
    xy = XY[np.hypot(*(XY - (300, 200)).T) < 150]
    assert np.abs(t(back.grid(0, 400, 0, 600).at(xy)) - xy).max() < 0.0025


@pytest.mark.parametrize("name", BENDS)
def test_bits_of_a_grid_do_not_depend_on_its_box(name):
    t = bent(name) @ Transform(similarity_matrix(1 + 0j, -5 + 3j), shape=(390, 590))
    whole, step = t.grid(0, 400, 0, 600, 16), 16
    for y0, y1, x0, x1 in ((0, 16, 0, 16), (100, 101, 33, 34), (37, 290, 101, 555), (390, 400, 0, 600)):
        part = t.grid(y0, y1, x0, x1, step)
        j, i = (part.y0 - whole.y0) // step, (part.x0 - whole.x0) // step
        rows, cols = part.positions.shape[:2]
        np.testing.assert_array_equal(part.positions, whole.positions[j : j + rows, i : i + cols])
        assert rows >= 2 and cols >= 2 and part.y0 + (rows - 1) * step >= y1 - 1


def test_truth_the_step_follows_the_curvature():
    assert Transform.identity(SHAPE).step_px == 128
    assert bent("lens").step_px < 64
    small = Transform(MATRIX, shape=SHAPE, bend=Polynomial(BOX, 0.003 * a_polynomial(2).coefficients))
    assert small.step_px >= 64


@pytest.mark.parametrize("name", BENDS)
def test_truth_the_affine_of_a_box_is_near(name):
    t = bent(name)
    for y0, y1, x0, x1 in ((0, 32, 0, 32), (200, 216, 300, 332), (50, 51, 60, 61)):
        y, x = np.mgrid[y0:y1, x0:x1]
        xy = np.stack([x.ravel(), y.ravel()], axis=-1).astype(float)
        near = Transform(t.affine(y0, y1, x0, x1))
        assert np.abs(near(xy) - t(xy)).max() < 0.15
    assert t.rotation_deg == pytest.approx(np.degrees(0.05), abs=2) and t.scale == pytest.approx(1.01, abs=0.03)
    plain = Transform(MATRIX, shape=SHAPE)
    assert plain.affine(0, 9, 0, 9) is plain.matrix
