"""Plots for findings."""

import numpy as np
import pytest

from masterlight.doctor import pictures


@pytest.mark.parametrize("values", [np.zeros(5), np.array([1e-9, 1e9]), np.array([np.nan, 1.0, 2.0]), np.ones(1)])
def test_surface_plots_take_any_numbers(values):
    for made in (
        pictures.line(values, "x", "y"),
        pictures.scatter(np.arange(values.size), np.nan_to_num(values), "x", "y", (1.0, 0.0)),
        pictures.histogram(np.histogram(np.nan_to_num(values), 8), "x", {"mark": 3.0}),
    ):
        assert made.shape == (3, pictures.HEIGHT, pictures.WIDTH) and made.dtype == np.uint8
