"""Thin plates: as smooth as the data ask for, and equal to the textbook's equations."""

import numpy as np
import pytest
from scipy.interpolate import RBFInterpolator
from test_fits import BOX, turned

from masterlight.alignment.bend import scaled
from masterlight.alignment.models import splines
from masterlight.alignment.transform import fit


def field(xy):
    """Waves of half a pixel, as no lens makes them."""
    u, v = xy[:, 0] / 6000, xy[:, 1] / 4000
    return 0.5 * np.column_stack([np.sin(5 * u + 2 * v), np.cos(4 * v - u)])


def stars(count, noise_px, seed=1):
    rng = np.random.default_rng(seed)
    xy = rng.uniform([0, 0], [5999, 3999], (count, 2))
    return xy, turned(xy) + field(xy) + rng.normal(0, noise_px, xy.shape)


def test_authority_scipys_smoothing_spline():
    xy, at = stars(60, 0.05)
    base = fit("homography", xy, at)
    found, free = splines.spline_beside(base, xy, at, np.full(60, 400.0), BOX)
    left = at - splines.apply(base, xy)
    own = scaled(BOX, xy)
    # the smoothing that was chosen, from any node: what is left there over its weight
    smoothing = np.median((left - found(xy))[:, 0] / found.weights[0])
    theirs = RBFInterpolator(own, left, kernel="thin_plate_spline", smoothing=smoothing, degree=1)
    at_all = np.random.default_rng(2).uniform([0, 0], [5999, 3999], (500, 2))
    np.testing.assert_allclose(found(at_all), theirs(scaled(BOX, at_all)), atol=1e-6)
    assert 6 < free < 120


@pytest.mark.parametrize("count", [150, 800])
def test_truth_a_spline_follows_what_is_there_and_not_the_noise(count):
    xy, at = stars(count, 0.1)
    base = fit("homography", xy, at)
    found, free = splines.spline_beside(base, xy, at, np.full(count, 100.0), BOX)
    inside = np.random.default_rng(3).uniform([300, 300], [5700, 3700], (500, 2))
    away = np.hypot(*(splines.apply(base, inside) + found(inside) - turned(inside) - field(inside)).T)
    assert np.median(away) < 0.06 and 10 < free < count
    assert len(found.nodes) <= 1.3 * splines.MOST_NODES


def test_truth_nothing_but_noise_makes_no_bend():
    rng = np.random.default_rng(4)
    xy = rng.uniform([0, 0], [5999, 3999], (200, 2))
    at = turned(xy) + rng.normal(0, 0.1, xy.shape)
    found, free = splines.spline_beside(fit("homography", xy, at), xy, at, np.full(200, 100.0), BOX)
    assert np.abs(found(xy)).max() < 0.1 and free < 40
