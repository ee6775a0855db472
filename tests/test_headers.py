"""What headers mean: nothing raises, and numbers out of all reason count as missing."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masterlight.core.frame import Meta
from masterlight.core.headers import filters, geometry, kinds, reading
from masterlight.core.together import differences
from masterlight.night.products import header

KEYS = sorted({*filters.NAMED, *sum(filters.WHEELS, ()),
               *reading.BOUNDS, *kinds.TYPE, *geometry.PATTERN, *geometry.OVERSCAN, *geometry.DATA, "JD", "MJD-OBS",
               "DATE-OBS", "TIME-OBS", "DATE", "RA", "DEC", "OBJCTRA", "OBJCTDEC", "CRVAL1", "CRVAL2", "CALSTAT",
               "COMMENT", "BITPIX", "BUNIT", "ROWORDER", "CRPIX2", "CD2_2", "A_1_1", "FILTER", "OBJECT"})  # fmt: skip
words = st.sampled_from(["nan", "1e999", "[1:2,3:4]", "[1:9999999999,1:2]", "9999-12-31T23:59:59", "0001-01-01", "2x2",
                         "RGGB", "1/0", "-10,5 C", "12:34:56", "Light", "electron/s", "9" * 99])  # fmt: skip
values = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**400), 10**400), st.floats(), st.complex_numbers(), words,
    st.text(max_size=30), st.binary(max_size=9), st.lists(st.integers(), max_size=3),
    st.sampled_from([10**5000, 1e300]),
)  # fmt: skip


@given(st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=8)), values, max_size=10), words)
@settings(max_examples=300)
def test_oracle_no_value_of_a_header_raises(cards, name):
    meta = Meta.from_header(cards, f"/night/darks_{name}s_-10C_gain{'9' * 200}.fits", (40, 60))
    header(meta, [meta, meta], meta.kind)
    assert list(differences(meta, meta)) == [] and all(len(note) < 300 for note in meta.notes)
    numbers = [v for v in vars(meta).values() if isinstance(v, float)]
    assert all(math.isfinite(v) and abs(v) < 1e13 for v in numbers)


@pytest.mark.parametrize(
    ("key", "value", "field"),
    [("EXPTIME", 1e300, "exposure_s"), ("EXPTIME", -5.0, "exposure_s"), ("EGAIN", 1e-300, "gain_e_per_dn"),
     ("XPIXSZ", math.inf, "pixel_um"), ("XPIXSZ", 1e9, "pixel_um"), ("GAIN", 1e300, "gain"),
     ("FOCALLEN", 1e20, "focal_mm"),
     ("SATURATE", 1e-300, "saturation_dn"), ("RDNOISE", 1e200, "read_noise_e"), ("OFFSET", 1e99, "offset")],
)  # fmt: skip
def test_truth_numbers_out_of_all_reason_are_told_and_missing(key, value, field):
    meta = Meta.from_header({"IMAGETYP": "Light", key: value})
    assert getattr(meta, field) is None and any(key in note and "not believed" in note for note in meta.notes)


def test_truth_the_focuser_is_read_and_stays_in_a_master():
    metas = [Meta.from_header({"FOCUSPOS": 5120, "ROTATANG": 30.0}, shape=(4, 4)) for _ in range(2)]
    assert metas[0].focuser_steps == 5120
    again = Meta.from_header({key: value for key, value, _ in header(metas[0], metas, "flat")}, shape=(4, 4))
    assert (again.focuser_steps, again.rotator_deg) == (5120, 30.0)
    assert Meta.from_header({}, shape=(4, 4)).focuser_steps is None


def test_truth_other_keywords_stand_in_and_defaults_hold():
    meta = Meta.from_header({"EXPTIME": 1e300, "EXPOSURE": 60.0, "XBINNING": 1e9, "XORGSUBF": 1e300, "NCOMBINE": 1e30})
    assert (meta.exposure_s, meta.binning, meta.origin_px, meta.frames) == (60.0, (1, 1), (0, 0), 1)
    silent = Meta.from_header({"GAIN": -1, "FOCALLEN": 0.0, "EGAIN": 0, "CCD-TEMP": 999, "SET-TEMP": -273.15})
    assert (
        silent.notes == ()
        and silent.gain is silent.focal_mm is silent.temperature_c is silent.set_temperature_c is None
    )
    unset = Meta.from_header({"DATE-OBS": "0001-01-01T00:00:00"})
    assert unset.time is None and "not believed" in unset.notes[0]


@pytest.mark.parametrize(
    ("word", "unit"),
    [("adu", "DN"), ("ADU", "DN"), ("DN", "DN"), ("counts", "DN"), ("count", "DN"), ("", None), (None, None),
     ("electron", "electron"), ("e-", "electron"), ("electron / s", "electron/s"), ("electron s-1", "electron/s"),
     ("Jy", "Jy")],
)  # fmt: skip
def test_truth_units(word, unit):
    meta = Meta.from_header({"BUNIT": word, "EXPTIME": 60.0, "EGAIN": 2.0})
    assert meta.unit == unit
    assert meta.gain_e_per_dn == {"electron": 1.0, "electron/s": 60.0}.get(unit, 2.0)
    assert any("BUNIT" in note for note in meta.notes) == (unit not in (None, "DN"))
    assert dict((row[0], row[1]) for row in header(meta, [meta], "light"))["BUNIT"] == (unit or "DN")


def test_truth_units_are_not_mixed():
    raw, master = Meta.from_header({"BITPIX": 16}), Meta.from_header({"BITPIX": -32, "BUNIT": "electron"})
    assert [name for name, *_ in differences(raw, master)] == ["unit"]
    assert list(differences(Meta.from_header({"BITPIX": -32}), master)) == [], "what does not tell excludes nothing"


def test_truth_kelvins_are_kelvins():
    meta = Meta.from_header({"TEMPDET": 164.0}, "x.fits")
    assert meta.temperature_c == pytest.approx(-109.15) and "kelvins" in meta.notes[0]
    meta = Meta.from_header({"CCD-TEMP": 263.15, "SET-TEMP": 263.15}, "x.fits")
    assert (meta.temperature_c, meta.set_temperature_c) == pytest.approx((-10, -10)) and len(meta.notes) == 1
    assert Meta.from_header({"CCD-TEMP": "90 K"}, "x.fits").temperature_c == pytest.approx(-183.15)
    for cards, known in (({"CCD-TEMP": "-10 C"}, -10), ({"CCD-TEMP": 35.5}, 35.5), ({"CCD-TEMP": 0}, 0),
                         ({"CCD-TEMP": 999}, None), ({"CCD-TEMP": -273}, None)):  # fmt: skip
        meta = Meta.from_header(cards, "x.fits")
        assert meta.temperature_c == known and not meta.notes


def test_truth_a_count_of_columns_is_overscan_at_the_end_of_the_rows():
    def sections(**cards):
        meta = Meta.from_header(cards, "x.fits", (100, 132))
        return meta.overscan_px, meta.data_px

    strip, rest = (0, 100, 100, 132), (0, 100, 0, 100)
    for cards in ({}, {"DATASEC": "[1:132,1:100]"}, {"DATASEC": "[1:100,1:100]"}):
        assert sections(COVER=32, **cards) == ((strip,), rest)
    assert sections(COVER="32") == ((strip,), rest)
    assert sections(COVER="[101:132,1:100]") == ((strip,), None)
    assert sections(COVER=32, BIASSEC="[111:132,1:100]", DATASEC="[1:110,1:100]")[1] == (0, 100, 0, 110)
    for no in ({"COVER": 0}, {"COVER": 60}, {"COVER": True}, {"COVER": 1.5}, {"COVER": 32, "BITPIX": -32}):
        assert sections(**no) == ((), None)


@pytest.mark.parametrize(
    ("cards", "binning"),
    [
        ({"CCDSUM": "2 2"}, (2, 2)),
        ({"CCDSUM": "1 2"}, (1, 2)),
        ({"BINNING": "2 x 1"}, (2, 1)),
        ({"BINNING": 3}, (3, 3)),
    ],
)
def test_truth_binning_as_observatories_write_it(cards, binning):
    assert Meta.from_header(cards, "x.fits").binning == binning
