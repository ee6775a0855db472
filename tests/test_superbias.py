"""Superbias against sensors whose pattern is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from masterlight.calibration import biasmodel as module
from masterlight.calibration.superbias import Superbias
from masterlight.core.errors import FrameError, ParameterError
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.core.process import build, replay

SHAPE = (600, 800)
NOISE = 20 / np.sqrt(25)
"""Noise of a master of 25 bias frames of 20 DN."""


def columns(seed=1, sigma=5.0, cols=SHAPE[1]):
    return 500 + np.random.default_rng(seed).normal(0, sigma, cols)


def glow(rows=SHAPE[0], cols=SHAPE[1]):
    """Amplifier glow in a corner and a slope, as smooth as they are."""
    y, x = np.mgrid[:rows, :cols]
    return 40 * np.exp(-np.hypot(y, x - cols) / 400) + 0.02 * y


def noisy(truth, seed=2, sigma=NOISE, **meta):
    noise = np.random.default_rng(seed).normal(0, sigma, SHAPE)
    return ArrayFrame.of(truth + noise, f"bias{seed}", Meta(**meta))


def error(process, truth, bias):
    return np.asarray(process(bias)).astype(float) - truth


@pytest.mark.parametrize("transform", ["median", "starlet"])
def test_truth_columns_are_recovered(transform):
    """Offsets N(0, 5) in a master of 25 frames of noise 20: as good as the mean of 0.6 of a column's pixels."""
    truth = np.broadcast_to(columns(), SHAPE)
    off = error(Superbias(transform=transform), truth, noisy(truth))
    assert off.std() <= 20 / np.sqrt(25 * 0.6 * SHAPE[0]) * 1.2
    assert abs(off.mean()) < 5 * NOISE / np.sqrt(off.size) + 1e-3  # 5 sigma of the mean; float32 at 500 DN


@pytest.mark.parametrize("knobs", [{}, {"rows": True}, {"columns": False, "rows": True}, {"trimming": 0.4}])
def test_truth_large_scale_and_lines_are_recovered(knobs):
    """Glow is followed to much less than the noise of the master, whichever lines are modelled."""
    process, pattern = Superbias(**knobs), glow()
    pattern = pattern + (columns() if process.columns else 500)
    pattern = pattern + (np.random.default_rng(3).normal(0, 2, SHAPE[0])[:, None] if process.rows else 0)
    off = error(process, pattern, noisy(pattern))
    lines = process.columns / SHAPE[0] + process.rows / SHAPE[1]
    assert off.std() <= 1.2 * np.sqrt(NOISE**2 * lines / 0.6 + 0.15**2)  # 0.15: of the glow; the noise is 4


def test_truth_level_stays_without_large_scale():
    """The level is there once, not twice, and structure that is not of lines is not followed."""
    truth = np.broadcast_to(columns(), SHAPE)
    process = Superbias(exclude_large_scale=False)
    assert error(process, truth, noisy(truth)).std() <= NOISE / np.sqrt(0.6 * SHAPE[0]) * 1.2
    out = np.asarray(process(noisy(truth + glow())))
    assert np.ptp(out, axis=0).max() == 0
    both = error(Superbias(exclude_large_scale=False, rows=True), truth, noisy(truth))
    assert abs(both.mean()) < 0.05


def test_truth_smooth_structure_is_found_within_its_error_budget():
    """S alone: its noise is below a fiftieth of the master's, and a thirtieth at the borders."""
    out = np.empty(SHAPE, np.float32)
    module.smooth(noisy(np.full(SHAPE, 500.0)).array, 7, "median", out)
    assert (out - 500).std() < NOISE / 50
    assert np.concatenate([out[0], out[-1], out[:, 0], out[:, -1]]).std() < NOISE / 30
    slope = np.add.outer(0.1 * np.arange(SHAPE[0]), 0.05 * np.arange(SHAPE[1])).astype(np.float32)
    module.smooth(slope, 7, "median", out)
    np.testing.assert_allclose(out, slope, atol=1e-3)  # float32 of values up to 100


def test_truth_defects_rays_and_missing_pixels_leave_it_alone():
    truth = columns() + glow()
    bias, rng = noisy(truth), np.random.default_rng(4)
    clean = np.asarray(Superbias()(bias))
    bias.array.flat[rng.choice(bias.array.size, 4000, False)] += 5000
    bias.array[:, 300] += 900
    bias.array[100:140, 100:150] = np.nan
    bias.array[:, 50] = np.nan
    out = np.asarray(Superbias()(bias))
    assert np.isfinite(out).all()
    off = np.delete(out - clean, [50, 300], axis=1)
    assert off.std() < 0.1  # 1 % of wrong pixels move a trimmed mean by 0.02 sigma
    assert np.median(out[:, 300] - clean[:, 300]) == pytest.approx(900, abs=1)
    assert np.isnan(np.asarray(Superbias()(ArrayFrame.of(np.full((40, 40), np.nan))))).all()


