"""What lens and poses leave in parts of the sensor: nothing but chance, or what no term of the lens tells."""

import numpy as np
import pytest
from lensed import lensed_night

from masterlight.alignment.lens.residuals import PARTS, ResidualMap
from masterlight.alignment.lens.shared import share_lens

SHAPE = (300, 400)


def stars(rng, count=4000, sigma_px=0.1):
    return rng.uniform(0, 1, (count, 2)) * SHAPE[::-1], rng.normal(0, sigma_px, (count, 2)), np.full(count, 100.0)


def test_truth_chance_is_known():
    told = ResidualMap.of(*stars(np.random.default_rng(0)), SHAPE)
    assert told.left_px.shape == (*PARTS, 2) and np.isfinite(told.left_px).all()
    assert told.rms_px == pytest.approx(told.chance_px, rel=0.15) and not told.tells


def test_truth_what_is_off_in_one_part_is_told_with_its_place():
    at, left, weight = stars(np.random.default_rng(1))
    there = (at[:, 0] > 375) & (at[:, 1] < 25)
    left[there] += (2.0, -1.0)
    told = ResidualMap.of(at, left, weight, SHAPE)
    np.testing.assert_allclose(told.left_px[0, 15], (2, -1), atol=0.1)
    assert told.tells and "part 16 from the left, 1 from the first row: 2.2" in str(told) and len(str(told)) < 300


def test_oracle_a_slow_map():
    at, left, weight = stars(np.random.default_rng(2), 300)
    weight = np.linspace(1, 100, 300)
    told = ResidualMap.of(at, left, weight, SHAPE)
    for y in range(PARTS[0]):
        for x in range(PARTS[1]):
            own = (at[:, 0] // 25 == x) & (at[:, 1] // 25 == y)
            if own.sum() < 4:
                assert np.isnan(told.left_px[y, x]).all() and np.isnan(told.error_px[y, x])
                continue
            np.testing.assert_allclose(told.left_px[y, x], np.average(left[own], axis=0, weights=weight[own]))
            assert told.error_px[y, x] == pytest.approx(weight[own].sum() ** -0.5)


def test_truth_a_lens_leaves_nothing_and_what_is_no_lens_little():
    """0.4 px that no term of the lens tells are, after lens and poses, less than 0.04 px: no more terms are needed."""
    night = lensed_night(0.02, frames=30)
    assert not share_lens(night.sights[0], night.sights[1:]).left.tells
    bent = [sight._replace(xy=sight.xy + beside(sight.xy)) for sight in night.sights]
    left = share_lens(bent[0], bent[1:]).left
    assert left.tells and left.rms_px < 0.04 and "by chance" in str(left)


def beside(xy):
    """0.4 px in the corners, of third order and about no centre."""
    u, v = ((xy - (3000, 2000)) / 3000).T
    return np.stack([0.4 * u**2 * v, 0.3 * u * v - 0.3 * v**3], axis=1)


def test_surface_few_stars_make_no_map():
    told = ResidualMap.of(*(part[:3] for part in stars(np.random.default_rng(3))), SHAPE)
    assert not told.tells and str(told) == "too few stars for a map of what is left"
