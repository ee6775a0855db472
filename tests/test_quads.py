"""Quads: codes and votes agree with slow twins, and survive what telescopes do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import quads as oracle

from masterlight.alignment import quads, transform


def similarity(angle_deg, scale, dx, dy, mirrored=False):
    return transform.similarity_matrix(scale * np.exp(1j * np.radians(angle_deg)), complex(dx, dy), mirrored)


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_oracle_quad_codes(seed):
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, 1000, (9, 2))
    four = np.array([rng.choice(9, 4, replace=False) for _ in range(5)])
    before = four.copy()
    codes, length = quads.quad_codes(xy, four)
    for was, stars, code, side in zip(before, four, codes, length, strict=True):
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
    ours = quads.votes(points, np.argsort(points[:, 0]), 10.0)
    np.testing.assert_array_equal(ours, oracle.votes(points, 10.0))


def test_truth_codes_survive_move_turn_scale_and_mirror():
    xy = np.random.default_rng(0).uniform(0, 1000, (60, 2))
    for mirrored in (False, True):
        moved = transform.apply(similarity(77, 3.1, 50, -20, mirrored), xy)
        a, b = quads.quads_of(xy), quads.quads_of(moved)
        codes = b.codes * (1, -1, 1, -1) if mirrored else b.codes
        np.testing.assert_array_equal(a.stars, b.stars)
        np.testing.assert_allclose(a.codes, codes, atol=1e-9)
        np.testing.assert_allclose(3.1 * a.length_px, b.length_px)


def test_truth_few_stars_make_all_quads_and_double_stars_do_no_harm():
    xy = np.random.default_rng(1).uniform(0, 1000, (7, 2))
    assert len(quads.quads_of(xy).stars) == 35
    same = np.repeat(xy[:1], 30, axis=0)
    assert np.isfinite(quads.quads_of(same).codes).all()


@pytest.mark.parametrize("turn", [1, -1])
def test_truth_shift_proposal(turn):
    rng = np.random.default_rng(4)
    xy = rng.uniform([0, 0], [6000, 4000], (150, 2))
    at = turn * xy + (37.2, -81.5) + rng.normal(0, 0.1, xy.shape)
    at[50:] = rng.uniform([0, 0], [6000, 4000], (100, 2))
    found = quads.shift_proposal(xy, at, turn)
    assert np.abs(found[:2, 2] - (37.2, -81.5)).max() < 0.3


@pytest.mark.parametrize("mirrored", [False, True])
def test_truth_pairs_of_few_common_stars_agree(mirrored):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        common, turn = rng.uniform([0, 0], [6000, 4000], (8, 2)), similarity(rng.uniform(0, 360), 1, 30, -20, mirrored)
        others = rng.uniform([0, 0], [6000, 4000], (2, 40, 2))
        xy, at = np.vstack([common, others[0]]), np.vstack([transform.apply(turn, common), others[1]])
        first, second = rng.permutation(48), rng.permutation(48)
        found, trials = quads.pair_proposals(xy[first], at[second], True, (4000, 6000))
        assert np.abs(transform.apply(found[0], common) - transform.apply(turn, common)).max() < 3
        assert trials > 1000 and len(found) <= quads.MOST_PAIRS
        assert not mirrored or not quads.pair_proposals(common, transform.apply(turn, common), False, (4000, 6000))[0]
    assert quads.pair_proposals(np.empty((0, 2)), xy, True, (4000, 6000))[0] == []


def test_oracle_long_pairs():
    z = np.random.default_rng(2).uniform(0, 100, (12, 2)) @ (1, 1j)
    slow = sorted(abs(b - a) for i, a in enumerate(z) for b in z[i + 1 :] if abs(b - a) >= 30)
    first, second, far = quads.long_pairs(z, 30.0)
    np.testing.assert_allclose(far, slow)
    np.testing.assert_allclose(np.abs(second - first), far)
