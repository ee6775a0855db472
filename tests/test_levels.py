"""The calibration doctor on raw frames, one group at a time: each condition provoked on a simulated night."""

import re

import numpy as np
import pytest
import sky
from astropy.io import fits
from clinic import NIGHT, altered, examined, names, of_kind, only
from numpy.testing import assert_allclose

from masterlight.doctor.levels import tells_of_calibration
from masterlight.session.scan import scan


def test_truth_d04_flats_too_bright_and_too_faint(tmp_path):
    def expose(factor):
        def change(kind, i, pixels, header):
            return np.rint(500 + (pixels - 500) * factor) if kind == "flat" else None

        return change

    bright = only(examined(altered(tmp_path / "bright", expose(2.1))), "D04")
    assert [f.severity for f in bright] == ["error"]
    assert names(bright[0]) == of_kind("flat")
    # the level at the centre of the brightest flat is 0.45 of full scale; the median of a vignetted frame is lower
    assert 0.8 < bright[0].figure < 2.1 * 0.46
    faint = only(examined(altered(tmp_path / "faint", expose(0.3))), "D04")
    assert [f.severity for f in faint] == ["warn"]
    assert 0.1 < faint[0].figure < 0.15
    assert faint[0].picture.shape == (3, 320, 480)


def test_truth_d04_low_level_of_a_12_bit_camera_is_not_faint(tmp_path):
    def twelve_bits(kind, i, pixels, header):
        return np.rint(np.minimum(pixels / 16, 4095))

    assert only(examined(altered(tmp_path, twelve_bits)), "D04") == []


def test_truth_d05_clipped_flat(tmp_path):
    def clip(kind, i, pixels, header):
        if kind == "flat" and i == 2:
            pixels[100:110, :] = 65535
        return pixels

    # 10 of 300 rows; the sample of 24 rows meets one of them
    found = only(examined(altered(tmp_path, clip)), "D05")
    assert [(f.severity, names(f)) for f in found] == [("warn", of_kind("flat", 2))]
    assert 100 / 24 * 0.9 < found[0].figure < 100 / 24 * 2.1


def test_truth_d20_outlier(tmp_path):
    def odd(kind, i, pixels, header):
        return pixels + 25 if kind == "bias" and i == 4 else None

    found = only(examined(altered(tmp_path, odd)), "D20")
    assert [(f.severity, names(f)) for f in found] == [("warn", of_kind("bias", 4))]
    assert_allclose(found[0].figure, 25, atol=1)


def test_truth_d20_drift(tmp_path):
    def drift(kind, i, pixels, header):
        return pixels + 2 * i if kind == "bias" else None

    found = only(examined(altered(tmp_path, drift)), "D20")
    assert [f.severity for f in found] == ["info"]
    assert_allclose(found[0].figure, 10, atol=1)


@pytest.mark.parametrize("count", [6, 10, 20])
def test_truth_d20_levels_that_scatter_have_no_outliers(tmp_path, count):
    """A bias level that drifts by 3 DN from frame to frame: of a hundred sets of frames one may have an odd one."""
    told = 0
    for seed in range(20 if count == 10 else 8):
        rng = np.random.default_rng(seed)
        shift = np.rint(rng.normal(0, 3, count))
        folder = altered(
            tmp_path / str(seed), lambda kind, i, pixels, header, shift=shift: pixels + shift[i] * (kind == "bias"),
            biases=count, darks=0, flats=0, lights=1, rows=64, cols=400, stars=0,
        )  # fmt: skip
        told += len([f for f in only(examined(folder), "D20") if f.severity == "warn"])
    assert told <= 1


def test_truth_d21_twins(tmp_path):
    kept = {}

    def copied(kind, i, pixels, header):
        if kind == "dark" and i == 1:
            kept["pixels"] = pixels
        return kept["pixels"].copy() if kind == "dark" and i == 5 else None

    found = only(examined(altered(tmp_path, copied)), "D21")
    assert [(f.severity, names(f), f.figure) for f in found] == [("warn", of_kind("dark", 5), 2)]
    assert found[0].out


def test_truth_d21_frames_alike_in_the_sample_only(tmp_path):
    kept = {}

    def nearly(kind, i, pixels, header):
        if kind == "dark" and i == 1:
            kept["pixels"] = pixels
        if kind != "dark" or i != 5:
            return None
        pixels = kept["pixels"].copy()
        pixels[1, 1] += 1
        return pixels

    assert only(examined(altered(tmp_path, nearly)), "D21") == []


def test_truth_d22_calibrated_before(tmp_path):
    def calibrated(kind, i, pixels, header):
        return pixels - 600.5 if kind == "dark" else None

    found = only(examined(altered(tmp_path / "silent", calibrated)), "D22")
    assert [(f.severity, names(f)) for f in found] == [("error", of_kind("dark"))]
    assert found[0].figure > 90  # nearly every pixel is negative

    def lights(kind, i, pixels, header):
        return pixels - 1200.5 if kind == "light" else None

    alone = altered(tmp_path / "alone", lights, biases=0, darks=0, flats=0)
    assert [f.severity for f in only(examined(alone), "D22")] == ["info"]  # nothing would be taken off them again

    def told(kind, i, pixels, header):
        if kind == "light":
            header["CALSTAT"] = "BD"
            return pixels - 500.5

    found = only(examined(altered(tmp_path / "told", told)), "D22")
    assert [(f.severity, names(f)) for f in found] == [("info", of_kind("light"))]

    def floats(kind, i, pixels, header):
        return pixels + 0.25 if kind == "light" else None

    assert only(examined(altered(tmp_path / "floats", floats)), "D22") == []


