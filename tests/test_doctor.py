"""The calibration doctor on raw frames: each condition provoked on a simulated night, the healthy night beside it."""

from functools import cache

import numpy as np
import pytest
import sky
from astropy.io import fits
from numpy.testing import assert_allclose

import masterlight as ml
from masterlight.core.errors import ParameterError
from masterlight.core.workers import executor
from masterlight.doctor import Doctor, diagnose
from masterlight.session.plan import plan
from masterlight.session.scan import scan

NIGHT = {"rows": 300, "cols": 400, "lights": 4, "biases": 6, "darks": 6, "flats": 6, "cloudy": 0, "trails": 0}
NIGHT |= {"tracking_errors": 0, "stars": 400}
CALIBRATION = ("bias", "dark", "flat")


def altered(folder, change, **knobs):
    """A night whose frames went through `change(kind, index, pixels, header)`; its folder."""
    truth = sky.written(**{**NIGHT, **knobs})
    for kind, names in truth.files.items():
        for i, name in enumerate(names):
            with fits.open(truth.folder / name) as hdus:
                pixels, header = hdus[0].data.astype(np.float64), hdus[0].header.copy()
            header.remove("BZERO", ignore_missing=True)
            header.remove("BSCALE", ignore_missing=True)
            new = change(kind, i, pixels, header)
            pixels = pixels if new is None else new
            whole = np.array_equal(pixels, np.rint(pixels)) and pixels.min() >= 0
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            stored = np.clip(pixels, 0, 65535).astype(np.uint16) if whole else pixels.astype(np.float32)
            fits.PrimaryHDU(stored, header).writeto(path)
    return folder


def examined(folder, **knobs):
    """What the doctor finds in the raw frames of a folder."""
    with executor("serial") as pool:
        *_, last = Doctor(**knobs).frames(plan(scan(folder)), pool)
    return last.result


def only(findings, id):
    """The findings of one id; each has a sentence and a figure that JSON can hold."""
    found = [f for f in findings if f.id == id]
    assert all(f.sentence and f.as_dict()["id"] == id for f in found)
    return found


def names(finding):
    return {source.rsplit("/", 1)[1] for source in finding.sources}


def of_kind(kind, *indices, **knobs):
    """File names of some frames of the night."""
    files = sky.written(**{**NIGHT, **knobs}).files[kind]
    return {files[i].rsplit("/", 1)[-1] for i in indices} if indices else {f.rsplit("/", 1)[-1] for f in files}


@cache
def healthy():
    """What is found in the night as it is."""
    return examined(sky.written(**NIGHT).folder)


@pytest.mark.parametrize("dialect", ["nina", "maxim", "sgp", "ekos", "asiair"])
def test_truth_a_healthy_night_has_no_error(dialect):
    folder = sky.written(**{**NIGHT, "dialect": dialect}).folder
    with executor("serial") as pool:
        *_, last = diagnose(plan(scan(folder)), Doctor(), ml.ImageCalibration(), pool)
    assert {f.id for f in last.result} <= {"D16"}  # ten frames are few: true, and all there is to say
    assert all(f.severity != "error" for f in last.result)


def test_truth_a_healthy_night_has_nothing_in_its_raw_frames():
    assert healthy() == []


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


def test_truth_d07_flat_darks_of_another_exposure(tmp_path):
    def longer(kind, i, pixels, header):
        if kind == "flat":
            header["EXPTIME"] = header["EXPOSURE"] = 20.0

    knobs = {"biases": 0, "flat_darks": 5, "dark_e_s": 3.0}
    assert only(examined(sky.written(**{**NIGHT, **knobs}).folder), "D07") == []
    found = only(examined(altered(tmp_path, longer, **knobs)), "D07")
    assert [f.severity for f in found] == ["warn"]
    # the flats of 20 s find no flat-dark of their exposure and take the nearest dark, of 120 s
    assert_allclose(found[0].figure, 100.0)


def test_truth_d08_dark_of_another_exposure(tmp_path):
    def shorter(kind, i, pixels, header):
        if kind == "dark":
            header["EXPTIME"] = header["EXPOSURE"] = 117.8

    found = only(examined(altered(tmp_path, shorter), exposure_fraction=0.01), "D08")
    assert [(f.severity, names(f)) for f in found] == [("warn", of_kind("dark"))]
    assert_allclose(found[0].figure, 100 * (1 - 117.8 / 120), rtol=1e-6)  # figures have 7 digits


