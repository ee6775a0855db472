"""Matching: codes, votes and fits agree with slow twins; chance is counted honestly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import match as oracle
from scipy.spatial import cKDTree
from scipy.stats import poisson

from masterlight.alignment import match


def similarity(angle_deg, scale, dx, dy, mirrored=False):
    return match.similarity_matrix(scale * np.exp(1j * np.radians(angle_deg)), complex(dx, dy), mirrored)


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_oracle_quad_codes(seed):
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, 1000, (9, 2))
    quads = np.array([rng.choice(9, 4, replace=False) for _ in range(5)])
    before = quads.copy()
    codes, length = match.quad_codes(xy, quads)
    for was, stars, code, side in zip(before, quads, codes, length, strict=True):
        slow_stars, slow_code, slow_side = oracle.quad_codes(xy, was)
        assert tuple(stars) == slow_stars
        np.testing.assert_allclose(code, slow_code, atol=1e-9)
        assert side == pytest.approx(slow_side)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40))
def test_oracle_votes(seed, count):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-2, 2, (count, 5))
    points[:, 1] = rng.uniform(-5, 5, count)
    ours = match.votes(points, np.argsort(points[:, 0]), 10.0)
    np.testing.assert_array_equal(ours, oracle.votes(points, 10.0))


def test_truth_codes_survive_move_turn_scale_and_mirror():
    xy = np.random.default_rng(0).uniform(0, 1000, (60, 2))
    for mirrored in (False, True):
        moved = match.apply(similarity(77, 3.1, 50, -20, mirrored), xy)
        a, b = match.quads_of(xy), match.quads_of(moved)
        codes = b.codes * (1, -1, 1, -1) if mirrored else b.codes
        np.testing.assert_array_equal(a.stars, b.stars)
        np.testing.assert_allclose(a.codes, codes, atol=1e-9)
        np.testing.assert_allclose(3.1 * a.length_px, b.length_px)


def test_truth_few_stars_make_all_quads_and_double_stars_do_no_harm():
    xy = np.random.default_rng(1).uniform(0, 1000, (7, 2))
    assert len(match.quads_of(xy).stars) == 35
    same = np.repeat(xy[:1], 30, axis=0)
    assert np.isfinite(match.quads_of(same).codes).all()


@pytest.mark.parametrize(("agreed", "expected"), [(1, 0.1), (5, 0.75), (40, 12.0), (3, 30.0), (800, 0.5)])
def test_authority_scipy_chance(agreed, expected):
    theirs = poisson.logsf(agreed - 1, expected) / np.log(10)
    ours = match.log10_chance(agreed, expected)
    assert ours == pytest.approx(theirs if np.isfinite(theirs) else ours, rel=1e-6, abs=1e-9)
    assert ours <= 0 and (agreed < 100 or ours < -1000)


@pytest.mark.parametrize("model", match.DEGREES)
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
    at = match.apply(truth, xy)
    for found in (
        match.fit(model, xy, at, None, mirrored),
        match.robust_fit(model, xy, at, np.full(40, 0.1), mirrored)[0],
    ):
        assert np.abs(match.apply(found, xy) - at).max() < 1e-6


def test_truth_a_robust_fit_ignores_wrong_pairs():
    rng = np.random.default_rng(3)
    xy, truth = rng.uniform([0, 0], [6000, 4000], (100, 2)), similarity(5, 1, 10, 20)
    at = match.apply(truth, xy) + rng.normal(0, 0.05, (100, 2))
    at[:20] += rng.uniform(-3, 3, (20, 2))
    found, error, scale = match.robust_fit("affine", xy, at, np.full(100, 0.05))
    assert np.abs(match.apply(found, xy) - match.apply(truth, xy)).max() < 0.05  # 0.05 sqrt(7 / 80), three sigma
    assert scale == pytest.approx(1, rel=0.35) and np.median(error[:20]) > 10


def test_truth_pairs_are_one_to_one():
    source = np.array([[0, 0], [10, 0], [20, 0.0]])
    of_ref, of_src = match.pair_up(np.eye(3), np.array([[0.5, 0], [0.1, 0], [11, 0], [50, 50.0]]), cKDTree(source), 3.0)
    assert of_ref.tolist() == [1, 2] and of_src.tolist() == [0, 1]


@pytest.mark.parametrize("turn", [1, -1])
def test_truth_shift_proposal(turn):
    rng = np.random.default_rng(4)
    xy = rng.uniform([0, 0], [6000, 4000], (150, 2))
    at = turn * xy + (37.2, -81.5) + rng.normal(0, 0.1, xy.shape)
    at[50:] = rng.uniform([0, 0], [6000, 4000], (100, 2))
    found = match.shift_proposal(xy, at, turn)
    assert np.abs(found[:2, 2] - (37.2, -81.5)).max() < 0.3
