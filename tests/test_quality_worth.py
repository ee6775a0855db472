"""Reports of masters, against sensors of known truth."""

import json

import numpy as np
import pytest
from astropy.stats import biweight_midvariance
from truecamera import Sensor, dark_set, mastered, read, real

import masterlight as ml
from masterlight.core.errors import ParameterError
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.doctor.quality import worth as quality
from masterlight.doctor.quality.page import few_frames
from masterlight.integration.integrate import ImageIntegration
from masterlight.integration.rejection import Rejection


@pytest.mark.parametrize("maps", [True, False])
def test_truth_report_of_a_dark(maps):
    frames, biases = dark_set()
    master, stack = mastered("dark", frames, maps)
    bias, _ = mastered("bias", biases)
    report = quality.report("dark", master, frames, stack=stack, bias=bias, biases=biases)
    colour = report.colours["mono"]
    single_dn = np.hypot(7, np.sqrt(6)) / 1.5
    assert colour.single_noise_dn == pytest.approx(single_dn, rel=0.05)  # glow adds a little shot noise
    assert colour.noise_dn == pytest.approx(colour.single_noise_dn / np.sqrt(6), rel=0.05)
    assert colour.efficiency == pytest.approx(1, abs=0.05)
    assert report.hot_pixels == 321
    # median of the glow, 30 exp(-d / 200) e-, is 2.6 e-: 0.04 e-/s; drift lifts the mean of the darks by 2.5 DN
    assert colour.dark_current_e_s == pytest.approx(0.1 + (2.6 + 2.5 * 1.5) / 60, rel=0.1)
    assert colour.dark_current_by_variance_e_s == pytest.approx(0.15, rel=0.25)  # 60 s: 6 of 49 e-^2 of variance
    assert report.drift.per_degree_dn == pytest.approx(5, rel=0.15)  # whole DN added
    assert report.drift.peak_to_peak_dn == pytest.approx(5, abs=0.2)
    assert colour.column_profile_dn == pytest.approx(3, rel=0.15)  # rms of 800 columns about a running median
    assert colour.row_profile_dn < 0.15
    assert colour.zones_dn[0][0] > colour.zones_dn[7][7] + 8
    assert 0 < report.rejected_high_fraction < 5 * 50 / master.array.size
    assert len({entry["hash"] for entry in report.inputs}) == 6


def test_truth_exact_figures_of_a_report():
    """Mean, extremes, places and fractions are those of every pixel; scales agree with astropy."""
    rng = np.random.default_rng(10)
    a = rng.normal(100, 5, (300, 280)).astype(np.float32)
    a[7, 9], a[250, 11], a[1, 1], a[2, :3] = -50, 65000, np.nan, 0
    frame = ArrayFrame.of(a, "m", Meta(saturation_dn=65535))
    report = quality.report("bias", frame, [frame])
    c = report.colours["mono"]
    good = a[np.isfinite(a)].astype(float)
    assert c.mean_dn == pytest.approx(good.mean(), rel=1e-12)
    assert c.median_dn == np.median(good)
    assert (c.minimum_dn, c.minimum_xy, c.maximum_dn, c.maximum_xy) == (-50, (9, 7), 65000, (11, 250))
    assert c.zero_fraction * good.size == pytest.approx(3) and c.negative_fraction * good.size == pytest.approx(1)
    assert c.saturated_fraction * good.size == pytest.approx(1) and c.missing_fraction == 1 / a.size
    assert c.biweight_dn == pytest.approx(np.sqrt(biweight_midvariance(good, c=9)), rel=1e-3)  # sums of float32
    assert c.sn_dn == pytest.approx(5, rel=0.03) and c.qn_dn == pytest.approx(5, rel=0.03)
    assert c.single_noise_dn is None and report.drift is None and "with one frame" in report.text()


def test_truth_report_of_colour_flats():
    """Each colour by itself; the gain measured on the flats and a pair of bias frames; signal over noise."""
    rng, sensor = np.random.default_rng(11), Sensor(gain=0.8, read_e=3.0, pattern="GRBG", shape=(480, 640))
    tint = np.tile([[1.0, 0.5], [0.4, 1.0]], (240, 320))
    frames = [sensor.frame(rng, "flat", (1 - 0.04 * i) * 16000 * tint, 2) for i in range(5)]
    biases = [sensor.frame(rng) for _ in "ab"]
    master, stack = mastered("flat", frames, maps=False)
    report = quality.report("flat", master, frames, stack=stack, biases=biases)
    assert list(report.colours) == ["R", "G", "B"]
    for name, light in {"R": 8000, "G": 16000, "B": 6400}.items():
        c = report.colours[name]
        assert c.gain_e_per_dn == pytest.approx(0.8, rel=0.04) and "measured" in c.gain_method
        assert c.read_noise_e == pytest.approx(3, rel=0.08)
        assert c.median_dn == pytest.approx(light / 0.8 + 500, rel=0.01)
        truth = np.sqrt(0.92 * light * 5)  # of five flats of 0.92 of the light each
        assert c.snr == pytest.approx(truth, rel=0.06)
        assert c.efficiency == pytest.approx(1, abs=0.07)
    assert report.hot_pixels is None


