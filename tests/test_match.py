"""Matching: chance is counted honestly, and a star is paired once."""

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.stats import poisson
from test_align import star_list

from masterlight.alignment import match
from masterlight.alignment.align import StarAlignment
from masterlight.alignment.models import growth


@pytest.mark.parametrize(("agreed", "expected"), [(1, 0.1), (5, 0.75), (40, 12.0), (3, 30.0), (800, 0.5)])
def test_authority_scipy_chance(agreed, expected):
    theirs = poisson.logsf(agreed - 1, expected) / np.log(10)
    ours = match.log10_chance(agreed, expected)
    assert ours == pytest.approx(theirs if np.isfinite(theirs) else ours, rel=1e-6, abs=1e-9)
    assert ours <= 0 and (agreed < 100 or ours < -1000)


def test_truth_pairs_are_one_to_one():
    source = np.array([[0, 0], [10, 0], [20, 0.0]])
    of_ref, of_src = growth.pair_up(np.array([[0.5, 0], [0.1, 0], [11, 0], [50, 50.0]]), cKDTree(source), 3.0)
    assert of_ref.tolist() == [1, 2] and of_src.tolist() == [0, 1]


def test_truth_doubled_stars_of_another_field_are_no_match():
    for seed in range(20, 50):
        rng = np.random.default_rng(seed)
        lists = []
        for _ in "ab":
            xy = rng.uniform([0, 0], [5900, 3999], (int(rng.integers(10, 80)), 2))
            xy = np.vstack([xy, xy + (12, 0) + rng.normal(0, 0.2, xy.shape)])
            lists.append(star_list(xy, rng.pareto(1.2, len(xy)) + 1))
        assert not StarAlignment().align(StarAlignment().prepare(lists[0]), lists[1], "doubled.fits")


def test_truth_crowds_meet_by_accident_more_often():
    rng = np.random.default_rng(1)
    crowd = rng.normal(500, 40, (300, 2))
    tree, places = cKDTree(np.vstack([crowd, rng.uniform(0, 1000, (100, 2))])), rng.normal(500, 40, (400, 2))
    near = np.mean([np.isfinite(tree.query(places, distance_upper_bound=2.0)[0]).sum()])
    assert match.crowding(places, tree, (1000, 1000), 2.0) == pytest.approx(near, rel=0.25)
    even = cKDTree(rng.uniform(0, 1000, (400, 2)))
    spread = match.crowding(rng.uniform(50, 950, (100, 2)), even, (1000, 1000), 2.0)
    assert spread == pytest.approx(100 * 400e-6 * np.pi * 4, rel=0.3)
    assert match.crowding(np.empty((0, 2)), even, (1000, 1000), 2.0) == 0
