"""Folders: what may be frames is found under its own name, links end, and what is passed over is counted."""

import os
from pathlib import Path

import numpy as np
import pytest

from masterlight.io import write
from masterlight.session.found.search import search
from masterlight.session.planner import plan
from masterlight.session.scan import scan


def touch(place: Path, *names: str) -> None:
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(b"x")


def images(*roots: Path) -> list[str]:
    return [os.path.relpath(path, roots[0]) for path in search(map(str, roots)).images]


def test_truth_linked_folders_are_read_once_and_named(tmp_path):
    touch(tmp_path, "night/lights/1.fits", "library/2.fits", "library/deep/3.fits")
    for name in ("darks", "again"):
        (tmp_path / "night" / name).symlink_to(tmp_path / "library")
    found = search([str(tmp_path / "night")])
    assert images(tmp_path / "night") == ["lights/1.fits", "again/2.fits", "again/deep/3.fits"]
    assert found.links == [f"again -> {tmp_path / 'library'}"] and found.twice == 1
    assert found.notes()[0].startswith("1 linked folder followed: again -> ")


@pytest.mark.parametrize("to", [".", "..", "lights", "lights/deep/../..", "/"])
def test_truth_loops_and_links_to_folders_above_end(tmp_path, to):
    touch(tmp_path, "night/lights/1.fits", "night/lights/deep/2.fits", "secret/3.fits")
    (tmp_path / "night" / "a").symlink_to(to)
    (tmp_path / "night" / "lights" / "b").symlink_to(tmp_path / "night")
    found = search([str(tmp_path / "night")])
    assert images(tmp_path / "night") == ["lights/1.fits", "lights/deep/2.fits"], "each once, under its own name"
    above = to in ("..", "/")
    assert found.twice == 2 - above
    assert ("a link to a folder above it" in " ".join(found.sentences())) == above


def test_truth_a_library_that_links_back_ends(tmp_path):
    touch(tmp_path, "night/1.fits", "library/2.fits")
    (tmp_path / "night" / "darks").symlink_to(tmp_path / "library")
    (tmp_path / "library" / "night").symlink_to(tmp_path / "night")
    (tmp_path / "library" / "self").symlink_to(tmp_path / "library")
    (tmp_path / "library" / "up").symlink_to(tmp_path)
    found = search([str(tmp_path / "night")])
    assert images(tmp_path / "night") == ["1.fits", "darks/2.fits"]
    assert found.twice == 2 and "darks/up" in found.sentences()[0]


def test_truth_a_link_to_a_file_counts_once_and_one_that_leads_nowhere_is_told(tmp_path):
    (tmp_path / "lights").mkdir()
    for i in range(2):
        write(tmp_path / "lights" / f"z{i}.fits", np.ones((9, 9)))
    (tmp_path / "a.fits").symlink_to("lights/z0.fits")
    (tmp_path / "gone.fits").symlink_to("nowhere.fits")
    (tmp_path / "usb").symlink_to("/media/nobody/usb")
    found = scan(tmp_path)
    assert [os.path.relpath(frame.source, tmp_path) for frame in found.frames] == ["lights/z0.fits", "lights/z1.fits"]
    assert "is a link to nowhere.fits, which leads nowhere" in found.rejected[0].reason
    assert "usb (a link that leads nowhere)" in found.passed[0] and "1 x link that leads nowhere" in found.unseen


def test_truth_what_is_passed_over_is_counted(tmp_path):
    touch(tmp_path, "1.fits", "1_thumb.jpg", "notes.txt", "log.csv", "._1.fits", ".cache/2.fits", "planet.ser")
    touch(tmp_path, "old/report.json", "old/masters/dark.fits", "old/master_light.fits")
    (tmp_path / "flats" / "V").mkdir(parents=True)
    found = search([str(tmp_path)])
    assert images(tmp_path) == ["1.fits"] and found.empty == [str(tmp_path / "flats")]
    assert found.unseen() == (
        "1 x video", "1 x finished picture", "2 x other file (.csv, .txt)", "2 x hidden file or folder",
        "1 x folder of an earlier run", "1 x folder without images",
    )  # fmt: skip
    assert "1 folder without images" in found.notes()[0] and len(found.sentences()) == 1


def test_truth_the_plan_of_a_hundred_frames_fits_a_screen_and_ends_with_what_was_not_looked_at(tmp_path):
    rng = np.random.default_rng(5)
    cards = {"INSTRUME": "Cam", "GAIN": 100, "CCD-TEMP": -10.0, "DATE-OBS": "2026-03-01T22:00:00"}

    def take(folder, kind, count, exposure_s, **more):
        (tmp_path / folder).mkdir(exist_ok=True)
        for i in range(count):
            pixels = rng.normal(900, 9, (16, 20)).astype(np.uint16)
            header = {"IMAGETYP": kind, "EXPTIME": exposure_s} | cards | more
            write(tmp_path / folder / f"{kind}{more.get('FILTER', '')}{exposure_s:g}_{i:02d}.fits", pixels, header)

    for name in ("L", "R", "G", "B", "Ha"):
        take("lights", "Light", 10, 300.0 if name == "Ha" else 60.0, FILTER=name, OBJECT="M 31")
        take("flats", "Flat", 4, 2.0, FILTER=name)
    for exposure_s, count in ((60.0, 8), (300.0, 8), (20.0, 4)):
        take("darks", "Dark", count, exposure_s)
    take("bias", "Bias", 10, 0.0)
    touch(tmp_path, "lights/look.jpg", "lights/notes.txt")
    text = plan(scan(tmp_path)).text("The doctor finds nothing.")
    rows = text.splitlines()
    assert len(rows) <= 40 and rows[1] == "100 frames, 20 x 16, Cam"
    assert rows[-1] == "Not looked at: 1 x finished picture, 1 x other file (.txt)." and rows[-3].startswith(
        "The doctor"
    )
    assert sum(row.startswith("  M 31") for row in rows) == 5 and "not 4 darks 20 s" in text
    assert sum("not " in row for row in rows) == 1, "what another light uses needs no excuse"
    assert "and 3 more groups: " not in text and all(len(row) < 200 for row in rows)


def test_surface_an_empty_folder_that_was_given_is_told_beside_others(tmp_path):
    """Also where it is called like an image."""
    for name in ("lights", "X.fits"):
        (tmp_path / name).mkdir()
    (tmp_path / "lights" / "1.fits").touch()
    found = search([str(tmp_path / "lights"), str(tmp_path / "X.fits")])
    assert found.empty == [str(tmp_path / "X.fits")] and "1 folder without images" in found.notes()[0]
    assert search([str(tmp_path / "X.fits")]).empty == []  # told by who finds nothing at all
