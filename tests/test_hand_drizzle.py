"""Calibrated frames with their transforms, integrated and drizzled by hand: the same bits as a run, and bad lists."""

import json
import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from sky import written

import masterlight as ml
from masterlight.core.errors import FrameError, NothingUsable, ParameterError
from masterlight.doors.cli import main
from masterlight.doors.hand.drizzle import read_places
from masterlight.doors.hand.steps import by_hand
from masterlight.io.handed import read_handed

NIGHT = {"rows": 360, "cols": 480, "lights": 5, "biases": 4, "darks": 4, "flats": 4}
NIGHT |= {"hot_fraction": 0.004, "cosmic_rays": 40.0, "trails": 1}
FOLDER = TemporaryDirectory(prefix="masterlight-chain-")


def done(*inputs, **slots):
    """The last event's result of a step."""
    *_, last = by_hand(*inputs, **slots)
    return last.result


@cache
def chain(pattern):
    """One night by `run`, and step by step with its masters, as far as the list of transforms: the folder of both."""
    truth, folder = written(**NIGHT, pattern=pattern), Path(FOLDER.name) / f"night{pattern}"
    *_, last = ml.run(truth.folder, folder / "run", ml.Recipe(drizzled=True))
    assert len(last.result.lights) == 2
    masters = {kind: next((folder / "run" / "masters").glob(f"*{kind}*.fits")) for kind in ("bias", "dark", "flat")}
    done("calibrate", truth.paths("light"), folder / "c", **masters)
    done("cosmetic", [folder / "c"], folder / "cc", dark=masters["dark"])
    done("subframes", [folder / "cc"], folder / "ok")
    done("align", [folder / "ok"], folder / "r", transforms_only=True)
    return truth, folder, [Path(row.path) for row in last.result.lights]


def planes_of(path):
    """Images of a file, by name, and the columns of its table of frames but for their names."""
    with fits.open(path) as hdus:
        images = {hdu.name: hdu.data for hdu in hdus if hdu.data is not None and hdu.data.dtype.names is None}
        table = hdus["FRAMES"].data
        return images | {name: np.array(table[name]) for name in table.dtype.names if name != "source"}


def assert_same_bits(made, wanted):
    ours, theirs = planes_of(made), planes_of(wanted)
    assert ours.keys() == theirs.keys() and len(ours) > 9
    for name in theirs:
        assert np.array_equal(ours[name], theirs[name], equal_nan=True), name


@pytest.mark.parametrize("pattern", ["", "RGGB"])
def test_oracle_a_night_by_hand_has_the_same_bits_as_a_run(pattern):
    _, folder, (deep, fine) = chain(pattern)
    done("integrate", [folder / "ok"], folder / "deep.fits", transforms=folder / "r" / "transforms.json")
    assert_same_bits(folder / "deep.fits", deep)
    done("drizzle", [folder / "ok"], folder / "fine.fits", transforms=folder / "r")
    assert_same_bits(folder / "fine.fits", fine)


def test_surface_registered_files_tell_transforms_too(tmp_path):
    _, folder, (deep, _) = chain("")
    done("align", [folder / "ok"], tmp_path / "r")
    (tmp_path / "r" / "transforms.json").unlink()
    done("integrate", [folder / "ok"], tmp_path / "deep.fits", transforms=tmp_path / "r")
    assert_same_bits(tmp_path / "deep.fits", deep)


def test_surface_frames_and_lists_may_be_moved(tmp_path):
    _, folder, (deep, _) = chain("")
    shutil.copytree(folder / "ok", tmp_path / "moved")
    listed = json.loads((folder / "r" / "transforms.json").read_text())
    for row in (*listed["frames"], listed["reference"]):
        row["file"] = f"gone/{Path(row['file']).name}"
    (tmp_path / "list.json").write_text(json.dumps(listed))
    done("integrate", [tmp_path / "moved"], tmp_path / "deep.fits", transforms=tmp_path / "list.json")
    assert_same_bits(tmp_path / "deep.fits", deep)


def test_surface_the_commands(tmp_path):
    _, folder, (deep, fine) = chain("")
    files, listed = str(folder / "ok"), str(folder / "r" / "transforms.json")
    for words in (["integrate"], ["drizzle", "--scale", "2"]):
        out = str(tmp_path / f"{words[0]}.fits")
        told = CliRunner().invoke(main, [*words, files, "-o", out, "--transforms", listed])
        assert told.exit_code == 0, told.output
    assert_same_bits(tmp_path / "integrate.fits", deep)
    assert_same_bits(tmp_path / "drizzle.fits", fine)


