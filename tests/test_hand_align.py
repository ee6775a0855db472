"""Frames laid on each other by hand: where they lie, what is written of it, what is told of those that fail."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from scipy.spatial import cKDTree
from sky import CALM, EVEN, written

from masterlight import Recipe, SubframeSelector, read, write
from masterlight.core.errors import NothingUsable, OutputError, ParameterError
from masterlight.doors.cli import main
from masterlight.doors.hand.align import table_of
from masterlight.doors.hand.steps import by_hand
from masterlight.io.handed import read_handed

FEW = {"rows": 300, "cols": 400, "lights": 3, "biases": 2, "darks": 2, "flats": 2, **CALM, **EVEN}
FOLDER = TemporaryDirectory(prefix="masterlight-align-")


def done(*inputs, **slots):
    """The last event's result, and all messages, of a step."""
    *events, last = by_hand(*inputs, **slots)
    return last.result, [event.message for event in (*events, last)]


@cache
def registered():
    """A night of three lights, laid on the first one, and what came of it: looked at by several tests."""
    truth, folder = written(**FEW), Path(FOLDER.name) / "registered"
    lights = truth.paths("light")
    result, messages = done("align", lights, folder, reference=lights[0])
    return truth, folder, result, messages


def test_truth_frames_lie_where_they_should():
    truth, folder, result, messages = registered()
    assert len(result.rows) == 3 and not result.failed and "registered 3 of 3" in messages
    told = json.loads((folder / "transforms.json").read_text())
    rows, cols = told["reference"]["shape"]
    corners = np.array([[0, 0, 1], [cols - 1, 0, 1], [0, rows - 1, 1], [cols - 1, rows - 1, 1.0]]).T
    for i, row in enumerate(told["frames"]):
        found, true = np.array(row["transform"]["matrix"]) @ corners, truth.transform(i) @ corners
        assert np.hypot(*(found[:2] / found[2] - true[:2] / true[2])).max() < 0.15
    first, second, _ = result.rows
    assert first.is_reference and first.overlap == 1 and second.matched > 20 and 0.5 < second.overlap <= 1


def test_truth_stars_of_registered_files_lie_on_each_other():
    first, *others = [SubframeSelector().measure(read(path))[1].xy for path in registered()[2].paths[:3]]
    for xy in others:
        distance, _ = cKDTree(first).query(xy)
        assert np.count_nonzero(distance < 1) > 50 and np.median(distance[distance < 1]) < 0.4


def test_surface_headers_are_for_people_and_the_table_for_the_next_step():
    _, folder, result, _ = registered()
    path = result.paths[1]
    with fits.open(path) as hdus:
        head = hdus[0].header
        assert head["REGREF"] == Path(result.reference).name and head["REGMODEL"] == result.rows[1].model
        assert head["REGSTARS"] == result.rows[1].matched and 0 < head["REGRMS"] < 1
        assert head["REGCOVER"] == pytest.approx(np.isfinite(hdus[0].data).mean(), abs=1e-5)
        assert head["NOISECOR"] > 1 and abs(head["REGOVER"] - result.rows[1].overlap) < 1e-5
    handed = read_handed(path)
    told = json.loads(handed.words["TRANSFORM"])
    listed = json.loads((folder / "transforms.json").read_text())
    assert told["frames"] == [listed["frames"][1]]
    assert handed.numbers["NOISE"].shape == (1, 3)


def test_surface_transforms_only_writes_no_pixels(tmp_path):
    truth = registered()[0]
    result, _ = done("align", truth.paths("light"), tmp_path / "out", transforms_only=True)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["transforms.json"] and len(result.paths) == 1


def strange(tmp_path):
    """Files that cannot be laid on the lights: of noise alone, of other stars, of nothing."""
    meta = {"IMAGETYP": "Light Frame", "EXPTIME": 60.0}
    rng = np.random.default_rng(3)
    noise = rng.normal(1000, 10, (300, 400)).astype(np.float32)
    write(tmp_path / "clouds.fits", noise, meta)
    y, x = np.indices(noise.shape)
    for _ in range(60):
        at, height = rng.uniform(10, 290, 2), rng.uniform(500, 9000)
        noise = noise + height * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 5).astype(np.float32)
    write(tmp_path / "elsewhere.fits", noise, meta)
    (tmp_path / "broken.fits").write_bytes(b"SIMPLE")
    return [tmp_path / f"{name}.fits" for name in ("clouds", "elsewhere", "broken")]


