"""What pairs of frames tell of a sensor, against sensors of known truth."""

import numpy as np
import pytest
from truecamera import XTRANS, Sensor, read, real

from masterlight.core.errors import FrameError, ParameterError
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.doctor.quality import sensor as pairs


@pytest.mark.parametrize("sigma", [0.5, 0.7, 1.0, 1.4, 2.0, 5.0])
def test_truth_noise_of_a_pair_of_whole_numbers(sigma):
    """Whole numbers, a gradient, columns, hot pixels and cosmic rays: the noise is that of the values, in 2 %.

    In 3 % below 0.6 DN, where nearly all differences are -1, 0 or 1 and no longer Gaussian.
    """
    rng = np.random.default_rng(2)
    shape = (400, 500)
    scene = 500 + rng.normal(0, 5, shape[1]) + np.linspace(0, 300, shape[0])[:, None]
    scene[rng.random(shape) < 0.01] += 5000
    pair = [np.round(scene + rng.normal(0, sigma, shape)) for _ in "ab"]
    truth = np.std(pair[0] - pair[1]) / np.sqrt(2)
    pair[0].flat[rng.choice(pair[0].size, 1000, False)] += 3000
    found = pairs.pair_noise(*(ArrayFrame.of(p) for p in pair))["mono"]
    assert found.noise_dn == pytest.approx(truth, rel=0.02 if sigma > 0.6 else 0.03)
    assert sum(noise.size for noise in found.noises) > 1000


@pytest.mark.parametrize("pattern", [None, "RGGB", XTRANS])
@pytest.mark.parametrize("gain, read_e", [(0.25, 3.0), (1.5, 9.0), (3.0, 4.0)])
def test_truth_gain_and_read_noise(pattern, gain, read_e):
    """Both within 3 % for each colour, with vignetting, a fading second flat, cosmic rays and hot pixels."""
    rng = np.random.default_rng(3)
    sensor = Sensor(gain=gain, read_e=read_e, pattern=pattern, shape=(720, 1080))
    size = 1 if pattern is None else 2 if len(pattern) == 4 else 6
    tint = np.array([{"R": 0.5, "G": 1.0, "B": 0.4}[c] for c in pattern or "G"]).reshape(size, size)
    light = 20000 * gain * sensor.vignetting() * np.tile(tint, (720 // size, 1080 // size))
    frames = [sensor.frame(rng), sensor.frame(rng), sensor.frame(rng, "flat", light)]
    frames.append(sensor.frame(rng, "flat", 0.93 * light))
    for frame in frames:
        frame.array.flat[rng.choice(frame.array.size, 2000, False)] += 4000
    found = pairs.gain_and_read_noise(*frames)
    assert list(found) == (["R", "G", "B"] if pattern else ["mono"])
    for colour in found.values():
        rounded_e = np.hypot(read_e, gain / np.sqrt(12))  # the rounding to whole DN is read noise too
        assert colour.gain_e_per_dn == pytest.approx(gain, rel=0.03)
        assert colour.read_noise_e == pytest.approx(rounded_e, rel=0.03 + 0.03)  # that of the gain is in it
        assert colour.read_noise_dn == pytest.approx(rounded_e / gain, rel=0.03)


def test_truth_gain_formula():
    """Flats of 20000 and 20050 DN on a bias of 1000, Var(f1 - f2) = 152328, Var(b1 - b2) = 128: 0.25 e-/DN, 2 e-."""
    gain = pairs.conversion((20000 + 20050) / 2 - 1000, 152328, 128)
    assert gain == pytest.approx(0.25)
    assert gain * np.sqrt(128) / np.sqrt(2) == pytest.approx(2.0)


def test_truth_calibrated_flats_tell_the_same_gain():
    rng, sensor = np.random.default_rng(4), Sensor()
    bias, flats = [sensor.frame(rng) for _ in "ab"], [sensor.frame(rng, "flat", 3e4) for _ in "ab"]
    bare = [ArrayFrame.of(f.array - 500, f.source, f.meta.with_(calibration="B", integer=False)) for f in flats]
    raw = pairs.gain_and_read_noise(*bias, *flats)["mono"].gain_e_per_dn
    assert pairs.gain_and_read_noise(*bias, *bare)["mono"].gain_e_per_dn == pytest.approx(raw, rel=2e-3)


def test_truth_dark_current_by_level_and_by_noise():
    rng, sensor = np.random.default_rng(6), Sensor(dark_e_s=0.2, read_e=5.0)
    darks = [sensor.frame(rng, "dark", exposure_s=300) for _ in "ab"]
    biases = [sensor.frame(rng) for _ in "ab"]
    found = pairs.dark_current(darks, biases, 1.5)["mono"]
    assert found.by_level_e_s == pytest.approx(0.2, rel=0.02)
    assert found.by_variance_e_s == pytest.approx(0.2, rel=0.1)
    one = pairs.dark_current(darks[0], biases[0], {"mono": 1.5}, 300)["mono"]
    assert one.by_level_e_s == found.by_level_e_s and one.by_variance_e_s is None
    with pytest.raises(ParameterError, match="exposure"):
        pairs.dark_current(sensor.frame(rng, "dark"), biases[0], 1.5)


def test_truth_frames_needed():
    assert [pairs.frames_needed(x) for x in (0.01, 0.02, 0.05)] == [50, 25, 10]
    with pytest.raises(ParameterError):
        pairs.frames_needed(0)


def test_truth_frames_that_differ_are_told_by_name():
    a, b = ArrayFrame.of(np.ones((20, 30)), "a.fits"), ArrayFrame.of(np.ones((30, 20)), "b.fits")
    with pytest.raises(FrameError, match=r"b\.fits: is 20 x 30.*a\.fits is 30 x 20"):
        pairs.pair_noise(a, b)
    mosaic = ArrayFrame.of(np.ones((20, 30)), "c.fits", Meta(pattern="RGGB"))
    with pytest.raises(FrameError, match="RGGB"):
        pairs.pair_noise(a, mosaic)
    missing = ArrayFrame.of(np.full((20, 30), np.nan))
    assert np.isnan(pairs.pair_noise(missing, missing)["mono"].noise_dn)


@real
def test_truth_real_flats_of_an_atik():
    """A KAF-8300: gain near 0.4-0.5 e-/DN and read noise of 8-13 e-, from its flats and flat-darks."""
    darks = read("galaxy_atik383/darkflats")
    found = pairs.gain_and_read_noise(*darks[:2], *read("galaxy_atik383/flats")[:2])["mono"]
    assert 0.35 < found.gain_e_per_dn < 0.55
    assert 7 < found.read_noise_e < 14
