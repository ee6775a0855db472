import numpy as np
import pytest

from masterlight.core.errors import ParameterError
from masterlight.subframes.formula.expression import Expression, ExpressionError
from masterlight.subframes.formula.parser import alike, with_caret

TABLE = {"FWHM": np.array([3.0, 5.0]), "Stars": np.array([200.0, 50.0]), "SNRWeight": np.array([9.0, 4.0])}


def value(text):
    return Expression(text).evaluate(TABLE).tolist()


def caret(text):
    """The message of a bad formula as a console shows it, in lines."""
    with pytest.raises(ExpressionError) as caught:
        Expression(text).evaluate(TABLE)
    return with_caret(str(caught.value)).split("\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FWHM < 4 ? 2 : 1", [2, 1]), ("FWHM < 4 ? Stars > 100 : false", [True, False]),
        ("FWHM > 4 ? 1 : Stars > 100 ? 2 : 3", [2, 1]), ("1 + (FWHM < 4 ? 2 : 1) * 10", [21, 11]),
        ("true ? false ? 1 : 2 : 3", [2, 2]), ("FWHM < 4 || true ? 1 : 2", [1, 1]),
        ("max(FWHM < 4 ? 7 : 1, 2)", [7, 2]),
        ("if(FWHM < 4, Stars > 100, true)", [True, True]), ("if(FWHM < 4, 5, 6)", [5, 6]),
        ("FWHM<4?-1:+1", [-1, 1]),
    ],
)  # fmt: skip
def test_truth_of_choices(text, expected):
    assert value(text) == expected


def test_truth_what_was_copied_from_a_page():
    assert value("35\u00d7(1\u2212FWHM)\u00f72\u00a0+ 1") == [-34, -69]
    assert value("Math.pow(FWHM, 2) + Math.sqrt(4)") == [11, 27]


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("FWHM < ", 7, "it ends where a value is needed"), ("35*FWHN + 1", 3, "is it FWHM?"),
        ("35*inv(FWHNMin)", 7, "is it FWHMMin?"), ("fwhmmin + 3", 0, "is it FWHMMin?"),
        ("1 + snrweight", 4, "SNRWeight?"),
        ("35*inv(FWHM", 6, "never closed"), ("Sqrt(FWHM)", 0, "there is sqrt"), ("FWHM (1 - 2)", 0, "a * missing"),
        ("Stars ? 1 : 2", 0, "'?' needs true or false, this is a number"), ("true ? 1", 8, "':' is needed"),
        ("true ? 1 : true", 11, "':' after this needs a number"), ("1 : 2", 2, "condition ? a : b"),
        ("3,5*FWHM", 1, "decimals have a point"), ("FWHM \u2264 4", 5, "write <="),
        ("percentile(FWHM, 101)", 17, "0 to 100"),
        ("percentile(FWHM, FWHM)", 17, "the same for all frames"), ("tutorial+nois", 0, "tutorial and tutorial+noise"),
        ("35*inv + 3", 3, "'inv' is a function and needs brackets: inv(...)"),
        ("if(FWHM < 4, 1, true)", 13, "if needs true or false"), ("Altitude", 0, "there are FWHM, Stars, SNRWeight, "),
    ],
)  # fmt: skip
def test_truth_the_caret_stands_under_the_character(text, column, words):
    reason, shown, place = caret(text)
    assert words in reason and "character" not in reason
    assert shown == f"  {text}" and place.index("^") == column + 2


def test_truth_the_caret_finds_its_place_in_long_formulas():
    text = "1 + " * 30 + "FWHN" + " + 1" * 30
    reason, shown, place = caret(text)
    assert len(shown) < 80 and shown.strip().startswith("...") and shown.endswith("...")
    assert shown[place.index("^") :].startswith("FWHN")


def test_surface_other_messages_stay_as_they_are():
    assert with_caret("a.fits: has no pixels") == "a.fits: has no pixels"
    told = "weight: 'FWHN' is not known (at character 1:  --> FWHN*(1+2)), in dir (1)/a.fits"
    assert with_caret(told) == "weight: 'FWHN' is not known, in dir (1)/a.fits\n  FWHN*(1+2)\n  ^"


def test_truth_names_that_are_alike():
    names = ["FWHM", "FWHMMeanDev", "Noise", "NoiseRatio", "Eccentricity"]
    assert alike("noise", names) == ["Noise"]
    assert alike("Ecc", names) == ["Eccentricity"]
    assert alike("Eccentricty", names) == ["Eccentricity"]
    assert alike("Seeing", names) == []


def test_surface_deep_choices_are_understood_or_refused():
    assert Expression("true ? 1 : " * 50 + "2").evaluate(TABLE).tolist() == [1, 1]
    with pytest.raises(ParameterError, match="inside each other"):
        Expression("true ? 1 : " * 5000 + "2")
