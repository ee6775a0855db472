"""Stars upon knots that are wider than they: found where they are, and not where only knots are."""

import numpy as np
import pytest
from starfield import Scene, stamp

from masterlight.subframes.stars import psf
from masterlight.subframes.stars.detect import Candidates
from masterlight.subframes.stars.upon import highest, peak_of, upon_knots

FWHM, BETA, NOISE = 5.0, 3.0, 10.0


def knots_with_stars(heights, seed=1):
    """(image, fits, candidates, x, y): a row of knots, a star of this height (DN) off the middle of each."""
    rng = np.random.default_rng(seed)
    image = rng.normal(1000, NOISE, (80, 80 * len(heights)))
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    cx, cy = 80 * np.arange(len(heights)) + 40.0, np.full(len(heights), 40.0)
    sx, sy = cx + rng.uniform(-1, 1, len(cx)), cy + rng.uniform(-1, 1, len(cx))
    light = stamp(0.0, 0.0, Scene(fwhm_px=FWHM), 30)
    for k, height in enumerate(heights):
        wide = 3.0 * FWHM / 2.3548
        image += 200 * np.exp(-((x - cx[k]) ** 2 + (y - cy[k]) ** 2) / (2 * wide**2))
        ix, iy = round(sx[k]), round(sy[k])
        light = stamp(sx[k] - ix, sy[k] - iy, Scene(fwhm_px=FWHM), 30)
        image[iy - 30 : iy + 31, ix - 30 : ix + 31] += height / light.max() * light
    fits = np.tile(np.arange(16.0), (len(cx) + 1, 1))
    fits[:, : psf.C + 1] = psf.round_start(np.r_[cx, -500.0], np.r_[cy, -500.0], 100.0, 1000.0, FWHM, BETA)
    zero = np.zeros(len(cx) + 1)
    chosen = Candidates(np.r_[cx, -500.0], np.r_[cy, -500.0], zero, zero, zero, zero + NOISE, zero)
    return image.astype(np.float32), fits, chosen, sx, sy


def test_truth_stars_upon_knots_are_found_where_they_are():
    heights = np.array([200.0, 0.0, 250.0, 0.0, 0.0, 300.0])
    image, fits, chosen, x, y = knots_with_stars(heights)
    good = np.array([len(heights)])
    which, rows = upon_knots(image, fits, chosen, good, BETA, np.inf)
    np.testing.assert_array_equal(which, np.flatnonzero(heights))
    assert np.hypot(rows[:, psf.X] - x[which], rows[:, psf.Y] - y[which]).max() < 0.5
    np.testing.assert_allclose(rows[:, psf.PEAK], 1.08 * heights[which], rtol=0.2)  # before the blur by pixels
    np.testing.assert_array_equal(rows[:, psf.A : psf.C + 1], fits[which, psf.A : psf.C + 1])
    assert (rows[:, psf.SNR] > 6).all() and np.isfinite(rows).all()


def test_truth_known_saturated_and_missing_places_are_left_alone():
    image, fits, chosen, *_ = knots_with_stars([300.0, 300.0, 300.0])
    assert len(upon_knots(image, fits, chosen, np.array([3]), BETA, np.inf)[0]) == 3
    assert not len(upon_knots(image, fits, chosen, np.array([3]), BETA, 900.0)[0])
    fits[3, :2] = 40.0, 40.0
    image[38, 120] = np.nan
    np.testing.assert_array_equal(upon_knots(image, fits, chosen, np.array([3]), BETA, np.inf)[0], [2])


def test_oracle_highest():
    image = np.random.default_rng(3).normal(0, 1, (30, 30)).astype(np.float32)
    image[14, 16] += 50
    weights = np.zeros((5, 5))
    weights[2, 2] = 1.0
    x, y, height = highest(image, 15, 15, 3, weights, np.inf)
    assert (round(x), round(y)) == (16, 14) and height == pytest.approx(image[14, 16])
    assert highest(image, 19, 15, 3, weights, np.inf)[2] == 0.0  # on the border of what is looked at
    assert highest(image, 2, 2, 3, weights, np.inf)[2] == 0.0
    assert peak_of(0.0, 1.0, 0.0) == 0.0 and peak_of(0.0, 1.0, 1.0) == pytest.approx(0.5) and peak_of(1, 1, 1) == 0
