"""Small nights that hurt somebody once: known for what they are, calibrated right, and the doctor is right about them.

Each case is a script in the folder of cases; the tests skip where there is none. The same facts stand in the tests of
the modules, on the project's own sky.
"""

from pathlib import Path

import cases
import numpy as np
import pytest
from click.testing import CliRunner
from planted import diagnosed as examine

from masterlight.calibration.calibrate import ImageCalibration
from masterlight.doctor import Doctor
from masterlight.doors.cli import main
from masterlight.io import read
from masterlight.session.plan import MasterJob
from masterlight.session.planner import plan
from masterlight.session.scan import scan

pytestmark = cases.needed
case = cases.case


def ran(*words) -> str:
    """What a command says that ends well, with frames left out or none."""
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code in (0, 1), done.output
    return done.output


def masters_of(out: Path) -> dict[str, np.ndarray]:
    """Master lights by their names."""
    return {path.name: np.asarray(read(path)) for path in sorted(out.glob("master_light*.fits"))}


def diagnosed(folder: Path):
    return examine(folder, ImageCalibration(), Doctor())[1]


def files_of(frames) -> set[str]:
    return {Path(getattr(frame, "source", frame)).name for frame in frames}


def frames_of(master) -> set[str]:
    """File names of what a master is made of."""
    return files_of(master.frames if isinstance(master, MasterJob) else [master] if master else [])


def grave(findings):
    return [one for one in findings if one.severity != "info"]


def test_truth_flats_that_dry_are_named(case):
    folder = case("cal_flats_drying")
    told = [one for one in grave(diagnosed(folder)) if "F_000.fits" in files_of(one.sources)]
    assert told and any("dr" in one.sentence or "change" in one.sentence for one in told)


def test_truth_an_offset_of_zero_is_named(case):
    told = [one for one in grave(diagnosed(case("cal_offset_zero"))) if "offset" in one.sentence]
    named = set.union(set(), *(files_of(one.sources) for one in told))
    assert {"B_000.fits", "D_000.fits"} <= named
    assert not any(one.severity == "error" for one in told)


def test_truth_lights_of_each_angle_get_their_flats(case):
    found = plan(scan(case("cal_rotator")))
    sets = [part for job in found.lights for part in job.sets]
    assert sorted((len(part.frames), *sorted({name[2] for name in frames_of(part.flat)})) for part in sets) == [
        (6, "A"),
        (6, "B"),
    ]
    for part in sets:
        assert {name[2] for name in files_of(part.frames)} == {name[2] for name in frames_of(part.flat)}


def test_truth_lights_cut_off_at_zero_are_named(case):
    told = [one for one in grave(diagnosed(case("doc_clipped_at_zero"))) if "L_000.fits" in files_of(one.sources)]
    cut = {f"L_{i:03d}.fits" for i in range(4)}
    assert any(files_of(one.sources) == cut for one in told)
    assert not any({"L_004.fits", "L_005.fits"} & files_of(one.sources) for one in told)


def test_truth_flats_that_nobody_uses_stop_nothing(case, tmp_path):
    folder = case("doc_unused_flats")
    findings = diagnosed(folder)
    assert not [one for one in findings if one.severity == "error"]
    assert [one for one in findings if one.id == "D04" and "FB_001.fits" in files_of(one.sources)]
    said = ran("run", folder, "--out", tmp_path / "out")
    assert "B_003 (copy).fits" in said
    assert len(masters_of(tmp_path / "out")) == 1
    bias = next(job for job in plan(scan(folder)).masters if job.kind == "bias")
    assert files_of(bias.frames) == {f"B_{i:03d}.fits" for i in range(1, 9)}


def test_truth_darks_in_tiff_are_read(case):
    found = plan(scan(case("fmt_tiff_beside")))
    part = found.lights[0].sets[0]
    assert len(part.frames) == 8
    used = frames_of(part.dark) | {name for job in found.masters for name in files_of(job.frames)}
    assert len({name for name in used if name.endswith(".tif")}) == 12


@pytest.mark.parametrize("rows", ["top", "stored"])
def test_truth_the_greens_decide_about_rows(case, tmp_path, rows):
    said = ran("run", case("hdr_bottom_up_bayer") / rows, "--out", tmp_path / "out")
    (image,) = masters_of(tmp_path / "out").values()
    assert np.nanmedian(image, axis=(1, 2)) == pytest.approx([1100, 900, 700], abs=4)
    assert "green" in said + (tmp_path / "out" / "report.json").read_text()


def test_truth_no_filter_is_made_up_for_a_colour_camera(case):
    found = plan(scan(case("hdr_colour_named_l")))
    assert [job.filter for job in found.lights] == [None]
    assert len(frames_of(found.lights[0].sets[0].flat)) == 6


def test_truth_flats_that_call_themselves_lights_are_flats(case):
    found = plan(scan(case("hdr_flats_called_light")))
    assert [len(job.frames) for job in found.lights] == [8]
    flat = frames_of(found.lights[0].sets[0].flat)
    left_out = {Path(row.source).name for row in found.rejected}
    assert len(flat) == 6 or len(left_out) == 6
    assert left_out or any("says light" in note for note in found.notes)


def test_truth_an_observatory_with_words_of_its_own(case, tmp_path):
    folder = case("hdr_lick")
    found = plan(scan(folder))
    assert sorted((job.filter, len(job.frames)) for job in found.lights) == [("R", 5), ("V", 5)]
    assert {len(frames_of(part.flat)) for job in found.lights for part in job.sets} == {5}
    assert [len(job.frames) for job in found.masters if job.kind == "bias"] == [8]
    ran("run", folder, "--out", tmp_path / "out")
    made = masters_of(tmp_path / "out")
    assert len(made) == 2
    for image in made.values():
        assert np.nanmedian(image) == pytest.approx(360, abs=1.5)


def test_truth_a_second_image_of_a_file_is_told(case):
    said = ran("plan", case("hdr_two_chips"))
    assert "CHIP2" in said
    assert [len(job.frames) for job in plan(scan(case("hdr_two_chips"))).lights] == [8]


def test_truth_linked_folders_are_followed(case):
    part = plan(scan(case("wf_linked_library") / "night")).lights[0].sets[0]
    assert (len(frames_of(part.dark)), len(frames_of(part.flat))) == (6, 6)


def test_truth_two_fields_without_a_name_are_two_masters(case, tmp_path):
    said = ran("run", case("wf_nameless_targets"), "--out", tmp_path / "out")
    assert len(masters_of(tmp_path / "out")) == 2
    assert "clouds?" not in said + (tmp_path / "out" / "report.json").read_text()
    assert "two fields" in said or "2 fields" in said


def test_truth_hot_pixels_of_flats_leave_no_holes(case, tmp_path):
    folder = case("cal_hot_in_flat")
    ran("run", folder, "--out", tmp_path / "out")
    (image,) = masters_of(tmp_path / "out").values()
    inner = image[30:-30, 30:-30]
    sigma = 1.4826 * np.nanmedian(np.abs(inner - np.nanmedian(inner)))
    holes = np.count_nonzero(inner < np.nanmedian(inner) - 8 * sigma)
    told = [one for one in grave(diagnosed(folder)) if "hot" in one.sentence]
    assert holes <= 2 or told
