"""Every knob of integration does something, or says that it does nothing beside the others; wrong values are told."""

from dataclasses import replace

import numpy as np
import pytest

import masterlight as ml
from masterlight.core.errors import ParameterError
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.core.knob import value_at
from masterlight.core.process import build, knobs, validate, with_values
from masterlight.integration.hdr import HDRComposition
from masterlight.integration.integrate import ImageIntegration, MasterIntegration
from masterlight.integration.kernels.rejection import CODES
from masterlight.integration.normalize import LocalNormalization
from masterlight.integration.rejection import KINDS, Algorithm, LargeScaleRejection, Rejection
from masterlight.subframes.measurement import Measurement

SHAPE, NOISE, SKY = (40, 64), 6.0, 500.0
OTHER = {
    "normalization": ("none",),
    "clip_low": (False,),
    "clip_high": (False,),
    "esd_fraction": (0.05,),
    "esd_significance": (0.5,),
    "esd_low_relaxation": (3.0,),
    "chauvenet_limit": (0.9,),
    "range_low": (SKY,),
    "range_high": (SKY,),
    "few": (30,),
    "gain_e_per_dn": (0.01,),
    "read_noise_e": (40.0,),
    "scale_noise": (0.3,),
    "signal_fraction": (0.0, 2.0),
    "floor": (0.0,),
    "min_keep_fraction": (1.0,),
    "max_passes": (1,),
    "single_frame_sigma": (0.0,),
    "saturated": (False,),
}
"""Another value of each knob of rejection."""
LIMITS = {"sigma": 1.5, "deviations": 2.0, "fraction": 0.02, "samples": 3}


def night(count=24):
    """Frames of differing level and transparency, with outliers on both sides and stars that the seeing changes.

    The brightest stars are saturated in the clearest frames; one pixel is covered by three frames, with a ray in each.
    """
    rng = np.random.default_rng(7)
    light = np.zeros(SHAPE)
    light[:, 40:] = np.geomspace(10, 4000, 24)
    frames, known = [], []
    for i in range(count):
        sky, clear, seeing = SKY + 4 * i, 1 - 0.01 * i, rng.normal(1, 0.1)
        pixels = rng.normal(sky + clear * seeing * light, NOISE)
        struck = rng.random(SHAPE)
        pixels[struck < 0.02] += 60
        pixels[struck > 0.98] -= 60
        pixels[6, 6] = np.nan if i >= 3 else sky + 600
        meta = Meta(saturation_dn=4000.0, gain_e_per_dn=1.5, read_noise_e=6.0, exposure_s=60.0)
        frames.append(ArrayFrame.of(pixels, f"frame {i}", meta))
        headers = {"SSWEIGHT": 1.0 + i, "OTHER": 30.0 - i}
        sensor = {"fwhm_px": 3.0 + 0.02 * i, "gain_e_per_dn": 1.5, "read_noise_e": 6.0, "keywords": headers}
        noise = NOISE * (1 + 0.02 * (i % 5))
        known.append(Measurement(f"frame {i}", sky, NOISE * clear**2, noise, 60.0, clear, **sensor))
    return frames, known


FRAMES, KNOWN = night()


def maps(settings, **how):
    *_, last = settings(FRAMES, KNOWN, reference=0, **how)
    stack = last.result
    return [stack.image, stack.variance, stack.coverage, stack.rejected_low, stack.rejected_high]


def alike(a, b):
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))


def test_surface_every_algorithm_has_its_row_and_its_number():
    assert set(KINDS) == set(CODES) == set(Algorithm.__args__)
    assert {knob for kind in KINDS.values() for knob in kind.reads} <= {k.path for k in knobs(Rejection)}


@pytest.mark.parametrize("algorithm", KINDS)
def test_truth_every_knob_of_rejection_does_something_or_says_that_it_does_not(algorithm):
    plain = Rejection(algorithm=algorithm)
    usual = maps(ImageIntegration(rejection=plain))

    def with_value(name, value):
        return maps(with_values(ImageIntegration(), rejection=with_values(plain, **{name: value})))

    for knob in knobs(Rejection):
        if knob.path.startswith("large_scale."):
            assert bool(knob.idle(plain)) == (algorithm == "none") or knob.path.split(".")[1] not in ("trails", "low")
            continue
        if knob.path == "algorithm":
            continue
        values = (LIMITS[plain.kind.takes],) if knob.path in ("low", "high") else OTHER[knob.path]
        same = all(alike(usual, with_value(knob.path, value)) for value in values)
        why = knob.idle(plain)
        assert same == bool(why), f"{algorithm}, {knob.path}: {why or 'nothing changed'}"


