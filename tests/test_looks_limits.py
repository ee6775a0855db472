"""What an approval lets pass of each property."""

import math

import numpy as np
import pytest

from masterlight.subframes.formula.expression import Expression
from masterlight.subframes.looks.limits import limits

FWHM = np.array([3.0, 3.2, 3.4, 4.0, 3.3, np.nan])
TABLE = {"FWHM": FWHM, "Eccentricity": np.linspace(0.3, 0.6, 6), "Stars": np.arange(100.0, 700.0, 100.0)}


def of(text):
    return limits(Expression(text), TABLE)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("FWHM < 4", -math.inf, 4),
        ("3.1 <= FWHM && FWHM <= 3.5", 3.1, 3.5),
        ("FWHMSigma < 2", -math.inf, 3.3 + 2 * 0.24),  # the worked example: median 3.3, average deviation 0.24
        ("FWHM < FWHMMedian * 1.1", -math.inf, 3.63),
        ("inv(FWHM) > 0.25", -math.inf, 3.75),
        ("FWHM*FWHM < 16 && FWHM > 0", 0, 4),
        ("FWHM < 60", -math.inf, math.inf),  # farther out than any plot
    ],
)
def test_truth_limits_of_one_property(text, low, high):
    if math.isinf(high) and math.isinf(low):
        assert of(text)["FWHM"][1] in (math.inf, pytest.approx(60))
    else:
        assert of(text)["FWHM"] == pytest.approx((low, high), abs=1e-9)


def test_truth_each_property_of_a_conjunction_has_its_own():
    told = of("FWHM < 4 && Eccentricity < 0.55 && StarSupport > 150 && FWHM > 2")
    assert told["FWHM"] == pytest.approx((2, 4)) and told["Eccentricity"] == pytest.approx((-math.inf, 0.55))
    assert told["Stars"] == pytest.approx((150, math.inf))  # by its own name


def test_truth_what_joins_properties_tells_no_limit():
    assert of("FWHM < 4 || Stars > 500") == of("FWHM * Eccentricity < 2") == of("true") == {}
    assert of("(FWHM < 3.1 || FWHM > 3.5) && Stars > 200") == {"Stars": pytest.approx((200, math.inf))}
    assert of("FWHM < -1000 && FWHM > 1000") == {} and of("FWHM != FWHM") == {}
    assert limits(Expression("FWHM < 4"), {"FWHM": np.full(3, np.nan)}) == {}
