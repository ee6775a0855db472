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
    reference, *frames = lensed_night(**night).sights
    trees = {i: shared.cKDTree(frame.xy) for i, frame in enumerate(frames)}
    pairs = {i: pair_up(frames[i].transform(reference.xy), tree, 3.0) for i, tree in trees.items()}
    return shared.bundle_of(reference, frames, shared.sky_of(reference, None), pairs, None)[0]


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


def test_oracle_slopes_of_departures_are_those_of_differences(small):
    bundle = replace(small, camera=np.array([0.02, 0.03, -0.02]))
    _, by = bundle.departures()
    for k in range(8):
        for f in range(1, len(bundle.poses)):
            more, less = (nudged(bundle, "poses", 9 * f + k, d).departures()[0][f] for d in (1e-6, -1e-6))
            # the turn that is taken off is held, so that what moves the frame changes little else
            np.testing.assert_allclose(by[f, :, k], (more - less) / 2e-6, atol=0.04)


def test_truth_a_camera_that_turns_departs_from_nothing():
    bundle = a_bundle(stars=30, frames=6, focal_px=9000.0, outliers=0)
    half, centre = shared.half_px((4000, 6000)), np.array([60.0, -40.0]) * shared.half_px((4000, 6000)) / 3606
    poses = np.array([s.matrix for s in lensed_night(stars=30, frames=6, focal_px=9000.0, outliers=0).truth])
    to = shared.to_half((4000, 6000))
    poses = to @ poses @ np.linalg.inv(to)
    camera = np.append((half / 9000) ** 2, centre / half)
    away, _ = replace(bundle, poses=poses / poses[:, 2:, 2:], camera=camera).departures()
    np.testing.assert_allclose(away[:, :5], 0, atol=1e-9)
    assert 0.1 < np.degrees(np.abs(away[:, 5]).max()) < 1


def test_oracle_poses_that_are_held_are_part_of_the_equations(small):
    held = np.tile([1e6, 1e6, 1e8, 1e8, 1e5, 0], (len(small.poses), 1))
    bundle, size = replace(small, held=held), len(small.poses) - 1
    away, by = bundle.departures()
    free, _, _ = small.equations(*small.slopes())
    normal, right, _ = bundle.equations(*bundle.slopes())
    for f in range(size):
        own = slice(5 + 8 * f, 13 + 8 * f)
        slow = sum(held[f + 1, k] * np.outer(by[f + 1, k], by[f + 1, k]) for k in range(6))
        np.testing.assert_allclose((normal - free)[own, own], slow, rtol=1e-6, atol=1e-3)
    assert bundle.chi2() == pytest.approx(small.chi2() + (held * away**2).sum())
    assert np.abs(bundle.step().departures()[0][1:, :5]).max() < np.abs(away[1:, :5]).max()


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
