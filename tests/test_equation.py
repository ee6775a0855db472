"""The calibration equation in letters."""

import pytest

from masterlight.calibration.equation import equation


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "C = L"),
        ({"bias": "B"}, "C = L - B"),
        ({"dark": "D", "flat": "F"}, "C = (L - D) * mean(F) / F"),
        ({"flat": "F"}, "C = L * mean(F) / F"),
        ({"bias": "B", "dark": "D"}, "C = L - B - D"),
        ({"bias": "B", "dark": "D", "holds_bias": True}, "C = L - D"),
        ({"bias": "B", "dark": "D", "scaled": True}, "C = L - B - k D"),
        ({"bias": "B", "dark": "DF", "flat": "F", "scaled": True, "holds_bias": True},
         "C = (L - B - k (DF - B)) * mean(F) / F"),
    ],
)  # fmt: skip
def test_truth_equation_says_what_is_subtracted_and_divided(given, expected):
    assert equation("L", **given) == expected
