"""What can be known before the work begins: a run stops before it reads a pixel."""

from dataclasses import replace
from pathlib import Path

import pytest

import masterlight as ml
from masterlight.core.errors import OutputError, ParameterError
from masterlight.core.frame import Meta
from masterlight.core.workers import check_workers, executor
from masterlight.integration.integrate import ImageIntegration
from masterlight.night import ahead
from masterlight.night.ahead import check_integration, check_reference, is_beside, is_wanted, require_scratch, words_for
from masterlight.night.products import check_file, check_out
from masterlight.session.plan import LightJob, LightSet, Plan
from masterlight.subframes.weights import check_names


def night(*names: str) -> Plan:
    """A plan of lights of these names."""
    frames = tuple(ml.ArrayFrame.of([[1.0]], f"night/{name}", Meta(kind="light")) for name in names)
    job = LightJob(None, "L", (LightSet(frames, None, None, None, "C = L"),))
    return Plan("night", (), (), (job,), (), (), (ml.Rejected("night/bad.fits", "scan", "no END card"),))


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("M31_05.fits", "not among the 3 lights; is it M31_0"),
        ("elsewhere.fits", "name one of them, give the path of another file"),
        ("bad.fits", "cannot be used: no END card"),
    ],
)
def test_bad_references_are_told_with_near_names(reference, words):
    with pytest.raises(ParameterError, match=f"^Recipe.reference .*{words}"):
        check_reference(night("M31_01.fits", "M31_02.fits", "M31_03.fits"), reference)


@pytest.mark.parametrize("reference", [None, "M31_01.fits", "M31_01", "other/folder/M31_01.fits"])
def test_truth_a_reference_is_named_by_its_file_or_left_out(reference):
    check_reference(night("M31_01.fits"), reference)


def test_truth_a_reference_may_be_a_file_beside_the_lights(tmp_path):
    (tmp_path / "M31_01.fits").touch()
    kept, lights = str(tmp_path / "M31_01.fits"), night("M31_01.fits")
    check_reference(lights, kept)
    assert is_beside(lights, kept) and not is_beside(lights, "M31_01.fits")
    assert not is_wanted(kept, "M31_01.fits") and is_wanted("other/M31_01.fits", "M31_01.fits")


def test_bad_counts_of_minmax_and_of_other_algorithms():
    frames = night(*(f"{i}.fits" for i in range(4))).lights[0].frames
    settings = ml.build(ImageIntegration, {"rejection.algorithm": "minmax", "rejection.low": 2, "rejection.high": 2})
    with pytest.raises(ParameterError, match="Rejection.algorithm minmax needs 5 frames and there are 4"):
        check_integration(settings, frames)
    check_integration(settings, (*frames, frames[0]))
    told = "Rejection.low of ImageIntegration.weights"
    assert words_for("flatdark", told) == "Recipe.dark.rejection.low of Recipe.dark.weights"


@pytest.mark.parametrize(
    ("mode", "expression", "words"),
    [
        ("keyword", None, "a.fits: its header has no keyword SSWEIGHT"),
        ("expression", "1/FWHMM", "ImageIntegration.weight_expression: 'FWHMM' is not known; is it FWHM"),
        ("expression", "FWHM*AIRMASS", "AIRMASS"),
        ("expression", "FOCUS", "needs the number FOCUS"),
    ],
)
def test_bad_names_in_weights_are_told(mode, expression, words):
    headers = [("a.fits", {"FOCUS": "far", "CCD-TEMP": -10.0})]
    with pytest.raises(ParameterError, match=words):
        check_names(mode, "SSWEIGHT", expression, headers)


def test_truth_names_of_measures_and_of_keywords_are_known():
    check_names("expression", "", "FWHMMin + CCD_TEMP + NoiseMedian", [("a.fits", {"CCD-TEMP": -10.0})])
    check_names("expression", "", "1/Noise^2", iter(()))
    check_names("keyword", "SSWEIGHT", None, [("a.fits", {"SSWEIGHT": 2.0})])


def test_bad_places_for_results(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for out, words in (("", "out= is empty"), (tmp_path / "file", "is a file"), (tmp_path / "file" / "x", "is a file")):
        with pytest.raises((OutputError, ParameterError), match=words):
            check_out(out)
    check_out(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()
    with pytest.raises(OutputError, match="does not exist; create it first"):
        check_file(tmp_path / "new" / "x.fits")
    with pytest.raises(OutputError, match="is a folder"):
        check_file(tmp_path)
    monkeypatch.setattr("masterlight.night.products.os.access", lambda *_: False)
    with pytest.raises(OutputError, match="cannot be written to"):
        check_out(tmp_path)


def test_bad_room_for_unpacked_files(monkeypatch):
    monkeypatch.setattr(Plan, "scratch_bytes", 10**18)
    with pytest.raises(OutputError, match="set the variable TMPDIR"):
        require_scratch(night("a.fits"))


@pytest.mark.parametrize("where", ["serial", "threads", "threads:4", "dask://host:8786", "dask://[::1]:8786"])
def test_truth_places_to_compute(where):
    assert check_workers(where) == where


@pytest.mark.parametrize(
    "where",
    ["", "thread", "threads:0", "threads:-1", "threads:1e9", "threads:99999999999", "threads:²", "dask:/x", "dask",
     "dask://", "dask://a b:1", "dask://h:1:2", "serial:2", "Serial", "\x00"],
)  # fmt: skip
def test_bad_places_to_compute_are_refused_when_a_recipe_is_made(where):
    with pytest.raises(ParameterError, match="^workers(: | is empty)"):
        ml.Recipe(workers=where)
    with pytest.raises(ParameterError, match="^Recipe.workers "), executor(where):
        pass


def test_truth_a_run_that_cannot_end_well_makes_nothing(tmp_path, monkeypatch):
    """Whatever `look_ahead` raises comes before the first master."""

    def no(*_):
        raise ParameterError("no")
        yield

    monkeypatch.setattr("masterlight.night.walk.look_ahead", no)
    plan = replace(night("a.fits"), rejected=())
    with pytest.raises(ParameterError, match="^no$"):
        list(ml.run(plan, tmp_path / "out"))
    assert not (tmp_path / "out").exists() and ahead.look_ahead is not no
    assert Path(tmp_path).exists()
