"""Where the nucleus is in one light."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from masterlight.alignment.comet.motion import Motion
from masterlight.alignment.comet.nucleus import Moment, centre_of, measured
from masterlight.core.frame import ArrayFrame

FWHM, NOISE = 3.0, 10.0


def spot(shape, x, y, peak, fwhm=FWHM):
    v, u = np.indices(shape, float)
    return peak * np.exp(-((u - x) ** 2 + (v - y) ** 2) * 4 * np.log(2) / fwhm**2)


def coma(shape, x, y, peak):
    v, u = np.indices(shape, float)
    return peak / (1 + ((u - x) ** 2 + (v - y) ** 2) / 36) ** 0.75


def test_truth_a_nucleus_in_its_coma_is_found_to_its_error():
    rng, off, errors = np.random.default_rng(5), [], []
    for _ in range(40):
        x, y = rng.uniform(28, 32, 2)
        box = spot((61, 61), x, y, 400.0) + coma((61, 61), x, y, 100.0) + rng.normal(0, NOISE, (61, 61))
        cx, cy, error = centre_of(box, (30 + 3.0, 30 - 3.0), FWHM, NOISE, 10.0)
        off.append((cx - x, cy - y))
        errors.append(error)
    assert_allclose(np.sqrt(np.mean(np.square(off))), np.mean(errors), rtol=0.35)
    assert np.abs(np.mean(off, axis=0)).max() < 0.02


def test_truth_a_comet_that_draws_itself_out_is_measured_in_its_middle():
    rng, off = np.random.default_rng(6), []
    for _ in range(20):
        x, y = rng.uniform(38, 42, 2)
        box = np.mean([spot((81, 81), x + 14 * s, y + 6 * s, 900.0) for s in np.linspace(-0.5, 0.5, 41)], axis=0)
        box += rng.normal(0, NOISE, box.shape)
        cx, cy, _ = centre_of(box, (40.0, 40.0), FWHM, NOISE, 10.0, (14.0, 6.0))
        off.append((cx - x, cy - y))
    assert np.sqrt(np.mean(np.square(off))) < 0.35


@pytest.mark.parametrize("box", [np.zeros((61, 61)), np.full((61, 61), np.nan), None])
def test_truth_where_nothing_stands_out_nothing_is_measured(box):
    box = np.random.default_rng(7).normal(0, NOISE, (61, 61)) if box is None else box
    assert centre_of(box, (30.0, 30.0), FWHM, NOISE, 10.0) is None
    assert centre_of(spot((61, 61), 30, 30, 900.0), (200.0, 30.0), FWHM, NOISE, 10.0) is None


def test_truth_stars_that_it_passes_are_taken_off():
    """A star of five times its light, 5 px beside its way."""
    rng, moments = np.random.default_rng(8), []
    motion = Motion.through([0, 3600], [(20, 40), (80, 40)], 0.0)
    for k in range(10):
        t = 400.0 * k
        x, y = motion.at(t)
        pixels = spot((80, 100), 50, 45, 1500.0) + spot((80, 100), x, y, 300.0) + rng.normal(1000, NOISE, (80, 100))
        moments.append(Moment(ArrayFrame.of(pixels), t, NOISE, FWHM, 1.0, (0.0, 0.0)))
    task = measured(motion, moments, 8.0)
    off = [np.hypot(*(np.array(found[1:3]) - motion.at(found.time_s))) for k in range(10) if (found := task(k))]
    assert len(off) == 10 and np.max(off) < 0.5 and np.median(off) < 0.15
