"""Lights of several cameras, binnings and telescopes are one master light, unless `split_by` keeps them apart."""

import pytest
from paper import frames, planned

from masterlight.core.frame import Frame
from masterlight.session.planner import plan
from masterlight.session.scan import Session


def split(how: str, *sets: list[Frame]):
    return plan(Session("night", tuple(frame for part in sets for frame in part)), split_by=how)


BIG, SMALL = {"camera": "QHY600M"}, {"camera": "ASI183MM", "shape": (40, 60), "pixel_um": 2.4}


def test_truth_lights_of_two_cameras_are_one_master_light_each_with_its_own_masters():
    kinds = "light", "dark", "flat", "bias"
    found = planned(*(frames(kind, 6, **camera) for camera in (BIG, SMALL) for kind in kinds))
    (job,) = found.lights
    assert len(job.sets) == 2 and len(job.frames) == 12
    for part in job.sets:
        (camera,) = {frame.meta.camera for frame in part.inputs}
        assert camera == part.frames[0].meta.camera and part.dark and part.flat
    assert "2 instruments (QHY600M, ASI183MM)" in " ".join(found.warnings) and "2 instruments" in found.text()


def test_lights_without_masters_of_two_cameras_are_two_sets():
    (job,) = planned(frames("light", **BIG), frames("light", **SMALL)).lights
    assert [len({frame.meta.shape for frame in part.frames}) for part in job.sets] == [1, 1]
    assert job.words == planned(frames("light", **BIG)).lights[0].words


@pytest.mark.parametrize(
    ("how", "sizes", "words"),
    [("nothing", [9], [()]), ("binning", [6, 3], [(), ("bin 2x2",)]), ("instrument", [3, 3, 3], [])],
)
def test_truth_split_by_keeps_apart_what_it_names(how, sizes, words):
    binned = {"camera": "QHY600M", "binning": (2, 2), "shape": (50, 75)}
    found = split(how, frames("light", 3, **BIG), frames("light", 3, **SMALL), frames("light", 3, **binned))
    assert [len(job.frames) for job in found.lights] == sizes
    names = [tuple(job.words) for job in found.lights]
    assert len(set(names)) == len(names)
    assert not words or [job.apart for job in found.lights] == words


def test_truth_twins_are_one_instrument_only_where_headers_name_one_telescope():
    twins = [frames("light", 3, telescope=name, **BIG) for name in ("Left", "Right", None)]
    assert [len(job.frames) for job in split("instrument", *twins).lights] == [6, 3]
    assert [len(job.frames) for job in split("nothing", *twins).lights] == [9]
    reduced = [frames("light", 3, focal_mm=focal, **BIG) for focal in (530.0, 528.0, 420.0)]
    assert sorted(len(job.frames) for job in split("instrument", *reduced).lights) == [3, 6]


def test_truth_mono_and_colour_stay_apart_and_two_patterns_go_together():
    mosaics = [frames("light", 3, camera=name, pattern=pattern) for name, pattern in (("A", "RGGB"), ("B", "GBRG"))]
    found = planned(*mosaics, frames("light", 3, **BIG))
    assert sorted(len(job.frames) for job in found.lights) == [3, 6]
    assert len({tuple(job.words) for job in found.lights}) == 2, "their names differ"


def test_memory_is_planned_for_the_largest_sensor():
    def needed(*sets):
        return planned(*sets).memory_bytes

    large = frames("light", 3, camera="A", shape=(4000, 6000))
    small = frames("light", 3, camera="B", shape=(400, 600))
    assert needed(small, large) == needed(large, small) > needed(large)
