"""The calibration doctor between groups of raw frames: each condition provoked on a simulated night."""

import numpy as np
import pytest
import sky
from clinic import CALIBRATION, NIGHT, altered, examined, names, of_kind, only
from numpy.testing import assert_allclose


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


def test_truth_d09_flats_of_many_temperatures_in_one_set(tmp_path):
    def warming(step_c):
        def change(kind, i, pixels, header):
            if kind == "flat":
                header["CCD-TEMP"], header["SET-TEMP"] = -10 + step_c * i, -10.0

        return change

    found = only(examined(altered(tmp_path / "warm", warming(2.4), flats=8)), "D09")
    told = [f for f in found if names(f) == of_kind("flat", flats=8)]
    assert [f.severity for f in told] == ["warn"] and told[0].figure > 3
    assert only(examined(altered(tmp_path / "steady", warming(0.3), flats=8)), "D09") == []


def with_temperatures(of_kind, set_c=None):
    """A change that gives the frames of each kind a temperature by their number, and a set point or none."""

    def change(kind, i, pixels, header):
        for name in ("SET-TEMP", "CCD-TEMP"):
            header.remove(name, ignore_missing=True)
        header["CCD-TEMP"] = of_kind(kind, i)
        if set_c is not None:
            header["SET-TEMP"] = set_c

    return change


@pytest.mark.parametrize("set_c", [None, 0.0])
def test_truth_d09_an_uncooled_camera_has_no_cooler_to_blame(tmp_path, set_c):
    """The evening gets colder by 6 °C; darks are taken at the end. A set point of 0 stands for none."""
    cooling = with_temperatures(lambda kind, i: 22 - i if kind == "light" else 17.8 + 0.1 * i, set_c)
    found = only(examined(altered(tmp_path, cooling, dialect="sgp")), "D09")
    assert [f.severity for f in found if "the darks were at" in f.sentence] == ["warn"] * len(found)
    assert all("among the lights" in f.sentence and "cooler" not in f.sentence for f in found)


@pytest.mark.parametrize("short_c", [2, 9, 35])
def test_truth_d09_a_cooler_that_did_not_get_there(tmp_path, short_c):
    warm = with_temperatures(lambda kind, i: -10 + short_c * (kind == "light" and i > 1), -10.0)
    found = [f for f in only(examined(altered(tmp_path, warm, dialect="sgp")), "D09") if "set point" in f.sentence]
    assert [(f.severity, names(f)) for f in found] == [("warn", of_kind("light", 2, 3, dialect="sgp"))]
    assert_allclose(found[0].figure, short_c)


def test_truth_d09_a_set_point_of_zero_that_other_frames_reached(tmp_path):
    warm = with_temperatures(lambda kind, i: 4.0 if (kind, i) == ("dark", 0) else 0.0, 0.0)
    found = [f for f in only(examined(altered(tmp_path, warm, dialect="sgp")), "D09") if "set point" in f.sentence]
    assert [f.figure for f in found] == [4.0]


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


@pytest.mark.parametrize(
    ("colour", "light", "doubted"),
    [
        ([[1, 1], [1, 1]], [[1, 1], [1, 1]], True),
        ([[1, 1.003], [1.001, 1]], [[1, 1.003], [1.001, 1]], True),
        ([[0.5, 1], [1, 0.6]], [[1, 1], [1, 1]], False),
        ([[1, 1], [1, 1]], [[0.9, 1], [1, 0.8]], False),
        ([[0.97, 1], [1, 0.98]], [[0.97, 1], [1, 0.98]], False),
    ],
    ids=["grey", "greys of one sensor", "a grey sky", "a white lamp", "nearly grey"],
)
def test_truth_d17_colours_that_are_equal(tmp_path, colour, light, doubted):
    """Frames binned to grey keep BAYERPAT in some drivers; a sky or a lamp that is grey by chance is no reason."""
    tiles = {"flat": np.tile(colour, (150, 200)), "light": np.tile(light, (150, 200))}

    def change(kind, i, pixels, header):
        header["BAYERPAT"] = "RGGB"
        return np.rint(500 + (pixels - 500) * tiles[kind]) if kind in tiles else None

    found = only(examined(altered(tmp_path, change)), "D17")
    assert [f.severity for f in found] == (["warn"] if doubted else [])
    if doubted:
        assert names(found[0]) == of_kind("light") and "BAYERPAT RGGB" in found[0].sentence
        assert len(found[0].sentence) < 300


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


@pytest.mark.parametrize("odd", [(0, 1), (0, 3), (2, 5)])
def test_truth_d25_and_h02_look_at_usual_frames(tmp_path, odd):
    """Two of six bias frames with bands and 40 DN more, two of six flats with a lamp that flickers along the rows."""
    rng = np.random.default_rng(4)

    def two(kind, i, pixels, header):
        if i not in odd or kind not in ("bias", "flat"):
            return None
        return np.rint(pixels + 40 + rng.normal(0, 8, (300, 1))) if kind == "bias" else np.rint(pixels * 0.8)

    found = examined(altered(tmp_path, two))
    assert [names(f) for f in only(found, "D20")] == [of_kind("bias", *odd)]
    assert only(found, "D25") == [] and only(found, "H02") == []


@pytest.mark.parametrize("rms_dn", [1.5, 3, 10])
def test_truth_d25_bands_of_most_frames_are_found_beside_odd_ones(tmp_path, rms_dn):
    rng = np.random.default_rng(3)

    def banded(kind, i, pixels, header):
        odd = 40 if i in (0, 1) else 0
        return np.rint(pixels + odd + rng.normal(0, rms_dn, (300, 1))) if kind == "bias" else None

    found = only(examined(altered(tmp_path, banded)), "D25")
    assert [f.severity for f in found] == ["warn"]
    assert not names(found[0]) & of_kind("bias", 0, 1)


def test_truth_h02_gain_of_the_header(tmp_path):
    def lie(kind, i, pixels, header):
        header["EGAIN"] = 3.99

    found = only(examined(altered(tmp_path, lie)), "H02")
    assert [f.severity for f in found] == ["warn"]
    # a variance of 7200 pairs is sure to 2 %
    assert_allclose(found[0].figure, 0.78, rtol=0.06)
