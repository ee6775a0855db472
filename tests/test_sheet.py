"""The table of subframes on a screen."""

from dataclasses import replace

import pytest

from masterlight.core.frame import Meta
from masterlight.doors.sheet import sheet, shortened, told_apart
from masterlight.subframes.choice.subframe import Subframe
from masterlight.subframes.choice.table import Subframes
from masterlight.subframes.measurement import Measurement


def night_of(names, **more):
    rows = [
        Subframe(name, Meta(filter="L"), Measurement(name, 1000.0, (5.0, 5.0), 10.0 + i, fwhm_px=2.5 + i, **more))
        for i, name in enumerate(names)
    ]
    return Subframes(tuple(rows))


def test_surface_columns_line_up_and_those_that_have_no_room_go():
    night = night_of([f"a_night_with_a_long_name_{i:03d}.fits" for i in range(3)], eccentricity=0.4, stars=120)
    assert all(len(sheet(night, columns)) > 4 for columns in (1, 3, 5))
    for columns in (40, 60, 80, 120):
        head, names, *rest = sheet(night, columns)
        rows, words = rest[:3], " ".join(rest[3:])
        assert head == "L: 3 frames, all approved" and names.startswith("    file ")
        assert {len(row) for row in rows} == {len(names)} and max(map(len, [names, *rest])) <= columns
        assert all((name in names) != (name in words) for name in ("FWHM", "Eccentricity", "Stars", "Noise", "Median"))
    assert "FWHM px  Eccentricity  Stars  Noise DN  Median DN" in sheet(night, 120)[1]
    assert "FWHM px" in sheet(night, 40)[1] and "Eccentricity" not in sheet(night, 40)[1]
    assert sheet(night, 60, ["Median"])[1].split()[1] == "Median"


def test_surface_reasons_marks_and_what_is_unknown():
    night = night_of(["a.fits", "b.fits", "c.fits"])
    frames = [night[0].mark(True), replace(night[1], approved=False, reasons=("fails FWHM < 3",)), night[2].mark(False)]
    frames.append(replace(frames[1], source="d\x1b[31m.fits", measurement=None, reasons=("no star " * 20,)))
    lines = sheet(night.with_frames(frames), 60)
    assert lines[0] == "L: 4 frames, 1 approved"
    assert [line[:4] for line in lines if ".fits" in line] == [" *  ", " x  ", " x* ", " x  "]
    assert "      fails FWHM < 3" in lines and "      left out by hand" in lines
    assert not any("\x1b" in line for line in lines) and max(map(len, lines)) <= 60
    assert next(line for line in lines if line.startswith(" x  d")).split()[2:] == ["-", "-", "-"]


def test_surface_files_of_one_name_show_their_folders():
    lines = sheet(night_of(["/x/one/a.fits", "/x/two/a.fits", "/x/two/b.fits"]), 80)
    assert [line.split()[0] for line in lines[2:]] == ["one/a.fits", "two/a.fits", "b.fits"]


def test_surface_a_name_keeps_its_end():
    assert shortened("light_0001_c.fits", 40) == "light_0001_c.fits"
    assert shortened("a_night_with_a_very_long_name_0001.fits", 20) == "a_nigh..me_0001.fits"


@pytest.mark.parametrize("most", [17, 18, 21, 30])
def test_truth_shortened_names_still_tell_files_apart(most):
    dated = [f"2025-10-18_19-{i:02}-00_L_-10.10_120.00s_{i:04}_c_cc.fits" for i in range(1, 41)]
    ended = [f"light_{i:03}_ir_600s_binned_2x2_calibrated.fit.gz" for i in range(4)]
    middle = [f"IMG_of_a_very_long_name_of_the_field_{i:04}_and_a_long_end_as_well.fits" for i in range(30)]
    for names in (dated, ended, middle):
        short = told_apart(names, most)
        assert len(set(short)) == len(names) and max(map(len, short)) <= most
    assert told_apart(["a.fits"], most) == ["a.fits"]
    assert "003" in told_apart(dated, most)[2]