def test_truth_report_of_three_planes():
    """A frame of three planes, as debayering or a colour file gives it: each plane is a colour."""
    rng = np.random.default_rng(13)
    level, sigma = np.array([300, 500, 400])[:, None, None], np.array([3, 6, 9])[:, None, None]
    frames = [ArrayFrame.of(level + sigma * rng.standard_normal((3, 200, 240)), f"{i}") for i in range(4)]
    frames[0].array[2, 20, 30] = 4000
    master = ArrayFrame.of(np.mean([f.array for f in frames], axis=0), "master")
    report = quality.report("dark", master, frames)
    for k, name in enumerate("RGB"):
        c = report.colours[name]
        assert c.median_dn == pytest.approx(level[k, 0, 0], abs=0.1)
        assert c.single_noise_dn == pytest.approx(sigma[k, 0, 0], rel=0.04)
        assert c.noise_mrs_dn == pytest.approx(sigma[k, 0, 0] / 2, rel=0.04)
    assert report.colours["B"].maximum_xy == (30, 20)
    assert report.hot_pixels == 1


def test_truth_copies_among_the_inputs_are_told():
    frames, _ = dark_set()
    report = quality.report("dark", frames[0], [frames[0], frames[1], frames[0]])
    assert "same pixels" in report.notes[0] and frames[0].source in report.text()


def test_surface_report_is_json_and_words():
    frames, biases = dark_set()
    master, stack = mastered("dark", frames)
    report = quality.report("dark", master, frames, stack=stack, biases=biases, equation="D")
    told = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert told["colours"]["mono"]["zones_dn"][0][0] > 0 and len(told["rejected"]) == 6
    assert report.sentence().startswith("master dark of 6 frames; ") and "\n" not in report.sentence()
    page = report.text()
    assert all(word in page for word in ("level", "one frame", "this master", "hot pixels", "left out", "e-/s"))
    assert max(map(len, page.splitlines())) < 130 and len(page.splitlines()) < 40
    with pytest.raises(ParameterError):
        quality.report("dark", master, [])


def test_truth_masking_limit():
    """An outlier of any size stays within (n - 1) / sqrt(n) of its stack's own sigma, as the report of few says."""
    for n in (3, 5, 9):
        x = np.append(np.random.default_rng(n).normal(0, 1e-3, n - 1), 1e9)
        assert f"{(x[-1] - x.mean()) / x.std(ddof=1):.1f} of its pixel's own sigma" in few_frames(n)
    assert "nothing can be rejected" in few_frames(2)
    frame = ArrayFrame.of(np.random.default_rng(1).normal(500, 4, (100, 90)))
    assert few_frames(3) in quality.report("bias", frame, [frame] * 3).text()
    assert "rejection" not in quality.report("bias", frame, [frame] * 10).text()


def test_truth_plain_clipping_is_blind_where_the_defaults_see():
    samples = np.full((25, 10, 10), 500, np.float32) + np.random.default_rng(1).normal(0, 4, (25, 10, 10))
    samples[0, 5, 5] += 1000
    frames = [ArrayFrame.of(s, f"{i}", Meta(integer=False)) for i, s in enumerate(samples)]
    caught = []
    for rejection in (Rejection(algorithm="sigma", low=6, high=6, floor=0, normalization="none"), None):
        settings = ImageIntegration.for_bias()
        settings = ml.build(ImageIntegration, {"rejection": rejection}, settings) if rejection else settings
        *_, last = settings(frames)
        caught.append(int(last.result.rejected_high[5, 5]))
    assert caught == [0, 1]


@pytest.mark.parametrize("n", [3, 5, 10, 25])
@pytest.mark.parametrize("kind", ["bias", "dark", "flat"])
def test_truth_masters_lose_cosmic_rays_and_keep_good_samples(kind, n):
    """Rays are rejected from three frames on, hot pixels and columns are not, and fewer than 0.3 % of good samples."""
    rng, sensor = np.random.default_rng(n), Sensor(gain=1.0, read_e=3.0, shape=(300, 400))
    light = np.zeros(sensor.shape)
    light.flat[rng.choice(light.size, 240, False)] = rng.uniform(500, 5000, 240)
    hot = light > 0
    light = 20000 * sensor.vignetting() if kind == "flat" else light if kind == "dark" else 0.0
    struck, frames = np.zeros((n, *sensor.shape), bool), []
    for i in range(n):
        frame = sensor.frame(rng, kind, light)
        struck[i].flat[rng.choice(struck[i].size, 60, False)] = True
        frame.array[struck[i]] += rng.uniform(300 if kind != "flat" else 3000, 5000, 60)
        frames.append(frame)
    master, stack = mastered(kind, frames)
    many = struck.sum(axis=0)
    alone = many == 1
    assert np.mean(stack.rejected_high[alone] >= 1) > 0.998
    good = np.where(many == 0, stack.rejected_low.astype(int) + stack.rejected_high, 0)
    # of three flats clipped at 4 and 3 sigma, 0.28 % of good samples go, and more where vignetting leaves most noise
    assert good.sum() / (n * good.size) < (4e-3 if (kind, n) == ("flat", 3) else 3e-3)
    if kind == "dark":
        assert good[hot].sum() / (n * hot.sum()) < 3e-3


@real
def test_truth_real_darks_of_a_st10():
    """Six darks of an SBIG ST-10: read noise about 9 e- by the gain of the header, and every frame does its part."""
    frames = read("tres1_st10/darks")
    master, stack = mastered("dark", frames)
    report = quality.report("dark", master, frames, stack=stack)
    c = report.colours["mono"]
    assert 7 < c.electrons["single_noise"] < 15
    assert c.efficiency == pytest.approx(1, abs=0.1)
    assert 500 < report.hot_pixels < 10000
    assert report.rejected_high_fraction < 1e-3


@real
def test_truth_real_bias_and_dark_of_one_frame_each():
    bias, dark = read("lpseb35_arcsat_bsd/bias")[0], read("lpseb35_arcsat_bsd/darks")[0]
    report = quality.report("dark", dark, [dark], bias=bias, gain_e_per_dn=1.2)
    assert 0 < report.colours["mono"].dark_current_e_s < 0.5