def test_truth_d09_temperatures(tmp_path):
    def warm(kind, i, pixels, header):
        if kind == "dark":
            header["CCD-TEMP"] = -7.8 if i < 5 else -8.6

    found = only(examined(altered(tmp_path, warm)), "D09")
    apart = [f for f in found if "the darks were at" in f.sentence]
    assert [f.severity for f in apart] == ["warn"]
    assert_allclose(apart[0].figure, 2.2, atol=0.2)  # the simulated cooler swings by 0.1 °C
    away = [f for f in found if "set point" in f.sentence]
    assert names(away[0]) == of_kind("dark")
    assert_allclose(away[0].figure, 2.2)


def test_truth_d09_a_cooler_that_does_not_hold(tmp_path):
    def drifting(kind, i, pixels, header):
        if kind == "light":
            header["CCD-TEMP"] = -10 + 0.9 * (i % 2)
            header["SET-TEMP"] = -10 + 0.9 * (i % 2)

    found = only(examined(altered(tmp_path, drifting), temperature_spread_c=0.4), "D09")
    assert [(f.severity, names(f)) for f in found] == [("warn", of_kind("light"))]
    assert_allclose(found[0].figure, 0.45)


def test_truth_d10_dark_of_another_offset(tmp_path):
    def offset(kind, i, pixels, header):
        return pixels + 900 if kind == "dark" else pixels - 300 if kind == "bias" else None

    found = only(examined(altered(tmp_path, offset, sky_dn=300.0, nebula_dn=0.0)), "D10")
    assert [f.severity for f in found] == ["error"]
    assert names(found[0]) == of_kind("light")
    # the sky is about 300 DN above the true dark, less vignetting
    assert -900 < found[0].figure < -500


def test_truth_d10_dark_below_the_bias(tmp_path):
    def lower(kind, i, pixels, header):
        return pixels - 100 if kind == "dark" else None

    found = only(examined(altered(tmp_path, lower)), "D10")
    assert [f.severity for f in found] == ["warn"]  # the bias is taken out of the flats only
    assert names(found[0]) == of_kind("dark") | of_kind("bias")
    assert_allclose(found[0].figure, -97, atol=4)  # 2.4 e- of dark current in 120 s


def test_truth_d12_light_leak(tmp_path):
    def leak(kind, i, pixels, header):
        return np.rint(pixels + 60 * np.linspace(0, 1, 400)) if kind == "dark" and i == 3 else None

    found = only(examined(altered(tmp_path, leak)), "D12")
    assert [(f.severity, names(f)) for f in found] == [("warn", of_kind("dark", 3))]
    assert_allclose(found[0].figure, 60 * 7 / 8, rtol=0.1)  # between the middles of the outer zones


def test_truth_d12_rate_that_is_not_steady(tmp_path):
    def leak(kind, i, pixels, header):
        if kind == "dark" and i % 2:
            header["EXPTIME"] = header["EXPOSURE"] = 60.0
        return pixels + 40 if kind == "dark" else None

    found = only(examined(altered(tmp_path, leak)), "D12")
    assert [f.severity for f in found] == ["warn"]
    assert_allclose(found[0].figure, 2.0, atol=0.05)  # the same level in half of the time


def test_truth_d17_pattern_of_another_row(tmp_path):
    colour = np.tile([[0.4, 1.0], [1.0, 0.5]], (150, 200))

    def mosaic(pattern):
        def change(kind, i, pixels, header):
            header["BAYERPAT"] = pattern
            return np.rint(500 + (pixels - 500) * colour) if kind in ("flat", "light") else None

        return change

    assert only(examined(altered(tmp_path / "right", mosaic("RGGB"))), "D17") == []
    found = only(examined(altered(tmp_path / "wrong", mosaic("GRBG"))), "D17")
    assert [f.severity for f in found] == ["error"]
    assert names(found[0]) == of_kind("flat")
    assert "calls green differ by 21 %" in found[0].sentence  # red and blue: 0.4 and 0.5, and a little bias


def test_truth_d17_pattern_that_headers_disagree_about(tmp_path):
    def silent(kind, i, pixels, header):
        if kind == "light":
            header["BAYERPAT"] = "RGGB"

    found = only(examined(altered(tmp_path, silent)), "D17")
    assert {f.severity for f in found} == {"warn"}
    assert {name for f in found for name in names(f)} == set.union(*map(of_kind, CALIBRATION))


