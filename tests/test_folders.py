"""Folders that the user says hold one kind: they are scanned wherever they lie, and the kind is settled for good."""

import click
import numpy as np
import pytest

from masterlight.core.errors import ParameterError
from masterlight.core.process import from_toml, knobs
from masterlight.doors.cli import main
from masterlight.doors.flags import flag, typed_knobs
from masterlight.io import write
from masterlight.night.recipe import Recipe
from masterlight.processes import STEPS
from masterlight.session.planner import plan
from masterlight.session.scan import scan


def frame(path, type_=None, exposure_s=60.0, **cards):
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, np.full((20, 30), 1000, np.uint16), {"IMAGETYP": type_, "EXPTIME": exposure_s} | cards)


@pytest.fixture
def night(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(3):
        frame(tmp_path / f"night/a/L_{i}.fits", "Light Frame")
        frame(tmp_path / f"night/a/P_{i}.fits", "Light Frame", 2.0)
        frame(tmp_path / f"library/D_{i}.fits", "Flat Field")
        frame(tmp_path / f"library/flatdarks/D_{i}.fits", "Dark Flat", 2.0)
    return tmp_path / "night"


def kinds(session):
    return sorted((frame.source.rpartition("/")[2], frame.meta.kind) for frame in session.frames)


def test_truth_the_kind_is_settled_for_good_and_told(night):
    session = scan(night, Recipe(flat_dir="night/a/P_*.fits", dark_dir=("library",)).kind_dirs)
    expected = [("D_%d.fits", "dark"), ("D_%d.fits", "flatdark"), ("L_%d.fits", "light"), ("P_%d.fits", "flat")]
    assert kinds(session) == sorted((name % i, kind) for name, kind in expected for i in range(3))
    flat = next(frame for frame in session.frames if frame.meta.kind == "flat")
    assert flat.meta.told[0] == ("user", "flat") and ("header", "light") in flat.meta.told
    assert flat.meta.notes == ("taken for a flat by Recipe.flat_dir, though it seemed to be a light",)
    assert len(plan(session).sets[0].frames) == 3


def test_truth_the_nearest_folder_counts_and_names_below_the_night_are_found(night):
    session = scan(night, {"light_dir": ("a",), "flat_dir": ("a/P_0.fits", "a/P_[12].fits")})
    assert [kind for name, kind in kinds(session) if name[0] == "P"] == ["flat"] * 3
    assert [kind for name, kind in kinds(session) if name[0] == "L"] == ["light"] * 3
    assert len(session.frames) == 6, "each once"


def test_truth_what_is_not_there_or_given_twice_is_told_by_its_knob(night):
    with pytest.raises(ParameterError, match=r"^Recipe.flat_dir: no folder or image is called nowhere"):
        scan(night, {"flat_dir": ("nowhere",)})
    with pytest.raises(ParameterError, match=r"given by both Recipe.dark_dir and Recipe.flat_dir"):
        scan(night, {"dark_dir": ("library",), "flat_dir": ("library",)})
    (night / "empty").mkdir()
    assert "Recipe.bias_dir: there is no image" in scan(night, {"bias_dir": ("empty",)}).passed[0]


def test_surface_flags_and_recipe_lines_say_the_same(night):
    assert from_toml(Recipe, 'flat_dir = "a"').flat_dir == from_toml(Recipe, 'flat_dir = ["a"]').flat_dir == ("a",)
    flags = [flag(knob, STEPS["plan"]) for knob in knobs(Recipe) if knob.path == "flat_dir"]
    for words in (["--flat-dir", "a,b"], ["--flat-dir", "a", "--flat-dir", "b"]):
        typed = typed_knobs(click.Command("test", params=flags).make_context("test", words).params)
        assert typed == {"flat_dir": ("a", "b")}
    with pytest.raises(ParameterError, match="--flat-dir is empty"):
        click.Command("test", params=flags).make_context("test", ["--flat-dir", ""])
    with pytest.raises(SystemExit) as stopped:
        main(["plan", str(night), "--flat-dir", "nowhere"])
    assert stopped.value.code == 2


def test_truth_a_folder_that_holds_a_whole_night_is_no_witness(tmp_path):
    night = tmp_path / "Rosette flats"
    for folder, name, cards in (
        ("", "a", {"OBSTYPE": "OBJECT"}), ("", "b", {"IMAGETYP": "Bias Frame"}), ("", "d", {"IMAGETYP": "Dark Frame"}),
        ("", "l", {"IMAGETYP": "Light Frame"}), ("flats", "f", {"OBSTYPE": "OBJECT"}),
        ("flats", "g", {"IMAGETYP": "Dark Flat"}), ("flats", "h", {"IMAGETYP": "Light Frame"}),
    ):  # fmt: skip
        frame(night / folder / f"{name}_1.fits", OBJECT="M 1", **cards)
    found = {f.source.rpartition("/")[2][0]: f.meta for f in scan(night).frames}
    kinds = {"a": "light", "b": "bias", "d": "dark", "l": "light", "f": "flat", "g": "flatdark", "h": "light"}
    assert {name: meta.kind for name, meta in found.items()} == kinds
    told = {name: [note for note in meta.notes if "taken for" in note] for name, meta in found.items()}
    assert not any(told[name] for name in "abdlg")
    assert told["f"] == ["taken for a flat by its folder flats, though its header (OBJECT) says light"]
