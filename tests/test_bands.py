"""Bands of restless electronics are told by their depth; noise, stars, nebulae and a sensor's pattern are none."""

import numpy as np
import pytest
from weather import Weather, night_table, subframe

from masterlight.core.frame import Meta
from masterlight.subframes.bands import AROUND, bands_of, mean_square, pattern_of, profile_of, strengths

SHAPE, NOISE = (400, 520), 10.0


def noise(seed, shape=SHAPE):
    return np.random.default_rng(seed).normal(1000, NOISE, shape).astype(np.float32)


def levels(seed, n, depth):
    return (depth * NOISE * np.random.default_rng(seed).standard_normal(n)).astype(np.float32)


def alone(plane):
    """Depth along rows and along columns of one frame without others."""
    return [float(strengths([profile], 5)[0]) for profile in bands_of(plane, NOISE)]


@pytest.mark.parametrize("depth", [0.1, 0.3, 1.0])
def test_truth_bands_are_as_deep_as_they_were_drawn(depth):
    rows, cols = SHAPE
    along_rows, none = alone(noise(1) + levels(2, rows, depth)[:, None])
    assert along_rows == pytest.approx(depth, rel=0.12) and none == 0  # chance: 400 rows tell a spread to 4 %
    none, along_columns = alone(noise(1) + levels(2, cols, depth))
    assert along_columns == pytest.approx(depth, rel=0.12) and none == 0


def test_truth_noise_a_sloping_sky_stars_and_nebulae_are_no_bands():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    sloping = noise(3) + (0.5 * y - 0.3 * x + 200 * np.hypot(x - 200, y - 100) / 300).astype(np.float32)
    assert alone(noise(3)) == alone(sloping) == [0, 0]
    for knobs in ({}, {"stars": 6000}, {"nebula_dn": 1500.0, "gradient": 0.25}):
        for frame in night_table(Weather(4, lights=2, **knobs)):
            assert [strengths([p], 5)[0] for p in frame.measurement.bands] == [0, 0]


def test_truth_what_every_frame_has_is_the_pattern_of_the_sensor_however_bright_the_sky():
    fixed = levels(5, SHAPE[1], 0.5)
    frames = [noise(i) + (1 + 0.1 * i) * fixed for i in range(6)]
    frames[2] += levels(9, SHAPE[1], 0.3)
    told = strengths([bands_of(frame, NOISE)[1] for frame in frames], 5)
    assert told[2] == pytest.approx(0.3, rel=0.2) and np.delete(told, 2).max() == 0
    few = strengths([bands_of(frame, NOISE)[1] for frame in frames[:2]], 5)
    assert few == pytest.approx([0.5, 0.55], rel=0.1)  # nobody can tell


def test_truth_lines_that_stand_out_alone_are_defects():
    plane = noise(6)
    plane[:, 77] += 1000
    assert alone(plane)[1] == 0


def test_truth_missing_pixels_and_lines_are_left_out():
    plane = noise(7) + levels(8, SHAPE[0], 0.3)[:, None]
    plane[np.random.default_rng(1).random(SHAPE) < 0.05] = np.nan
    plane[200:230] = np.nan
    assert alone(plane)[0] == pytest.approx(0.3, rel=0.15)
    assert np.isnan(profile_of(plane, NOISE)[0][200:230]).all()
    empty = np.full(SHAPE, np.nan, np.float32)
    assert alone(empty) == [0.0, 0.0]
    assert bands_of(plane[: 4 * AROUND - 1], NOISE) is None
    assert np.isnan(strengths([None, None], 5)).all() and strengths([], 5).shape == (0,)


def test_oracle_profile():
    """Each line by a loop: medians of eight stretches beside the median of 21 lines, halves of them told apart."""
    plane = noise(10, (120, 300)) + levels(11, 120, 0.2)[:, None]
    columns = [range(300 * k // 8, 300 * k // 8 + 37) for k in range(8)]
    line = np.array([[np.median(plane[y, c.start : c.stop]) for c in columns] for y in range(120)])
    high = np.array([line[y] - np.median(line[y - 10 : y + 11], axis=0) for y in range(10, 110)])
    high -= np.median(high, axis=0)
    left, right = np.median(high[:, :4], axis=1), np.median(high[:, 4:], axis=1)
    profile, chance = profile_of(plane, NOISE)
    assert np.isnan(profile[:10]).all() and np.isnan(profile[110:]).all()
    assert profile[10:110] == pytest.approx((left + right) / 2 / NOISE, abs=2e-3)  # stored in half a float
    assert chance == pytest.approx(np.mean(((left - right) / 2 / NOISE) ** 2), rel=1e-3)


def test_truth_squares_and_patterns():
    assert mean_square(np.array([1.0, -1.0, np.nan, 1.0, -100.0])) == pytest.approx((3 + (6 * 1.4826) ** 2) / 4)
    assert mean_square(np.array([np.nan])) == 0
    rows = [np.array([1.0, np.nan, 2.0]), np.array([3.0, np.nan, 2.0]), np.array([2.0, np.nan, 2.0])]
    assert pattern_of(rows).tolist() == [2, 0, 2]


@pytest.mark.parametrize("pattern", ["RGGB", None])
def test_truth_mosaics_and_colour_tell_their_bands(pattern):
    plane = noise(12, (720, 900)) + levels(13, 720, 0.3)[:, None]
    plane[::2, ::2] *= 0.7
    plane[1::2, 1::2] *= 0.5
    y, x = np.random.default_rng(3).integers(20, 700, (2, 60))
    for dy in range(-3, 4):
        for dx in range(-3, 4):
            plane[y + dy, x + dx] += 5000 * np.exp(-(dx * dx + dy * dy) / 4)
    image = plane if pattern else np.stack([plane, plane, plane])
    found = subframe(image, "a.fits", Meta(pattern=pattern, shape=image.shape)).measurement
    if pattern:
        assert strengths([found.bands[0]], 5)[0] == pytest.approx(0.3, rel=0.25)
    else:
        assert found.bands is not None
