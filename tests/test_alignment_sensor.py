"""What stays at its pixels is told from stars, however many there are and whatever made them wide."""

from dataclasses import dataclass

import numpy as np
import pytest

from masterlight.alignment.align import StarAlignment
from masterlight.alignment.sensor import shows_sensor

SHAPE = (500, 700)


@dataclass(frozen=True, eq=False)
class Spots:
    """What alignment uses of a star list, with the shape of each."""

    xy: np.ndarray
    flux_dn: np.ndarray
    fwhm_px: np.ndarray
    eccentricity: np.ndarray
    theta_rad: np.ndarray
    shape: tuple[int, int] = SHAPE
    beta: float = float("nan")
    light_shares: None = None

    def __len__(self):
        return len(self.xy)

    def __getitem__(self, i):
        arrays = (self.xy, self.flux_dn, self.fwhm_px, self.eccentricity, self.theta_rad)
        return Spots(*(array[i] for array in arrays), self.shape)

    @property
    def sigma_px(self):
        return np.full(len(self), 0.05)

    @property
    def snr(self):
        return np.sqrt(self.flux_dn)

    @property
    def saturated(self):
        return np.zeros(len(self), bool)


def frame(rng, stars_xy, hot_xy, move=(0.0, 0.0), odd=None, width=2.0):
    """Stars of FWHM 3 px that moved, and hot spots that did not; `odd`: (eccentricity, direction) of each spot."""
    xy = np.vstack([stars_xy + move + rng.normal(0, 0.05, stars_xy.shape), hot_xy + rng.normal(0, 0.03, hot_xy.shape)])
    n, m = len(stars_xy), len(hot_xy)
    shapes = odd if odd is not None else np.zeros((2, m))
    eccentricity = np.append(rng.uniform(0, 0.2, n), np.clip(shapes[0] + rng.normal(0, 0.02, m), 0, 0.95))
    flux = np.append(np.geomspace(2e4, 500, n) if n else [], np.linspace(3e4, 400, m))
    order = np.argsort(-flux)
    fwhm = np.append(np.full(n, 3.0), np.full(m, width)) * np.exp(rng.normal(0, 0.02, n + m))
    theta = np.append(rng.uniform(0, np.pi, n), shapes[1])
    return Spots(xy, flux, fwhm, eccentricity, theta)[order]


def places(rng, count, half=False):
    """Middles of pixels; of blocks, edges between two."""
    return rng.integers(5, 490, (count, 2)) + (0.5 if half else 0.0)


@pytest.mark.parametrize("half", [False, True])
def test_truth_a_match_of_the_sensor_is_refused_and_asks_for_darks(half):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        nothing, hot = np.empty((0, 2)), places(rng, 300, half)
        process, lists = StarAlignment(), [frame(rng, nothing, hot) for _ in "ab"]
        found = process.align(process.prepare(lists[0]), lists[1], "cloudy.fits")
        assert not found and found.code == "SENSOR" and "Darks" in found.reason and len(str(found)) < 300


def test_truth_blocks_of_any_shape_are_known_by_keeping_theirs():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        hot, odd = rng.uniform(5, 490, (200, 2)), np.stack([rng.uniform(0.3, 0.9, 200), rng.uniform(0, np.pi, 200)])
        process, lists = StarAlignment(), [frame(rng, np.empty((0, 2)), hot, odd=odd) for _ in "ab"]
        found = process.align(process.prepare(lists[0]), lists[1], "cloudy.fits")
        assert not found and found.code == "SENSOR"


@pytest.mark.parametrize("half", [False, True])
def test_truth_stars_are_found_among_forty_times_as_many_hot_blocks(half):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        stars, hot, process = rng.uniform(20, 480, (20, 2)), places(rng, 800, half), StarAlignment()
        first, second = frame(rng, stars, hot), frame(rng, stars, hot, (6.3, -3.7))
        found = process.align(process.prepare(first), second, "light.fits")
        assert found and np.abs(np.subtract((found.dx_px, found.dy_px), (6.3, -3.7))).max() < 0.3


def test_truth_stars_that_were_not_dithered_are_stars():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        stars, process = rng.uniform(20, 480, (seed + 12, 2)), StarAlignment()
        for hot in (np.empty((0, 2)), places(rng, 100)):
            first, second = frame(rng, stars, hot), frame(rng, stars, hot)
            found = process.align(process.prepare(first), second, "guided.fits")
            assert found and abs(found.dx_px) < 0.1 and abs(found.dy_px) < 0.1
        assert process.align(process.prepare(first), first, "copy.fits")


def test_truth_hot_spots_that_are_left_over_are_no_match():
    rng = np.random.default_rng(3)
    hot, unsteady, process = places(rng, 300), places(rng, 14), StarAlignment()
    first = frame(rng, unsteady + rng.uniform(-0.6, 0.6, unsteady.shape), hot)
    second = frame(rng, unsteady + rng.uniform(-0.6, 0.6, unsteady.shape), hot, (0.9, 0.9))
    found = process.align(process.prepare(first), second, "cloudy.fits")
    assert not found and found.code == "SENSOR"


def test_truth_frames_that_are_registered_already_lie_by_all_their_stars():
    """Faint stars that noise moved further than others are what is left when all that repeats is taken out."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        stars, process = rng.uniform(10, 490, (80, 2)), StarAlignment()
        lists = [frame(rng, stars, np.empty((0, 2))) for _ in "ab"]
        for one in lists:
            one.xy[-12:] += rng.uniform(-0.7, 0.7, (12, 2))
        found = process.align(process.prepare(lists[0]), lists[1], "registered.fits")
        assert found and found.matched > 60
        assert np.abs(found(stars) - stars).max() < 0.15


def test_truth_lists_that_show_the_sensor_rather_than_stars_are_known():
    rng = np.random.default_rng(5)
    stars, hot, few = rng.uniform(20, 480, (60, 2)), places(rng, 300), places(rng, 9)
    for spots, is_shown in ((hot, True), (few, False), (np.empty((0, 2)), False)):
        assert shows_sensor(frame(rng, stars, spots), frame(rng, stars, spots, (6.3, -3.7))) == is_shown
        assert not shows_sensor(frame(rng, stars, spots), frame(rng, stars, spots))  # stars that were not dithered
