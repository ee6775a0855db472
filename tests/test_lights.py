"""The calibration doctor on calibrated lights."""

from types import SimpleNamespace

import numpy as np
import pytest
from clinic import DOCTOR, SHAPE, lit, master, night, noise, only
from numpy.testing import assert_allclose
from scipy.ndimage import gaussian_filter

from masterlight.calibration.calibrate import ImageCalibration
from masterlight.core.frame import ArrayFrame, Meta


def test_truth_a_healthy_light_has_nothing():
    assert lit() == []


def test_truth_d02_pixels_far_below_zero():
    truth = night()
    dark = truth.bias_dn + 120 * truth.dark_dn_s
    holes = truth.observatory.frame("light", 1).astype(float)
    holes[100:130] = dark[100:130] - 300
    meta = Meta(kind="light", saturation_dn=65535.0)
    process = ImageCalibration()
    bound = process.masters(dark=master("dark", dark))
    raw = ArrayFrame.of(holes, "holes", meta)
    found = only(DOCTOR.light(raw, process(raw, bound), bound), "D02")
    assert [f.severity for f in found] == ["error"]
    assert 100 / 24 * 0.9 < found[0].figure < 300 / 24  # one to three of the 24 rows meet the 30
    assert found[0].picture.shape == (3, 320, 480)


def test_truth_d02_negative_by_noise_alone_is_an_info():
    raw = ArrayFrame.of(500 + 3 + noise(6.0), "narrow", Meta(kind="light", gain_e_per_dn=1.0))
    process = ImageCalibration()
    bound = process.masters(dark=master("dark", np.full(SHAPE, 500.0)))
    found = DOCTOR.light(raw, process(raw, bound), bound)
    negative = only(found, "D02")
    assert [f.severity for f in negative] == ["info"]
    assert_allclose(negative[0].figure, 30.85, atol=1.5)  # Phi(-3/6)
    limited = only(found, "D03")
    assert [f.severity for f in limited] == ["info"]
    # 3 electrons of sky, a variance of 36 - 3 of the camera
    assert_allclose(limited[0].figure, 3 / 33, atol=0.02)


def test_truth_d10_bias_taken_off_twice():
    found = only(lit(dark=lambda bias, dark, flat: dark + 1500), "D10")
    assert [f.severity for f in found] == ["error"]
    assert found[0].figure < -400


def test_truth_d13_and_d08_of_a_scaled_dark():
    raw = ArrayFrame.of(500 + noise(5.0), "light", Meta(kind="light"))

    def examined(**scale):
        known = {"k": 0.8, "sigma": 0.01, "n": 500, "r": 0.9, "accepted": True, "reason": ""} | scale
        view = SimpleNamespace(**vars(raw), shape=raw.shape, pixels=raw.pixels, dark_scale=SimpleNamespace(**known))
        return DOCTOR.light(raw, view, ImageCalibration().masters())

    assert examined() == []
    assert examined(accepted=False) == []  # scaled by exposure, as was asked for: nothing failed
    found = only(examined(accepted=False, r=0.1, reason="too few hot pixels"), "D13")
    assert [(f.severity, f.figure) for f in found] == [("warn", 0.1)]
    assert [(f.severity, f.figure) for f in only(examined(k=1.5), "D08")] == [("warn", 1.5)]
    assert [(f.severity, f.figure) for f in only(examined(k=0.05), "D08")] == [("error", 0.05)]


def test_truth_d06_light_that_holds_its_bias():
    found = only(lit(dark=None), "D06")
    assert [f.severity for f in found] == ["error"]
    # log(S + B / v) falls with log v by B / (S + B): 500 DN of bias and 800 DN of sky
    assert_allclose(found[0].figure, -500 / 1300, rtol=0.1)


def test_truth_d14_flat_that_corrects_too_little_and_too_much():
    little = only(lit(flat=lambda bias, dark, flat: flat + 8000), "D14")
    assert [f.severity for f in little] == ["warn"]
    # B / (F v + B) of what is left in the flat, v about 0.7 at the rim where the slope is measured
    assert_allclose(little[0].figure, 8 / (0.7 * 30 + 8), rtol=0.35)
    much = only(lit(flat=lambda bias, dark, flat: flat - 4000), "D14")
    assert [f.severity for f in much] == ["warn"]
    assert_allclose(much[0].figure, -4 / (0.7 * 30), rtol=0.5)
    assert much[0].picture.shape == (3, 320, 480)


def sky_of(shape, flat, seed=1):
    """D14 of a light whose sky is `shape` DN, in truth divided by `flat`; both over the frame."""
    process = ImageCalibration(force=True)
    rng = np.random.default_rng(seed)
    bound = process.masters(dark=master("dark", np.full(SHAPE, 500.0)), flat=master("flat", 30_000 * flat))
    raw = ArrayFrame.of(500 + rng.poisson(shape), "light", Meta(kind="light", saturation_dn=65535.0))
    return only(DOCTOR.light(raw, process(raw, bound), bound), "D14")


@pytest.mark.parametrize("gradient", [0.15, 0.4, 0.7])
@pytest.mark.parametrize("turn", [0, 1, 2.5])
def test_truth_d14_a_gradient_of_the_sky_is_no_vignetting(gradient, turn):
    y, x = np.mgrid[-1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j]
    flat = 1 - 0.25 * (x**2 + y**2)
    sky_dn = 8000 * (1 + gradient * (np.cos(turn) * x + np.sin(turn) * y) / 1.5)
    assert sky_of(sky_dn * flat, flat) == []
    for left in (0.2, 0.5, 0.9):
        (found,) = sky_of(sky_dn * flat ** (1 + left), flat)
        assert_allclose(found.figure, left, rtol=0.25)


