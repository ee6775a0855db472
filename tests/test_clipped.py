"""Pixels cut off at zero: planted at three strengths, and zeros that are something else."""

import numpy as np
import pytest
from clinic import altered, examined, healthy, names, of_kind, only
from scipy.stats import norm

from masterlight.core.frame import ArrayFrame, Meta
from masterlight.doctor import Doctor
from masterlight.doctor.evidence import look
from masterlight.doctor.raw.clipped import cut_at_zero


def lowered(pixels, share):
    """The pixels with the `share` of them below zero that a camera of too small an offset cuts off."""
    return np.maximum(pixels - np.quantile(pixels, share), 0).round()


@pytest.mark.parametrize("share", [0.01, 0.06, 0.5])
def test_truth_d27_lights_from_which_the_camera_took_a_dark(tmp_path, share):
    def cut(kind, i, pixels, header):
        noise = np.random.default_rng(i).normal(0, 20, pixels.shape)  # of the dark that the camera took
        return lowered(pixels + noise, share) if kind == "light" and i < 2 else None

    found = only(examined(altered(tmp_path, cut)), "D27")
    assert [(f.severity, names(f)) for f in found] == [("warn", of_kind("light", 0, 1))]
    assert 0.7 * share < found[0].figure / 100 < 1.3 * share + 0.02  # dark corners may look like borders
    assert found[0].picture.shape == (3, 320, 480)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_truth_d27_bias_and_darks_of_a_small_offset(tmp_path, share):
    def cut(kind, i, pixels, header):
        return lowered(pixels, share) if kind in ("bias", "dark") else None

    found = only(examined(altered(tmp_path, cut)), "D27")
    assert {name for f in found for name in names(f)} == of_kind("bias") | of_kind("dark")
    assert all(f.severity == "warn" and "raise the offset" in f.sentence for f in found)


def test_truth_d27_a_healthy_night_is_whole():
    assert only(healthy(), "D27") == []


def cut_of(pixels, **meta):
    return cut_at_zero(Doctor(), look(ArrayFrame.of(pixels, "one", Meta(kind="light", **meta))))


def test_truth_what_was_cut_off_tells_level_and_noise_of_the_whole():
    rng = np.random.default_rng(1)
    for level, sigma in ((0.0, 5.0), (10.0, 5.0), (90.0, 45.0), (1.0, 1.2)):
        values = rng.normal(level, sigma, (512, 512))
        cut = cut_of(np.maximum(values, 0).round())
        assert abs(cut.level_dn - level) < 0.1 * sigma
        assert abs(cut.sigma_dn / sigma - 1) < 0.1
        assert abs(cut.raised_dn - np.maximum(values, 0).mean() + level) < 0.03 * sigma
        assert abs(cut.noise_left - np.maximum(values, 0).std() / sigma) < 0.05


def test_truth_zeros_of_borders_dead_pixels_and_a_low_level_were_not_cut_off():
    rng = np.random.default_rng(2)
    sky = rng.normal(300, 20, (512, 512)).round()
    border, dead, columns = sky.copy(), sky.copy(), sky.copy()
    y, x = np.mgrid[:512, :512]
    border[x + y < 300] = 0  # of a frame that was turned
    border[-40:] = 0
    dead[rng.random(sky.shape) < 0.05] = 0
    columns[:, 100:140] = 0
    low = rng.normal(0, 5, sky.shape).round()  # written with its negative values
    assert [cut_of(frame) for frame in (sky, border, dead, columns, low)] == 5 * [None]
    assert cut_of(rng.normal(12, 3, sky.shape).round()) is None


def test_truth_values_of_12_bits_shifted_up_are_counted_in_their_steps():
    rng = np.random.default_rng(3)
    whole, cut = rng.normal(12, 3, (512, 512)), np.maximum(rng.normal(3, 3, (512, 512)), 0)
    assert cut_of(16 * whole.round()) is None
    found = cut_of(16 * cut.round())
    assert abs(found.zeros - norm.cdf(-2.5 / 3)) < 0.01
    assert abs(found.level_dn - 48) < 6
