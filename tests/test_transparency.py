"""Transparency: the light of the same stars, and what clouds took of it beside the air before a target that sets."""

from dataclasses import replace

import numpy as np
import pytest
from weather import Weather, brighter, edge, night_table, patches, through, trailing, wider

from masterlight.alignment.overlaid import places_of
from masterlight.subframes.choice.comparison import Group
from masterlight.subframes.choice.transparency import Starlight, clear_light, full_light, starlight, telling, where_lost


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("stars", [350, 100])
def test_truth_a_cloud_that_takes_half_the_light(seed, stars):
    """Within 0.02, also in other seeing, with bad tracking and under a brighter sky."""
    weather = Weather(seed, stars=stars, lights=8)
    half = through(0.5)
    weather.spoil = {
        1: half, 2: lambda p: half(wider(1.25)(p)), 3: lambda p: half(brighter(2)(p)),
        4: lambda p: half(trailing(1.5)(p)), 5: wider(1.4),
    }  # fmt: skip
    group = Group.of(night_table(weather).frames, places_of)
    true = np.array([weather.pointing(i).transparency for i in range(8)])
    assert group.transparency == pytest.approx(true / full_light(true), abs=0.02)
    assert all(one.error < 0.03 for one in group.light)


def test_truth_where_light_is_lost():
    weather = Weather(4, lights=4)
    weather.spoil, weather.veil = {1: through(0.5)}, {2: patches(0.6, 40), 3: edge(0.5)}
    even, patchy, bank = Group.of(night_table(weather).frames, places_of).light[1:]
    assert even.scatter < 0.05 and even.slope < 0.1
    assert 0.07 < patchy.scatter < 0.3
    assert bank.slope > 0.4 and abs(bank.toward_rad) < 0.4  # to the right
    assert bank.ratio == pytest.approx(0.74, abs=0.06)  # half of the stars shine as ever: their mean


def test_truth_light_falls_where_it_falls_in_pixels():
    """Towards 45 degrees, in a frame three times as wide as high."""
    stars = night_table(Weather(2, lights=1))[0].stars[:100]
    rng = np.random.default_rng(1)
    wide = replace(stars, x_px=1500 * rng.random(100), y_px=500 * rng.random(100), shape=(500, 1500))
    lost = 1e-4 * (wide.x_px + wide.y_px)
    _, slope, toward, *_ = where_lost(wide, -lost, np.full(100, 0.01))
    assert toward == pytest.approx(np.pi / 4, abs=1e-6) and slope == pytest.approx(0.2, abs=1e-6)


def test_truth_nothing_is_told_without_stars_in_common():
    first, other = (night_table(Weather(seed, lights=1))[0].stars for seed in (1, 99))
    far = np.array([[1, 0, 5000.0], [0, 1, 5000.0], [0, 0, 1]])
    assert starlight(telling(first), other, far) is None
    assert starlight(first[:0], other, np.eye(3)) is None
    assert (
        np.isnan(full_light(np.full(3, np.nan))) and np.isnan(clear_light(np.full(3, np.nan), *np.zeros((2, 3)))).all()
    )


HOURS, UNKNOWN = np.arange(20) / 5, np.full(20, np.nan)


@pytest.mark.parametrize("by_air", [True, False])
def test_truth_a_target_that_sets_is_clear_and_clouds_before_it_are_not(by_air):
    air = 1 / np.cos(np.radians(20 + 40 * np.arange(20) / 19))
    rng = np.random.default_rng(1)
    true = 10 ** (-0.4 * 0.25 * air)
    ratios = true * (1 + 0.01 * rng.standard_normal(20))
    ratios[[4, 5, 17]] *= [0.5, 0.7, 0.6]
    clear = clear_light(ratios, air if by_air else UNKNOWN, HOURS)
    assert clear / true == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3, 0.4])
@pytest.mark.parametrize("count", [6, 10, 20, 40])
def test_truth_clouds_do_not_draw_the_clear_light_down(count, share):
    """Found on a night with 2 of 10 lights behind cloud: clear ones had 115 % of the light of a clear sky."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        ratios = np.exp(0.01 * rng.standard_normal(count))
        cloudy = rng.choice(count, int(share * count), replace=False)
        ratios[cloudy] *= rng.uniform(0.3, 0.75, len(cloudy))
        clear = clear_light(ratios, np.full(count, np.nan), np.linspace(0, 4, count))
        assert clear == pytest.approx(1, abs=0.04), seed


def test_truth_a_trend_is_believed_only_where_frames_follow_it():
    steady = np.ones(20)
    steady[:3] = 0.6, 0.7, 0.8  # thinning cloud at the beginning is no target that rises
    assert clear_light(steady, UNKNOWN, HOURS) == pytest.approx(1)
    assert clear_light(steady[:4], UNKNOWN[:4], HOURS[:4]) == pytest.approx(full_light(steady[:4]))
    thick = np.linspace(1, 0.2, 20)  # no air takes so much
    assert clear_light(thick, UNKNOWN, HOURS)[-1] > 0.5
    assert clear_light(thick, 1 + HOURS / 4, HOURS)[-1] > 0.6


def test_truth_full_light_is_that_of_the_clear_frames_however_few():
    assert full_light(np.array([1.0, 0.5])) == 1
    assert full_light(np.array([0.5, 1.02, 1.0])) == pytest.approx(1.01)
    assert full_light(np.array([0.4] * 7 + [1.0, 0.99, 1.01])) == pytest.approx(1.0)


def test_truth_few_stars_do_not_tell_patches_by_chance():
    """Of as many stars as a poor field has, a spread by chance is half too large once in ten times."""
    few, many = (Starlight(1.0, 0.0, n, scatter=0.1, noise=0.07, firm=n) for n in (15, 150))
    assert few.scatter_beside(0.0) == 0.0 and many.scatter_beside(0.0) == pytest.approx(0.1)
    assert many.scatter_beside(0.06) == pytest.approx(0.08) and many.scatter_beside(0.09) == 0.0
    assert Starlight(1.0, 0.0, 5).scatter_beside(0.0) == 0.0  # nobody knows
