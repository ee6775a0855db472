import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masterlight.subframes.formula.expression import Expression
from tests.oracles import formula as slow

UNKNOWN = {1.0: True, 0.0: False}
"""A condition as Python has it; None for NaN."""
TEXTS = {"true": True, "false": False, "X > 0": None}
GROUPS = st.lists(
    st.tuples(st.one_of(st.just(np.nan), st.integers(-3, 3).map(float), st.floats(-1e3, 1e3)), st.booleans()),
    min_size=1, max_size=12,
)  # fmt: skip
"""Values of some frames, and whether they count in statistics."""


@pytest.mark.parametrize(("sign", "twin"), [("&&", slow.both), ("||", slow.either)])
def test_oracle_what_is_unknown_stays_so_unless_it_does_not_matter(sign, twin):
    for (a, left), (b, right) in itertools.product(TEXTS.items(), repeat=2):
        formula = Expression(f"({a}) {sign} ({b})")
        [found] = formula.value_of(formula.root, {"X": np.array([np.nan])})
        assert UNKNOWN.get(found) is twin(left, right)


@pytest.mark.parametrize(
    "text", ["X > 0", "X <= 0", "X == X", "X != X", "!(X > 0)", "!!(X > 0)", "X > 0 ? true : true"]
)
def test_truth_a_condition_on_what_is_not_known_is_never_met(text):
    table = {"X": np.array([np.nan])}
    assert Expression(text).evaluate(table).tolist() == [False]
    assert Expression(f"!({text})").evaluate(table).tolist() == [False]


def test_truth_what_is_not_needed_need_not_be_known():
    table = {"FWHM": np.array([3.0, np.nan, np.nan]), "Stars": np.array([100.0, 5.0, np.nan])}
    assert Expression("Stars > 10 ? FWHM < 4 : Stars > 3").evaluate(table).tolist() == [True, True, False]
    assert Expression("FWHM < 4 || Stars < 10").evaluate(table).tolist() == [True, True, False]
    assert Expression("FWHM < 4 && Stars < 10").evaluate(table).tolist() == [False, False, False]


@given(GROUPS)
@settings(max_examples=100, deadline=None)
def test_oracle_functions_over_frames(group):
    values, over = (np.array(column) for column in zip(*group, strict=True))
    for text in ("norm", "inv", "rank", "z", "sigma"):
        formula = Expression("XSigma" if text == "sigma" else f"{text}(X)")
        with np.errstate(all="ignore"):
            found = formula.evaluate({"X": values}, over)
        for x, own in zip(values, found, strict=True):
            if np.isnan(x) or not slow.counted(values, over):
                assert np.isnan(own)
            else:
                assert own == pytest.approx(getattr(slow, text)(x, values, over), rel=1e-9, abs=1e-9)


def test_truth_frames_that_do_not_count_change_no_statistics():
    table = {"FWHM": np.array([3.0, 4.0, 9.0]), "Noise": np.array([1.0, 2.0, np.nan])}
    approved = np.array([True, True, False])
    text = "FWHMMin + 10*FWHMMax + 100*FWHMMedian + 1000*percentile(FWHM, 100) + 0*inv(FWHM)"
    assert Expression(text).evaluate(table, approved) == pytest.approx([3 + 40 + 350 + 4000] * 3, rel=1e-14)
    assert Expression("inv(FWHM)").evaluate(table, approved) == pytest.approx([1, 0, -5], rel=1e-14)
    assert Expression("NoiseMax").evaluate(table).tolist() == [2.0] * 3


def test_truth_nothing_known_is_told_as_such():
    table = {"Altitude": np.full(3, np.nan)}
    for text in ("inv(Altitude)", "AltitudeMin", "rank(Altitude)", "AltitudeSigma", "percentile(Altitude, 5)"):
        assert np.isnan(Expression(text).evaluate(table)).all()
    assert np.isnan(Expression("inv(FWHM)").evaluate({"FWHM": np.ones(2)}, np.zeros(2, bool))).all()


@pytest.mark.parametrize("frames", [1, 5])
def test_truth_frames_that_are_all_alike(frames):
    table = {"FWHM": np.full(frames, 3.3)}
    assert Expression("norm(FWHM)").evaluate(table).tolist() == [0.0] * frames
    assert Expression("inv(FWHM)").evaluate(table).tolist() == [1.0] * frames
    assert Expression("FWHMSigma + z(FWHM)").evaluate(table).tolist() == [0.0] * frames
