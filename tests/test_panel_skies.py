"""Skies of panels: what they have of their own is told by their overlaps alone, whatever the sky itself is like."""

import numpy as np
import pytest

from masterlight.integration.local.panels import are_panels, feathers, panel_skies

GRID = (8, 48)
Y, X = np.mgrid[: GRID[0], : GRID[1]] + 0.5
NEBULA = 1000 + 300 * np.exp(-(((X - 30) / 9) ** 2)) + 120 * np.sin(X / 5) * np.cos(Y / 4)
"""A sky that no smooth surface of a panel tells from an offset."""


def panels(offsets, slopes=None, noise=0.0, seed=1):
    """Skies (N, cells) of panels of ten cells that overlap by two."""
    rng, skies = np.random.default_rng(seed), []
    for i, offset in enumerate(offsets):
        first = 8 * (i % 6) - (i >= 6)
        sky = NEBULA + offset + (slopes[i] if slopes is not None else 0.0) * (Y - 4) + rng.normal(0, noise, GRID)
        skies.append(np.where((X > first) & (X < first + 10), sky, np.nan).ravel())
    return np.array(skies)


def levelled(skies, reference=0):
    own = panel_skies(skies, np.ones(len(skies)), np.full(len(skies), 5.0), GRID, reference)
    # the middle of a cell between the nodes of a cubic B-spline with linear coefficients is their mean
    return skies - at_cells(own).reshape(len(skies), -1)


def at_cells(knots):
    """Values of cubic B-splines in the middles of cells, by the formula of their pieces."""
    w = np.array([1 / 48, 23 / 48, 23 / 48, 1 / 48])
    n = knots.shape[-2] - 3, knots.shape[-1] - 3
    rows = sum(w[k] * knots[:, k : k + n[0]] for k in range(4))
    return sum(w[k] * rows[:, :, k : k + n[1]] for k in range(4))


@pytest.mark.parametrize("reference", [0, 3])
def test_truth_offsets_of_panels_are_told_by_their_overlaps(reference):
    offsets = np.random.default_rng(3).normal(0, 80, 12)
    flat = levelled(panels(offsets), reference) - NEBULA.ravel() - offsets[reference]
    assert np.nanmax(np.abs(flat)) < 0.5  # of steps of a hundred


def test_truth_slopes_that_overlaps_tell_are_taken_off():
    slopes = np.random.default_rng(4).normal(0, 3, 12)
    flat = levelled(panels(np.zeros(12), slopes, noise=0.5)) - NEBULA.ravel()
    apart = np.nanmax(flat, axis=0) - np.nanmin(flat, axis=0)
    assert np.nanquantile(apart, 0.95) < 4  # they differed by up to 40


def test_truth_what_is_left_fades_from_panel_to_panel():
    """A halo that only one panel has at its edge leaves no step there."""
    skies = panels(np.zeros(6))
    skies[2] += 30 * np.exp(-(((X - 25.5) / 4) ** 2)).ravel()
    flat = levelled(skies).reshape(6, *GRID) - NEBULA
    steps = np.abs(flat[2] - flat[3])
    assert np.nanmax(steps) < 10  # of 30
    seen = feathers(np.isfinite(skies), GRID).reshape(6, *GRID)
    assert seen[2, 4, 16] < seen[2, 4, 18] < seen[2, 4, 20] and seen[2, 4, 15] == 0


def test_truth_who_is_a_panel():
    assert are_panels(panels(np.zeros(6)))
    dithered = np.ones((5, 100))
    dithered[1, :12] = dithered[2, 80:] = np.nan
    assert not are_panels(dithered)
    dithered[4, :60] = np.nan  # one that shows half of it makes no mosaic
    assert not are_panels(dithered)
