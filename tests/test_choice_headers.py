"""Flags META: contradictions of headers are told with their figures, once where all have them, and nothing else."""

from datetime import datetime, timedelta

import pytest
from sky import written

from masterlight.core.frame import Meta
from masterlight.io import read
from masterlight.subframes.choice.headers import RULES, header_flags
from masterlight.subframes.choice.health import examined
from masterlight.subframes.choice.subframe import Subframe
from masterlight.subframes.choice.table import Subframes
from masterlight.subframes.measure import keywords_of
from masterlight.subframes.measurement import Measurement

COUNT = 12
SITE = {"OBJCTRA": "05 35 17", "OBJCTDEC": "-05 23 28", "SITELAT": "48 30 00", "SITELONG": "09 00 00"}
"""M 42 as it is seen from Tübingen: 36 deg high in the south, on 2024-01-15 about 21:15 UTC."""
WCS = {"CTYPE1": "RA---TAN", "CD1_1": 4e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 4e-4}
CARDS = {
    "IMAGETYP": "Light", "OBJECT": "M 42", "FILTER": "L", "EXPTIME": 120.0, "EXPOSURE": 120.0, "INSTRUME": "ASI 2600",
    "GAIN": 100, "OFFSET": 50, "READOUTM": "High", "CCD-TEMP": -10.1, "SET-TEMP": -10.0, "XPIXSZ": 3.76,
    "FOCALLEN": 530,
}  # fmt: skip


def sub(i, begin="2024-01-15T21:00:00", every_s=125.0, without=(), **changes):
    """Light i of a night, measured; `changes` are cards in place of those of all lights."""
    time = datetime.fromisoformat(begin) + timedelta(seconds=every_s * i)
    cards = {**CARDS, "DATE-OBS": time.isoformat(), **changes}
    cards = {key: value for key, value in cards.items() if key not in without}
    meta = Meta.from_header(cards, f"light_{i:03d}.fits", (400, 600))
    return Subframe(f"light_{i:03d}.fits", meta, Measurement("", 1000.0 + i, (9.0, 9.0), 9.0), keywords=cards)


def night(odd=None, at=5, **of_all):
    """Twelve lights, cards of one changed."""
    return [sub(i, **{**of_all, **(odd or {} if i == at else {})}) for i in range(COUNT)]


def told(frames):
    return {i: [(flag.metric, flag.words) for flag in flags] for i, flags in enumerate(header_flags(frames)) if flags}


ODD = {
    "no exposure": ({"without": ("EXPTIME", "EXPOSURE")}, ["no exposure", "11 other frames"]),
    "no time": ({"without": ("DATE-OBS",)}, ["no time", "11 other"]),
    "no filter": ({"without": ("FILTER",)}, ["no filter", "flats"]),
    "no gain": ({"without": ("GAIN",)}, ["no gain", "dark"]),
    "no temperature": ({"without": ("CCD-TEMP", "SET-TEMP")}, ["no sensor temperature", "dark"]),
    "gain": ({"GAIN": 120}, ["gain is 120", "11 others of its group 100"]),
    "offset": ({"OFFSET": 10}, ["offset is 10", "50"]),
    "readout": ({"READOUTM": "Low Noise"}, ["readout mode is low noise", "high"]),
    "exposures": ({"EXPOSURE": 60.0}, ["EXPTIME 120 s and EXPOSURE 60 s"]),
    "end": ({"DATE-END": "2024-01-15T21:10:30"}, ["took 120 s", "ended 5 s after it began"]),
    "before": ({"DATE-END": "2024-01-15T20:10:25"}, ["ended -3600 s after"]),
    "clock": ({"DATE-OBS": "2024-01-15T21:08:50"}, ["began 30 s after light_004.fits", "120 s"]),
    "cooler": ({"CCD-TEMP": -3.0}, ["at -3.0 C", "set to -10 C"]),
    "altitude": ({**SITE, "OBJCTALT": 62.0}, ["62 deg high", "say 36", "time zone"]),
    "scale": ({**WCS, "FOCALLEN": 800}, ["1.44 arcsec", "0.969", "FOCALLEN"]),
}


@pytest.mark.parametrize("kind", ODD)
def test_truth_a_header_that_contradicts_or_lacks_something_is_told(kind):
    odd, words = ODD[kind]
    found = told(night(odd))
    assert found.keys() == {5}, found
    ((_, sentence),) = found[5]
    assert all(word in sentence for word in words) and 20 < len(sentence) < 220, sentence


def test_truth_sound_nights_have_none():
    assert told(night()) == {}
    assert told(night(**SITE, OBJCTALT=36.0)) == {}
    assert told(night(**SITE)) == {} and told(night(**WCS)) == {}
    assert told(night({"DATE-END": "2024-01-15T21:12:26"})) == {}
    bare = night(without=("GAIN", "FILTER", "CCD-TEMP", "SET-TEMP", "EXPOSURE", "DATE-OBS"))
    assert told(bare) == {} and told([]) == {}


def test_truth_what_all_have_is_told_once_with_their_number():
    found = told(night(**SITE, OBJCTALT=62.0))
    assert found.keys() == {0} and "as in 11 others" in found[0][0][1]
    warm = told(night(**{"CCD-TEMP": 4.0}))
    assert warm.keys() == {0} and "as in 11 others" in warm[0][0][1]
    few = [sub(i, **{"CCD-TEMP": 4.0}) for i in range(3)]
    assert told(few).keys() == {0, 1, 2}  # nobody knows what is usual


def test_truth_few_frames_and_mixed_settings_tell_no_usual_ones():
    assert told([sub(i, GAIN=100 + 20 * (i == 1)) for i in range(4)]) == {}
    assert told([sub(i, GAIN=100 + 20 * (i % 2)) for i in range(12)]) == {}
    colour = [sub(i, without=("FILTER",), BAYERPAT="RGGB", every_s=1000) for i in range(2)]
    assert told([*night(), *colour]) == {}, "a colour camera beside another one has no filter"


def test_truth_two_telescopes_at_once_are_no_broken_clock():
    twins = [sub(i // 2, begin=f"2024-01-15T21:00:{20 * (i % 2):02d}") for i in range(12)]
    assert told(twins) == {}


def test_truth_copies_and_frames_without_measurement_are_left_alone():
    frames = night()
    again = Subframe("copy.fits", frames[3].meta, frames[3].measurement, keywords=frames[3].keywords)
    lost = sub(4, without=("EXPTIME", "EXPOSURE", "FILTER"))
    lost = Subframe("lost.fits", lost.meta, keywords=lost.keywords, approved=False, reasons=("no star",))
    assert told([*frames, again, lost]) == {}


@pytest.mark.parametrize("dialect", ["nina", "maxim", "sgp", "ekos", "asiair", "sharpcap"])
def test_truth_sound_headers_of_every_program_have_none(dialect):
    truth = written(rows=96, cols=128, lights=6, stars=20, darks=1, flats=1, biases=1, dialect=dialect, seed=3)
    frames = [read(path) for path in truth.paths("light")]
    measured = [Measurement(f.source, 1000.0 + i, (9.0, 9.0), 9.0) for i, f in enumerate(frames)]
    subs = [Subframe(f.source, f.meta, m, keywords=keywords_of(f)) for f, m in zip(frames, measured, strict=True)]
    assert told(subs) == {}


def test_surface_flags_come_with_the_others():
    found = examined(Subframes(tuple(night({"GAIN": 120}))))
    assert [(i, str(flag), flag.severity) for i, f in enumerate(found) for flag in f.flags] == [(5, "META", "warn")]
    assert len(RULES) == 7