def test_truth_d18_shutter(tmp_path):
    def shaded(kind, i, pixels, header):
        if kind != "flat":
            return None
        header["EXPTIME"] = header["EXPOSURE"] = 0.2 if i < 3 else 2.0
        y, x = np.mgrid[-1:1:300j, -1:1:400j]
        return np.rint(500 + (pixels - 500) * (1 - 0.02 * np.hypot(x, y) * (i < 3)))

    found = only(examined(altered(tmp_path, shaded)), "D18")
    assert [(f.severity, names(f)) for f in found] == [("warn", of_kind("flat", 0, 1, 2))]
    assert 1.5 < found[0].figure < 2.9  # 2 % at the middle of an edge, 2.8 % in the corners


def test_truth_d19_gradient_that_changes(tmp_path):
    def tilting(kind, i, pixels, header):
        return np.rint(pixels * (1 + 0.006 * i * np.linspace(-1, 1, 400))) if kind == "flat" else None

    found = only(examined(altered(tmp_path, tilting)), "D19")
    assert [(f.severity, names(f)) for f in found] == [("warn", of_kind("flat"))]
    # from edge to edge 2 x 0.006 x 5 frames, seen between zones 3/4 of the frame apart
    assert_allclose(found[0].figure, 6 * 0.75, rtol=0.15)


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


def test_truth_d21_twins(tmp_path):
    kept = {}

    def copied(kind, i, pixels, header):
        if kind == "dark" and i == 1:
            kept["pixels"] = pixels
        return kept["pixels"].copy() if kind == "dark" and i == 5 else None

    found = only(examined(altered(tmp_path, copied)), "D21")
    assert [(f.severity, names(f), f.figure) for f in found] == [("error", of_kind("dark", 1, 5), 2)]


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


def test_truth_d24_shifted_bits_and_coarse_steps(tmp_path):
    def shifted(kind, i, pixels, header):
        return 16 * np.rint(pixels / 16)

    found = only(examined(altered(tmp_path, shifted)), "D24")
    assert [f.severity for f in found if f.unit == "bits"] == ["info"]
    assert next(f.figure for f in found if f.unit == "bits") == 4
    coarse = [f for f in found if f.unit == "DN"]
    # read noise of 4.2 DN in steps of 16
    assert [f.severity for f in coarse] == ["warn"]
    assert coarse[0].figure < 8


def test_truth_d25_banding(tmp_path):
    rng = np.random.default_rng(3)

    def banded(kind, i, pixels, header):
        return np.rint(pixels + rng.normal(0, 3, (300, 1))) if kind in ("bias", "dark") else None

    found = only(examined(altered(tmp_path, banded)), "D25")
    assert [f.severity for f in found] == ["warn", "warn"]
    # rows of 3 DN in a noise of 4.2 DN over 400 columns: (3 / (4.2 / 20))^2 = 200, of 24 rows
    assert all(80 < f.figure < 400 for f in found)
    assert found[0].picture is not None


def test_truth_h01_light_called_dark(tmp_path):
    light = fits.getdata(sky.written(**NIGHT).paths("light")[0]).astype(float)

    def mixed(kind, i, pixels, header):
        return light if kind == "dark" and i == 2 else None

    found = only(examined(altered(tmp_path, mixed)), "H01")
    assert [(f.severity, names(f)) for f in found] == [("error", of_kind("dark", 2))]


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


def test_truth_h02_gain_of_the_header(tmp_path):
    def lie(kind, i, pixels, header):
        header["EGAIN"] = 3.99

    found = only(examined(altered(tmp_path, lie)), "H02")
    assert [f.severity for f in found] == ["warn"]
    # a variance of 7200 pairs is sure to 2 %
    assert_allclose(found[0].figure, 0.78, rtol=0.06)


def test_surface_off_and_thresholds(tmp_path):
    def odd(kind, i, pixels, header):
        return pixels + 25 if kind == "bias" and i == 4 else None

    folder = altered(tmp_path, odd)
    assert only(examined(folder, off=("D20",)), "D20") == []
    assert only(examined(folder, outlier_dn=30.0), "D20") == []
    assert ml.build(Doctor, {"off": ("d20", " D04")}).off == ("D20", "D04")
    with pytest.raises(ParameterError, match=r"'D99' is no diagnosis.*D01, D02.*H02"):
        Doctor(off=("D99",))


def test_truth_an_unreadable_frame_ends_nothing(tmp_path):
    folder = altered(tmp_path, lambda *_: None)
    path = next(iter(folder.rglob(next(iter(of_kind("dark", 0))))))
    path.write_bytes(path.read_bytes()[:40_000])
    assert [f for f in examined(folder) if f.severity == "error"] == []
