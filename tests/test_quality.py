"""What is told of masters and of the sensor, against sensors of known truth."""

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from astropy.stats import biweight_midvariance
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from oracles import quality as oracle

import masterlight as ml
from masterlight.core import scale
from masterlight.core.errors import FrameError, ParameterError
from masterlight.core.frame import ArrayFrame, Frame, Meta
from masterlight.doctor.quality import kernels
from masterlight.doctor.quality import sample as sampling
from masterlight.doctor.quality import sensor as pairs
from masterlight.doctor.quality import worth as quality
from masterlight.doctor.quality.page import few_frames
from masterlight.integration.integrate import ImageIntegration
from masterlight.integration.rejection import Rejection
from masterlight.subframes.measure import measure

DATA = Path(os.environ.get("MASTERLIGHT_DATA", Path(__file__).parents[2] / "shared" / "data"))
real = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real observations in {DATA}")

VALUES = st.floats(-1e4, 1e4, width=32)
XTRANS = "GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG"


@dataclass(frozen=True)
class Sensor:
    """A camera of known truth."""

    gain: float = 1.5
    read_e: float = 7.0
    dark_e_s: float = 0.05
    shape: tuple = (600, 800)
    pattern: str | None = None
    bias_dn: float = 500.0

    def frame(self, rng, kind="bias", light_e=0.0, exposure_s=None, **meta):
        """One exposure, rounded to whole DN as cameras do; columns differ by 3 DN."""
        columns = np.random.default_rng(5).normal(0, 3, self.shape[1])
        electrons = rng.poisson(self.dark_e_s * (exposure_s or 0) + light_e, self.shape)
        dn = (electrons + rng.normal(0, self.read_e, self.shape)) / self.gain + self.bias_dn + columns
        meta = Meta(kind=kind, exposure_s=exposure_s, pattern=self.pattern, saturation_dn=65535, **meta)
        return ArrayFrame.of(np.round(dn), f"{kind}-{rng.integers(1e9)}", meta)

    def vignetting(self):
        y, x = (np.linspace(-1, 1, n) for n in self.shape)
        return 1 - 0.2 * y[:, None] ** 2 - 0.15 * x**2


def mastered(kind, frames, maps=True):
    """Master and stack of some frames by the settings of their kind, with statistics as the walk has them."""
    before = [frames[1 if len(frames) > 1 else 0], *frames[:-1]]
    statistics = [measure(f, kind=kind, before=b)[0] for f, b in zip(frames, before, strict=True)]
    *_, last = getattr(ImageIntegration, f"for_{kind}")()(frames, statistics, maps=maps)
    return ArrayFrame.of(last.result.image, f"master {kind}", frames[0].meta.with_(frames=len(frames))), last.result


# --- kernels ----------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(hnp.arrays(np.float32, st.integers(0, 40), elements=VALUES))
def test_oracle_robust_scales(x):
    assert scale.sn(x) == pytest.approx(oracle.sn(x), rel=1e-5, abs=1e-3)  # float32 differences
    assert scale.qn(x) == pytest.approx(oracle.qn(x), rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 3), st.sampled_from([0.0, 1.0, 4.0]), st.integers(0, 99))
def test_oracle_block_noise(rows, cols, stride, step, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(500, 4, (2, rows, cols)).round().astype(np.float32)
    a[rng.random(a.shape) < 0.2] = np.nan
    level, noise = np.empty((2, 4, 20), np.float32)
    counts = kernels.block_noise(a, b, 0.9, step, stride, level, noise)
    for k, expected in enumerate(oracle.block_noise(a, b, 0.9, step, stride)):
        assert counts[k] == len(expected)
        found = np.column_stack([level[k, : counts[k]], noise[k, : counts[k]]])
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)  # float32 differences of values near 500


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(-500, 4000), max_size=12),
    st.sampled_from([1.0, 4.0, 16.0, 6.0]),
    st.sampled_from([None, np.nan, 0.5]),
)
def test_oracle_common_step(numbers, factor, odd):
    x = np.array([n * factor + 3 for n in numbers] + [odd] * (odd is not None), np.float32)
    assert kernels.common_step(x) == oracle.common_step(x)


@settings(deadline=None, max_examples=40)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.sampled_from([0, -1, 1, 5, 7, np.nan, np.inf]),
    ),
    st.sampled_from([[[0]], [[0, 1], [1, 2]]]),
)
def test_oracle_tally(image, group):
    group = np.array(group)
    n = group.max() + 1
    counts, sums, extremes, places = (
        np.zeros((n, 5), np.int64),
        np.zeros(n),
        np.tile([np.inf, -np.inf], (n, 1)),
        np.zeros((n, 4), np.int64),
    )
    kernels.tally(image, group, 5.0, counts, sums, extremes, places)
    for g, (count, total, ends) in enumerate(oracle.tally(image, group, 5.0)):
        assert counts[g].tolist() == count
        assert sums[g] == total
        if ends is not None:
            assert tuple(extremes[g]) == ends
            assert (image[tuple(places[g, :2])], image[tuple(places[g, 2:])]) == ends


