"""Large-scale rejection: what is small vanishes, what is large grows, and nothing is counted twice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import largescale as oracle

from masterlight.core.errors import ParameterError
from masterlight.core.process import build, card, replay
from masterlight.integration.rejection import LargeScaleRejection
from masterlight.integration.trails.largescale import crowded_pixels, disc
from masterlight.integration.trails.strips import row_starts

EMPTY = np.empty(0, np.uint32)


def flat_of(binary):
    return np.flatnonzero(binary).astype(np.uint32)


def map_of(flat, shape):
    out = np.zeros(shape, bool)
    out.ravel()[flat] = True
    return out


def line_and_bar():
    binary = np.zeros((64, 64), bool)
    binary[10, :] = True
    binary[30:34, 20:40] = True
    return binary


def test_truth_line_vanishes_and_bar_grows():
    binary = line_and_bar()
    process = LargeScaleRejection(high=True, trails=False, layers_high=2, growth_high=2)
    grown = process.grown(EMPTY, flat_of(binary), binary.shape)
    more = map_of(grown.high, binary.shape)
    assert not more[:26].any()  # nothing of the line, nor beside it
    both = more | binary
    assert both[28:36, 22:38].all()  # 2 px more above and below; corners are round
    assert both[31:33, 19:41].all()  # at both ends the medians take off 1 px first
    assert not both[:28, :][11:].any() and not both[36:].any() and not both[30:34, :18].any()
    assert not (more & binary).any()  # only additional pixels
    assert not grown.low.size and grown.trails == ()


def test_truth_sides_are_separate_and_off_by_default():
    binary = line_and_bar()
    flat = flat_of(binary)
    both = LargeScaleRejection(low=True, growth_low=3, trails=False).grown(flat, flat, binary.shape)
    assert both.low.size and not both.high.size
    assert not LargeScaleRejection(trails=False).grown(flat, flat, binary.shape)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 5, 9]), st.sampled_from([0.0, 0.5]), st.floats(0, 0.8))
def test_oracle_crowded(seed, diameter, fraction, filled):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 24, 2))
    binary = rng.random(shape) < filled
    flat = flat_of(binary)
    found = crowded_pixels(flat, row_starts(flat, *shape), *shape, disc(diameter), fraction)
    np.testing.assert_array_equal(map_of(found, shape), oracle.crowded(binary, diameter, fraction))
    assert (np.diff(found.astype(np.int64)) > 0).all()


@pytest.mark.parametrize("layers, narrowest", [(1, 2), (2, 3), (3, 5)])
def test_truth_bands_survive_by_width(layers, narrowest):
    """A band survives a median of diameter k if it is wider than k / 2."""
    for width in (narrowest - 1, narrowest):
        binary = np.zeros((90, 90), bool)
        binary[30 : 30 + width] = True
        process = LargeScaleRejection(high=True, layers_high=layers, growth_high=1, trails=False)
        assert bool(process.grown(EMPTY, flat_of(binary), binary.shape)) == (width == narrowest)


def test_surface_knobs():
    process = build(LargeScaleRejection, {"high": True, "layers_high": 3})
    assert replay(card(process)) == process
    for wrong in ({"layers_high": 7}, {"growth_low": 0}, {"trail_sigma": 1}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            LargeScaleRejection(**wrong)