def test_truth_every_knob_of_integration_does_something_or_says_that_it_does_not():
    values = {"weights": "none", "weight_keyword": "OTHER", "min_weight": 0.9, "scale": "bwmv"}
    bases = [
        ImageIntegration(),
        ImageIntegration(combination="median"),
        ImageIntegration(weights="keyword"),
        ImageIntegration(normalization="none", rejection=Rejection(normalization="none")),
    ]
    for base in bases:
        usual = maps(base)
        for knob in knobs(ImageIntegration):
            if knob.path in values:
                same = alike(usual, maps(with_values(base, **{knob.path: values[knob.path]})))
                assert same == bool(knob.idle(base)), (base, knob.path)
    formula = ImageIntegration(weights="expression", weight_expression="1 + SSWEIGHT")
    assert not alike(maps(formula), maps(with_values(formula, weight_expression="1 + OTHER")))
    idle = {knob.path for knob in knobs(ImageIntegration) if knob.idle(ImageIntegration())}
    assert {"local.scale_px", "local.no_scale", "weight_keyword", "weight_expression"} <= idle
    local = ImageIntegration(normalization="local")
    assert not any(knob.idle(local) for knob in knobs(ImageIntegration) if knob.path.startswith("local."))


def test_truth_every_knob_of_larger_structures_does_something_or_says_that_it_does_not():
    rng = np.random.default_rng(3)
    shape = 300, 400
    y, x = np.mgrid[: shape[0], : shape[1]]
    high = (rng.random(shape) < 0.002) | ((np.abs(y - 0.6 * x) < 2) & (rng.random(shape) < 0.35))
    high |= (np.hypot(y - 60, x - 330) < 4) & (rng.random(shape) < 0.8)
    low = (rng.random(shape) < 0.002) | ((np.hypot(y - 240, x - 70) < 4) & (rng.random(shape) < 0.8))
    values = {"trails": False, "trail_sigma": 100.0, "trail_growth_px": 6.0, "low": True, "high": True}
    bases = [LargeScaleRejection(), LargeScaleRejection(trails=False), LargeScaleRejection(low=True, high=True)]

    def grown(settings):
        found = settings.grown(np.flatnonzero(low), np.flatnonzero(high), shape)
        return [found.low, found.high]

    for base in bases:
        for knob in knobs(LargeScaleRejection):
            value = values.get(knob.path, 4)
            value = not value_at(base, knob.path) if isinstance(value, bool) else value
            same = alike(grown(base), grown(with_values(base, **{knob.path: value})))
            assert same == bool(knob.idle(base)), (base, knob.path)


def test_surface_what_does_nothing_is_refused_where_it_is_given():
    for values, words in [
        ({"rejection.algorithm": "esd", "rejection.low": 3}, "rejection.low does nothing with"),
        ({"rejection.algorithm": "chauvenet", "rejection.high": 3}, "rejection.high does nothing with"),
        ({"rejection.few": 5, "rejection.algorithm": "mad"}, "it is for rejection.algorithm auto"),
        ({"weight_keyword": "Q"}, "it is for weights keyword"),
        ({"local.scale_px": 512}, "it is for normalization local or rejection.normalization local"),
        ({"rejection.large_scale.growth_low": 5}, "it is for rejection.large_scale.low on"),
    ]:
        with pytest.raises(ParameterError, match=words):
            build(ImageIntegration, values)
    with pytest.raises(ParameterError, match="min_stars does nothing with no_scale on"):
        LocalNormalization(no_scale=True, min_stars=20)
    assert not any(knob.idle(HDRComposition()) for knob in knobs(HDRComposition))


@pytest.mark.parametrize(
    "algorithm, limits, said",
    [
        ("minmax", {"low": 1.5}, "low: minmax takes how many samples go, a whole number; usual is 1 .given: 1.5."),
        ("percentile", {"low": 3}, "low: percentile takes a fraction of the pixel's median.*usual is 0.2 .given: 3."),
        ("sigma", {"high": 0}, "high: sigma takes a number of sigma, above 0 to 50; usual is 3 .given: 0."),
        ("linear-fit", {"high": 0}, "high: .*usual is 4"),
    ],
)
def test_surface_limits_that_an_algorithm_cannot_take_are_told(algorithm, limits, said):
    with pytest.raises(ParameterError, match=said):
        Rejection(algorithm=algorithm, **limits)
    with pytest.raises(ParameterError, match=f"rejection.{said}"):
        build(ImageIntegration, {"rejection.algorithm": algorithm} | {f"rejection.{k}": v for k, v in limits.items()})


def test_surface_limits_are_those_of_every_algorithm_that_has_two():
    assert Rejection().limits == Rejection(algorithm="ccd").limits == (4, 3)
    assert Rejection(algorithm="linear-fit").limits == (5, 4)
    assert Rejection(algorithm="percentile").limits == (0.2, 0.1)
    assert Rejection(algorithm="minmax", high=2).limits == (1, 2)


