"""Which frames belong together, what is subtracted from what, and why."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from paper import frames, only, planned, told

from masterlight.calibration.calibrate import ImageCalibration
from masterlight.core.errors import Rejected
from masterlight.io import write
from masterlight.session.groups import group_frames
from masterlight.session.plan import LightJob, MasterJob
from masterlight.session.planner import plan
from masterlight.session.scan import Session, scan

DATA = Path(os.environ.get("MASTERLIGHT_DATA", Path(__file__).parents[2] / "shared" / "data"))
CASES = DATA.parent / "cases"
real = pytest.mark.skipif(not DATA.is_dir(), reason="no real observations here")

# equations


@pytest.mark.parametrize(
    "kinds, lights, flats",
    [
        ("", "C = L", None),
        ("bias", "C = L - B", None),
        ("dark", "C = L - D", None),
        ("bias dark", "C = L - D", None),
        ("flat", "C = L", None),
        ("dark flat", "C = (L - D) * mean(F) / F", "F = mean of f - D"),
        ("bias flat", "C = (L - B) * mean(F) / F", "F = mean of f - B"),
        ("dark flat flatdark", "C = (L - D) * mean(F) / F", "F = mean of f - DF"),
        ("bias dark flat flatdark", "C = (L - D) * mean(F) / F", "F = mean of f - DF"),
        ("bias dark flat", "C = (L - D) * mean(F) / F", "F = mean of f - B"),
    ],
)
def test_truth_equations(kinds, lights, flats):
    found = planned(frames("light"), *(frames(kind) for kind in kinds.split()))
    part = only(found)
    assert part.equation == lights and len(part.frames) == 5
    assert [m.equation for m in found.masters if m.kind == "flat"] == ([flats] if flats else [])
    made = list(found.masters)
    for job in made:
        assert all(made.index(need) < made.index(job) for need in (job.bias, job.dark) if need), "in order of need"
    assert (part.bias is None) == ("B" not in lights) and (part.dark is None) == ("D" not in lights)
    assert (
        ("vignetting and dust stay in the picture" in told(found)) == ("F" not in lights)
        and found.disk_bytes > 0
        and found.memory_bytes > 0
    )


def test_truth_flats_take_darks_of_their_exposure_when_there_is_nothing_better():
    found = planned(frames("light"), frames("flat"), frames("dark", exposure_s=2.0), frames("dark"))
    assert (
        only(found).flat.dark.frames[0].meta.exposure_s == 2.0 and only(found).equation == "C = (L - D) * mean(F) / F"
    )
    found = planned(frames("light"), frames("flat"), frames("flatdark", exposure_s=7.0))
    assert only(found).flat is None and "nothing takes their bias level off, so the flat is unused" in told(found)
    found = planned(frames("light", exposure_s=180.0), frames("flat"), frames("dark", exposure_s=180.0))
    assert only(found).flat.dark.kind == "dark" and "takes their bias level off" in told(found)


def test_truth_a_dark_of_another_exposure_is_scaled_where_there_is_a_bias():
    other, biases = frames("dark", exposure_s=180.0), frames("bias")
    found = planned(frames("light"), other, biases)
    part = only(found)
    assert (part.scaled, part.equation, part.hot_from) == (True, "C = L - B - k (D - B)", None)
    assert found.warnings == ("lights Ha 300 s -10 °C gain 100: no flat; vignetting and dust stay in the picture",)
    assert "exposure 180 s, the lights have 300 s" in found.text()
    both = only(planned(frames("light"), other, frames("dark"), biases))
    assert not both.scaled and both.dark.frames[0].meta.exposure_s == 300.0 and both.equation == "C = L - D"
    warm = only(planned(frames("light"), frames("dark", temperature_c=5.0), biases))
    assert warm.scaled  # a dark of the right exposure and another temperature


@pytest.mark.parametrize(
    ("settings", "biases", "dark", "words"),
    [
        ({}, 0, {"exposure_s": 180.0}, "offset 50, or bias frames to scale it by"),
        ({"dark_scaling": "none"}, 5, {"exposure_s": 180.0}, "only when ImageCalibration.dark_scaling says so"),
        ({}, 5, {"exposure_s": 6.0}, "exposure 6 s, the lights have 300 s"),
        ({}, 5, {"gain": 0.0}, "gain 0, the lights have 100"),
    ],
)
def test_truth_a_dark_that_is_not_subtracted_shows_its_hot_pixels(settings, biases, dark, words):
    night = *frames("light"), *frames("dark", **dark), *frames("bias", biases)
    found = plan(Session("night", night), ImageCalibration(**settings))
    part = only(found)
    assert part.dark is None and part.hot_from.kind == "dark" and part.hot_from in found.masters
    assert part.equation == ("C = L - B" if biases else "C = L")
    assert "no matching dark" in told(found) and words in told(found) and "hot pixels = dark" in found.text()
    (choice,) = [c for c in found.choices if c.need == "dark"]
    assert choice.chosen is None
    off = only(plan(Session("night", night), ImageCalibration(use_dark=False)))
    assert off.hot_from is None


def test_truth_darks_of_another_sensor_show_nothing():
    part = only(planned(frames("light"), frames("dark", camera="Another One 5"), frames("bias")))
    assert part.dark is part.hot_from is None


def test_truth_every_refusal_is_told_field_by_field():
    odd = {"readout_mode": "fast", "offset": 10.0, "gain": 0.0}
    fields = "readout mode fast, the {0} have slow; gain 0, the {0} have 100; offset 10, the {0} have 50"
    lights = frames("light", readout_mode="slow"), frames("dark", **odd, temperature_c=5.0), frames("bias", **odd)
    flats = (
        frames("light"), frames("dark", readout_mode="fast"), frames("flat", readout_mode="slow"),
        frames("bias", **odd), frames("flatdark", **odd, exposure_s=3.0),
    )  # fmt: skip
    warm = "temperature 5.0 °C, the lights have -10.0 °C; "
    for night, head, words in (
        (lights, "no matching dark (not 5 darks 300 s 5 °C gain 0: ", warm + fields.format("lights")),
        (lights, "no matching bias (not 5 bias frames -10 °C gain 0: ", fields.format("lights")),
        (flats, "nothing takes their bias level off (not 5 bias frames -10 °C gain 0: ", fields.format("flats")),
        (flats, "no matching flat-darks (not 5 flat-darks 3 s -10 °C gain 0: exposure 3 s, the flats have 2 s; ",
         fields.format("flats")),
    ):  # fmt: skip
        assert head + words in told(planned(*night)), head
    found = planned(*lights)
    assert all(len(words) <= 300 for night in (lights, flats) for words in planned(*night).warnings)
    assert "add darks of 300 s -10 °C gain 100 offset 50" in told(found)


def test_truth_what_a_header_does_not_say_excludes_nothing():
    found = planned(frames("light"), frames("dark", exposure_s=None, temperature_c=None, camera=None, gain=None))
    assert only(found).equation == "C = L - D"
    for word in ("exposure", "temperature", "gain"):
        assert f"the {word}" in told(found)
    found = planned(frames("light", filter=None), frames("flat"), frames("bias"))
    assert "mean(F)" in only(found).equation and "the filter of the lights is unknown" in told(found)
    found = planned(frames("light", filter=None), frames("flat", filter=None), frames("bias"))
    assert "filter" not in told(found), "a camera without filters needs no warning"


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"gain": 0.0}, "gain 0, the lights have 100"),
        ({"offset": 10.0}, "offset"),
        ({"binning": (2, 2)}, "binning 2x2, the lights have 1x1"),
        ({"shape": (20, 30)}, "size 30 x 20, the lights have 60 x 40"),
        ({"camera": "QHY600"}, "camera"),
        ({"temperature_c": 5.0}, "temperature 5.0 °C, the lights have -10.0 °C"),
        ({"exposure_s": 310.0}, "exposure 310 s"),
        ({"readout_mode": "fast"}, "readout mode"),
        ({"origin_px": (10, 0)}, "region"),
    ],
)
def test_truth_what_must_be_equal(changes, reason):
    lights = frames("light", readout_mode="slow") if "readout_mode" in changes else frames("light")
    found = planned(lights, frames("dark", **changes))
    assert only(found).dark is None
    assert reason in found.choices[0].candidates[0].reason


def test_truth_the_nearest_dark_is_taken():
    found = planned(frames("light"), frames("dark", temperature_c=-12.5), frames("dark", temperature_c=-8.5))
    assert only(found).dark.frames[0].meta.temperature_c == -8.5
    loser = found.choices[0].candidates[1]
    assert "further away" in loser.reason and loser.cost > found.choices[0].candidates[0].cost
    warm = planned(frames("light"), frames("dark", temperature_c=-8.0))
    assert only(warm).dark and "dark current differs by 26 %" in told(warm), "2 ** (2 / 6) = 1.26"


def test_truth_raw_darks_before_a_ready_made_master_unless_they_are_few():
    master = frames("dark", 1, is_master=True, contains_bias=True, frames=40)
    found = planned(frames("light"), frames("dark"), master)
    assert isinstance(only(found).dark, MasterJob) and "raw frames or more are preferred" in found.text()
    found = planned(frames("light"), frames("dark", 2), master)
    assert only(found).dark is master[0] and found.masters == ()


def test_truth_a_dark_without_bias_needs_bias_frames():
    master = frames("dark", 1, is_master=True, contains_bias=False)
    found = planned(frames("light"), master, frames("bias"))
    assert only(found).equation == "C = L - B - D"
    found = planned(frames("light"), master)
    assert only(found).equation == "C = L" and "has no bias in it" in told(found)
    silent = planned(frames("light"), frames("dark", 1, is_master=True))
    assert only(silent).equation == "C = L - D" and "does not say whether the bias is in it" in told(silent)


def test_truth_what_was_done_is_not_done_again():
    found = planned(
        frames("light", calibration="BD"), frames("dark"), frames("bias"), frames("flat"), frames("flatdark")
    )
    assert only(found).equation == "C = L * mean(F) / F" and "already calibrated" in told(found)


# lights


def test_truth_sets_of_one_target_use_their_own_darks():
    found = planned(frames("light"), frames("light", exposure_s=60.0), frames("dark"), frames("dark", exposure_s=60.0))
    (job,) = found.lights
    assert isinstance(job, LightJob) and len(job.sets) == 2 and len(job.frames) == 10
    for part in job.sets:
        assert part.frames[0].meta.exposure_s == part.dark.frames[0].meta.exposure_s


def test_truth_targets_and_filters():
    found = planned(
        frames("light", object="M 31"), frames("light", object="m31", night=3),
        frames("light", object="M31", filter="H-alpha"),
        frames("light", object="M31", filter="OIII"), frames("light", object="M33"),
        frames("flat"), frames("flat", filter="O3"), frames("flatdark"), frames("dark"),
    )  # fmt: skip
    assert [(j.words, len(j.frames)) for j in found.lights] == [
        (["M 31", "Ha"], 15),
        (["M 31", "OIII"], 5),
        (["M33", "Ha"], 5),
    ]
    for job in found.lights:
        assert len(job.sets) == 1, "nights that share their masters are one set"
    assert found.lights[1].sets[0].flat.filter == "O3"
    assert len({" ".join(m.words) for m in found.masters}) == len(found.masters) == 4


def test_truth_each_night_takes_its_own_flats():
    found = planned(
        frames("light"),
        frames("light", night=4),
        frames("flat"),
        frames("flat", night=4),
        frames("flatdark"),
        frames("dark"),
    )
    (job,) = found.lights
    assert [part.flat.frames[0].meta.time[:10] for part in job.sets] == ["2024-01-01", "2024-01-04"]
    assert all(part.frames[0].meta.time[:10] == part.flat.frames[0].meta.time[:10] for part in job.sets)


def test_truth_groups():
    warm = frames("dark", 3, temperature_c=-9.0)
    assert [
        len(g.frames) for g in group_frames("dark", frames("dark") + warm + frames("dark", 2, temperature_c=5.0))
    ] == [
        8,
        2,
    ]
    assert [
        len(g.frames) for g in group_frames("dark", frames("dark", exposure_s=1.0) + frames("dark", exposure_s=1.04))
    ] == [10]
    three = frames("flat") + frames("flat", night=2) + frames("flat", night=9)
    assert [len(g.frames) for g in group_frames("flat", three)] == [5, 5, 5]
    assert len(group_frames("flat", frames("flat", exposure_s=1.0) + frames("flat", exposure_s=3.0))) == 1, "sky flats"


def test_truth_what_cannot_take_part():
    found = planned(
        frames("light", 1, pattern="CYGM"), frames("flat", 1, shape=(3, 40, 60)),
        frames("light", 1, is_master=True, frames=9),
        frames("unknown", 1, declared="SNAPSHOT"), frames("unknown", 2, filter="R"),
    )  # fmt: skip
    reasons = [r.reason for r in found.rejected]
    assert (
        "CYGM colour filters" in reasons[0]
        and "3 planes" in reasons[1]
        and "stack of 9" in reasons[2]
        and "SNAPSHOT" in reasons[3]
    )
    assert len(only(found).frames) == 2 and "taken for lights" in told(found)


def test_truth_pictures_among_raw_lights_are_no_lights():
    """A stack of floats or of three planes, without a word that it is one; among its like a float is a light."""
    subs, floats = frames("light", 8), {"integer": False, "bits": 32, "night": 2}
    for picture in (frames("light", 1, **floats), frames("light", 2, shape=(3, 40, 60))):
        found = planned(subs, picture)
        assert [len(job.frames) for job in found.lights] == [8]
        assert [row.source for row in found.rejected] == [frame.source for frame in picture]
        assert "among raw frames of the same camera" in found.rejected[0].reason
    for lights in (
        (frames("light", 5, **floats),), (subs, frames("light", 8, **floats)), (subs[:2], frames("light", 1, **floats)),
        (subs, frames("light", 2, **floats, calibration="D")), (subs, frames("light", 1, **floats, camera="QHY600M")),
        (subs, frames("light", 1, **floats, object="M 42")),
        (frames("light", 12, filter="L"), frames("light", 2, **floats)),
        (frames("light", 12), frames("light", 3, **floats)),
    ):  # fmt: skip
        assert not planned(*lights).rejected
    twelve, no_filter = frames("light", 12), frames("light", 1, **floats, filter=None)
    assert [row.source for row in planned(twelve, no_filter).rejected] == [no_filter[0].source]
    for picture in (frames("light", 3, **floats, exposure_s=3600.0), frames("light", 2, **floats)):
        assert len(planned(twelve, picture).rejected) == len(picture), "exposed otherwise, or two alone"


@pytest.mark.skipif(not (CASES / "fmt_stack_beside.py").exists(), reason="no small nights here")
def test_truth_stacks_of_a_telescope_beside_its_subs(tmp_path):
    subprocess.run([sys.executable, "fmt_stack_beside.py", str(tmp_path)], cwd=CASES, check=True)
    found = plan(scan(tmp_path))
    assert [len(job.frames) for job in found.lights] == [8]
    assert {Path(row.source).name: row.reason for row in found.rejected} == dict.fromkeys(
        ("Stacked_250_Field 1_60s.fit", "stack.fits"), "is already a stack of 250 frames"
    )


def test_truth_empty_nights_say_what_to_do(tmp_path):
    assert "no images were found" in plan(scan(tmp_path)).why_no_lights()
    assert "only calibration frames" in planned(frames("dark")).why_no_lights()
    assert "1 left out: its sensor has CYGM" in planned(frames("light", 1, pattern="CYGM")).why_no_lights()
    missing = scan(tmp_path / "nowhere")
    assert "no such file" in missing.rejected[0].reason


# folders


def test_truth_scan_walks_and_passes_over_results(tmp_path):
    for name in ("lights/b_60s.fits", "lights/a_60s.fit", "darks/x_60s.fts", ".hidden/y.fits", "out/masters/m.fits"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / name, np.ones((4, 5), np.uint16))
    (tmp_path / "out/report.json").write_text("{}")
    (tmp_path / "lights/broken.fits").write_bytes(b"SIMPLE  =")
    (tmp_path / "lights/raw.cr2").write_bytes(b"x")
    (tmp_path / "lights/notes.txt").write_bytes(b"x")
    session = scan(tmp_path)
    assert [Path(f.source).name for f in session.frames] == ["x_60s.fts", "a_60s.fit", "b_60s.fits"]
    assert [(Path(r.source).name, r.stage) for r in session.rejected] == [("broken.fits", "scan"), ("raw.cr2", "scan")]
    assert all(isinstance(r, Rejected) and not r for r in session.rejected)
    assert only(plan(session)).equation == "C = L - D"
    (tmp_path / "report.json").write_text("{}"), (tmp_path / "masters").mkdir()
    write(tmp_path / "masters/master.fits", np.ones((4, 5)))
    assert len(scan(tmp_path).frames) == 3, "results beside the raw frames are passed over too"
    twice = [tmp_path / "lights", tmp_path / "lights/b_60s.fits"]
    assert len(scan(twice).frames) == 2


@real
@pytest.mark.parametrize(
    "folder, light, masters",
    [
        ("tres1_st10", ("Filter 2", 8, "C = L - D"), {"dark": 6}),
        ("galaxy_atik383", ("ir", 4, "C = (L - D) * mean(F) / F"), {"dark": 2, "flat": 4, "flatdark": 4}),
        ("lpseb35_arcsat_bsd", ("g", 1, "C = (L - D) * mean(F) / F"), {"dark": 1, "flat": 1, "bias": 1}),
    ],
)
def test_truth_real_nights(folder, light, masters):
    found = plan(scan(DATA / folder))
    part = only(found)
    assert (part.frames[0].meta.filter, len(part.frames), part.equation) == light
    assert {m.kind: len(m.frames) for m in found.masters} == masters
    assert all("a picture for the eye" in row.reason for row in found.rejected), "what the author made of it"
    assert "Master lights" in found.text()


@real
def test_truth_real_colour_lights_are_one_job_of_three_planes():
    found = plan(scan(DATA / "m27_asi224mc"))
    assert len(only(found).frames) == 6 and found.lights[0].planes == 3 and not found.rejected


def test_truth_what_is_not_read_is_told(tmp_path):
    names = "darks/1.pic darks/2.PIC darks/3.st8 darks/4.pic planet.ser look.jpg notes.txt .x.ser"
    for name in names.split():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = plan(scan(tmp_path))
    for words in (
        "planet.ser (a video): make FITS files of it, for example with Siril or PIPP",
        "darks/1.pic, darks/2.PIC, darks/3.st8 and 1 more (an image format that is not read each): convert it to FITS",
    ):
        assert words in told(found) and words in found.why_no_lights() and words in found.text()
    assert "look.jpg (a finished picture): give the raw frames" in told(found)
    assert "notes" not in told(found) and ".x" not in told(found)
    write(tmp_path / "light.fits", np.zeros((9, 9), np.uint16), {"IMAGETYP": "Light"})
    found = told(plan(scan(tmp_path)))
    assert "look.jpg" not in found and "planet.ser" in found, "programs put small pictures beside their frames"
    row = scan([tmp_path / "planet.ser"]).rejected[0]
    assert "is a video, not a frame; make FITS files of it" in row.reason


def test_truth_links_to_folders_are_followed_once(tmp_path):
    (tmp_path / "library").mkdir()
    (tmp_path / "night").mkdir()
    for name in ("library/dark.fits", "night/light.fits"):
        write(tmp_path / name, np.zeros((9, 9), np.uint16))
    (tmp_path / "night" / "darks").symlink_to(tmp_path / "library")
    (tmp_path / "library" / "back").symlink_to(tmp_path / "night")
    (tmp_path / "night" / "again").symlink_to(tmp_path / "library")
    found = scan(tmp_path / "night")
    assert sorted(Path(frame.source).name for frame in found.frames) == ["dark.fits", "light.fits"]


# colour, regions, scaled darks


def test_truth_mosaics_and_mono_are_kept_apart_and_a_silent_header_is_a_doubt():
    found = planned(frames("light", pattern="RGGB"), frames("dark", pattern="GRBG"))
    assert only(found).dark is None and "colour pattern GRBG, the lights have RGGB" in told(found)
    found = planned(frames("light", pattern="RGGB"), frames("dark"))
    assert only(found).dark is not None and "colour pattern is known on one side only" in told(found)
    assert len(planned(frames("light", pattern="RGGB"), frames("light")).lights) == 2


def test_truth_colour_images_pass_without_masters():
    found = planned(frames("light", shape=(3, 40, 60)), frames("dark"), frames("flat"), frames("bias"))
    assert only(found).equation == "C = L" and found.lights[0].planes == 3
    assert "have 3 planes already" in told(found)


def test_truth_sizes_are_compared_after_trimming():
    raw = frames("light", shape=(40, 64), data_px=(0, 40, 4, 64), overscan_px=((0, 40, 0, 4),))
    ready = frames("dark", 1, is_master=True, frames=9, contains_bias=True)
    assert only(planned(raw, ready)).dark is ready[0]
    mosaic = [f.meta.with_(pattern="RGGB", data_px=(0, 40, 3, 63)) for f in raw]
    assert mosaic[0].sky_pattern == "GRBG" and mosaic[0].sky_shape == (40, 60)


def test_truth_an_overscan_takes_the_level_off_flats():
    overscan = {"shape": (40, 64), "data_px": (0, 40, 4, 64), "overscan_px": ((0, 40, 0, 4),)}
    assert only(planned(frames("light", **overscan), frames("flat", **overscan))).flat is not None
    assert only(planned(frames("light"), frames("flat"))).flat is None


def test_truth_scaled_darks_need_bias_and_take_the_nearest_exposure():
    scaling = ImageCalibration(dark_scaling="fit")
    night = frames("light"), frames("dark", exposure_s=600.0), frames("dark", exposure_s=60.0), frames("bias")
    together = tuple(frame for part in night for frame in part)
    part = only(plan(Session("night", together), scaling))
    assert part.scaled and part.equation == "C = L - B - k (D - B)"
    assert part.dark.frames[0].meta.exposure_s == 600.0 and part.bias is not None
    part = only(plan(Session("night", together), ImageCalibration(dark_scaling="none")))
    assert (part.scaled, part.dark, part.equation) == (False, None, "C = L - B")
    without = plan(Session("night", tuple(f for part in night[:3] for f in part)), scaling)
    assert "darks can be scaled only with bias frames, and none fit" in told(without) and only(without).dark is None


def test_truth_scenarios_can_be_forced():
    night = tuple(f for kind in ("light", "dark", "bias", "flat") for f in frames(kind))
    for off, equation in (
        ("dark", "C = (L - B) * mean(F) / F"),
        ("flat", "C = L - D"),
        ("bias", "C = (L - D) * mean(F) / F"),
    ):
        found = plan(Session("night", night), ImageCalibration(**{f"use_{off}": False}))
        assert only(found).equation == equation


def test_surface_a_note_of_many_names_one_file_of_them():
    """`taken for a flat by its name ...` named nobody."""
    bare = [
        type(f)(source=f.source, meta=f.meta.with_(notes=(f"taken for a flat by its name '{f.source}'",)))
        for f in frames("flat", 4)
    ]
    (first, *_), (note,) = bare, planned(frames("light"), bare).notes
    assert note == f"4 frames: taken for a flat by its name '{first.source}' or another"
    (note,) = planned(frames("light"), bare[:1]).notes
    assert note == f"1 frame: taken for a flat by its name '{first.source}'"
