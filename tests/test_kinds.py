"""Which kind a frame is: header, folder, name, exposure and OBJECT as witnesses, alone and against each other."""

import pytest

from masterlight.core.frame import Meta
from masterlight.core.headers.names import kind_of_words


def meta(cards, source):
    return Meta.from_header(cards, source, (90, 120))


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("flats", "flat"), ("Flats_V", "flat"), ("FLAT", "flat"), ("SkyFlats", "flat"), ("2026-03-01 flats Ha", "flat"),
        ("Rosette flats", "flat"), ("darks_300s_-10C", "dark"), ("Dark gain100", "dark"), ("DarkFlat", "flatdark"),
        ("dark for flat", "flatdark"), ("bias", "bias"), ("bias_gain120", "bias"), ("offsets", "bias"),
        ("M31 Lights", "light"), ("master_flats", "flat"), ("dome flat V", "flat"),
        ("my flats drying test", None), ("cal_flats_drying", None), ("lights and flats", None), ("dark sky trip", None),
        ("Dark_Shark", None), ("Dark_Wolf", None), ("B_150_dark_cloud", None),
        ("Dark_Tower", None), ("lights without darks", None), ("after dark", None), ("bias tests", None), ("M31", None),
    ],
)  # fmt: skip
def test_truth_a_folder_is_a_kind_or_merely_holds_the_word(words, kind):
    assert kind_of_words(words) == kind


@pytest.mark.parametrize(
    ("cards", "source", "kind"),
    [
        ({"OBSTYPE": "OBJECT", "EXPTIME": 4.0, "OBJECT": "BIAS"}, "n/flats/d11.fits", "flat"),
        ({"OBSTYPE": "DARK", "EXPTIME": 0.0, "OBJECT": "bias"}, "n/bias/d10.fits", "bias"),
        ({"OBSTYPE": "DARK", "EXPTIME": 0.0}, "n/d10.fits", "bias"),
        ({"OBSTYPE": "OBJECT", "EXPTIME": 60.0, "OBJECT": "M51"}, "n/flats/lights/d12.fits", "light"),
        ({"OBSTYPE": "OBJECT", "EXPTIME": 0.0}, "n/d12.fits", "bias"),
        ({"FRAME": "Light", "EXPTIME": 2.0}, "n/flats/2026-01-01/Ha/x.fits", "flat"),
        ({"FRAME": "FK5"}, "n/darks/x.fits", "dark"),
        ({"IMAGETYP": "Light Frame", "EXPTIME": 2.0}, "n/flats/PanelFlat_001.fits", "flat"),
        ({"IMAGETYP": "Light Frame", "EXPTIME": 2.0}, "n/flats/P_001.fits", "light"),
        ({"IMAGETYP": "Light Frame", "EXPTIME": 0.0}, "n/bias/x_001.fits", "bias"),
        ({"IMAGETYP": "Light Frame", "EXPTIME": 300.0}, "n/darks/darkflat_001.fits", "flatdark"),
        ({"IMAGETYP": "Light Frame", "EXPTIME": 0.0}, "n/x_001.fits", "light"),
        ({"IMAGETYP": "Flat Field", "EXPTIME": 0.0}, "n/lights/x_001.fits", "flat"),
        ({"IMAGETYP": "object", "OBSTYPE": "zero"}, "n/x.fits", "bias"),
        ({"IMAGETYP": "Dark Frame", "EXPTIME": 2.0}, "n/dark flats/x.fits", "flatdark"),
        ({"OBSTYPE": "dome flat"}, "x.fits", "flat"), ({"OBSTYPE": "SKYFLAT"}, "x.fits", "flat"),
        ({"OBSTYPE": "EXPOSE"}, "x.fits", "light"), ({"ESO DPR TYPE": "FLAT,SKY"}, "x.fits", "flat"),
        ({"IMAGETYP": "comp"}, "lights/x.fits", "unknown"), ({"IMAGETYP": "SNAPSHOT"}, "flats/x.fits", "unknown"),
        ({}, "flats/dark_1.fits", "dark"), ({}, "lights/Dark_Wolf_1.fits", "light"), ({}, "x/IMG_1.fits", "unknown"),
        ({"EXPTIME": 0.0}, "x/dark_300s.fits", "dark"), ({"FRAME": "Light", "EXPTIME": 0.0}, "x/x.fits", "light"),
        ({"EXPTIME": 0.0}, "x/Light_001.fits", "light"), ({"FRAME": "Light", "OBJECT": "dark"}, "x/x.fits", "light"),
        ({"EXPTIME": 0.0}, "flats/x.fits", "flat"), ({"EXPTIME": 0.0}, "darks/x.fits", "bias"),
        ({"OBJECT": "dome flat V", "EXPTIME": 3.0}, "x.fits", "flat"),
        ({"OBJECT": "bias", "EXPTIME": 60.0}, "x.fits", "unknown"),
    ],
)  # fmt: skip
def test_truth_the_stronger_witness_is_believed(cards, source, kind):
    assert meta(cards, source).kind == kind


def test_truth_three_witnesses_against_each_other_are_named_in_one_note():
    found = meta({"IMAGETYP": "FLAT", "EXPTIME": 0.0}, "night/lights/dark_1.fits")
    (note,) = found.notes
    assert found.kind == "flat" and len(note) < 300
    assert note == (
        "taken for a flat by its header (FLAT), though its folder lights says light and its name 'dark_1.fits' says"
        " dark and it was exposed for 0 s"
    )
    assert found.told == (("header", "flat"), ("folder", "light"), ("name", "dark"), ("exposure", "bias"))


def test_truth_nothing_is_said_where_witnesses_agree():
    for cards, source in (
        ({"IMAGETYP": "Bias Frame", "EXPTIME": 0.0}, "cal_flats_drying/cal/B_001.fits"),
        ({"OBSTYPE": "OBJECT", "OBJECT": "M51"}, "lights/d1.fits"), ({"OBJECT": "M51"}, "d1.fits"),
        ({"IMAGETYP": "Dark Frame"}, "flats/dark flats/x.fits"),
        ({"FRAME": "Light"}, "M31/Light/M31_Light_L_60s_001.fits"),
    ):  # fmt: skip
        assert [note for note in meta(cards, source).notes if "taken for" in note] == []


def test_truth_masters_are_known_by_header_and_where_it_is_silent_by_name():
    assert meta({"IMAGETYP": "Master Dark"}, "x.fits").is_master
    assert meta({}, "master_dark_300s.fits").is_master and meta({}, "Master Flats/f1.fits").is_master
    assert not meta({"IMAGETYP": "Dark Frame"}, "dark_1.fits").is_master
    found = meta({"IMAGETYP": "Dark Frame", "EXPTIME": 300.0}, "MasterDark_300s.fits")
    assert found.is_master and found.notes == ("taken for a master by its name 'MasterDark_300s.fits'",)
    assert meta({"IMAGETYP": "Dark Frame"}, "Master Darks/dark_1.fits").is_master is False
    assert meta({"IMAGETYP": "Light Frame"}, "master_dark_1.fits").is_master is False
