"""Trails that cross a frame, by the peaks into which its detection breaks them."""

from dataclasses import replace

import numpy as np
import pytest
from weather import Weather

from masterlight.subframes.select import SubframeSelector
from masterlight.subframes.stars.crossings import crossings_of

MEASURE = SubframeSelector()


def count(weather, i):
    return crossings_of(MEASURE.measure(weather.frame(i), saturation_dn=65535.0)[1])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_truth_bright_trails_are_counted_and_nothing_else(seed):
    weather = Weather(seed, lights=6, trails=2, cosmic_rays=8.0)
    assert [count(weather, i) for i in range(6)] == [int(weather.pointing(i).trail is not None) for i in range(6)]


def test_truth_two_trails_in_one_frame_and_none_along_a_column():
    _, stars = MEASURE.measure(Weather(3, lights=1).frame(0), saturation_dn=65535.0)
    t = np.linspace(20, 460, 60)
    rng = np.random.default_rng(1)
    lines = [np.stack([0.9 * t + 40, t], -1), np.stack([560 - 1.1 * t, t], -1)]
    column = np.stack([np.full(60, 300.0), t], -1)
    peaks = [np.column_stack([xy + 0.3 * rng.standard_normal(xy.shape), np.full(60, 1.7)]) for xy in (*lines, column)]
    assert crossings_of(replace(stars, peaks=np.concatenate(peaks[:2]).astype(np.float32))) == 2
    assert crossings_of(replace(stars, peaks=peaks[2].astype(np.float32))) == 0
    scattered = np.column_stack([rng.uniform(0, 480, (1500, 2)), np.full(1500, 1.7)]).astype(np.float32)
    assert crossings_of(replace(stars, peaks=scattered)) == 0
    assert crossings_of(replace(stars, peaks=None)) is None
    assert crossings_of(replace(stars, peaks=np.empty((0, 3), np.float32))) == 0
