"""Stacks and finished pictures among the lights: left aside by header, form or noise; lights never are."""

import numpy as np
import pytest

from masterlight.io import write
from masterlight.session.planner import plan
from masterlight.session.scan import scan

CARDS = {"IMAGETYP": "Light Frame", "EXPTIME": 10.0, "INSTRUME": "Seestar S50", "GAIN": 80, "OBJECT": "M 31"}
SHAPE = (60, 80)


def light(path, level=900.0, noise=30.0, seed=0, dtype=np.uint16, planes=1, **cards):
    shape = SHAPE if planes == 1 else (planes, *SHAPE)
    pixels = np.random.default_rng(seed).normal(level, noise, shape).astype(dtype)
    write(path, pixels, {key: value for key, value in (CARDS | cards).items() if value is not None})


@pytest.fixture
def night(tmp_path):
    for i in range(12):
        light(tmp_path / f"Light_M 31_10.0s_{i:04d}.fit", seed=i)
    return tmp_path


def left_out(folder):
    return {row.source.rpartition("/")[2]: row.reason for row in plan(scan(folder)).rejected}


@pytest.mark.parametrize("frames", [10, 60, 1000])
def test_truth_a_stack_of_whole_numbers_is_known_by_its_noise(night, frames):
    """No count in its header, one plane of 16 bits, exposed as the subs are."""
    light(night / "M 31 result.fit", noise=max(0.3, 30 / np.sqrt(frames)), seed=99)
    told = left_out(night)
    assert list(told) == ["M 31 result.fit"] and "% of that of the frames beside it" in told["M 31 result.fit"]


@pytest.mark.parametrize("seed", range(5))
def test_truth_a_light_of_another_name_stays(night, seed):
    """Taken again under another name, through thin cloud, or fainter because the moon has set."""
    light(night / "again.fit", seed=50 + seed)
    light(night / "cloudy.fit", level=1100.0, noise=34.0, seed=60 + seed)
    light(night / "faint.fit", level=500.0, noise=11.0, seed=70 + seed)
    assert not left_out(night)


def test_truth_lights_of_several_names_stay(tmp_path):
    """Half of them quieter: another sky, not stacks; and too few to compare."""
    for i in range(6):
        light(tmp_path / f"a_{i}.fit", seed=i)
        light(tmp_path / f"b_{i}.fit", noise=9.0, seed=20 + i)
    assert not left_out(tmp_path)


def test_truth_pictures_without_a_header_stay_out(night):
    """A colour picture of the same size whose header tells nothing, and a finished one that was cropped."""
    bare = dict.fromkeys(("IMAGETYP", "INSTRUME", "GAIN", "OBJECT"))
    light(night / "colour.fit", planes=3, seed=5, **bare)
    pixels = np.full((3, 30, 40), 700, np.uint16)
    write(night / "final.fit", pixels, {})
    told = left_out(night)
    assert set(told) == {"colour.fit", "final.fit"}
    assert all(reason.startswith("has 3 planes and tells no") for reason in told.values())


def test_truth_colour_lights_by_themselves_are_lights(tmp_path):
    for i in range(4):
        write(tmp_path / f"{i}.fit", np.full((3, 30, 40), 700 + i, np.uint16), {})
    assert not left_out(tmp_path)
