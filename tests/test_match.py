"""Matching: chance is counted honestly, and a star is paired once."""

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.stats import poisson

from masterlight.alignment import match
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
