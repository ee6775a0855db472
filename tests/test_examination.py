"""Whole nights before the doctor: healthy ones, what is passed over, thresholds, quick masters."""

import os
from pathlib import Path

import numpy as np
import pytest
import sky
from clinic import NIGHT, altered, diagnosed, examined, healthy, of_kind, only

import masterlight as ml
from masterlight.core.errors import ParameterError
from masterlight.core.workers import executor
from masterlight.doctor import Doctor, diagnose
from masterlight.doctor.examination import examine_set
from masterlight.doctor.findings import finding
from masterlight.session.planner import plan
from masterlight.session.scan import scan

DATA = Path(os.environ.get("MASTERLIGHT_DATA", Path(__file__).parents[2] / "shared" / "data"))

real = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real observations in {DATA}")

FOUND = {
    "tres1_st10": {"D16", "D20"},
    "lpseb35_arcsat_bsd": {"D02", "D16"},
    "galaxy_atik383": {"D04", "D16"},
    "m27_asi224mc": set(),
    "formats": {"D21"},
    "dslr_raw": set(),
}

"""What the doctor says about real nights: a first dark 9 DN above the others; a faint sky of 28 DN in a noise of
18 DN; flats at two thirds of full scale; that there are few calibration frames; one
light in three formats."""


@pytest.mark.parametrize("dialect", ["nina", "maxim", "sgp", "ekos", "asiair"])
def test_truth_a_healthy_night_has_no_error(dialect):
    folder = sky.written(**{**NIGHT, "dialect": dialect}).folder
    with executor("serial") as pool:
        *_, last = diagnose(plan(scan(folder)), Doctor(), ml.ImageCalibration(), pool)
    assert {f.id for f in last.result} <= {"D16"}  # ten frames are few: true, and all there is to say
    assert all(f.severity != "error" for f in last.result)


def test_truth_a_healthy_night_has_nothing_in_its_raw_frames():
    assert healthy() == []


def test_surface_off_and_thresholds(tmp_path):
    def odd(kind, i, pixels, header):
        return pixels + 25 if kind == "bias" and i == 4 else None

    folder = altered(tmp_path, odd)
    assert only(examined(folder, off=("D20",)), "D20") == []
    assert only(examined(folder, outlier_dn=30.0), "D20") == []
    assert ml.build(Doctor, {"off": ("d20", " D04")}).off == ("D20", "D04")
    with pytest.raises(ParameterError, match=r"'D99' is no diagnosis.*D01, D02.*H02"):
        Doctor(off=("D99",))


def test_truth_an_unreadable_frame_ends_nothing(tmp_path):
    folder = altered(tmp_path, lambda *_: None)
    path = next(iter(folder.rglob(next(iter(of_kind("dark", 0))))))
    path.write_bytes(path.read_bytes()[:40_000])
    assert [f for f in examined(folder) if f.severity == "error"] == []


def test_truth_flats_that_no_light_uses_are_a_warning_at_most(tmp_path):
    def other(kind, i, pixels, header, filter="B"):
        if kind != "flat":
            return None
        header["FILTER"] = filter
        return 500 + np.rint((pixels - 500) / 20)

    altered(tmp_path / "unused", other, flats=4)
    for path in (tmp_path / "unused").rglob("FLAT/*.fits"):
        path.rename(path.with_name(path.name.replace("_L_", "_B_")))
    (found,) = only(examined(tmp_path / "unused"), "D04")
    assert found.severity == "warn"
    used = altered(tmp_path / "used", lambda *frame: other(*frame, filter="L"), flats=4)
    assert [f.severity for f in only(examined(used), "D04")] == ["error"]


@pytest.mark.parametrize(("low", "severity"), [(2, "warn"), (6, "error")])
def test_truth_a_few_odd_lights_are_no_error_in_what_most_use(tmp_path, low, severity):
    def dim(kind, i, pixels, header):
        if kind == "light" and i < low:
            header["FILTER"] = "Ha"  # a set of its own, through the same dark
            return np.maximum(pixels - np.median(pixels) + 300, 0)
        return None

    found = only(diagnosed(altered(tmp_path, dim, lights=8)), "D10")
    assert found and {f.severity for f in found} == {severity}


def test_truth_other_lights_are_asked_before_one_speaks_for_all():
    def look(answer):
        return [finding("D10", "error", [answer], None, None, "", "below zero")] if answer == "bad" else []

    told = examine_set(["good", "good", "bad", "good", "good"], look)
    assert [(f.sources, f.lights) for f in told] == [(("bad",), ())]
    told = examine_set(["bad", "good", "bad", "bad", "bad"], look)
    assert [len(f.lights) for f in told] == [5]
    assert examine_set(["bad", "bad", "good", "bad"], look) == []


def test_truth_a_colour_night_with_glow_and_overscan_is_healthy():
    knobs = {"pattern": "RGGB", "glow_dn": 100.0, "overscan_px": 16}
    assert {f.id for f in diagnosed(sky.written(**{**NIGHT, **knobs}).folder)} <= {"D16"}


def test_truth_flats_of_another_orientation_in_a_whole_night(tmp_path):
    def turned(kind, i, pixels, header):
        return pixels[::-1, ::-1] if kind == "flat" else None

    found = diagnosed(altered(tmp_path, turned), off=("D16",))
    assert {f.id for f in found} >= {"D15"}
    assert all(f.severity != "error" for f in found)


def test_surface_diagnose_ends_with_a_list_and_tells_its_progress():
    with executor("threads:2") as pool:
        events = list(diagnose(plan(scan(sky.written(**NIGHT).folder)), Doctor(), ml.ImageCalibration(), pool))
    assert events[-1].result is not None and all(e.result is None for e in events[:-1])
    assert max(e.total for e in events) == sum(NIGHT[k] for k in ("lights", "biases", "darks", "flats"))


@real
@pytest.mark.parametrize("name", sorted(FOUND))
def test_truth_real_nights_have_no_error(name):
    found = diagnosed(DATA / name)
    assert {f.id for f in found} == FOUND[name]
    assert all(f.severity != "error" for f in found)
