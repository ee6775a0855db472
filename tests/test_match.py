"""Matching: chance is counted honestly, and a star is paired once."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.stats import nbinom, poisson
from test_align import SHAPE, star_list

from masterlight.alignment import match
from masterlight.alignment.align import StarAlignment
from masterlight.alignment.models import growth


@pytest.mark.parametrize(("agreed", "expected"), [(1, 0.1), (5, 0.75), (40, 12.0), (3, 30.0), (800, 0.5)])
def test_authority_scipy_chance(agreed, expected):
    theirs = poisson.logsf(agreed - 1, expected) / np.log(10)
    ours = match.log10_chance(agreed, expected)
    assert ours == pytest.approx(theirs if np.isfinite(theirs) else ours, rel=1e-6, abs=1e-9)
    assert ours <= 0 and (agreed < 100 or ours < -1000)


@pytest.mark.parametrize("clumping", [1.02, 1.5, 4.0])
@pytest.mark.parametrize(("agreed", "expected"), [(1, 0.1), (5, 0.75), (12, 0.01), (40, 12.0)])
def test_authority_scipy_chance_of_what_meets_in_clumps(agreed, expected, clumping):
    theirs = nbinom.logsf(agreed - 1, expected / (clumping - 1), 1 / clumping) / np.log(10)
    assert match.log10_chance(agreed, expected, clumping) == pytest.approx(theirs, rel=1e-6)
    assert match.log10_chance(agreed, expected) == pytest.approx(
        match.log10_chance(agreed, expected, 1 + 1e-5), rel=1e-2
    )


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


def strewn(rng, count, shape, *doubled):
    """Positions at random, and again at some offsets (px)."""
    xy = rng.uniform((0, 0), (shape[1] - 1, shape[0] - 1), (count, 2))
    return np.vstack([xy, *(xy + move + rng.normal(0, 0.2, xy.shape) for move in doubled)])


@pytest.mark.parametrize(
    ("shape", "count", "least"), [((96, 128), 20, 1.15), ((500, 700), 100, 1.35), (SHAPE, 100, 1.35)]
)
def test_truth_doubled_stars_meet_together_and_crowds_of_single_ones_do_not(shape, count, least):
    rng = np.random.default_rng(2)
    single = [match.clumping(strewn(rng, count, shape), strewn(rng, count, shape), shape, 3.0) for _ in range(8)]
    assert np.mean(single) < 1.06
    double = [match.clumping(*(strewn(rng, count, shape, (12, 0)) for _ in "ab"), shape, 3.0) for _ in range(8)]
    # of four differences of two pairs two are the same, (2 * 2 + 1 + 1) / 4; less where stars fall off small frames
    assert least < np.mean(double) < 1.6


def test_truth_a_small_crowded_field_is_its_own_evidence():
    """A trailed light of some 30 stars in 96 x 128 px shares 21 with the reference, each beside some brighter one."""
    shape, process = (96, 128), StarAlignment()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        common, flux = rng.uniform((6, 6), (120, 88), (21, 2)), rng.pareto(1.2, 21) + 1
        first = star_list(np.vstack([common, strewn(rng, 11, shape)]), np.append(flux, rng.choice(flux, 11)))
        second = star_list(np.vstack([common + (3.4, -2.1) + rng.normal(0, 0.5, common.shape), strewn(rng, 2, shape)]),
                           np.append(flux, rng.choice(flux, 2)))  # fmt: skip
        other = star_list(strewn(rng, 23, shape), rng.pareto(1.2, 23) + 1)
        first, second, other = (replace(one, shape=shape) for one in (first, second, other))
        found = process.align(process.prepare(first), second, "trailed.fits")
        assert found and np.abs(found(common) - common - (3.4, -2.1)).max() < 2
        assert not process.align(process.prepare(first), other, "other.fits")


def test_truth_heaps_of_stars_of_another_field_are_no_match():
    process, shape = StarAlignment(), (4000, 5900)
    for seed in range(20, 32):
        rng, lists = np.random.default_rng(seed), []
        for _ in "ab":
            heaps = rng.uniform((300, 300), (5600, 3700), (3, 2))
            xy = np.vstack([*(heap + rng.normal(0, 30, (60, 2)) for heap in heaps), strewn(rng, 100, shape)])
            lists.append(star_list(xy, rng.pareto(1.2, len(xy)) + 1))
        assert not process.align(process.prepare(lists[0]), lists[1], "other.fits")


def test_truth_stars_that_agree_beyond_the_edge_are_no_certainty():
    """No place of the reference lies on the frame, and four stand beside its edge, where fits put stars as well."""
    rng, shape = np.random.default_rng(4), (500, 700)
    edge = np.stack([np.full(4, -0.7), np.array([60.0, 170, 300, 420])], axis=-1)
    tree = cKDTree(np.vstack([edge, strewn(rng, 80, shape)]))
    places = np.vstack([edge - (1.2, 0), strewn(rng, 60, shape) - (800, 0)])
    pose = match.verify(np.eye(3), places, tree, shape, 3.0, 2, 100)
    assert pose.log10_p > -6
