"""Real observations and small hard nights laid on each other by `align`: all of them, and where they belong.

The frames lie in the folders of MASTERLIGHT_DATA and MASTERLIGHT_CASES; tests skip where there are none.
"""

import json
import os
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import cases
import numpy as np
import pytest
from click.testing import CliRunner
from scipy.spatial import cKDTree

from masterlight import SubframeSelector, read
from masterlight.alignment.written import from_dict
from masterlight.doors.cli import main
from masterlight.doors.hand.steps import by_hand

DATA = Path(os.environ.get("MASTERLIGHT_DATA", Path(__file__).parents[2] / "shared" / "data"))
FOLDER = TemporaryDirectory(prefix="masterlight-data-")
NIGHTS = {"tres1_st10": (2, 5, 8), "galaxy_atik383": (0, 2, 4), "m27_asi224mc": (0, 3, 6)}
"""Two lights of each night on which the others are laid, one after the other, and how many lights there are."""
M27_SHIFTS = {1114: (4.92, 1.35), 1171: (6.78, -3.16), 1254: (10.13, -9.25), 1264: (10.65, -9.89), 1283: (13.77, -7.21)}
"""From each light to the first one, in super-pixels, as another program found them to about 0.3."""
real = pytest.mark.skipif(not DATA.is_dir(), reason="no real observations here")
case = cases.case


def lights_of(night: str) -> list[Path]:
    return sorted((DATA / night / "lights").iterdir())


@cache
def laid(night: str, number: int, pixels: bool = False):
    """The lights of a night on one of them: the last event's result, and the list of transforms."""
    paths, folder = lights_of(night), Path(FOLDER.name) / f"{night}-{number}-{pixels}"
    *_, last = by_hand("align", paths, folder, reference=paths[number], transforms_only=not pixels)
    return last.result, json.loads((folder / "transforms.json").read_text())


def transforms_of(told: dict) -> dict:
    return {Path(row["file"]).name: from_dict(row["transform"]) for row in told["frames"]}


@real
@pytest.mark.parametrize("night", NIGHTS)
def test_real_every_light_lies_on_any_other(night):
    for number in NIGHTS[night][:2]:
        result, _ = laid(night, number)
        assert len(result.rows) == NIGHTS[night][2] and not result.failed
        assert all(row.matched >= 40 and row.rms_px < 0.5 for row in result.rows if not row.is_reference)
        assert all(not row.mirrored and abs(row.scale - 1) < 3e-4 for row in result.rows)


@real
@pytest.mark.parametrize("night", NIGHTS)
def test_real_the_way_over_another_light_is_as_long(night):
    """Each light by a first reference, and by a second one that lies on the first: the difference is what was promised.

    Over all places of a frame and all lights of a night the error is that of three transforms.
    """
    (first, told), (second, again) = (laid(night, number) for number in NIGHTS[night][:2])
    one, other, name = transforms_of(told), transforms_of(again), Path(second.reference).name
    rows, cols = told["reference"]["shape"]
    places = np.stack(np.meshgrid(np.linspace(0, cols - 1, 9), np.linspace(0, rows - 1, 9)), axis=-1).reshape(-1, 2)
    errors = {Path(row.source).name: row.corner_error_px for row in first.rows}
    more = {Path(row.source).name: row.corner_error_px for row in second.rows}
    off, promised = [], []
    for source in one.keys() - {name, Path(first.reference).name}:
        off.append(np.hypot(*(one[source](places) - other[source](one[name](places))).T))
        promised.append(np.sqrt(errors[source] ** 2 + more[source] ** 2 + errors[name] ** 2))
    assert np.sqrt(np.mean(np.square(off))) < np.sqrt(np.mean(np.square(promised))), (off, promised)
    assert np.max(off) < 4 * max(promised)


@real
def test_real_colour_lights_are_shifted_as_another_program_has_it():
    result, _ = laid("m27_asi224mc", 0)
    found = {int(Path(row.source).stem[-4:]): (row.dx_px / 2, row.dy_px / 2) for row in result.rows}
    for light, shift in M27_SHIFTS.items():
        assert np.abs(np.add(found[light], shift)).max() < 0.5, (light, found[light])


@real
def test_real_stars_of_registered_files_lie_on_each_other():
    result, told = laid("tres1_st10", 2, pixels=True)
    selector, files = SubframeSelector(), [path for path in result.paths if path.suffix == ".fits"]
    assert len(files) == 8 and told["failed"] == []
    first, *others = (selector.measure(read(path))[1].xy for path in (files[2], files[0], files[-1]))
    for xy in others:
        distance, _ = cKDTree(first).query(xy)
        near = distance < 1
        assert np.count_nonzero(near) > 300 and np.median(distance[near]) < 0.25


# --- small hard nights --------------------------------------------------------------------------------------------


def aligned(folder: Path, out: Path) -> tuple[dict, str]:
    """What `masterlight align` makes of a folder: its list, and what it says."""
    done = CliRunner().invoke(main, ["align", str(folder), "-o", str(out), "--transforms-only"])
    assert done.exit_code in (0, 1), done.output
    return json.loads((out / "transforms.json").read_text()), " ".join(done.output.split())


@cases.needed
def test_truth_hot_pixels_that_outnumber_the_stars_do_not_hold_the_field(case, tmp_path):
    """18 stars and 500 hot pixels: every light lies where its stars do, not at shift 0."""
    told, said = aligned(case("reg_hot_pixels") / "lights", tmp_path / "out")
    assert "registered 8 of 8" in said and not told["failed"]
    at = {name: transform.matrix[:2, 2] for name, transform in transforms_of(told).items()}
    for i in range(8):
        assert np.allclose(at[f"L_{i:03d}.fits"] - at["L_000.fits"], (20 * i / 7, 7 * i / 7), atol=0.15)


@cases.needed
def test_truth_lights_of_a_jump_or_a_lost_focus_fail_with_their_reason(case, tmp_path):
    told, said = aligned(case("reg_trailed_and_donut") / "lights", tmp_path / "out")
    codes = {Path(row["file"]).name: row["code"] for row in told["failed"]}
    assert codes.pop("L_003.fits") == codes.pop("L_007.fits") == "DOUBLED"
    assert codes.keys() == {"L_005.fits", "L_008.fits"} and "DOUBLED" not in codes.values()
    assert "registered 6 of 10" in said and all(row["reason"] for row in told["failed"])
