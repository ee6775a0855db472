"""The rows of report.json: typed records, whole and strict JSON."""

import json
import math

import numpy as np

from masterlight.core.errors import Rejected
from masterlight.core.frame import Meta
from masterlight.doctor.findings import finding
from masterlight.night.recipe import Recipe
from masterlight.night.report import (
    COLUMNS,
    FrameReport,
    MasterRow,
    Report,
    finite,
    parts_words,
    rejection_words,
    subframes_of,
)
from masterlight.night.run import Run
from masterlight.session.plan import Plan


def master(kind="light", **more):
    return MasterRow(path="a/master.fits", preview="a/master.png", kind=kind, filter="L", frames_used=9, **more)


def test_a_report_is_strict_json_with_every_column(tmp_path):
    report = Report(masters=[master(noise=math.nan, stars=np.int64(7))], notes=["a note"], version="1")
    report.frames.append(FrameReport(path="light.fits", matrix=(1.0, 0.123456789), weight=np.float32(0.5)))
    report.findings.append(finding("D21", "error", ["a.fits"], 1.0, None, "", "two files are one"))
    report.write(tmp_path / "report.json")
    told = json.loads((tmp_path / "report.json").read_text(), parse_constant=lambda word: 1 / 0)
    assert list(told) == ["mlkey", "masters", "frames", "findings", "timing", "notes", "recipe", "version"]
    assert told["masters"][0]["noise"] is None and told["masters"][0]["stars"] == 7
    assert set(told["frames"][0]) == set(COLUMNS)
    assert told["frames"][0]["matrix"] == [1.0, 0.1234568] and told["frames"][0]["weight"] == 0.5
    assert told["findings"][0]["id"] == "D21" and told["notes"] == ["a note"]


def test_a_master_row_comes_back_from_its_json():
    row = master("dark", noise=2.5, trails=("a.fits: a trail",), quality={"frames": 5})
    again = MasterRow(**json.loads(json.dumps(finite(row))))
    assert again == MasterRow(**vars(row) | {"trails": ["a.fits: a trail"]})


def test_the_exit_status_tells_what_became_of_the_night():
    run = Run.of(Plan("night", (), (), (), (), (), ()), "out", Recipe(), (None, 1))
    assert run.report.exit_status == 2
    run.report.masters += [master("dark", noise=1.0), master(noise=1.0)]
    assert run.report.exit_status == 0 and [row.kind for row in run.report.lights] == ["light"]
    event = run.reject(Rejected("bad.fits", "measure", "no stars"), kind="light", filter="L")
    assert run.report.exit_status == 1 and event.message == "rejected bad.fits: no stars (measure)"
    (row,) = run.report.rejected
    assert (row.path, row.stage, row.reason, row.kind, row.filter) == ("bad.fits", "measure", "no stars", "light", "L")


def test_a_gain_never_passes_the_best_that_is_told_beside_it():
    known = {"noise_before": 5.0, "noise_measured": 2.0, "claimed_over_measured": 1.0, "effective_frames": 6.9}
    for increment, words in ((2.64, "as good as can be"), (2.604, "as good as can be"), (2.5, "at best 2.60")):
        row = master(noise=2.0, snr_increment=increment, snr_increment_ideal=2.6, **known)
        assert f"signal to noise x {increment:.2f} ({words})" in row.sentence()


def test_sentences_leave_out_what_is_not_known():
    assert master(noise=None).sentence() == "master.fits: 9 frames"
    assert master(noise=1.5, rejected_low=0.001, rejected_high=0.01).sentence() == (
        "master.fits: 9 frames, noise 1.500 DN, rejected 0.100 % low, 1.000 % high"
    )
    one = FrameReport(path="a/light.fits", weight=1.0, rejected_low=0.0, rejected_high=0.001)
    assert parts_words([one]) == "" and parts_words([one, one]).startswith("2 lights: weights 1.000 (least: ")
    assert rejection_words(0.0, 0.01, 0.002).endswith("1.000 % high, 0.200 % more in larger structures")


def test_truth_lights_of_a_report_as_a_table_to_look_at():
    """Figures, verdicts and reasons of the rows; other files are none of it."""
    told = {"fwhm_px": 3.1, "eccentricity": 0.4, "noise": 12.0, "stars": 80, "background": 700.0, "object": "M 31"}
    rows = [
        FrameReport(path="b.fits", kind="light", status="used", weight=0.8, **told),
        FrameReport(path="a.fits", kind="light", stage="approve", reason="too few stars", **told),
        FrameReport(path="c.fits", stage="scan", reason="no image"),
        FrameReport(path="d.fits", reason="it cannot be read"),
    ]
    night = subframes_of(rows, {"a.fits": Meta(time="2026-11-28T21:00:00"), "d.fits": Meta(time="2026-11-28T22:00:00")})
    assert [frame.source for frame in night] == ["b.fits", "a.fits", "d.fits"]
    assert [frame.approved for frame in night] == [True, False, False]
    assert night[1].reasons == ("too few stars",) and np.isnan(night.column("FWHM")[2])
    assert list(night.column("FWHM")[:2]) == [3.1, 3.1] and night.column("Noise")[0] == 12 and night.weights[0] == 0.8
