"""Figures in DN: today's look where they are large enough, digits enough where 1 is full scale."""

import pytest

from masterlight.core.units.figures import figure


@pytest.mark.parametrize(
    "value, places, words",
    [
        (512.34, 1, "512.3"), (20.716, 2, "20.72"), (1.5, 1, "1.5"), (0.53, 2, "0.53"), (0.0, 2, "0.00"),
        (12.4, 0, "12"), (0.0076295, 1, "0.00763"), (0.336, 1, "0.336"), (1.5259e-5, 2, "1.53e-05"),
        (-0.0042, 2, "-0.0042"), (0.0123, 0, "0.0123"), (float("nan"), 1, "nan"),
    ],
)  # fmt: skip
def test_truth_small_figures_keep_three_digits(value, places, words):
    assert figure(value, places) == words
    assert figure(value, places, sign=True).lstrip("+") == words