def test_bad_frames_are_told_with_codes_and_the_others_are_registered(tmp_path):
    truth, bad = registered()[0], strange(tmp_path)
    result, messages = done("align", [*truth.paths("light"), *bad], tmp_path / "out", transforms_only=True)
    codes = {Path(one.source).stem: one.code for one in result.failed}
    assert codes["clouds"] == "NO_STARS" and codes["broken"] == "CORRUPT"
    assert codes["elsewhere"] in ("NOT_SIGNIFICANT", "NO_HYPOTHESIS")
    assert any(words.startswith("registered 3 of 6, failed 3: 1 CORRUPT, 1 NO") for words in messages)
    told = json.loads((tmp_path / "out" / "transforms.json").read_text())
    assert {row["code"] for row in told["failed"]} == set(codes.values()) and all(
        row["reason"] for row in told["failed"]
    )


def test_bad_frames_whose_stars_lie_off_are_told(tmp_path):
    truth = registered()[0]
    lights = truth.paths("light")
    knobs = Recipe(align={"max_rms_px": 1e-4})
    result, messages = done("align", lights, tmp_path / "out", knobs, reference=lights[0], transforms_only=True)
    assert len(result.rows) == 1 and [one.code for one in result.failed] == ["RESIDUAL"] * 2
    assert "px (rms) from their places" in result.failed[0].reason and len(str(result.failed[0])) < 300
    assert any(words == "registered 1 of 3, failed 2: 2 RESIDUAL" for words in messages)


def test_bad_frames_stop_all_where_that_is_asked(tmp_path):
    truth, bad = registered()[0], strange(tmp_path)[:1]
    with pytest.raises(NothingUsable, match="NO_STARS .*clouds.fits.*on_failure= is stop"):
        done("align", [*truth.paths("light"), *bad], tmp_path / "out", on_failure="stop")
    assert not list((tmp_path / "out").glob("*.fits"))
    with pytest.raises(ParameterError, match="on_failure= is perhaps: give continue or stop"):
        done("align", truth.paths("light"), tmp_path / "out", on_failure="perhaps")


def test_bad_copies_and_references_are_told(tmp_path):
    truth = registered()[0]
    first = truth.paths("light")[0]
    (tmp_path / "copy.fits").write_bytes(Path(first).read_bytes())
    result, _ = done("align", [*truth.paths("light"), tmp_path / "copy.fits"], tmp_path / "out", transforms_only=True)
    assert [one.code for one in result.failed] == ["DUPLICATE"] and len(result.rows) == 3
    blank = strange(tmp_path)[0]
    with pytest.raises(NothingUsable, match="clouds.fits cannot be the reference, since it shows too few stars"):
        done("align", truth.paths("light"), tmp_path / "x", reference=blank)


def test_surface_a_reference_need_not_be_among_the_files(tmp_path):
    first, *others = registered()[0].paths("light")
    result, _ = done("align", others, tmp_path / "out", reference=first)
    assert [Path(row.source).name for row in result.rows] == [Path(p).name for p in others]
    assert result.reference == str(first) and len(list((tmp_path / "out").glob("*.fits"))) == 2


def test_surface_a_reference_is_the_very_file_that_was_named(tmp_path):
    first, second, third = registered()[0].paths("light")
    for name, path in zip(("monday", "tuesday", "friday"), (first, second, third), strict=True):
        (tmp_path / name).mkdir()
        (tmp_path / name / "m31.fits").write_bytes(Path(path).read_bytes())
    files = sorted(tmp_path.glob("*/m31.fits"))
    result, _ = done("align", files, tmp_path / "out", reference=files[-1], transforms_only=True)
    assert result.reference == str(files[-1]) and sum(row.is_reference for row in result.rows) == 1


def test_bad_nothing_but_a_reference_is_nothing_to_align(tmp_path):
    first = registered()[0].paths("light")[0]
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingUsable, match="there is nothing to align"):
        done("align", [tmp_path / "empty"], tmp_path / "out", reference=first)


def test_bad_outputs_are_refused_before_the_work(tmp_path):
    truth, folder, *_ = registered()
    with pytest.raises(OutputError, match="transforms.json exists"):
        done("align", truth.paths("light"), folder)
    done("align", truth.paths("light"), folder, reference=truth.paths("light")[0], overwrite=True)


