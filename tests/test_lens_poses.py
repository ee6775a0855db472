"""Poses of frames seen through a known lens: what all have in common helps those with few stars, and binds no other."""

from dataclasses import replace

import numpy as np
import pytest
from lensed import lensed_night, lensed_panels

from masterlight.alignment.lens.catalogue import half_px
from masterlight.alignment.lens.poses import held_by, spread
from masterlight.alignment.lens.shared import share_lens
from masterlight.alignment.transform import Transform, similarity_matrix


def shared(night, **settings):
    return share_lens(night.sights[0], night.sights[1:], **settings)


@pytest.mark.parametrize("k", [0.005, 0.02])
def test_truth_twenty_stars_a_frame_are_enough_for_a_camera_that_turns(k):
    nights = [lensed_night(k, 20, frames=100, focal_px=30000.0, seed=seed) for seed in (1, 2, 3)]
    corners = [np.median(night.corners_px(shared(night).transforms)) for night in nights]
    assert np.median(corners) < 0.05


def test_truth_expected_corners_are_as_far_off_as_they_are():
    """0.7 to 1.4: the errors of one reference are part of all frames, so that a night is one sample of them."""
    ratios = []
    for seed in range(6):
        night = lensed_night(0.005, 60, frames=12, seed=seed, outliers=0)
        found = shared(night)
        at = np.array([[0, 0], [5999, 0], [0, 3999], [5999, 3999]], float)
        off = [np.mean((t(at) - true(at)) ** 2) * 2 for t, true in zip(found.transforms, night.truth[1:], strict=True)]
        ratios.append(np.sqrt(np.mean(off) / np.mean([t.corner_error_px**2 for t in found.transforms])))
    assert 0.7 < np.sqrt(np.mean(np.square(ratios))) < 1.4


def test_truth_what_is_not_known_of_the_lens_is_part_of_the_expected_error():
    found = shared(lensed_night(0.02, 400, frames=2, flip=True))
    many = shared(lensed_night(0.02, 400, frames=30, flip=True))
    assert found.transforms[0].corner_error_px > 1.3 * many.transforms[-1].corner_error_px


def test_truth_a_frame_that_is_sheared_stays_so():
    night = lensed_night(0.02, 300, frames=12, focal_px=30000.0, flip=False)
    sight, squeeze = night.sights[5], np.diag([1.0, 1.003, 1.0])
    xy, matrix = sight.xy * (1, 1.003), squeeze @ sight.transform.matrix
    night.sights[5] = sight._replace(xy=xy, transform=replace(sight.transform, matrix=matrix))
    found = shared(night)
    a, b = (found.transforms[i].matrix for i in (4, 5))
    assert a[1, 1] / a[0, 0] - 1 == pytest.approx(0.003, abs=5e-5) and abs(b[1, 1] / b[0, 0] - 1) < 5e-5


@pytest.mark.parametrize(("model", "free"), [("shift", 2), ("similarity", 4), ("affine", 6)])
def test_truth_a_kind_of_pose_set_by_hand_is_kept(model, free):
    turn_deg = 0.3 if model != "shift" else 0.0
    night = lensed_night(0.02, 100, frames=6, focal_px=30000.0, turn_deg=turn_deg)
    for t in shared(night, trusted=True, model=model).transforms:
        m, half = t.matrix, half_px((4000, 6000))
        assert np.abs(m[2, :2]).max() * half < 1e-9
        if free < 6:
            assert abs(m[0, 0] - m[1, 1]) < 1e-7 and abs(m[0, 1] + m[1, 0]) < 1e-7
        if free < 4:
            assert abs(m[0, 1]) < 1e-7 and abs(abs(m[0, 0]) - 1) < 1e-7


def test_truth_the_spread_of_departures_is_found_and_never_too_small():
    rng = np.random.default_rng(0)
    errors = np.exp(rng.normal(0, 1, 400))
    away = rng.normal(0, np.sqrt(errors + 2.0))
    assert spread(away, errors) == pytest.approx(2.0, rel=0.4)
    assert spread(rng.normal(0, np.sqrt(errors)), errors) < 0.3
    assert spread(np.array([0.1, -0.2]), np.ones(2)) >= 1


def test_surface_kinds_of_pose():
    assert (held_by("auto") == held_by("homography")).all() and held_by("spline")[5] == 0
    assert (held_by("shift") >= 1e18).all() and (held_by("similarity") >= 1e18).sum() == 4


@pytest.mark.parametrize("k", [0.005, -0.02])
def test_truth_panels_beyond_the_reference_are_laid_through_the_lens(k):
    night = lensed_panels(k)
    before, found = night.seams_px([s.transform for s in night.sights[1:]]), shared(night)
    assert found.believed and before.max() > 2
    assert night.seams_px(found.transforms).max() < 0.2


def test_truth_a_panel_that_the_lens_does_not_reach_leaves_all_as_they_were():
    night = lensed_panels(0.02, panels=2)
    lost = night.sights[-1]._replace(transform=Transform(similarity_matrix(1 + 0j, 60000 + 0j), shape=(4000, 6000)))
    found = share_lens(night.sights[0], [*night.sights[1:-1], lost])
    assert not found.believed and found.apart and "all frames beyond the reference" in str(found)
    assert found.transforms[-1] is lost.transform and found.transforms[0] is night.sights[1].transform