def test_truth_robust_scales_tell_gaussian_sigma_and_withstand_outliers():
    x = np.random.default_rng(1).normal(100, 3, 20001).astype(np.float32)
    assert scale.sn(x) == pytest.approx(3, rel=0.02)  # 2.5 sigma: Sn is sure to sigma / sqrt(2 * 0.58 * n) = 0.7 %
    assert scale.qn(x) == pytest.approx(3, rel=0.015)
    x[:6000] = 1e6
    assert scale.sn(x) < 3 * 2 and scale.qn(x) < 3 * 3  # a third is wrong: biased, but finite and of that order


# --- pairs ------------------------------------------------------------------------------------------------------------


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
    assert found.blocks > 1000


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


def test_truth_content_hash():
    a = np.random.default_rng(8).normal(500, 5, (100, 90)).astype(np.float32)
    a[3, 4] = np.nan
    one = sampling.content_hash(ArrayFrame.of(a, "a", Meta(kind="dark")))
    assert one == sampling.content_hash(ArrayFrame.of(a.copy(), "b", Meta(kind="flat")))
    assert one != sampling.content_hash(ArrayFrame.of(a + 1, "a"))
    assert one != sampling.content_hash(ArrayFrame.of(a.reshape(90, 100), "a"))
    assert len(sampling.content_hash(ArrayFrame.of(np.stack([a, a, a])))) == len(one) == 20


def test_truth_frames_needed():
    assert [pairs.frames_needed(x) for x in (0.01, 0.02, 0.05)] == [50, 25, 10]
    with pytest.raises(ParameterError):
        pairs.frames_needed(0)


def test_truth_sample_is_of_the_colours_it_says():
    sensor = Sensor(pattern=XTRANS, shape=(3000, 1200))
    letters = np.array([ord(c) for c in XTRANS], np.float32).reshape(6, 6)
    frame = ArrayFrame.of(np.tile(letters, (500, 200)), "x", Meta(pattern=sensor.pattern))
    assert len(sampling.strips(frame)) > 1
    for name, boxes in sampling.sample(frame).items():
        assert all(np.all(box == ord(name)) for box in boxes)


def test_truth_large_frames_are_only_sampled():
    read = []

    class Counting(Frame):
        def pixels(self, y0, y1, x0, x1):
            read.append((y1 - y0) * (x1 - x0))
            return np.random.default_rng(y0).normal(500, 5, (y1 - y0, x1 - x0)).round().astype(np.float32)

    frame = Counting(source="large", meta=Meta(shape=(4000, 6000)))
    pairs.pair_noise(frame, frame), sampling.content_hash(frame)
    assert sum(read) < 0.03 * 24e6  # two samples of an eightieth, and 8 rows


def test_truth_frames_that_differ_are_told_by_name():
    a, b = ArrayFrame.of(np.ones((20, 30)), "a.fits"), ArrayFrame.of(np.ones((30, 20)), "b.fits")
    with pytest.raises(FrameError, match=r"b\.fits: is 20 x 30.*a\.fits is 30 x 20"):
        pairs.pair_noise(a, b)
    mosaic = ArrayFrame.of(np.ones((20, 30)), "c.fits", Meta(pattern="RGGB"))
    with pytest.raises(FrameError, match="RGGB"):
        pairs.pair_noise(a, mosaic)
    missing = ArrayFrame.of(np.full((20, 30), np.nan))
    assert np.isnan(pairs.pair_noise(missing, missing)["mono"].noise_dn)


# --- reports ----------------------------------------------------------------------------------------------------------


@cache
def dark_set(n=6, seed=9):
    """Darks of a known sensor with clear hot pixels, glow, cosmic rays and a level that follows the temperature."""
    rng, sensor = np.random.default_rng(seed), Sensor(dark_e_s=0.1)
    rate = np.zeros(sensor.shape)
    hot = rng.choice(rate.size, 321, False)
    rate.flat[hot] = rng.uniform(10, 100, 321) * 60
    glow = 30 * np.exp(-np.hypot(*np.mgrid[:600, :800]) / 200)
    frames = []
    for i in range(n):
        frame = sensor.frame(rng, "dark", rate + glow, 60, temperature_c=-10 + 0.2 * i, gain_e_per_dn=1.5)
        frame.array[...] += round(5 * 0.2 * i)
        frame.array.flat[rng.choice(rate.size, 50, False)] += 900
        frames.append(frame)
    return frames, [sensor.frame(rng) for _ in range(4)]


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


# --- rejection in masters ---------------------------------------------------------------------------------------------


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


# --- real frames ------------------------------------------------------------------------------------------------------


def read(folder):
    return [ml.read(path) for path in sorted((DATA / folder).glob("*.fit*"))]


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
def test_truth_real_flats_of_an_atik():
    """A KAF-8300: gain near 0.4-0.5 e-/DN and read noise of 8-13 e-, from its flats and flat-darks."""
    darks = read("galaxy_atik383/darkflats")
    found = pairs.gain_and_read_noise(*darks[:2], *read("galaxy_atik383/flats")[:2])["mono"]
    assert 0.35 < found.gain_e_per_dn < 0.55
    assert 7 < found.read_noise_e < 14


@real
def test_truth_real_bias_and_dark_of_one_frame_each():
    bias, dark = read("lpseb35_arcsat_bsd/bias")[0], read("lpseb35_arcsat_bsd/darks")[0]
    report = quality.report("dark", dark, [dark], bias=bias, gain_e_per_dn=1.2)
    assert 0 < report.colours["mono"].dark_current_e_s < 0.5