def test_truth_d14_a_nebula_steeper_than_any_vignetting():
    y, x = np.mgrid[-1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j]
    flat = 1 - 0.1 * (x**2 + y**2)
    assert sky_of(2000 * flat * (0.3 + np.exp(-(x**2 + y**2) / 1.5)), flat) == []


def test_truth_d15_dust_that_moved():
    found = only(lit(flat=lambda bias, dark, flat: flat[::-1, ::-1]), "D15")
    assert [f.severity for f in found] == ["warn"]
    # motes of this night are 2 to 10 % deep
    assert 2 < found[0].figure < 13
    assert found[0].sources == ("/night/light 1",) and found[0].sentence.startswith("light 1: ")


@pytest.mark.parametrize(
    ("light", "flat", "words", "others"),
    [
        ({}, {}, "No header tells why", ("rotator", "days", "temperature")),
        ({"rotator_deg": 10.0}, {"rotator_deg": 11.5}, "No header tells why", ("rotator",)),
        ({"rotator_deg": 350.0}, {"rotator_deg": 20.0}, "differ in the rotator by 30.0°.", ("days", "temperature")),
        ({"time": "2026-01-03T22:00:00"}, {"time": "2026-01-05T22:00:00"}, "the time by 2.0 days", ("rotator",)),
        ({"time": "2026-01-03T22:00:00"}, {"time": "2026-01-04T06:00:00"}, "No header tells why", ("days",)),
        ({"focuser_steps": 5000.0}, {"focuser_steps": 5600.0}, "the focuser by 600 steps", ("rotator", "days")),
        ({"focuser_steps": 5000.0}, {"focuser_steps": 5010.0}, "No header tells why", ("focuser",)),
        ({"temperature_c": -10.0}, {"temperature_c": 24.0}, "temperature by 34.0 °C", ("rotator", "days")),
    ],
)
def test_truth_d15_lists_what_headers_tell_apart(light, flat, words, others):
    truth = night()
    turned = master("flat", 30_000 * truth.flat("L")[::-1, ::-1], **flat)
    dark = master("dark", truth.bias_dn + 120 * truth.dark_dn_s)
    meta = Meta(kind="light", saturation_dn=65535.0, gain_e_per_dn=0.78, exposure_s=120.0, **light)
    raw = ArrayFrame.of(truth.observatory.frame("light", 1).astype(float), "light 1", meta)
    process = ImageCalibration(force=True)
    bound = process.masters(dark=dark, flat=turned)
    (found,) = only(DOCTOR.light(raw, process(raw, bound), bound), "D15")
    assert words in found.sentence
    assert not any(other in found.sentence for other in others)


@pytest.mark.parametrize("seed", [5, 11])
def test_truth_d15_clouds_as_large_as_motes_are_no_dust(seed):
    """Clouds that happen to lie over the motes are as strong beside them."""
    y, x = np.mgrid[:300, :400]
    hollows = [np.exp(-((y - v) ** 2 + (x - u) ** 2) / 200) for v, u in ((90, 120), (200, 300))]
    flat = 30_000 * (1 - 0.05 * sum(hollows))
    rng = np.random.default_rng(seed)
    clouds = gaussian_filter(rng.normal(size=flat.shape), 8)
    sky_dn = 800 * (1 + 0.02 * clouds / clouds.std()) * flat / 30_000 + rng.normal(0, 10, flat.shape)
    process = ImageCalibration(force=True)
    bound = process.masters(flat=master("flat", flat))
    raw = ArrayFrame.of(sky_dn, "light", Meta(kind="light", saturation_dn=65535.0, calibration="B"))
    assert only(DOCTOR.light(raw, process(raw, bound), bound), "D15") == []


def test_truth_d11_glow_of_the_dark():
    corner = np.exp(-np.hypot(*np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]) / 80)
    bias = master("bias", 500 + noise(1.0))
    dark = master("dark", 500 + 200 * corner + noise(1.0, 1))
    found = only(DOCTOR.master("dark", dark, bias=bias, scaled=True), "D11")
    assert [f.severity for f in found] == ["warn"]
    assert found[0].figure > 20
    assert only(DOCTOR.master("dark", dark, bias=bias), "D11") == []  # a matched dark takes its glow away
    left = only(lit(dark=lambda bias, dark, flat: dark + 300 * corner), "D11")
    assert [f.severity for f in left] == ["warn"]
    assert 0.3 < left[0].figure <= 1


def test_truth_d23_saturation_that_varies():
    y, x = np.mgrid[-1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j]
    steep = 30_000 * (1 - 0.35 * (x**2 + y**2))
    pixels = 1500 + noise(10)
    pixels[::16, 100:103] = 65535
    raw = ArrayFrame.of(pixels, "light", Meta(kind="light", saturation_dn=65535.0))

    def examined(flat):
        process = ImageCalibration()
        bound = process.masters(dark=master("dark", np.full(SHAPE, 500.0)), flat=master("flat", flat))
        return only(DOCTOR.light(raw, process(raw, bound), bound), "D23")

    found = examined(steep)
    assert [f.severity for f in found] == ["info"]
    assert 1.5 < found[0].figure < 1 / 0.3
    assert examined(np.full(SHAPE, 30_000.0)) == []
