"""Bundles: slopes are those of differences, a step is that of all unknowns at once, and the truth is where it ends."""

from dataclasses import replace

import numpy as np
import pytest
from lensed import lensed_night

from masterlight.alignment.lens import shared
from masterlight.alignment.lens.bundle import ALL_TERMS, ONE_TERM, adjust
from masterlight.alignment.models.growth import pair_up
from masterlight.alignment.transform import apply


def a_bundle(**night):
    sights = lensed_night(**night).sights
    trees = [shared.cKDTree(sight.xy) for sight in sights]
    pairs = {i: pair_up(s.transform(sights[0].xy), trees[i], 3.0) for i, s in enumerate(sights) if i}
    return shared.bundle_of(sights[0], sights, pairs, None)


@pytest.fixture(scope="module")
def small():
    bundle = a_bundle(k=0.02, stars=30, frames=4, outliers=0)
    lens, centre = np.array([0.02, 0.003, -0.002, 0.001, -0.002]), np.array([0.01, -0.02])
    return replace(bundle, lens=lens, centre=centre, prior=ALL_TERMS, weight=bundle.sigma**-2)


def nudged(bundle, name, index, by):
    values = getattr(bundle, name).copy()
    values.reshape(-1)[index] += by
    return replace(bundle, **{name: values})


def slope(bundle, name, index):
    """The derivative of where all stars are seen by one number, from the difference of two places."""
    more, less = (nudged(bundle, name, index, by).traced()[0] for by in (1e-6, -1e-6))
    return (more - less) / 2e-6


def test_oracle_slopes_are_those_of_differences(small):
    left, by, by_sky = small.slopes()
    np.testing.assert_allclose(left, small.at - small.traced()[0], atol=1e-15)
    for k in range(5):
        np.testing.assert_allclose(by[:, :, k], slope(small, "lens", k), atol=1e-8)
    for f in range(len(small.poses)):
        own = small.frame == f
        for k in range(8):
            np.testing.assert_allclose(by[own, :, 5 + k], slope(small, "poses", 9 * f + k)[own], atol=1e-8)
    for s in range(len(small.sky)):
        own = small.star == s
        for k in range(2):
            np.testing.assert_allclose(by_sky[own, :, k], slope(small, "sky", 2 * s + k)[own], atol=1e-8)


def slow_step(bundle):
    """Least squares of all unknowns at once: lens, poses and places of stars."""
    left, by, by_sky = bundle.slopes()
    n, frames, stars = len(left), len(bundle.poses), len(bundle.sky)
    design = np.zeros((n, 2, 5 + 8 * (frames - 1) + 2 * stars))
    design[:, :, :5] = by[:, :, :5]
    for i, (f, s) in enumerate(zip(bundle.frame, bundle.star, strict=True)):
        if f:
            design[i, :, 5 + 8 * (f - 1) : 5 + 8 * f] = by[i, :, 5:]
        first = design.shape[2] - 2 * (stars - s)
        design[i, :, first : first + 2] = by_sky[i]
    root = np.sqrt(np.repeat(bundle.weight, 2))
    expected = np.zeros((5, design.shape[2]))
    expected[:, :5] = np.diag(1 / bundle.prior)
    design = np.vstack([design.reshape(2 * n, -1) * root[:, None], expected])
    right = np.concatenate([left.ravel() * root, -bundle.lens / bundle.prior])
    change = np.linalg.lstsq(design, right, rcond=1e-14)[0]
    return change[:5], change[5 : 5 + 8 * (frames - 1)], change[5 + 8 * (frames - 1) :]


def test_oracle_a_step_is_that_of_all_unknowns_at_once(small):
    lens, poses, sky = slow_step(small)
    new = small.step()
    np.testing.assert_allclose(new.lens - small.lens, lens, atol=1e-6)
    np.testing.assert_allclose((new.poses - small.poses)[1:].reshape(-1, 9)[:, :8].ravel(), poses, atol=1e-6)
    np.testing.assert_allclose((new.sky - small.sky).ravel(), sky, atol=1e-6)


def test_truth_sightings_without_errors_are_explained_whole():
    bundle, steps, moved = adjust(replace(a_bundle(k=0.02, outliers=0, sigma_px=1e-6), prior=ALL_TERMS), 1e-9, 20)
    half = shared.half_px((4000, 6000))
    # what terms about the middle leave of an axis off it
    assert half * np.sqrt(np.percentile(bundle.squares(), 98)) < 0.03
    assert steps < 20 and moved < 1e-9
    assert bundle.lens[0] == pytest.approx(0.02, abs=3e-4)


def test_truth_outliers_count_for_nothing():
    bundle, _, _ = adjust(a_bundle(k=0.005, outliers=0.2), 1e-6, 20)
    bundle = bundle.weighed(soft=False)
    far = np.sqrt(bundle.squares()) > 8 * bundle.sigma
    assert far.mean() > 0.1 and (bundle.weight * bundle.sigma**2)[far].max() < 1e-3


def test_truth_terms_that_are_held_stay():
    bundle, _, _ = adjust(replace(a_bundle(k=0.02, frames=4), prior=ONE_TERM), 1e-6, 20)
    assert np.abs(bundle.lens[1:3]).max() < 1e-8 and bundle.lens[0] > 0.01
    plain = shared.settled(shared.without_lens(bundle))
    assert np.abs(plain.lens).max() < 1e-8 and plain.chi2() > bundle.chi2()


def test_truth_a_frame_without_sightings_stays_where_it_is(small):
    alone = small.of(small.frame != 2).step()
    np.testing.assert_array_equal(alone.poses[2], small.poses[2])
    assert np.isfinite(alone.sky).all()


def test_truth_placed_moves_stars_alone(small):
    new = small.placed()
    assert new.poses is small.poses and new.lens is small.lens and new.chi2() < small.chi2()
    assert np.abs(apply(np.eye(3), new.sky) - small.sky).max() > 0
