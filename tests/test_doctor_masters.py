"""The calibration doctor on masters."""

import re

import numpy as np
import pytest
from clinic import DOCTOR, SHAPE, master, noise, only, vignette
from numpy.testing import assert_allclose


def test_truth_d01_dark_lost_in_the_bias():
    bias = master("bias", 500 + noise(1.0))
    cold, warm = (master("dark", 500 + level + noise(1.0, 1)) for level in (0.5, 20.0))
    found = only(DOCTOR.master("dark", cold, bias=bias, scaled=True), "D01")
    assert [f.severity for f in found] == ["warn"]
    assert_allclose(found[0].figure, 0.5 / np.sqrt(2), atol=0.05)
    assert only(DOCTOR.master("dark", warm, bias=bias, scaled=True), "D01") == []
    assert only(DOCTOR.master("dark", cold, bias=bias), "D01") == []


@pytest.mark.parametrize(("level", "told"), [(0.2, True), (1.0, True), (1.6, True), (2.7, False), (6.0, False)])
def test_truth_d01_says_what_was_measured(level, told):
    """Noise of 1.4 DN in the difference: 1.6 DN leave 13 % negative, 2.7 DN leave 3 %, which is no lack of current."""
    bias, dark = master("bias", 500 + noise(1.0)), master("dark", 500 + level + noise(1.0, 1))
    found = only(DOCTOR.master("dark", dark, bias=bias, scaled=True), "D01")
    assert bool(found) == told
    assert all(float(re.search(r"(\d+)% of its pixels are negative", f.sentence)[1]) > 10 for f in found)


def test_truth_d10_ready_made_dark_below_the_bias():
    bias, dark = master("bias", 500 + noise(1.0)), master("dark", 380 + noise(1.0, 1))
    found = only(DOCTOR.master("dark", dark, bias=bias), "D10")
    assert [(f.severity, f.sources) for f in found] == [("error", ("master dark", "master bias"))]
    assert_allclose(found[0].figure, -120, atol=0.2)


def test_truth_d06_master_flat_that_holds_its_bias():
    bias = master("bias", np.full(SHAPE, 2000.0))
    silent = {"contains_bias": None}
    held = master("flat", 2000 + 20_000 * vignette() + noise(50), **silent)
    found = only(DOCTOR.master("flat", held, bias=bias), "D06")
    assert [f.severity for f in found] == ["warn"]  # a flat without dead pixels proves nothing
    assert found[0].figure > found[0].threshold == 2000
    dead = 2000 + 20_000 * vignette() * (np.random.default_rng(1).uniform(size=SHAPE) > 0.001)
    assert [f.severity for f in only(DOCTOR.master("flat", master("flat", dead, **silent), bias=bias), "D06")] == [
        "error"
    ]
    assert only(DOCTOR.master("flat", master("flat", dead - 2000, **silent), bias=bias), "D06") == []
    assert only(DOCTOR.master("flat", master("flat", held.array), bias=bias), "D06") == []  # the header says it is off


def test_truth_d12_dark_shaded_like_the_flat():
    bias, flat = master("bias", 500 + noise(1.0)), master("flat", 30_000 * vignette())
    leaky = master("dark", 500 + 40 * vignette() + noise(1.0, 1))
    found = only(DOCTOR.master("dark", leaky, bias=bias, flat=flat), "D12")
    assert [f.severity for f in found] == ["warn"]
    assert 0.3 < found[0].figure <= 1
    tight = master("dark", 510 + noise(1.0, 1))
    assert only(DOCTOR.master("dark", tight, bias=bias, flat=flat), "D12") == []


@pytest.mark.parametrize("dn", [6, 20, 100])
def test_truth_d12_a_leak_is_shaded_in_both_directions_and_a_drift_is_not(dn):
    bias, flat = master("bias", 500 + noise(1.0)), master("flat", 30_000 * vignette())

    def found(shape):
        dark = master("dark", 510 + dn * shape + noise(1.0, 1))
        return only(DOCTOR.master("dark", dark, bias=bias, flat=flat), "D12")

    assert [f.severity for f in found(vignette() / np.ptp(vignette()))] == ["warn"]
    y, x = np.mgrid[-1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j]
    for drift in (1 - y**2, 1 - x**2, np.sign(np.sin(9 * y)) + 1 - y**2, np.exp(-((y / 0.3) ** 2))):
        assert found(drift) == []


def test_truth_d16_counts_and_depth():
    flat = master("flat", 25_000 + noise(20))
    found = only(DOCTOR.master("flat", flat, frames=[flat] * 9, noise_dn=[180.0] * 9), "D16")
    assert [f.severity for f in found] == ["warn", "info"]
    assert_allclose(found[0].figure, 25_000 / (180 / 3), rtol=1e-3)
    assert found[1].figure == 9
    assert DOCTOR.master("flat", flat, frames=[flat] * 25, noise_dn=[180.0] * 25) == []
    for kind, enough in (("bias", 20), ("dark", 15), ("flatdark", 15)):
        one = master(kind, 500 + noise(1.0))
        assert [f.id for f in DOCTOR.master(kind, one, frames=[one] * (enough - 1))] == ["D16"]
        assert DOCTOR.master(kind, one, frames=[one] * enough) == []


def test_truth_d17_master_flat_with_a_wrong_pattern():
    colour = np.tile([[0.4, 1.0], [1.0, 0.5]], (SHAPE[0] // 2, SHAPE[1] // 2))
    array = 20_000 * colour + noise(20)
    assert only(DOCTOR.master("flat", master("flat", array, pattern="RGGB")), "D17") == []
    found = only(DOCTOR.master("flat", master("flat", array, pattern="GRBG")), "D17")
    assert [f.severity for f in found] == ["error"]


def test_truth_d05_master_flat_with_blind_pixels():
    array = 20_000 + noise(20)
    assert only(DOCTOR.master("flat", master("flat", array)), "D05") == []
    array[:, 200:210] = 0
    found = only(DOCTOR.master("flat", master("flat", array)), "D05")
    assert [f.severity for f in found] == ["warn"]
    assert_allclose(found[0].figure, 100 * 10 / SHAPE[1], rtol=1e-3)


@pytest.mark.parametrize(("columns", "severity"), [(1, "info"), (2, "info"), (5, "info"), (40, "warn"), (200, "warn")])
def test_truth_d05_what_is_named_and_what_lies_before_the_sensor(columns, severity):
    array = 20_000 + noise(20)
    array[:, 200 : 200 + columns] = 0
    (found,) = only(DOCTOR.master("flat", master("flat", array)), "D05")
    assert found.severity == severity
    assert "200" in found.sentence and ("in front of the sensor" in found.sentence) == (severity == "warn")


def test_truth_d12_dead_pixels_are_no_light():
    """They are dark in dark and flat alike."""
    bias, flat, dark = 500 + noise(1.0), 30_000 * vignette(), 503 + noise(1.0, 1)
    for array in (bias, flat, dark):
        array[100:180, 200:290] = 0
    known = {"bias": master("bias", bias), "flat": master("flat", flat)}
    assert only(DOCTOR.master("dark", master("dark", dark), **known), "D12") == []
