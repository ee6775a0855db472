from dataclasses import replace

import numpy as np
import pytest

from masterlight.core.errors import ParameterError
from masterlight.subframes.measurement import Measurement
from masterlight.subframes.weights import MODES, needs, weights_of

ONE = Measurement(
    source="m31_1.fits", location_dn=1000.0, scale_dn=(20.0, 24.0), noise_dn=4e-4, exposure_s=300.0, flux_ratio=1.0,
    mean_dn=1010.0, mean_deviation_dn=17.0, noise_scale_dn=8e-4, background_noise_dn=3e-4, psf_flux_dn=120.0,
    psf_mean_flux_dn=4.5, fwhm_px=3.0, eccentricity=0.4, stars=500, keywords={"SSWEIGHT": 0.8, "CCD-TEMP": -10.0},
)  # fmt: skip
BAD = "m31_bad.fits"


def weigh(mode, *frames, factor=None, **more):
    return weights_of(mode, frames, np.ones(len(frames)) if factor is None else np.array(factor), **more)


def test_authority_psf_weights():
    # Published to six and seven digits.
    assert weigh("psf-signal", ONE)[0] == pytest.approx(2.66300e-3, abs=5e-9)
    assert weigh("psf-snr", ONE)[0] == pytest.approx(2.374975e-3, abs=5e-10)
    other = replace(ONE, psf_mean_flux_dn=4.0, noise_dn=2e-4, background_noise_dn=1.5e-3)
    assert weigh("psf-signal", other)[0] == pytest.approx(9.468444e-4, abs=5e-11)
    assert weigh("psf-snr", other)[0] == pytest.approx(9.499900e-3, abs=5e-10)


def test_authority_noise_weights():
    frames = replace(ONE, noise_dn=2e-4), replace(ONE, noise_dn=1.5e-4)
    weights = weigh("noise", *frames, factor=[1.0, 2.0])
    assert weights[1] / weights[0] == pytest.approx(4 / 9, rel=1e-14)


def test_authority_weights_by_star_flux():
    # Relative fluxes 1, 0.8, 0.6 with noise 10, 10, 12: published weights 1, 0.64, 0.25.
    frames = [replace(ONE, flux_ratio=r, noise_dn=n) for r, n in ((1, 10.0), (0.8, 10.0), (0.6, 12.0))]
    weights = weigh("psf-scale-snr", *frames, factor=[1, 1 / 0.8, 1 / 0.6])
    assert weights / weights[0] == pytest.approx([1, 0.64, 0.25], rel=1e-14)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("none", 1), ("exposure", 300), ("snr", 4), ("average", 1010), ("median", 1000), ("average-deviation", 17)],
)
def test_truth_plain_weights(mode, expected):
    found = weigh(mode, ONE, ONE)
    assert found.dtype == np.float64
    assert found == pytest.approx([expected, expected], rel=1e-14)


@pytest.mark.parametrize("mode", ["psf-signal", "psf-snr", "snr"])
def test_truth_weights_do_not_know_the_unit(mode):
    scaled = {n: 7 * getattr(ONE, n) for n in ("noise_dn", "noise_scale_dn", "background_noise_dn", "psf_flux_dn")}
    other = replace(ONE, psf_mean_flux_dn=7 * ONE.psf_mean_flux_dn, **scaled)
    assert weigh(mode, ONE)[0] == pytest.approx(weigh(mode, other)[0], rel=1e-13)


def test_truth_keyword():
    frames = ONE, replace(ONE, keywords={"ssweight": 2})
    assert weigh("keyword", *frames, keyword="SSWEIGHT") == pytest.approx([0.8, 2.0], rel=1e-14)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-1.0, "is -1; a weight must be positive"), (0, "is 0: such a frame counts for nothing; leave it out"),
        (0.0, "leave it out"), ("0.8", "'0.8', which is no number"), (True, "no number"), (float("nan"), "is nan"),
        (float("inf"), "is inf"), (None, "no number"),
    ],
)  # fmt: skip
def test_truth_wrong_keyword_weights_are_told(value, words):
    with pytest.raises(ParameterError, match=BAD) as caught:
        weigh("keyword", ONE, replace(ONE, source=BAD, keywords={"SSWEIGHT": value}), keyword="SSWEIGHT")
    assert words in str(caught.value) and "SSWEIGHT" in str(caught.value)


def test_truth_a_missing_keyword_is_told_with_what_there_is():
    with pytest.raises(ParameterError, match="m31_1.fits: its header has no keyword SFSWEIGHT.*it has SSWEIGHT"):
        weigh("keyword", ONE, keyword="SFSWEIGHT")
    both = replace(ONE, keywords={"WBPPWGHT": 1, "SSWEIGHT": 1, "GAIN": 100})
    with pytest.raises(ParameterError, match="it has WBPPWGHT, SSWEIGHT: use that"):
        weigh("keyword", both, keyword="SFSWEIGHT")
    with pytest.raises(ParameterError, match="it has none like it"):
        weigh("keyword", replace(ONE, keywords={}), keyword="SFSWEIGHT")
    with pytest.raises(ParameterError, match="weight_keyword"):
        weigh("keyword", ONE)


