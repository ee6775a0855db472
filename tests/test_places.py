"""Bad columns and dead blocks are told by name; what is wrong with an exposure is still found beside them."""

import numpy as np
import pytest
from clinic import DOCTOR, SHAPE, altered, examined, master, names, noise, of_kind, only

from masterlight.calibration.calibrate import ImageCalibration
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.doctor.raw.places import places, spans


def in_flats(change):
    def altering(kind, i, pixels, header):
        if kind == "flat":
            change(pixels)
        return pixels

    return altering


DEFECTS = {
    "column at zero": lambda pixels: pixels.__setitem__((slice(None), 120), 0),
    "part of a column at zero": lambda pixels: pixels.__setitem__((slice(150), 120), 0),
    "hot column": lambda pixels: pixels.__setitem__((slice(None), 120), 65535),
    "two columns": lambda pixels: pixels.__setitem__((slice(None), slice(120, 122)), 0),
    "dead block": lambda pixels: pixels.__setitem__((slice(80, 140), slice(120, 180)), 0),
    "hot block": lambda pixels: pixels.__setitem__((slice(80, 140), slice(120, 180)), 65535),
}


@pytest.mark.parametrize("pattern", ["", "RGGB"])
@pytest.mark.parametrize("defect", DEFECTS)
def test_truth_d05_defects_are_named_and_no_matter_of_exposure(tmp_path, defect, pattern):
    found = only(examined(altered(tmp_path, in_flats(DEFECTS[defect]), pattern=pattern)), "D05")
    assert [(f.severity, f.title) for f in found] == [("info", "Bad columns")]
    assert names(found[0]) == of_kind("flat", pattern=pattern)
    assert ("column" in found[0].sentence) == ("column" in defect)
    assert "120" in found[0].sentence and "expose" not in found[0].sentence


@pytest.mark.parametrize("factor", [2.15, 2.4, 3.0])
def test_truth_d05_flats_that_are_over_exposed_in_the_middle(tmp_path, factor):
    def bright(kind, i, pixels, header):
        if kind == "flat":
            pixels[:, 120] = 0
            return np.rint(np.minimum(pixels * factor, 65535))

    found = only(examined(altered(tmp_path, bright)), "D05")
    assert [f.severity for f in found] == ["warn", "info"]
    assert "saturated" in found[0].sentence and "expose these flats shorter" in found[0].sentence
    assert found[0].figure > 0.1


@pytest.mark.parametrize("part", [0.005, 0.02, 0.2])
def test_truth_d05_flats_that_are_cut_at_zero(tmp_path, part):
    """Flats whose corners fall below zero when a program takes an offset away."""

    def cut(kind, i, pixels, header):
        return np.maximum(np.rint(pixels - np.quantile(pixels, part)), 0) if kind == "flat" else None

    found = [f for f in only(examined(altered(tmp_path, cut)), "D05") if f.severity == "warn"]
    assert ["zero (allowed" in f.sentence for f in found] == [True]
    assert found[0].figure == pytest.approx(100 * part, rel=0.8)


def lit(holes):
    """D02 of a light whose pixels `holes` read 300 DN below the bias."""
    sky_dn = 500 + 400 + noise(20)
    sky_dn[holes] = 200
    process = ImageCalibration()
    bound = process.masters(dark=master("dark", np.full(SHAPE, 500.0)))
    raw = ArrayFrame.of(sky_dn, "light", Meta(kind="light", saturation_dn=65535.0))
    return only(DOCTOR.light(raw, process(raw, bound), bound), "D02")


def test_truth_d02_columns_and_blocks_below_zero_are_named():
    for holes, words in (
        (np.s_[:, 77], "column 77"),
        (np.s_[150:, 77], "column 77"),
        (np.s_[100:160, 200:230], "in a block at x = 200-229"),
    ):
        found = lit(holes)
        assert [(f.severity, f.title) for f in found] == [("info", "Bad columns")]
        assert words in found[0].sentence


@pytest.mark.parametrize("fraction", [1.5e-3, 4e-3, 0.03])
def test_truth_d02_pixels_below_zero_all_over(fraction):
    scattered = np.random.default_rng(2).random(SHAPE) < fraction
    scattered[:, 77] = True
    found = [f for f in lit(scattered) if f.severity != "info"]
    assert [f.severity for f in found] == ["error" if fraction > 0.01 else "warn"]
    assert found[0].figure == pytest.approx(100 * fraction, rel=0.5)


def test_truth_columns_are_some_and_blocks_no_whole_rows():
    mask = np.zeros((24, 1, 200), bool)
    mask[3] = True  # a row
    mask[5, 0, 40:50] = True
    mask[:, 0, 7] = True
    split = places(mask)
    assert np.flatnonzero(split.columns).tolist() == [7]
    assert np.argwhere(split.blocks)[:, 2].tolist() == list(range(40, 50))
    assert split.rest.sum() == 199
    assert split.in_words(100) == "column 107 and in a block at x = 140-149"
    mask[:] = True
    assert places(mask).named == 0  # all that is wrong is no column
    assert spans(np.array([1, 0, 1, 1, 0, 1, 0, 1, 0, 1], bool), 0) == "0, 2-3, 5, 7 and 1 more"
