"""What frames have over their mean, in bins of 8 x 8 pixels: sums that know no order, levels, scores."""

import numpy as np
import pytest

from masterlight.integration.kernels import residuals
from masterlight.integration.kernels.residuals import SIDE, STEPS, UNIT, VOID
from masterlight.integration.stack import HIGH, Verdicts
from masterlight.integration.trails.faint import wipe
from masterlight.integration.trails.residue import Residue, levels_of

NOISE = 10.0


def binned(samples, image, box, scale=None, offset=None, every=1):
    """`bin_residuals` of a box of samples (N, rows, cols) on all bins of the image."""
    y0, y1, x0, x1 = box
    n, rows, cols = samples.shape
    part = np.ascontiguousarray(samples[:, y0:y1, x0:x1], np.float32).reshape(n, -1)
    mean = np.ascontiguousarray(image[y0:y1, x0:x1], np.float32).reshape(-1)
    ends = [(last - 1) // SIDE - first // SIDE + 1 for first, last in ((y0, y1), (x0, x1))]
    out = np.zeros((n, *ends), np.int16)
    scale, offset = np.ones(n) if scale is None else scale, np.zeros(n) if offset is None else offset
    numbers = [np.float32(v) for v in (scale, offset, np.full(n, NOISE))]
    residuals.bin_residuals(part, mean, *numbers, box, every, out)
    whole = np.zeros((n, -(-rows // SIDE), -(-cols // SIDE)), np.int16)
    whole[:, y0 // SIDE : y0 // SIDE + ends[0], x0 // SIDE : x0 // SIDE + ends[1]] = out
    return whole


def frames(n=4, rows=45, cols=70, seed=1):
    rng = np.random.default_rng(seed)
    samples = rng.normal(500, NOISE, (n, rows, cols)).astype(np.float32)
    samples[0, 3, 5], samples[1, 20, 20], samples[1, 21, 60] = 5000, np.inf, -np.inf
    return samples, samples[2:].mean(axis=0)


def test_oracle_bins():
    samples, image = frames()
    scale, offset = np.array([1, 1.1, 0.9, 1]), np.array([0, -50, 50, 3.0])
    got = binned(samples, image, (0, 45, 0, 70), scale, offset)
    over = (scale[:, None, None] * samples + offset[:, None, None] - image) / NOISE * STEPS
    steps = np.rint(np.clip(over, -residuals.FAR * STEPS, residuals.FAR * STEPS))
    padded = np.zeros((4, 48, 72))
    padded[:, :45, :70] = steps
    assert np.abs(got - padded.reshape(4, 6, 8, 9, 8).sum(axis=(2, 4))).max() <= 1  # a half, rounded in float32
    parts = [binned(samples, image, (y, min(y + 7, 45), 0, 70), scale, offset, every=2) for y in range(0, 45, 7)]
    assert np.abs(sum(parts) - padded.reshape(4, 6, 8, 9, 8)[:, :, ::2].sum(axis=(2, 4))).max() <= 1


def test_oracle_a_bin_with_a_missing_sample_is_void_in_whatever_tiles():
    samples, image = frames()
    samples[3, 16, 16] = samples[3, 15, 15] = np.nan
    samples[3, 8:12, 40:60] = np.nan
    whole = binned(samples, image, (0, 45, 0, 70))
    holes = np.pad(np.isnan(samples), ((0, 0), (0, 3), (0, 2))).reshape(4, 6, 8, 9, 8).any(axis=(2, 4))
    assert np.array_equal(whole < VOID, holes)
    edges = [(y, min(y + 13, 45), x, min(x + 11, 70)) for y in range(0, 45, 13) for x in range(0, 70, 11)]
    parts = sum(binned(samples, image, box) for box in edges)
    assert np.array_equal(parts[~holes], whole[~holes])
    assert (parts[holes] < VOID).all()


def test_truth_levels_follow_a_gradient_to_the_border_and_scores_are_sigma():
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:120, :170]
    bins = np.rint(rng.normal(0, 128, (1, 2, 120, 170)) + 4.0 * x - 3.0 * y).astype(np.int16)
    bins[0, 1, :, :20] = 2 * VOID
    residue = Residue(bins, np.full((1, 2), NOISE), Verdicts((960, 1360)))
    scores = residue.scores() / UNIT
    assert np.std(scores[0]) == pytest.approx(1, abs=0.02)
    assert abs(scores[0][:8, :8].mean()) < 0.4
    assert abs(scores[0][-8:, -8:].mean()) < 0.4
    assert not scores[1][:, :20].any()


def test_truth_a_star_that_the_seeing_changes_counts_little():
    rng = np.random.default_rng(3)
    bins = np.rint(rng.normal(0, 128, (1, 12, 40, 50))).astype(np.int16)
    bins[0, :, 20, 30] = 128 * 10 * rng.choice([-1, 1], 12)
    scores = Residue(bins, np.full((1, 12), NOISE), Verdicts((320, 400))).scores()
    assert np.abs(scores[:, 20, 30]).max() < 2 * UNIT


def test_truth_what_is_left_out_is_replaced_at_the_sky_of_its_frame():
    rng = np.random.default_rng(4)
    n, rows, cols = 5, 256, 320
    y, x = np.mgrid[:rows, :cols]
    slope = rng.normal(0, 8, (n, 2))
    sky = 500 + slope[:, :1, None] * (x / cols - 0.5) + slope[:, 1:, None] * (y / rows - 0.5)
    samples, weights = (sky + rng.normal(0, NOISE, sky.shape)).astype(np.float32), rng.uniform(0.5, 1, n)
    image = np.average(samples, axis=0, weights=weights)
    residue = Residue(binned(samples, image, (0, rows, 0, cols))[None], np.full((1, n), NOISE), Verdicts((rows, cols)))
    box = (40, 200, 60, 300)
    part = samples[:, 40:200, 60:300].copy()
    part[2] = np.inf
    kept = np.arange(n) != 2
    mean = np.average(part[kept], axis=0, weights=weights[kept])
    truth = np.average(sky[:, 40:200, 60:300], axis=0, weights=weights)
    noise = NOISE / np.sqrt(n * mean.size)
    step = abs((mean - truth).mean())
    mended = mean + residue.lost_dn(0, part, weights, box) - truth
    assert abs(mended.mean()) < 6 * noise
    assert np.abs(mended.reshape(4, 40, 4, 60).mean(axis=(1, 3))).max() < max(0.5 * step, 24 * noise)


def test_oracle_what_is_left_out():
    rng = np.random.default_rng(5)
    samples, weights = rng.normal(0, 5, (4, 70, 90)).astype(np.float32), rng.uniform(0.5, 1, 4)
    gone, none = rng.random((2, *samples.shape)) < [[[[0.1]]], [[[0.05]]]]
    gone[1] = False
    samples[gone], samples[none] = rng.choice([-np.inf, np.inf], gone.sum()), np.nan
    bins = np.rint(rng.normal(0, 128, (1, 4, 40, 50))).astype(np.int16)
    residue, box = Residue(bins, np.full((1, 4), NOISE), Verdicts((320, 400))), (30, 100, 210, 300)
    missed, kept = np.zeros((70, 90)), np.zeros((70, 90))
    for i, frame in enumerate(samples):
        level = np.empty((320, 400), np.float32)
        for y in range(320):
            residuals.level_row(residue.levels[0, i], y, 0, 320, 400, level[y])
        missed += np.where(np.isinf(frame), weights[i] * residue.step_dn[0, i] * level[30:100, 210:300], 0)
        kept += weights[i] * np.isfinite(frame)
    found = residue.lost_dn(0, samples, weights, box)
    np.testing.assert_allclose(found, missed / np.maximum(kept, 1e-9), rtol=2e-5, atol=1e-5)


def test_a_band_is_wiped_by_whole_bins():
    bins = np.ones((6, 9), np.int16)
    wipe(bins, np.array([0, 70 * 9 + 17], np.uint32), 70)
    assert np.argwhere(bins == 0).tolist() == [[0, 0], [1, 2]]


def test_what_larger_structures_take_tells_no_level():
    verdicts = Verdicts((320, 320))
    verdicts.large(0, 0, HIGH, np.arange(320 * 100, 320 * 140, dtype=np.uint32))
    bins = np.full((1, 1, 40, 40), 64, np.int16)
    bins[0, 0, 13:17] = 4000
    levels = Residue(bins, np.full((1, 1), NOISE), verdicts).levels
    assert np.allclose(levels, 64, atol=64 * 0.7)
    assert levels_of(np.full((3, 3), 7, np.int16)).shape == (3, 3)


def test_truth_the_midst_of_a_bright_trail_tells_no_level():
    """All its samples are rejected one by one; only what was added to them stands in LARGE."""
    verdicts, x = Verdicts((320, 320)), np.indices((320, 320))[1]
    bright = np.flatnonzero(abs(x - 164) < 7).astype(np.uint32)
    verdicts.found[0, 0, HIGH] = bright
    bins = np.full((1, 1, 40, 40), 64, np.int16)
    bins[0, 0, :, 20] = 4000
    assert np.all(Residue(bins, np.full((1, 1), NOISE), verdicts).levels == 64)


def test_truth_a_star_that_few_frames_of_a_mosaic_show_counts_as_little():
    """Four of forty frames show it: the others, which do not, say nothing for it."""
    rng = np.random.default_rng(3)
    bins = np.rint(rng.normal(0, 128, (1, 40, 40, 50))).astype(np.int16)
    bins[0, 4:, :, 25:] = 2 * VOID
    bins[0, :4, 20, 30] = 128 * 10 * np.array([-1, 1, 1, -1])
    residue = Residue(bins, np.full((1, 40), NOISE), Verdicts((320, 400)))
    assert residue.shown[0, 0] == 40 and residue.shown[20, 30] == 4
    assert np.abs(residue.scores()[:, 20, 30]).max() < 2.5 * UNIT