def test_truth_calibrated_files_hand_on_the_flat_and_repaired_ones_their_defects():
    _, folder, _ = chain("")
    first = read_handed(next(folder.glob("ok/*.fits")))
    assert first.numbers["RESPONSE"].ndim == 3 and abs(np.nanmean(first.numbers["RESPONSE"]) - 1) < 0.05
    assert first.number("SATURATION_DN") > 1000 and first.number("MEDIAN") == 1
    assert tuple(first.numbers["DEFECTS_SHAPE"]) == (360, 480)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda told: told.update(kind="else"), "no list of transforms"),
        (lambda told: told.pop("reference"), "reference is missing"),
        (lambda told: told["frames"][0].pop("transform"), "transform is missing"),
        (lambda told: told["frames"][0]["transform"].update(matrix=[[1, 2], [3, 4]]), "3 x 3 numbers"),
        (lambda told: told["frames"][0].update(file=7), "the name of a file is missing"),
    ],
)
def test_bad_lists_are_told(tmp_path, change, words):
    told = json.loads((chain("")[1] / "r" / "transforms.json").read_text())
    change(told)
    (tmp_path / "list.json").write_text(json.dumps(told))
    with pytest.raises(FrameError, match=words):
        read_places(tmp_path / "list.json")


def test_bad_frames_and_lists_that_do_not_go_together(tmp_path):
    truth, folder, _ = chain("")
    listed = folder / "r" / "transforms.json"
    with pytest.raises(NothingUsable, match="tells of none of these files"):
        done("integrate", truth.paths("light"), tmp_path / "x.fits", transforms=listed)
    with pytest.raises(FrameError, match="there is no such file; give the transforms.json"):
        done("drizzle", [folder / "ok"], tmp_path / "x.fits", transforms=tmp_path / "none.json")
    with pytest.raises(FrameError, match="tells no transform"):
        done("drizzle", [folder / "ok"], tmp_path / "x.fits", transforms=next(folder.glob("ok/*.fits")))
    with pytest.raises(ParameterError, match="roi= and slope_map= are for registered frames"):
        done("integrate", [folder / "ok"], tmp_path / "x.fits", transforms=listed, roi="0,0,100,100")


def test_bad_transforms_of_two_references(tmp_path):
    _, folder, _ = chain("")
    lights = sorted(folder.glob("ok/*.fits"))
    for at in (0, 1):
        done("align", lights[:3], tmp_path / f"{at}", reference=lights[at])
    shutil.copy(next((tmp_path / "1").glob("*.fits")), tmp_path / "0" / "other.fits")
    (tmp_path / "0" / "transforms.json").unlink()
    with pytest.raises(FrameError, match="align all of them on one reference"):
        read_places(tmp_path / "0")


def test_truth_registered_files_hand_on_their_noise_and_scale(tmp_path):
    """Interpolated pixels tell less of it than the sensor's did, and few stars little of the scale."""
    _, folder, (deep, _) = chain("")
    result = done("align", [folder / "ok"], tmp_path / "r")
    done("integrate", result.paths[:-1], tmp_path / "deep.fits")
    ours, theirs = planes_of(tmp_path / "deep.fits"), planes_of(deep)
    assert np.array_equal(ours["scale"], theirs["scale"]) and np.array_equal(ours["noise_dn"], theirs["noise_dn"])
    assert np.nanmedian(ours["VARIANCE"] / theirs["VARIANCE"]) == pytest.approx(1, abs=0.05)
    assert np.nanstd(ours["IMAGE"] - theirs["IMAGE"]) < 0.2 * np.sqrt(np.nanmedian(theirs["VARIANCE"]))


def test_oracle_a_union_by_hand_has_the_same_bits_as_a_run(tmp_path):
    truth, folder, _ = chain("")
    *_, last = ml.run(truth.folder, tmp_path / "run", ml.build(ml.Recipe, {"align.frame": "union"}))
    recipe = ml.build(ml.Recipe, {"align.frame": "union"})
    done("align", [folder / "ok"], tmp_path / "r", recipe, transforms_only=True)
    done("integrate", [folder / "ok"], tmp_path / "deep.fits", transforms=tmp_path / "r")
    ours = planes_of(tmp_path / "deep.fits")
    assert ours["IMAGE"].shape[0] > NIGHT["rows"]
    assert_same_bits(tmp_path / "deep.fits", last.result.lights[0].path)