def test_truth_sections_have_columns_of_their_own():
    """A sensor read out at both ends: two sets of columns and a step between the halves."""
    truth = np.repeat([columns(5), columns(6) + 30], SHAPE[0] // 2, axis=0)
    bound = NOISE / np.sqrt(0.6 * SHAPE[0] / 2) * 1.2
    assert error(Superbias(sections_down=2), truth, noisy(truth)).std() < bound
    assert error(Superbias(), truth, noisy(truth)).std() > 5 * bound
    assert module.sections(10, 3) == [(0, 3), (3, 7), (7, 10)]


def test_truth_verdict():
    """Better for columns, also with a little noise of the pixels' own; worse for a sensor of single offsets."""
    rng, cmos = np.random.default_rng(7), np.random.default_rng(8).normal(0, 3, SHAPE)
    truth = np.broadcast_to(columns(), SHAPE)

    def halves(pattern, frames):
        return [
            ArrayFrame.of(pattern + rng.normal(0, 10 / np.sqrt(n), SHAPE), f"half{n}", Meta(frames=n)) for n in frames
        ]

    ccd = Superbias().validate(*halves(truth, (50, 50)))
    assert ccd and ccd.better and "a better bias than the master of 100 frames" in ccd.sentence
    assert ccd.variance_plain == pytest.approx(2, rel=0.05) and ccd.variance_master == pytest.approx(1, rel=0.05)
    assert abs(ccd.variance_superbias) < 0.05  # truth: 2 / (0.6 * 600); the rest is chance of 2 x 4e5 differences
    uneven = Superbias().validate(*halves(truth, (20, 60)))
    assert uneven.variance_master == pytest.approx(100 / 80, rel=0.05)
    for pattern in (truth + cmos, 500 + cmos):
        verdict = Superbias().validate(*halves(pattern, (50, 50)))
        assert not verdict and "no better" in verdict.sentence
        assert verdict.variance_superbias == pytest.approx(9, rel=0.05)
    # half the frames are noisier than the pixels differ, all of them are not: the plain master of all is better
    assert not Superbias().validate(*halves(truth + 0.4 * cmos, (50, 50)))


def test_surface_colour_and_words_of_the_master():
    truth = np.broadcast_to(columns(), SHAPE)
    bias = noisy(truth, kind="bias", frames=25, pattern="RGGB", is_master=True, contains_bias=True)
    out = Superbias(rows=True)(bias)
    assert out.meta == bias.meta and out.shape == SHAPE and out.array.dtype == np.float32
    assert replay(out.cards[-1]) == Superbias(rows=True)
    assert np.array_equal(out.array, Superbias(rows=True)(bias).array)
    planes = ArrayFrame.of(np.stack([bias.array, bias.array + 1, bias.array]))
    np.testing.assert_array_equal(np.asarray(Superbias()(planes))[0], Superbias()(bias).array)
    before = bias.array.copy()
    Superbias()(bias)
    np.testing.assert_array_equal(bias.array, before)


@pytest.mark.parametrize("shape", [(8, 8), (9, 31), (33, 17), (130, 100)])
@pytest.mark.parametrize("layers", [1, 4, 10])
def test_surface_small_and_odd_frames(shape, layers):
    """A constant stays a constant, whatever the shape."""
    for transform in ("median", "starlet"):
        out = np.asarray(Superbias(layers=layers, rows=True, transform=transform)(ArrayFrame.of(np.full(shape, 7.0))))
        np.testing.assert_allclose(out, 7, atol=1e-4)  # of the spline, in float32


@settings(deadline=None, max_examples=40)
@given(
    hnp.arrays(
        np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.floats(-99, 99, width=32)
    ),
    st.sampled_from([0.0, 0.2, 0.4]),
    st.integers(0, 9),
)
def test_oracle_trimmed_means(lines, trimming, seed):
    lines[np.random.default_rng(seed).random(lines.shape) < 0.2] = np.nan
    for line, found in zip(lines, module.trimmed_means(lines, trimming), strict=True):
        good = np.sort(line[~np.isnan(line)]).astype(float)
        cut = int(trimming * len(good))
        expected = good[cut : len(good) - cut].mean() if len(good) else np.nan
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)


def test_surface_what_cannot_be_modelled_is_told():
    with pytest.raises(ParameterError, match="columns, rows or both"):
        Superbias(columns=False)(noisy(np.zeros(SHAPE)))
    with pytest.raises(FrameError, match=r"tiny: is 20 x 6 pixels"):
        Superbias()(ArrayFrame.of(np.zeros((6, 20)), "tiny"))
    with pytest.raises(FrameError, match="shape"):
        Superbias().validate(ArrayFrame.of(np.zeros((20, 20))), ArrayFrame.of(np.zeros((20, 21))))
    with pytest.raises(ParameterError, match="trimming"):
        build(Superbias, {"trimming": 0.5})
