"""Stars of all frames of a set: those that the reference does not show are added, once, when two frames show them."""

import numpy as np
from lensed import lensed_night, lensed_panels
from scipy.spatial import cKDTree

from masterlight.alignment.lens.catalogue import paired, sky_of


def stars_of(night):
    reference, *frames = night.sights
    trees = {i: cKDTree(frame.xy) for i, frame in enumerate(frames)}
    return paired(sky_of(reference, None), frames, trees, None, 3.0)


def test_truth_stars_that_the_reference_does_not_show_are_added_once():
    night = lensed_night(0.0, 40, frames=10, outliers=0)
    sky, pairs = stars_of(night)
    assert sky.own == len(night.sights[0].xy) and sky.own < len(sky.xy) < 60
    gaps = cKDTree(sky.xy).query(sky.xy, 2)[0][:, 1]
    assert gaps.min() > 6
    for i, (star, own) in pairs.items():
        at = night.sights[i + 1].transform(sky.xy[star])
        assert np.hypot(*(at - night.sights[i + 1].xy[own]).T).max() < 3
        assert len(own) >= len(night.sights[i + 1].xy) - 3
    assert np.isinf(sky.sigma_px[sky.own :]).all() and sky.bright[sky.own :].all()


def test_truth_what_one_frame_alone_shows_is_left_out():
    night = lensed_night(0.0, 40, frames=4, outliers=0)
    alone = np.array([[100.0, 100.0], [5000.0, 3000.0]])
    sight = night.sights[2]
    night.sights[2] = sight._replace(xy=np.vstack([sight.xy, alone]), sigma_px=np.append(sight.sigma_px, [0.05, 0.05]))
    sky, pairs = stars_of(night)
    assert not set(range(len(sight.xy), len(sight.xy) + 2)) & set(pairs[1][1].tolist())
    assert np.bincount(np.concatenate([star for star, _ in pairs.values()]))[sky.own :].min() >= 2


def test_truth_panels_are_linked_by_their_neighbours():
    sky, pairs = stars_of(lensed_panels(0.0, panels=4))
    assert min(len(star) for star, _ in pairs.values()) > 100
    assert set(pairs[4][0]) & set(pairs[2][0]) and not (pairs[4][0] < sky.own).any()