def test_surface_the_command_prints_a_table_that_fits(tmp_path):
    truth = registered()[0]
    words = ["align", *map(str, truth.paths("light")), "-o", str(tmp_path / "out"), "--transforms-only"]
    told = CliRunner().invoke(main, [*words, "--interpolation", "lanczos5", "--clamping", "pixinsight"])
    assert told.exit_code == 0, told.output
    assert "registered 3 of 3" in told.output and "reference" in told.output
    first, *others = registered()[2].rows
    odd = replace(registered()[2], rows=(first, *(replace(row, model="polynomial2", mirrored=True) for row in others)))
    for width in (80, 120):
        head, *lines = table_of(odd, width)
        assert max(map(len, (head, *lines))) <= width and len({len(line) for line in lines[:3]}) == 1
        assert " polynomial2 " in lines[1] and f"{others[0].rotation_deg:.1f}M " in lines[1]
        assert lines[-1] == "M: mirrored" and len({line.split()[0] for line in lines[:3]}) == 3
    assert "M: mirrored" not in table_of(registered()[2])


def test_truth_the_overlap_is_the_common_part():
    truth, _, result, _ = registered()
    rows, cols = FEW["rows"], FEW["cols"]
    for i, row in enumerate(result.rows):
        at = truth.transform(i) @ np.array([(cols - 1) / 2, (rows - 1) / 2, 1])
        off = np.abs(at[:2] - ((cols - 1) / 2, (rows - 1) / 2))
        assert row.overlap == pytest.approx((1 - off[0] / cols) * (1 - off[1] / rows), abs=0.008)


def test_surface_calibration_frames_of_a_whole_night_are_passed_over(tmp_path):
    truth = registered()[0]
    result, messages = done("align", [truth.folder], tmp_path / "out", transforms_only=True)
    assert len(result.rows) == 3 and not result.failed
    assert "passed over, since they are no lights: 2 bias frames, 2 darks, 2 flats" in messages
    with pytest.raises(NothingUsable, match="only 2 darks"):
        done("align", truth.paths("dark"), tmp_path / "none")


def test_surface_knobs_of_the_list_are_those_of_the_command(tmp_path):
    truth = registered()[0]
    recipe = Recipe(align={"interpolation": "lanczos4", "clamping": "pixinsight", "clamp_threshold": 0.1})
    done("align", truth.paths("light"), tmp_path / "out", recipe, transforms_only=True)
    card = json.loads((tmp_path / "out" / "transforms.json").read_text())["process"][0]["StarAlignment"]
    assert (card["interpolation"], card["clamping"], card["clamp_threshold"]) == ("lanczos4", "pixinsight", 0.1)


def test_truth_defects_that_were_repaired_are_missing_in_registered_files(tmp_path):
    truth = written(**{**FEW, "hot_fraction": 0.004, "dark_e_s": 0.05})
    done("bias", truth.paths("bias"), tmp_path / "bias.fits")
    done("dark", truth.paths("dark"), tmp_path / "dark.fits")
    done("calibrate", truth.paths("light"), tmp_path / "c", dark=tmp_path / "dark.fits")
    done("cosmetic", [tmp_path / "c"], tmp_path / "cc", dark=tmp_path / "dark.fits")
    known = read_handed(next((tmp_path / "cc").glob("*.fits")))
    assert 50 < known.numbers["DEFECTS_AT"].size < 2000
    result, _ = done("align", [tmp_path / "cc"], tmp_path / "r")
    at = next(i for i, row in enumerate(result.rows) if row.is_reference)
    missing = np.isnan(np.asarray(read(result.paths[at])))
    assert set(np.flatnonzero(missing)) >= set(known.numbers["DEFECTS_AT"].astype(int))


def test_surface_settings_are_taken_by_the_names_of_the_tutorial(tmp_path):
    """Register/match, Lanczos-5, a lower clamping threshold, one reference for all: figure 17."""
    truth = registered()[0]
    lights = list(map(str, truth.paths("light")))
    words = ["align", *lights, "-o", str(tmp_path / "out"), "--reference-image", lights[0], "--transforms-only"]
    words += ["--pixel-interpolation", "Lanczos-5", "--clamping-threshold", "0.1", "--on-error", "continue"]
    words += ["--distortion-correction", "auto", "--distortion-max-iterations", "250"]
    told = CliRunner().invoke(main, words)
    assert told.exit_code == 0 and "registered 3 of 3" in told.output, told.output
    card = json.loads((tmp_path / "out" / "transforms.json").read_text())["process"][0]["StarAlignment"]
    assert (card["interpolation"], card["clamping"], card["clamp_threshold"]) == ("lanczos5", "pixinsight", 0.1)
    assert (card["distortion"], card["distortion_iterations"]) == ("auto", 250)
    wrong = CliRunner().invoke(main, [*words, "--clamping", "floor"])
    assert wrong.exit_code == 2 and "--clamp-threshold" in wrong.output
