"""Fits: every model gives itself back, wrong pairs count for nothing, and the corners are as uncertain as told."""

import numpy as np
import pytest

from masterlight.alignment.bend import Lens, Polynomial, exponents
from masterlight.alignment.models.fits import Fit, Pairs, corner_error_px, fitted, robust
from masterlight.alignment.transform import apply, similarity_matrix

BOX = (0.0, 0.0, 5999.0, 3999.0)
CORNERS = np.array([(0, 0), (5999, 0), (0, 3999), (5999, 3999.0)])
TURN = similarity_matrix(1.002 * np.exp(0.01j), 30 - 20j)
POLYNOMIALS = ("polynomial2", "polynomial3", "polynomial4")


def pairs_of(place, count=200, sigma_px=0.05, seed=1, mirrored=False):
    """Stars all over the frame, each position in the source with this error; `place` is where they truly lie."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform([0, 0], [5999, 3999], (count, 2))
    return Pairs(xy, place(xy) + rng.normal(0, sigma_px, xy.shape), np.full(count, max(sigma_px, 0.01)), mirrored, BOX)


def turned(xy):
    return apply(TURN, xy)


def through_lens(k=0.02):
    lens = Lens((3050.0, 1960.0), 3605.0, (k,))
    return lambda xy: lens.distort(apply(TURN, xy))


@pytest.mark.parametrize("model", POLYNOMIALS)
def test_truth_polynomials_return_themselves(model):
    order = int(model[-1])
    coefficients = np.random.default_rng(order).normal(0, 2, (2, len(exponents(order))))
    truth = Fit(model, TURN, Polynomial(BOX, coefficients))
    pairs = pairs_of(truth, sigma_px=0)
    for found in (fitted(model, pairs), robust(model, pairs)[0]):
        assert np.abs(found(CORNERS) - truth(CORNERS)).max() < 1e-6 and found.free == 12 + 2 * (
            len(exponents(order)) - 3
        )
        np.testing.assert_allclose(found.bend.coefficients, coefficients, atol=1e-7)


def test_oracle_weights_are_those_of_least_squares():
    pairs = pairs_of(turned, 40)
    weight = np.random.default_rng(2).uniform(0.1, 10, 40)
    u, v = pairs.xy_ref[:, 0] / 2999.5 - 1, pairs.xy_ref[:, 1] / 1999.5 - 1
    terms = np.column_stack([np.ones(40), u, v, (3 * u**2 - 1) / 2, u * v, (3 * v**2 - 1) / 2])
    normal = np.linalg.solve((terms.T * weight) @ terms, (terms.T * weight) @ pairs.xy)
    np.testing.assert_allclose(fitted("polynomial2", pairs, weight)(pairs.xy_ref), terms @ normal, atol=1e-7)


@pytest.mark.parametrize("model", ["shift", "affine", "polynomial3", "spline"])
def test_truth_wrong_pairs_count_for_nothing(model):
    place = (lambda xy: xy + (3.0, 4.0)) if model == "shift" else turned
    pairs = pairs_of(place, 300)
    pairs.xy[:60] += np.random.default_rng(3).uniform(-3, 3, (60, 2))
    found, scale = robust(model, pairs)
    assert np.abs(found(CORNERS) - place(CORNERS)).max() < (0.15 if model == "spline" else 0.08)
    assert scale == pytest.approx(1.1, rel=0.3)


@pytest.mark.parametrize("model", ["shift", "similarity", "affine", "homography", *POLYNOMIALS])
def test_truth_corners_are_as_uncertain_as_told(model):
    place = (lambda xy: xy + (3.0, 4.0)) if model == "shift" else turned
    errors, told = [], []
    for seed in range(60):
        pairs = pairs_of(place, 100, 0.1, seed)
        found, _ = robust(model, pairs)
        errors.append(found(CORNERS) - place(CORNERS))
        told.append(corner_error_px(found, pairs))
    assert np.sqrt((np.square(errors).sum(axis=2)).mean()) == pytest.approx(np.median(told), rel=0.2)


def test_truth_stars_in_one_place_tell_little_of_the_corners():
    pairs = pairs_of(turned, 100)
    near = pairs._replace(xy_ref=0.2 * pairs.xy_ref, xy=turned(0.2 * pairs.xy_ref))
    told = [corner_error_px(fitted("affine", p), p) for p in (pairs, near)]
    assert told[1] > 5 * told[0]
