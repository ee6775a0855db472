"""Which filter a header names: keywords of observatories, several wheels, patterns that are no filter."""

import pytest

from masterlight.core.frame import Meta
from masterlight.session.found.suitable import of_pattern


@pytest.mark.parametrize(
    ("cards", "name"),
    [
        ({"FILTNAM": "V"}, "V"), ({"WFFBAND": "Halpha"}, "Halpha"), ({"INSFILTE": "R"}, "R"), ({"FILTID": "B"}, "B"),
        ({"FILTER1": "Clear", "FILTER2": "V"}, "V"), ({"FILTER1": "V", "FILTER2": "V"}, "V"),
        ({"FILTER": "NO_FILTER", "FILTER2": "g-SDSS"}, "g-SDSS"), ({"FILTER01": "open1", "FILTER02": "W-J-V"}, "W-J-V"),
        ({"FILTER1": "V", "FILTER2": "ND3"}, "V+ND3"), ({"FILTER": "CLEAR1L;F814W"}, "F814W"),
        ({"ALFLTNM": "Open", "FAFLTNM": "V Bes 530_80", "FBFLTNM": "Open"}, "V Bes 530_80"),
        ({"ESO INS FILT1 NAME": "R_SPECIAL"}, "R_SPECIAL"),
        ({"FILTER": 3, "FILTNAM": "R"}, "R"), ({"FILTER": "3"}, "3"), ({"FILTER": "Filter 2"}, "Filter 2"),
        ({"FILTER": "Clear"}, "Clear"), ({"FILTER1": "Open", "FILTER2": "Open"}, "Open"),
        ({"FILTER": "Ha, 7nm"}, "Ha, 7nm"), ({"FILTER": "none"}, None), ({}, None),
    ],
)  # fmt: skip
def test_truth_filters_as_observatories_write_them(cards, name):
    assert Meta.from_header(cards, "x.fits", (90, 120)).filter == name


@pytest.mark.parametrize("name", ["L_0001.fits", "F_0001.fits", "lights/R/R_001.fits", "M31_Lum_001.fits", "G_1.fits"])
def test_truth_no_filter_is_made_up_from_the_names_of_a_colour_camera(name):
    mono, colour = ({"IMAGETYP": "Light"} | cards for cards in ({}, {"BAYERPAT": "RGGB"}))
    assert Meta.from_header(colour, name, (90, 120)).filter is None
    assert name.startswith("F") or Meta.from_header(mono, name, (90, 120)).filter is not None


def test_truth_filters_in_names_that_make_sense_before_a_colour_camera():
    assert Meta.from_header({"BAYERPAT": "RGGB"}, "M31_Ha_001.fits", (90, 120)).filter == "Ha"


def test_truth_a_pattern_is_no_filter():
    meta = Meta.from_header({"IMAGETYP": "Light", "FILTER": "GRBG"}, "L_001.fits", (90, 120))
    assert (meta.filter, meta.pattern) == (None, "GRBG") and "taken for the colour pattern" in meta.notes[0]
    meta = Meta.from_header({"FILTER": "GRBG", "BAYERPAT": "RGGB"}, "x.fits", (90, 120))
    assert (meta.filter, meta.pattern, meta.notes) == (None, "RGGB", ())


@pytest.mark.parametrize(
    ("folder", "name"),
    [("Flats_V", "V"), ("Ha flats", "Ha"), ("OIII", "OIII"), ("R Leonis lights", None), ("flats", None)],
)
def test_truth_the_folder_tells_the_filter_where_nothing_else_does(folder, name):
    assert Meta.from_header({}, f"night/{folder}/IMG_0001.fits", (90, 120)).filter == name


def test_truth_the_pattern_that_the_user_tells_takes_made_up_filters_away():
    light = Meta.from_header({"IMAGETYP": "Light"}, "L_001.fits", (90, 120))
    assert light.filter == "L" and of_pattern(light, "RGGB").filter is None and of_pattern(light, "RGGB").notes == ()
    for cards, name in (({"FILTER": "L"}, "L_001.fits"), ({}, "M31_Ha_001.fits")):
        meta = Meta.from_header(cards, name, (90, 120))
        assert of_pattern(meta, "RGGB").filter == meta.filter in ("L", "Ha")
