"""The process console: what the screen shows, and what console.txt keeps."""

import re

import pytest

from masterlight.core.errors import OutputError, Rejected
from masterlight.core.workers import Event
from masterlight.doors.console import Diary, process_console, summary, table_lines
from masterlight.night.report import FrameReport, MasterRow, Report


def lost(i: int) -> Event:
    """A frame that failed, as a run tells of it."""
    row = Rejected(f"night/M31_{i:03d}.fits", "measure", "no stars")
    return Event("measure", i, 100, row.source, row, f"rejected {row}")


def events(frames: int = 100):
    """A night of so many frames, every second of which fails."""
    for i in range(1, frames + 1):
        yield lost(i) if i % 2 else Event("measure", i, frames, message=f"M31_{i:03d}.fits: {i} stars", detail=True)
    yield Event("align", message="reference: \x1b[1mM31_002.fits")


def test_truth_a_hundred_frames_are_three_lines_on_the_screen_and_all_in_the_file(tmp_path, capsys):
    with process_console(folder=tmp_path, head="masterlight 1: run night") as console:
        for event in events():
            console.show(event)
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "       measure  rejected M31_001.fits, M31_003.fits, M31_005.fits and 47 more (50 in all): no stars (measure)",
        "         align  reference: \\x1b[1mM31_002.fits",
    ]
    kept = (tmp_path / "console.txt").read_text().splitlines()
    assert re.fullmatch(r"# \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, masterlight 1: run night", kept[0])
    assert len(kept) == 102 and kept[1] == "       measure  rejected night/M31_001.fits: no stars (measure)"


def test_truth_a_second_run_is_added_and_quiet_is_kept_as_well(tmp_path, capsys):
    for head in ("first", "second"):
        with process_console(quiet=True, folder=tmp_path, head=head) as console:
            console.show(Event("read", message=f"{head} frames"))
    assert capsys.readouterr().out == ""
    heads = [line for line in (tmp_path / "console.txt").read_text().splitlines() if line.startswith("#")]
    assert [head.rpartition(" ")[2] for head in heads] == ["first", "second"]


def test_truth_lines_wait_for_the_folder_and_what_stops_a_run_is_kept(tmp_path):
    folder = tmp_path / "out"
    with pytest.raises(OutputError), process_console(folder=folder, head="run") as console:
        console.show(Event("read", message="10 lights"))
        assert not folder.exists()
        folder.mkdir()
        raise OutputError("the disk is full")
    assert (folder / "console.txt").read_text().splitlines()[1:] == [
        "          read  10 lights",
        "       stopped  the disk is full",
    ]


def test_bad_places_for_the_file_never_end_the_work(tmp_path):
    (tmp_path / "console.txt").mkdir()
    diary = Diary(tmp_path, "run")
    diary.write("a line")
    assert (tmp_path / "console_2.txt").is_file()
    (tmp_path / "file").write_text("")
    diary = Diary(tmp_path / "file", "run")
    diary.write("a line")
    assert not diary.written


def test_truth_a_table_that_is_too_wide_becomes_paragraphs_and_loses_nothing():
    rows = [("product", "frames", "noise DN"), ("master_light_M31_L_of_a_long_name.fits", "20", "8.457")]
    wide, narrow = table_lines(rows, 80), table_lines(rows, 40)
    assert wide[1] == "master_light_M31_L_of_a_long_name.fits      20     8.457"
    assert narrow == ["master_light_M31_L_of_a_long_name.fits", "  frames 20, noise DN 8.457"]


def test_truth_the_summary_shows_names_as_they_are(capsys):
    row = MasterRow(
        path="o/a[red]b :smile:\x1b.fits", preview="o/a.png", kind="light", filter=None, frames_used=3, noise=1
    )
    lost = [FrameReport(path=f"n/{i}\n.fits") for i in range(7)]
    summary(Report(masters=[row], frames=lost))
    told = capsys.readouterr().out
    assert "a[red]b :smile:\\x1b.fits" in told
    assert told.endswith(
        "done, 7 frames rejected: 0\\n.fits, 1\\n.fits, 2\\n.fits, 3\\n.fits, 4\\n.fits and 2 more "
        "(reasons in report.json)\n"
    )


def test_a_console_txt_of_the_user_is_left_alone(tmp_path):
    (tmp_path / "console.txt").write_text("notes of the night\n")
    for _ in range(2):
        diary = Diary(tmp_path, "2026-01-01 00:00:00 UTC, masterlight 0: run")
        diary.write("a sentence")
    assert (tmp_path / "console.txt").read_text() == "notes of the night\n"
    assert (tmp_path / "console_2.txt").read_text().count("a sentence") == 2
