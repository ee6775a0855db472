"""Small nights on which measuring and judging frames once fell short: `masterlight subframes` tells each as it is.

Each case is a script in the folder of cases; the tests skip where there is none. The same facts stand in the tests of
the modules, on the project's own sky.
"""

import json
from functools import cache
from pathlib import Path

import cases
import numpy as np
import pytest
from click.testing import CliRunner

from masterlight.doors.cli import main

pytestmark = cases.needed
case = cases.case


class Told:
    """What `masterlight subframes` tells of a case: what it says, and its table by names of files."""

    def __init__(self, folder: Path, table: Path):
        done = CliRunner().invoke(main, ["subframes", str(folder), "--table", str(table)], env={"COLUMNS": "200"})
        assert done.exit_code == 0, done.output
        self.said = " ".join(done.output.split())
        self.rows = {Path(row["File"]).name: row for row in json.loads(table.read_text())["frames"]}

    def column(self, name: str) -> np.ndarray:
        return np.array([np.nan if row[name] is None else row[name] for row in self.rows.values()], float)

    @property
    def flags(self) -> dict[str, set[str]]:
        """The flags of each frame that has any."""
        return {name: set(row["Flags"].split()) for name, row in self.rows.items() if row["Flags"]}


@pytest.fixture(scope="module")
def told(case, tmp_path_factory):
    """told(name, part): what is said of a case, or of a part of its folder, asked once."""

    @cache
    def asked(name: str, part: str = "") -> Told:
        return Told(case(name) / part, tmp_path_factory.mktemp("told") / "table.json")

    return asked


def test_truth_knots_of_a_galaxy_are_no_stars(told):
    """Twelve stars of 4 px, and twenty knots of 11 to 26."""
    done = told("sub_galaxy_knots")
    assert done.column("FWHM") == pytest.approx(4.0, rel=0.03) and len(done.rows) == 6
    assert ((done.column("Stars") >= 12) & (done.column("Stars") <= 14)).all() and not done.flags
    assert done.column("Transparency") == pytest.approx(1.0, abs=0.01)
    point = done.column("PointSNR")
    assert point.min() > 0.97 * point.max()


def test_truth_jumps_and_rings_are_told_and_the_good_frames_are_not(told):
    done = told("reg_trailed_and_donut")
    assert done.flags["L_003.fits"] == done.flags["L_007.fits"] == {"JUMP"}
    assert "12.0 px apart" in done.said and "6 bias frames, 6 darks, 6 flats" in done.said
    for ring in ("L_005.fits", "L_008.fits"):
        row = done.rows[ring]
        assert "FOCUS" in row["Flags"] or (not row["Approved"] and "focus" in row["Reasons"])
    good = [name for name in done.rows if name not in ("L_003.fits", "L_005.fits", "L_007.fits", "L_008.fits")]
    assert len(good) == 6 and not any(done.rows[name]["Flags"] for name in good)
    assert [done.rows[name]["FWHM"] for name in good] == pytest.approx(6 * [2.92], rel=0.03)  # less the pixel's blur


def test_truth_the_sharpest_frame_is_behind_cloud(told):
    done = told("ref_sharp_but_cloudy")
    assert done.flags == {"L_000.fits": {"CLOUD"}}
    assert done.rows["L_000.fits"]["Transparency"] == pytest.approx(0.3, abs=0.02)
    assert np.argmin(done.column("FWHM")) == 0 and np.argmin(done.column("PointSNR")) == 0


def test_truth_hot_pixels_are_no_stars(told):
    """18 faint stars and 500 hot pixels, which do not hold the field."""
    done = told("reg_hot_pixels")
    assert ((done.column("Stars") >= 16) & (done.column("Stars") <= 18)).all() and not done.flags
    assert done.column("Transparency") == pytest.approx(1.0, abs=0.07)  # few, faint stars


def test_truth_mixed_exposures_are_groups_of_one_light(told):
    done = told("wf_mixed_exposures")
    assert "Field 1, L, 10 s: 6 frames" in done.said and "Field 1, L, 60 s: 6 frames" in done.said
    assert done.column("Transparency") == pytest.approx(1.0, abs=0.01) and not done.flags
    ratio = np.median(done.column("PSFScale")[:6]) / np.median(done.column("PSFScale")[6:])
    assert ratio == pytest.approx(6.0, rel=0.02)


def test_truth_nameless_targets_are_told_and_nobody_is_told_clouds(told):
    done = told("wf_nameless_targets")
    assert "5 of 10 frames" in done.said and "two targets?" in done.said
    assert "cloud" not in done.said and not done.flags


def test_truth_a_level_that_a_camera_took_off_is_no_moonlight(told):
    done = told("doc_clipped_at_zero")
    assert done.flags.keys() <= {"L_004.fits", "L_005.fits"} and "moon" not in done.said
    assert done.flags["L_004.fits"] == {"META"} and "another calibration" in done.said


def test_truth_trails_and_rays_are_no_reason_to_leave_a_frame_out(told):
    three = told("int_one_two_three", "three")
    assert three.flags == {"L_001.fits": {"SATELLITE"}} and all(row["Approved"] for row in three.rows.values())
    one = told("int_one_two_three", "one")
    assert len(one.rows) == 1 and not one.flags


def test_truth_bad_columns_are_neither_trails_nor_bands(told):
    done = told("int_bad_column")
    assert not done.flags and done.column("FWHM") == pytest.approx(2.92, rel=0.02)


@pytest.mark.parametrize("part", ["used", "out_of_range"])
def test_truth_blank_pixels_move_no_figure(told, part):
    done = told("hdr_blank", part)
    assert done.column("Median") == pytest.approx(900.4, abs=0.5) and not done.flags
    assert done.column("Noise") == pytest.approx(20.7, rel=0.02)


def test_truth_stacks_among_subs_are_not_measured(told):
    done = told("fmt_stack_beside")
    lost = {name for name, row in done.rows.items() if not row["Approved"]}
    assert lost == {"stack.fits", "Stacked_250_Field 1_60s.fit"}
    assert all("already a stack" in done.rows[name]["Reasons"] for name in lost) and not done.flags


SOUND = {
    "cal_dark_other_exposure": 8, "cal_flats_drying": 8, "cal_hot_in_flat": 8, "cal_offset_zero": 8, "cal_rotator": 12,
    "cal_unit_masters": 8, "doc_unused_flats": 6, "fmt_fz_variants": 10, "fmt_tiff_beside": 8,
    "hdr_bottom_up_bayer/top": 6, "hdr_bottom_up_bayer/stored": 6, "hdr_colour_named_l": 8,
    "hdr_flats_called_light": 8, "hdr_foreign_observer": 8, "hdr_lick": 10, "int_unregistered": 8,
    "hdr_two_chips": 8, "wf_linked_library": 8,
}  # fmt: skip
"""Nights whose lights are sound, however odd their files and their calibration frames are; and how many there are."""


@pytest.mark.parametrize("name", SOUND)
def test_truth_sound_lights_are_measured_alike_and_nothing_is_told_against_them(told, name):
    done = told(*name.split("/"))
    assert len(done.rows) == SOUND[name] and not done.flags, done.said
    assert all(row["Approved"] for row in done.rows.values())
    assert done.column("FWHM") == pytest.approx(2.92, rel=0.03)  # 3 px, less the blur by the pixel
    assert done.column("Transparency") == pytest.approx(1.0, abs=0.03)
    assert (done.column("Eccentricity") < 0.3).all()
    if name == "hdr_two_chips":
        assert "8 of 8 files hold further images" in done.said