def test_surface_masters_have_eight_knobs_and_the_usual_settings():
    assert [knob.path for knob in knobs(MasterIntegration)] == [
        "combination", "normalization", "rejection.normalization", "rejection.algorithm", "rejection.low",
        "rejection.high", "rejection.range_low", "rejection.range_high",
    ]  # fmt: skip
    bias, flat = MasterIntegration.for_bias().integration(), MasterIntegration.for_flat().integration()
    assert bias == ImageIntegration.for_bias() == ImageIntegration.for_dark()
    assert (bias.normalization, bias.weights, bias.rejection.normalization) == ("none", "none", "none")
    assert bias.rejection.limits == (6, 6) and bias.rejection.signal_fraction is None
    assert (flat.normalization, flat.rejection.normalization) == ("multiplicative", "equalize fluxes")
    assert flat.rejection.limits == (4, 4) and flat.rejection.signal_fraction == 0
    assert not (bias.rejection.looks_larger or flat.rejection.looks_larger)
    counted = build(MasterIntegration, {"rejection.algorithm": "esd", "rejection.range_high": 60000})
    assert counted.integration().rejection.range_high == 60000


@pytest.mark.parametrize("limits", [(1, 1), (3, 3)])
def test_truth_only_frames_that_lose_more_than_the_algorithm_takes_are_remarked_on(limits):
    rng = np.random.default_rng(5)
    frames = [ArrayFrame.of(rng.normal(SKY, NOISE, SHAPE), f"frame {i}") for i in range(12)]
    known = [Measurement(f.source, SKY, NOISE, NOISE, 60.0, 1.0) for f in frames]
    for algorithm, low, high in (("minmax", *limits), ("sigma", 1, 1), ("percentile", 0.01, 0.01)):
        rule = Rejection(algorithm=algorithm, low=low, high=high)
        *_, last = ImageIntegration(rejection=rule)(frames, known)
        assert not [note for note in last.result.notes if "its sky is uneven" in note]
        cloudy = ArrayFrame.of(frames[3].array + np.linspace(-9, 9, SHAPE[1]) * NOISE, "frame 3")
        *_, last = ImageIntegration(rejection=rule, max_rejected=1)([*frames[:3], cloudy, *frames[4:]], known)
        [said] = [note for note in last.result.notes if "its sky is uneven" in note]
        assert said.startswith("frame 3: ")


def test_truth_minmax_that_takes_most_samples_is_remarked_on():
    frames = [ArrayFrame.of(np.random.default_rng(i).normal(SKY, NOISE, SHAPE), f"frame {i}") for i in range(10)]
    known = [Measurement(f.source, SKY, NOISE, NOISE, 60.0, 1.0) for f in frames]
    *_, last = ImageIntegration(rejection=Rejection(algorithm="minmax", low=3, high=3))(frames, known)
    assert "minmax leaves out 6 of 10 samples of every pixel: see Rejection.low and Rejection.high" in last.result.notes


def test_truth_without_rejection_no_frame_is_lost_for_a_scale_that_nothing_needs():
    known = [replace(k, flux_ratio=None) if i < 2 else k for i, k in enumerate(KNOWN)]
    plain = ImageIntegration(normalization="additive", rejection=Rejection(algorithm="none"))
    for settings, lost in ((plain, 0), (with_values(plain, rejection=Rejection()), 2)):
        *_, last = settings(FRAMES, known)
        assert len(last.result.lost) == lost


@pytest.mark.parametrize(
    ("algorithm", "dark", "flat"),
    [("auto", (6, 6), (4, 4)), ("minmax", (1, 1), (1, 1)), ("percentile", (0.2, 0.1), (0.2, 0.1)),
     ("linear-fit", (5, 4), (5, 4))],
)  # fmt: skip
def test_masters_take_the_usual_limits_of_an_algorithm_that_counts_no_sigma(algorithm, dark, flat):
    for made, limits in ((MasterIntegration.for_dark(), dark), (MasterIntegration.for_flat(), flat)):
        chosen = ml.build(MasterIntegration, {"rejection.algorithm": algorithm}, made)
        assert chosen.integration().rejection.limits == limits
    with_low = ml.build(MasterIntegration, {"rejection.algorithm": "minmax", "rejection.low": 2})
    assert with_low.integration().rejection.limits == (2, 1)


def test_a_process_of_an_icon_serves_inside_another_as_it_is():
    icon = validate(ml.ImageIntegration, {"combination": "median", "weights": "psf-snr"})
    assert ml.Recipe(integrate=icon).integrate == icon
    assert ml.build(ml.CosmeticCorrection, {"hot": None, "hot_dn": 50.0}).hot_dn == 50.0
