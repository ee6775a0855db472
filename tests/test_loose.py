"""Loose frames: left out when their stars lie far from their places, and nothing explains it."""

import numpy as np

from masterlight.alignment.models.loose import loose
from masterlight.alignment.transform import Transform


def frames(*rms_px, chi2=20.0):
    return [Transform(np.eye(3), rms_px=one, chi2=chi2) for one in rms_px]


def test_truth_a_frame_far_beyond_the_others_is_loose():
    assert loose(None, frames(0.2, 0.3, 1.4, 0.25)) == ([2], 0.275)
    assert loose(None, frames(0.2, 0.3, 0.9, 0.25))[0] == []  # not a pixel
    assert loose(None, frames(0.7, 0.8, 1.4, 0.6))[0] == []  # restless air, for all of them


def test_truth_faint_stars_explain_it():
    assert loose(None, [*frames(0.2, 0.3), *frames(1.4, chi2=1.2)])[0] == []
    unknown = [*frames(0.2, 0.3), *frames(1.4, chi2=float("nan"))]
    assert loose(None, unknown)[0] == [2]


def test_truth_what_the_user_sets_wins():
    assert loose(0.25, frames(0.2, 0.3, 1.4, chi2=1.0))[0] == [1, 2]
    assert loose(2.0, frames(0.2, 0.3, 1.4))[0] == []
    assert loose(None, []) == ([], 0.0) and loose(None, frames(5.0))[0] == []