@pytest.mark.parametrize(
    ("mode", "change", "words"),
    [
        ("exposure", {"exposure_s": None}, "time, which is unknown"), ("exposure", {"exposure_s": 0.0}, "is 0"),
        ("exposure", {"exposure_s": -3.0}, "is -3"), ("noise", {"noise_dn": 0.0}, "noise, which is 0"),
        ("noise", {"noise_dn": float("nan")}, "nan"), ("psf-signal", {"psf_flux_dn": None, "stars": 0}, "no star was"),
        ("psf-snr", {"psf_flux_dn": None, "stars": None}, "no star was"), ("average", {"mean_dn": -2.0}, "is -2"),
        ("psf-scale-snr", {"flux_ratio": None}, "relative to the reference, which is unknown"),
        ("median", {"location_dn": 0.0}, "its median, which is 0"), ("snr", {"noise_scale_dn": 0.0}, "is 0"),
        ("psf-signal", {"background_noise_dn": float("inf")}, "is inf"),
    ],
)  # fmt: skip
def test_truth_missing_numbers_are_told(mode, change, words):
    with pytest.raises(ParameterError, match=BAD) as caught:
        weigh(mode, ONE, replace(ONE, source=BAD, **change))
    assert words in str(caught.value) and f"ImageIntegration.weights {mode}" in str(caught.value)


def test_truth_unknown_modes_are_told():
    with pytest.raises(ParameterError, match="weights: 'nosie' is not known.*psf-signal"):
        weigh("nosie", ONE)


def test_truth_expression_of_the_tutorial():
    values = [(3.008, 0.3663, 107.6), (3.25, 0.45, 110), (3.5, 0.41, 112), (4.003, 0.5712, 117.5)]
    frames = [replace(ONE, fwhm_px=f, eccentricity=e, noise_dn=n) for f, e, n in values]
    found = weigh("expression", *frames, expression="35*inv(FWHM) + 5*inv(Eccentricity) + 10*inv(Noise) + 50")
    assert found == pytest.approx([100, 87.02073503, 77.18264905, 50], abs=1e-8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Exposure / 100", 3), ("SNR", (17 / 4e-4) ** 2), ("SNRWeight", (17 / 4e-4) ** 2), ("Median + Mean", 2010),
        ("MeanDeviation", 17), ("Stars", 500), ("PSFSNR", 2.374975e-3), ("PSFSignalWeight", 2.66300e-3),
        ("SSWEIGHT * 2", 1.6), ("5 + CCD_TEMP/10", 4), ("NoiseMax/NoiseMinimum", 1), ("1 + FWHMSigma", 1), ("7", 7),
    ],
)  # fmt: skip
def test_truth_variables_of_expressions(text, expected):
    # The published weights have seven digits.
    assert weigh("expression", ONE, ONE, expression=text) == pytest.approx([expected] * 2, rel=1e-6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0*FWHM", "m31_1.fits and all others"), ("FWHM - 3.2", f"{BAD}: the weight by 'FWHM - 3.2' is -0.2"),
        ("1/(FWHM - 3)", f"{BAD}: the weight by"),
        ("log(FWHM - 2.5)", "m31_bad.fits: the weight"), ("exp(1000*FWHM)", "is inf"), ("sqrt(FWHM-4)", "is nan"),
        ("FWHM < 4", "is a condition"), ("FWHN", "is it FWHM?"), ("SSWEIGHTS", "is it SSWEIGHT?"), ("", "empty"),
        ("CCD_TEMP + 11", f"{BAD}: the expression needs the number CCD_TEMP, which is not in its header"),
        ("FILTER", "'RGGB'"),
    ],
)  # fmt: skip
def test_truth_wrong_expressions_are_told(text, words):
    first, second = {**ONE.keywords, "FILTER": 1}, {"SSWEIGHT": 1.0, "FILTER": "RGGB"}
    frames = replace(ONE, fwhm_px=3.5, keywords=first), replace(ONE, source=BAD, keywords=second)
    with pytest.raises(ParameterError) as caught:
        weigh("expression", *frames, expression=text)
    assert words in str(caught.value)


def test_truth_transparency_is_beside_clear_frames():
    # Half of the light in twice the time is a quarter.
    frames = [replace(ONE, flux_ratio=ratio) for ratio in (2.0, 2.0, 2.0, 1.0)]
    frames[3] = replace(frames[3], exposure_s=2 * ONE.exposure_s)
    assert weigh("expression", *frames, expression="Transparency") == pytest.approx([1, 1, 1, 0.25], rel=1e-14)
    assert needs("expression", "Transparency^2") == ("flux_ratio",)
    gains = [replace(f, gain_e_per_dn=g) for f, g in zip(frames, (1.0, 1.0, 1.0, 4.0), strict=True)]
    assert weigh("expression", *gains, expression="Transparency") == pytest.approx([1, 1, 1, 1], rel=1e-14)


def test_truth_expression_names_the_frame_without_stars():
    frames = ONE, replace(ONE, source=BAD, fwhm_px=None, stars=0)
    with pytest.raises(ParameterError, match=f"{BAD}: FWHM in the expression needs the size of its stars, and no star"):
        weigh("expression", *frames, expression="1/FWHM^2")


def test_truth_expression_may_give_zero_for_some():
    frames = ONE, replace(ONE, fwhm_px=4.0)
    assert weigh("expression", *frames, expression="inv(FWHM)").tolist() == [1.0, 0.0]


def test_surface_needs_are_optional_fields():
    fields = Measurement.__dataclass_fields__
    for mode in (*MODES, "keyword"):
        assert set(needs(mode)) <= set(fields)
    assert set(needs("psf-signal")) == {"background_noise_dn", "psf_flux_dn", "psf_mean_flux_dn"}
    assert needs("psf-scale-snr") == ("flux_ratio",)
    assert needs("expression", "35*inv(FWHM) + Mean + SSWEIGHT + NoiseMin") == ("mean_dn", "fwhm_px")
    assert needs("noise") == needs("none") == needs("exposure") == needs("keyword") == ()
