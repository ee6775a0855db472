"""Evidence: the model that stars carry is taken, no richer one by chance and no plainer one for lack of courage."""

import numpy as np
import pytest
from test_fits import CORNERS, TURN, pairs_of, through_lens, turned
from test_splines import field

from masterlight.alignment.models.evidence import FITTED, by_evidence, carried, foretold_by, parts_of, unexplained_px
from masterlight.alignment.transform import apply

SHEARED = TURN.copy()
SHEARED[0, 1] += 3e-4
TILTED = SHEARED.copy()
TILTED[2, :2] = 2e-7, -1e-7
TRUTHS = {
    "shift": lambda xy: xy + (12.3, -4.5),
    "similarity": turned,
    "affine": lambda xy: apply(SHEARED, xy),
    "homography": lambda xy: apply(TILTED, xy),
    "polynomial3": through_lens(),
    "spline": lambda xy: turned(xy) + field(xy * 3),
}


def taken(truth, count=300, seeds=10):
    out = [
        by_evidence(carried(FITTED, p.xy_ref), p)[0] for p in (pairs_of(truth, count, 0.05, s) for s in range(seeds))
    ]
    away = [np.hypot(*(one(CORNERS) - truth(CORNERS)).T) for one in out]
    return [one.model for one in out], np.median(away)


@pytest.mark.parametrize("model", TRUTHS)
def test_truth_the_model_that_made_the_stars_is_taken(model):
    names, away = taken(TRUTHS[model], seeds=3 if model == "spline" else 10)
    assert names.count(model) >= 0.8 * len(names), names
    assert away < {"polynomial3": 0.03, "spline": 0.6}.get(model, 0.015)


def test_truth_eleven_stars_do_not_shear_a_frame():
    """A free affine would be far off in the corners when stars stand in one part of the frame."""
    for seed in range(20):
        pairs = pairs_of(turned, 11, 0.0, seed)
        near = pairs.xy_ref * (0.15, 0.3) + (2000, 1500)
        pairs = pairs._replace(xy_ref=near, xy=turned(near) + np.random.default_rng(seed).normal(0, 0.3, near.shape))
        best = by_evidence(carried(FITTED, near), pairs._replace(sigma_px=np.full(11, 0.3)))[0]
        assert best.model in ("shift", "similarity", "affine")
        plain = best.model != "affine"
        assert not plain or np.abs(best(CORNERS) - turned(CORNERS)).max() < 8


def test_truth_one_wrong_pair_speaks_for_nothing():
    names = []
    for seed in range(20):
        pairs = pairs_of(turned, 14, 0.1, seed)
        pairs.xy[3] += 2.5
        names.append(by_evidence(carried(FITTED, pairs.xy_ref), pairs)[0].model)
    assert names.count("similarity") >= 18


def test_truth_what_was_left_out_is_foretold_by_the_right_model():
    pairs = pairs_of(through_lens(0.01), 200)
    right, *wrong = foretold_by(("polynomial3", "similarity", "homography", "polynomial2"), pairs)
    assert right < 3 * 200 and min(wrong) > 3 * right


def test_truth_parts_hold_as_many_stars():
    xy = np.random.default_rng(1).uniform(0, 1000, (77, 2))
    column, row = parts_of(xy)
    count = np.unique(np.column_stack([column, row]), axis=0, return_counts=True)[1]
    assert len(count) == 24 and count.min() >= 3 and count.max() <= 4


def test_surface_few_stars_and_stars_on_a_line_carry_little():
    rng = np.random.default_rng(2)
    xy = rng.uniform(0, 1000, (40, 2))
    assert carried(FITTED, xy)[-1] == "polynomial3" and carried(FITTED, xy[:4]) == ["shift", "similarity"]
    assert carried(FITTED, xy * (1, 0.01)) == ["shift", "similarity"]
    assert carried(("affine", "homography"), xy[:3]) == ["affine"]


def test_truth_restless_air_is_told():
    error = np.random.default_rng(3).rayleigh(2.0, 4000)
    assert unexplained_px(error, np.full(4000, 0.1)) == pytest.approx(0.1 * np.sqrt(3), rel=0.1)
    assert unexplained_px(error / 2, np.full(4000, 0.1)) == 0
