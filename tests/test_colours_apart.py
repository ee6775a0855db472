"""Nights whose lens and air spread colours: planes are laid each its own way where that pays, in a run and by hand."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from fringed import Fringed
from test_hand_drizzle import assert_same_bits, done

import masterlight as ml
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.subframes.fringes import fringes_of

DATA = Path(os.environ.get("MASTERLIGHT_DATA", Path(__file__).parents[2] / "shared" / "data"))
real = pytest.mark.skipif(not DATA.is_dir(), reason="no real observations here")
AIR = [(0.45 * np.cos(a), 0.45 * np.sin(a)) for a in np.linspace(0, 1.5, 6)]
"""Air that spreads red and blue by 0.9 px of each other, the way turning through the night."""


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A night of six lights, what came of it by default and with the planes together, and all that was told."""
    folder = tmp_path_factory.mktemp("fringed")
    sky = Fringed(AIR, lateral=5e-4, stars=160)
    paths, made = sky.written(folder / "night"), {}
    for planes in ("auto", "luminance"):
        recipe = ml.build(ml.Recipe, {"align.planes": planes, "drizzled": True, "drizzle.scale": 1.0})
        events = list(ml.run(folder / "night", folder / planes, recipe))
        rows = events[-1].result.lights
        made[planes] = [Path(row.path) for row in rows], "\n".join(event.message for event in events)
    return sky, paths, made


def apart_px(path):
    """How far red and blue of stars in an image lie from green, median along x and y (2, 2) and the usual distance."""
    image = ArrayFrame.of(np.nan_to_num(np.asarray(ml.read(path)), nan=0.0), "made", Meta())
    stars = ml.SubframeSelector().measure(image)[1]
    away = fringes_of(image, stars).away_px
    return float(np.nanmedian(np.hypot(away[..., 0], away[..., 1])))


def test_truth_colours_lie_on_each_other_in_the_result(night):
    _, _, made = night
    (deep, fine), told = made["auto"]
    (plain, coarse), silent = made["luminance"]
    assert "red and blue of 6 lights are laid on green" in told and "air and lens" in told
    assert "laid on green" not in silent
    assert apart_px(plain) > 0.2 and apart_px(deep) < 0.05  # debayering hides half of what drizzle shows
    assert apart_px(coarse) > 0.35 and apart_px(fine) < 0.4 * apart_px(coarse)  # of six lights red has holes


def test_truth_where_colours_lie_on_each_other_nothing_is_done(tmp_path):
    Fringed([(0.0, 0.0)] * 3, stars=160).written(tmp_path / "night")
    results = []
    for planes in ("auto", "luminance"):
        events = list(ml.run(tmp_path / "night", tmp_path / planes, ml.build(ml.Recipe, {"align.planes": planes})))
        assert not any("laid on green" in event.message for event in events)
        results.append(events[-1].result.lights[0].path)
    assert_same_bits(*results)


def test_oracle_by_hand_comes_to_the_same_bits(night, tmp_path):
    _, paths, made = night
    (deep, fine), _ = made["auto"]
    done("align", paths, tmp_path / "r", transforms_only=True)
    listed = json.loads((tmp_path / "r" / "transforms.json").read_text())
    assert all(len(row["planes"]) == len(row["sites"]) == 3 for row in listed["frames"])
    done("integrate", paths, tmp_path / "deep.fits", transforms=tmp_path / "r")
    assert_same_bits(tmp_path / "deep.fits", deep)
    recipe = ml.build(ml.Recipe, {"drizzled": True, "drizzle.scale": 1.0})
    done("drizzle", paths, tmp_path / "fine.fits", recipe, transforms=tmp_path / "r")
    assert_same_bits(tmp_path / "fine.fits", fine)


def test_truth_images_of_three_planes_are_laid_so_too(night, tmp_path):
    _, paths, made = night
    done("debayer", paths, tmp_path / "d")
    result = done("align", [tmp_path / "d"], tmp_path / "r")
    done("integrate", result.paths[:-1], tmp_path / "deep.fits")
    assert apart_px(tmp_path / "deep.fits") < 0.05
    assert apart_px(tmp_path / "deep.fits") < apart_px(made["luminance"][0][0]) / 4


@real
def test_real_colours_of_a_nebula_are_laid_on_each_other(tmp_path):
    """Six lights of M27: red and blue lie 0.16 px from green at most, 0.07 px in the result if nothing is done."""
    events = list(ml.run(DATA / "m27_asi224mc", tmp_path / "out"))
    assert any("red and blue of 6 lights are laid on green" in event.message for event in events)
    image = ArrayFrame.of(np.nan_to_num(np.asarray(ml.read(events[-1].result.lights[0].path))), "m27", Meta())
    away = fringes_of(image, ml.SubframeSelector().measure(image)[1]).away_px
    assert np.abs(np.nanmedian(away, axis=1)).max() < 0.03


def test_planes_are_laid_each_its_own_way_where_that_is_asked_for(tmp_path):
    Fringed([(0.0, 0.0)] * 2, stars=160).written(tmp_path / "night")
    Fringed([(0.0, 0.0)] * 2, stars=9).written(tmp_path / "poor")
    for folder, words in (("night", "red and blue of 2 lights are laid on green"), ("poor", "too few stars tell")):
        recipe = ml.build(ml.Recipe, {"align.planes": "each", "select.min_stars": 3})
        events = list(ml.run(tmp_path / folder, tmp_path / "out" / folder, recipe))
        assert any(words in event.message for event in events)
