"""Flats looked at together: one that is odd, places that change, hot pixels."""

from pathlib import Path

import numpy as np
import pytest
from clinic import altered, examined, healthy, names, of_kind, only

import masterlight as ml
from masterlight.doctor import Doctor
from masterlight.io import read

EIGHT = {"flats": 8}


def with_a_lamp(strength, gradient, index=3):
    """A change of one flat: light beside that of the others, so many times theirs, brighter towards one side."""

    def change(kind, i, pixels, header):
        x = np.linspace(-1, 1, pixels.shape[1])
        lamp = strength * (1 + gradient * x) * (pixels - 500)
        return np.minimum(pixels + lamp, 65000).round() if kind == "flat" and i == index else None

    return change


@pytest.mark.parametrize("strength, gradient", [(0.04, 0.5), (0.3, 0.2), (0.3, 0.0), (1.2, 0.3)])
def test_truth_d20_a_flat_with_the_lamp_of_the_room_on(tmp_path, strength, gradient):
    found = examined(altered(tmp_path, with_a_lamp(strength, gradient), **EIGHT))
    told = only(found, "D20")
    assert [(f.severity, names(f)) for f in told] == [("warn", of_kind("flat", 3, **EIGHT))]
    assert only(found, "D19") == [], "the others are steady"
    assert told[0].picture is not None


def test_truth_d20_flats_that_drift_or_are_of_two_sorts_are_not_odd(tmp_path):
    def drift(kind, i, pixels, header):
        x = np.linspace(-1, 1, pixels.shape[1])
        return ((pixels - 500) * (1 + 0.004 * i * x) * 0.9**i + 500).round() if kind == "flat" else None

    def halves(kind, i, pixels, header):
        return ((pixels - 500) * (1.5 if i % 2 else 1.0) + 500).round() if kind == "flat" else None

    for name, change in (("drift", drift), ("halves", halves)):
        assert only(examined(altered(tmp_path / name, change, **EIGHT)), "D20") == []
    assert only(healthy(), "D20") == []


def run_of(folder, out, **recipe):
    """The report of a run without the master lights' pictures."""
    *_, done = ml.run(folder, out, ml.Recipe(**recipe))
    return done.result


def test_truth_a_flat_with_the_lamp_on_is_left_out_of_the_master(tmp_path):
    folder = altered(tmp_path / "night", with_a_lamp(0.3, 0.2), **EIGHT)
    report = run_of(folder, tmp_path / "out")
    left_out = [row for row in report.frames if row.status == "rejected"]
    assert [Path(row.path).name for row in left_out] == list(of_kind("flat", 3, **EIGHT))
    assert left_out[0].stage == "masters" and "D20" in left_out[0].reason
    flat = next(row for row in report.masters if row.kind == "flat")
    assert read(flat.path).meta.frames == 7
    report = run_of(folder, tmp_path / "all", doctor=Doctor(off=("D20",)))
    assert read(next(row.path for row in report.masters if row.kind == "flat")).meta.frames == 8
