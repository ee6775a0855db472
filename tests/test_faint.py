"""Trails fainter than the noise of a pixel, in bins of what a frame has over the mean."""

import numpy as np
import pytest

from masterlight.integration.trails import faint
from masterlight.integration.trails.faint import UNIT, find_faint

SHAPE = 600, 800


def scores_of(seed, *trails, shape=SHAPE, extra=0.0):
    """Scores of a frame of noise 1 with trails (x, y, angle, sigma in px, peak in sigma, from, to)."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    light = np.zeros(shape)
    for x0, y0, angle, sigma, peak, start, end in trails:
        across = (y - y0) * np.cos(angle) - (x - x0) * np.sin(angle)
        along = (x - x0) * np.cos(angle) + (y - y0) * np.sin(angle)
        light += peak * np.exp(-0.5 * (across / sigma) ** 2) * ((along > start) & (along < end))
    bins = light.reshape(shape[0] // 8, 8, shape[1] // 8, 8).sum(axis=(1, 3)) / 8
    noise = np.random.default_rng(seed).standard_normal(bins.shape)
    return np.rint(np.clip(UNIT * (bins + noise + extra), -4 * UNIT, 4 * UNIT)).astype(np.int16)


def found_in(scores, shape=SHAPE):
    band, trails = find_faint(scores.copy(), shape, 7.5, 3.0)
    return np.isin(np.arange(shape[0] * shape[1]), band).reshape(shape), trails


@pytest.mark.parametrize("angle", [0.02, 0.4, 0.8, 1.5, 2.0, 2.4, 3.1])
def test_truth_a_trail_of_a_third_of_sigma_is_found_end_to_end(angle):
    trail = (390.0, 310.0, angle, 1.7, 0.33, -2000, 2000)
    mask, trails = found_in(scores_of(int(100 * angle), trail))
    assert len(trails) == 1
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    across = abs((y - 310) * np.cos(angle) - (x - 390) * np.sin(angle))
    assert mask[across < 2.5].mean() > 0.97
    assert not mask[across > 14].any()


def test_truth_a_meteor_is_cut_where_it_ends():
    mask, trails = found_in(scores_of(3, (400.0, 300.0, 0.5, 2.0, 0.8, -180, 160)))
    assert len(trails) == 1
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    along = (x - 400) * np.cos(0.5) + (y - 300) * np.sin(0.5)
    assert -280 < along[mask].min() < -160
    assert 140 < along[mask].max() < 260


def test_truth_two_trails_that_cross_are_two():
    trails = (300.0, 300.0, 0.6, 1.7, 0.5, -2000, 2000), (450.0, 300.0, 2.2, 1.7, 0.5, -2000, 2000)
    assert len(found_in(scores_of(4, *trails))[1]) == 2


def test_truth_noise_has_no_trails():
    assert not any(found_in(scores_of(seed))[1] for seed in range(300))


@pytest.mark.parametrize("seed", range(4))
def test_truth_nothing_else_is_a_trail(seed):
    rng = np.random.default_rng(seed)
    rows, cols = SHAPE[0] // 8, SHAPE[1] // 8
    y, x = np.mgrid[:rows, :cols]
    banding = np.repeat(rng.normal(0, 0.7, rows)[:, None], cols, axis=1)
    step = np.where(x * np.cos(0.3) + y * np.sin(0.3) > 50, 0.8, -0.8) * (abs(x + 0.3 * y - 50) < 12)
    stars = np.zeros((rows, cols))
    stars[rng.integers(0, rows, 60), rng.integers(0, cols, 60)] = rng.uniform(-4, 4, 60)
    cloud = sum(0.4 * np.sin(2 * np.pi * (rng.normal() * x + rng.normal() * y) / 30 + rng.normal()) for _ in range(6))
    for extra in (banding, step, stars, cloud):
        assert not found_in(scores_of(seed + 50, extra=extra))[1]


def test_a_blob_is_not_a_trail():
    extra = np.zeros((75, 100))
    extra[40:44, 30:60] = 3.0
    assert not found_in(scores_of(5, extra=extra))[1]


def digital_line(row0, height, slope):
    """The bins of the line that goes `slope` to the right in `height` rows, as Brady's recursion lays it."""
    if height == 1:
        return [(row0, 0)]
    below = [(y, x + (slope + 1) // 2) for y, x in digital_line(row0 + height // 2, height // 2, slope // 2)]
    return digital_line(row0, height // 2, slope // 2) + below


@pytest.mark.parametrize("shape", [(70, 90), (300, 100), (600, 150)])
def test_oracle_line_sums(shape):
    scores = np.rint(np.random.default_rng(6).normal(0, UNIT, shape)).astype(np.int16)
    lines = faint.steep_lines(scores, 2.6)
    assert len(lines) > 8
    for snr, x0, y0, x1, y1 in lines:
        places = [(y, x + int(x0)) for y, x in digital_line(int(y0), int(y1 - y0) + 1, int(x1 - x0))]
        inside = [(y, x) for y, x in places if y < shape[0] and 0 <= x < shape[1]]
        plain = sum(int(scores[at]) for at in inside) / (UNIT * np.sqrt(len(inside)))
        # what lines of one slope differ more than noise is taken off; rows inside are those of a straight line
        assert 0.6 * plain < snr < 1.15 * plain


def test_oracle_templates_hold_the_light_of_a_trail():
    line, width = (10.3, 9.1, np.cos(0.6), np.sin(0.6)), 1.5
    flat = np.full((20, 24), UNIT, np.int16)
    light, norm = faint.add_along(flat, line, -6.0, 6.0, width, 0.0, 2.0, np.zeros(6), np.zeros(6))
    fine = 40
    y, x = (np.mgrid[: 20 * fine, : 24 * fine] + 0.5) / fine - 0.5
    across = (y - 9.1) * np.cos(0.6) - (x - 10.3) * np.sin(0.6)
    part = (abs(across) < width / 2).reshape(20, fine, 24, fine).mean(axis=(1, 3)) / width
    y, x = np.mgrid[:20, :24]
    along = (x - 10.3) * np.cos(0.6) + (y - 9.1) * np.sin(0.6)
    inner = abs(along) < 5
    assert light.sum() / UNIT == pytest.approx(12.0, abs=1.0)
    template = []
    for k in np.flatnonzero(inner):
        single = (UNIT * (np.arange(480).reshape(20, 24) == k)).astype(np.int16)
        template.append(faint.snr_along(single, line, -6.0, 6.0, width, 0.0))
    assert np.allclose(np.array(template) * np.sqrt(norm.sum()), part[inner], atol=0.02)


@pytest.mark.parametrize("turned", [False, True])
def test_truth_the_edge_of_a_frame_that_ends_within_the_image_is_no_trail(turned):
    scores = scores_of(12, shape=(800, 800), extra=np.where(np.arange(100)[:, None] // 2 == 7, 1.2, 0.0))
    scores = scores.T.copy() if turned else scores
    assert found_in(scores, (800, 800))[1]  # the same strip in the midst of a frame is one
    scores[(slice(None), slice(0, 14)) if turned else slice(0, 14)] = 0
    assert not found_in(scores, (800, 800))[1]


def test_truth_a_trail_that_runs_across_the_edge_of_a_frame_is_one():
    scores = scores_of(13, (390.0, 310.0, 0.9, 1.7, 0.5, -2000, 2000))
    scores[:20] = 0
    assert len(found_in(scores)[1]) == 1


@pytest.mark.parametrize("turned", [False, True])
def test_truth_where_other_frames_end_is_no_trail(turned):
    """Panels of a mosaic whose skies differ by a little leave a step in the mean where one of them ends."""
    step = scores_of(14, extra=np.where(np.abs(np.arange(100) - 43.4) < 2, 0.7, 0.0))
    shown = np.where(np.arange(100) < 45, 6, 3) * np.ones((75, 1), int)
    step, shown = (step.T.copy(), shown.T.copy()) if turned else (step, shown)
    shape = tuple(8 * n for n in step.shape)
    assert find_faint(step.copy(), shape, 7.5, 3.0)[1] and find_faint(step.copy(), shape, 7.5, 3.0, 0 * shown + 6)[1]
    assert not find_faint(step.copy(), shape, 7.5, 3.0, shown)[1]
    across = scores_of(13, (390.0, 310.0, 0.9, 1.7, 0.5, -2000, 2000))
    assert len(find_faint(across, SHAPE, 7.5, 3.0, shown.T if turned else shown)[1]) == 1