def test_truth_d22_missing_pixels_of_integers_are_no_negative_ones(tmp_path):
    def blank(kind, i, pixels, header):
        header["BLANK"] = -32768  # of unsigned 16 bits: stored where the value is 0
        pixels[40:80, 30:90] = 0
        return pixels

    folder = altered(tmp_path, blank)
    assert all(np.isnan(np.asarray(frame)[50, 50]) for frame in scan(folder).frames)
    assert only(examined(folder), "D22") == []


@pytest.mark.parametrize(
    ("history", "told"),
    [
        ("Dark subtraction: none", False), ("bias correction not done", False), ("flat-field correction off", False),
        ("Bias Subtracted", True), ("calibrated with MyTool", True), ("no cosmic rays\nDark subtracted", True),
    ],
)  # fmt: skip
def test_truth_d22_a_history_that_says_nothing_was_done(history, told):
    assert tells_of_calibration(history) == told


@pytest.mark.parametrize(("odd_dn", "seen"), [(0, False), (12, True), (40, True), (150, True)])
def test_truth_d20_and_d10_look_at_levels_above_the_overscan(tmp_path, odd_dn, seen):
    """The bias level drifts by 15 DN, its overscan with it; light that gets in is not in the overscan."""

    def drifting(kind, i, pixels, header):
        drift = {"bias": 3 * i, "dark": -20 - 3 * i}.get(kind, 0)
        light = odd_dn * ((kind, i) == ("dark", 2)) * (np.arange(pixels.shape[1]) < 400)
        return np.maximum(pixels + drift + light, 0)

    found = examined(altered(tmp_path, drifting, overscan_px=16))
    assert [names(f) for f in only(found, "D20")] == ([of_kind("dark", 2, overscan_px=16)] if seen else [])
    assert only(found, "D10") == []


def test_truth_d04_looks_at_the_brightest_colour(tmp_path):
    """Through a narrow filter a colour camera sees red alone: longer exposures would saturate it."""

    def narrow(bright):
        def change(kind, i, pixels, header):
            if kind == "light":
                pixels[:, 7] = 60_000  # it has more than 14 bits
            if kind != "flat":
                return pixels
            level = np.tile([[bright, 0.1], [0.1, 0.05]], (150, 200)) * 65535
            return np.rint(500 + level * (1 + 0.005 * np.random.default_rng(i).standard_normal(level.shape)))

        return change

    knobs = {"pattern": "RGGB"}
    assert only(examined(altered(tmp_path / "good", narrow(0.4), **knobs)), "D04") == []
    assert "above" in only(examined(altered(tmp_path / "bright", narrow(0.7), **knobs)), "D04")[0].sentence
    assert "below" in only(examined(altered(tmp_path / "faint", narrow(0.12), **knobs)), "D04")[0].sentence


@pytest.mark.parametrize(("part", "value", "words"), [
    (0.004, np.nan, "up to 0.4 % are missing"), (0.05, np.nan, "up to 5 % are missing"),
    (0.05, -20.5, "up to 5 % are negative"), (0.3, -20.5, "up to 30 % are negative"),
])  # fmt: skip
def test_truth_d22_tells_missing_pixels_from_negative_ones(tmp_path, part, value, words):
    holes = np.random.default_rng(1).random((300, 400)) < part

    def processed(kind, i, pixels, header):
        return np.where(holes, value, pixels + 0.5) if kind == "light" else None

    found = only(examined(altered(tmp_path, processed)), "D22")
    assert [f.severity for f in found] == ["error"]
    share = re.search(r"up to ([\d.]+) % are (missing|negative)", found[0].sentence)
    assert share[2] == words.split()[-1] and float(share[1]) == pytest.approx(100 * part, rel=0.2)
    assert " 0 %" not in found[0].sentence


def test_truth_h01_light_called_dark(tmp_path):
    light = fits.getdata(sky.written(**NIGHT).paths("light")[0]).astype(float)

    def mixed(kind, i, pixels, header):
        return light if kind == "dark" and i == 2 else None

    found = only(examined(altered(tmp_path, mixed)), "H01")
    assert [(f.severity, names(f)) for f in found] == [("warn", of_kind("dark", 2))]
    assert found[0].out and "a run leaves it out" in found[0].sentence


def test_truth_h01_dark_and_flat_called_light(tmp_path):
    dark, flat = (fits.getdata(sky.written(**NIGHT).paths(kind)[0]).astype(float) for kind in ("dark", "flat"))

    def mixed(kind, i, pixels, header):
        return {1: dark, 2: flat}.get(i) if kind == "light" else None

    found = only(examined(altered(tmp_path, mixed)), "H01")
    assert {f.severity for f in found} == {"warn"}
    assert [names(f) for f in found] in (
        [of_kind("light", 1), of_kind("light", 2)],
        [of_kind("light", 2), of_kind("light", 1)],
    )


def test_truth_h01_exposed_bias(tmp_path):
    def exposed(kind, i, pixels, header):
        if kind == "bias":
            header["EXPTIME"] = header["EXPOSURE"] = 120.0

    found = only(examined(altered(tmp_path, exposed)), "H01")
    assert [(f.severity, f.figure) for f in found] == [("warn", 120.0)]
