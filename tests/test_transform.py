"""Transforms: fits give back their own model, and a transform maps, turns back and composes."""

import numpy as np
import pytest

from masterlight.alignment import transform
from masterlight.alignment.transform import Transform, apply


def similarity(angle_deg, scale, dx, dy, mirrored=False):
    return transform.similarity_matrix(scale * np.exp(1j * np.radians(angle_deg)), complex(dx, dy), mirrored)


@pytest.mark.parametrize("model", transform.DEGREES)
@pytest.mark.parametrize("mirrored", [False, True])
def test_truth_fits_return_their_own_model(model, mirrored):
    xy = np.random.default_rng(2).uniform([0, 0], [6000, 4000], (40, 2))
    truth = similarity(20, 1.01, 30, 40, mirrored)
    if model == "shift":
        truth = similarity(0, 1, 30, 40)
    if model in ("affine", "homography"):
        truth[0, 1] += 0.003
    if model == "homography":
        truth[2, :2] = 1e-6, -2e-6
    at = apply(truth, xy)
    for found in (
        transform.fit(model, xy, at, None, mirrored),
        transform.robust_fit(model, xy, at, np.full(40, 0.1), mirrored)[0],
    ):
        assert np.abs(apply(found, xy) - at).max() < 1e-6


def test_truth_a_robust_fit_ignores_wrong_pairs():
    rng = np.random.default_rng(3)
    xy, truth = rng.uniform([0, 0], [6000, 4000], (100, 2)), similarity(5, 1, 10, 20)
    at = apply(truth, xy) + rng.normal(0, 0.05, (100, 2))
    at[:20] += rng.uniform(-3, 3, (20, 2))
    found, error, scale = transform.robust_fit("affine", xy, at, np.full(100, 0.05))
    assert np.abs(apply(found, xy) - apply(truth, xy)).max() < 0.05  # 0.05 sqrt(7 / 80), three sigma
    assert scale == pytest.approx(1, rel=0.35) and np.median(error[:20]) > 10


def view_of_the_sky():
    """A homography with everything in it."""
    matrix = similarity(33, 1.4, 120, -50, mirrored=True)
    matrix[2, :2] = 2e-6, -1e-6
    return Transform(matrix=matrix, mirrored=True, shape=(4000, 6000))


def test_truth_the_inverse_leads_back():
    xy, t = np.random.default_rng(5).uniform([0, 0], [6000, 4000], (50, 2)), view_of_the_sky()
    np.testing.assert_allclose(t.inverse(t(xy)), xy, atol=1e-8)
    assert t.inverse.mirrored and t.inverse.inverse.scale == pytest.approx(Transform(matrix=t.matrix).scale)


def test_truth_composition_is_one_after_the_other():
    xy, t = np.random.default_rng(6).uniform([0, 0], [6000, 4000], (50, 2)), view_of_the_sky()
    u = Transform(matrix=similarity(-10, 0.9, 3, 4), model="similarity", shape=(400, 600))
    np.testing.assert_allclose((t @ u)(xy), t(u(xy)), atol=1e-8)
    assert (t @ u).mirrored and not (t @ t).mirrored and (t @ u).shape == (400, 600) and (u @ t).model == "homography"
    np.testing.assert_allclose((t @ t.inverse).matrix, np.eye(3), atol=1e-8)


def test_truth_residuals_are_distances_in_the_source():
    xy, t = np.random.default_rng(7).uniform([0, 0], [6000, 4000], (20, 2)), view_of_the_sky()
    np.testing.assert_allclose(t.residuals(xy, t(xy) + (3.0, 4.0)), np.full(20, 5.0))
    assert t.to_source(xy).tolist() == t(xy).tolist() and t((10.0, 20.0)).shape == (2,)


def test_surface_one_transform_or_one_for_each_plane():
    t = Transform.identity((10, 20))
    assert transform.each_of(t) == transform.each_of([t]) == (t,) and transform.each_of((t, t)) == (t, t)
