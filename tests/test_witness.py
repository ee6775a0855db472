"""Pixels as a witness: flats called light are found by their look, and no real light is taken for one."""

from dataclasses import replace

import numpy as np
import pytest
import sky

from masterlight.core.frame import ArrayFrame, Meta
from masterlight.core.workers import executor
from masterlight.doctor import Doctor
from masterlight.session.found.witness import DOUBT, TAKEN, flats_by_look
from masterlight.session.planner import plan
from masterlight.session.scan import Session

KNOBS = {"rows": 300, "cols": 400, "lights": 4, "flats": 4, "cloudy": 0, "trails": 0, "tracking_errors": 0}
SHAPE = KNOBS["rows"], KNOBS["cols"]


def frames(kind, count=4, exposure_s=None, pattern=None, scale=1.0, folder="/night", **meta):
    """Frames of the simulated night, all called light."""
    truth = sky.in_memory(**KNOBS, **({"pattern": pattern} if pattern else {}))
    seconds = exposure_s or {"light": 120.0, "flat": 2.0}[kind]
    told = Meta(kind="light", declared="Light Frame", exposure_s=seconds, saturation_dn=65535.0, pattern=pattern)
    made = (500 + scale * (truth.observatory.frame(kind, i) - 500.0) for i in range(count))
    return [ArrayFrame.of(x, f"{folder}/{kind}{seconds:g}_{i}.fits", told.with_(**meta)) for i, x in enumerate(made)]


def bright(level_dn, counts=4, seconds=120.0, drift=0.0, shape=lambda y, x: 1 - 0.2 * (x**2 + y**2), noise=1.0):
    """Frames of a bright scene without stars, called light; the level drifts by a part from frame to frame."""
    y, x = np.mgrid[-1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j]
    meta = Meta(kind="light", declared="Light Frame", exposure_s=seconds, saturation_dn=65535.0)
    out = []
    for i in range(counts):
        mean = level_dn * (1 + drift) ** i * shape(y, x)
        pixels = np.random.default_rng(i).normal(mean, noise * np.sqrt(mean)).round()
        out.append(ArrayFrame.of(pixels, f"/night/bright{seconds:g}_{i}.fits", meta))
    return out


def kinds(*sets):
    with executor("serial") as pool:
        return [frame.meta.kind for frame in flats_by_look([frame for part in sets for frame in part], pool)]


@pytest.mark.parametrize("pattern", [None, "RGGB"])
@pytest.mark.parametrize("scale", [0.2, 0.6, 1.4])
def test_truth_flats_among_lights_are_flats(pattern, scale):
    found = kinds(frames("light", pattern=pattern), frames("flat", pattern=pattern, scale=scale))
    assert found == 4 * ["light"] + 4 * ["flat"]


def test_truth_flats_exposed_as_long_as_the_lights_are_flats():
    bias = [ArrayFrame.of(np.full(SHAPE, 500.0), "/night/bias.fits", Meta(kind="bias"))]
    found = kinds(frames("light"), frames("flat", exposure_s=120.0), bias)
    assert found == 4 * ["light"] + 4 * ["flat"] + ["bias"]


def test_truth_flats_of_a_fading_twilight_have_each_an_exposure_of_its_own():
    exposures = [2.0 * 1.25**i for i in range(4)]
    fading = [one for i, s in enumerate(exposures) for one in frames("flat", 4, exposure_s=s)[i : i + 1]]
    assert kinds(frames("light"), fading) == 4 * ["light"] + 4 * ["flat"]
    bracket = [one for s in (1.0, 5.0, 30.0) for one in frames("light", 1, exposure_s=s)]
    assert kinds(frames("light"), bracket) == 7 * ["light"]


def test_truth_each_flat_carries_a_note_and_serves_the_lights():
    session = Session("night", (*frames("light"), *frames("flat", notes=("taken for light by the header",))))
    night = plan(session)
    assert sorted(group.kind for group in night.groups) == ["flat", "light"]
    assert [note[: len(TAKEN) + 10] for note in night.notes] == [f"4 frames: {TAKEN}"]
    assert "header says light" in night.notes[0]


def test_truth_a_folder_of_flats_and_pixels_outvote_the_header_and_the_user_outvotes_all():
    by_folder = {"told": (("header", "light"), ("folder", "flat")), "folder": "/flats"}
    assert kinds(frames("flat", 2, **by_folder)) == 2 * ["flat"]  # though there is nothing to compare with
    assert kinds(frames("light", 2, **by_folder)) == 2 * ["light"]
    assert kinds(frames("light"), frames("flat", told=(("user", "light"),))) == 8 * ["light"]


def test_truth_header_folder_name_and_pixels_that_all_differ_are_each_named():
    told = (("header", "light"), ("folder", "dark"), ("name", "bias"))
    night = plan(Session("night", (*frames("light"), *frames("flat", told=told))))
    (note,) = night.notes
    assert note.startswith(f"4 frames: {TAKEN}") and len(note) < 300
    assert note.endswith("though the header says light and its folder says dark and its name says bias")


def limb(y, x):
    return np.where(np.hypot(x, y) < 0.7, 1 - 0.4 * np.hypot(x, y), 0.02)


def craters(y, x):
    return 1 + 0.2 * np.sin(40 * x) * np.sin(55 * y)


def test_truth_bright_lights_stay_lights():
    lights, dark = frames("light"), frames("light", exposure_s=60.0, scale=0.3)
    assert kinds(lights, dark) == 8 * ["light"]
    milky = [replace(f, array=f.array + 15000) for f in frames("light", exposure_s=30.0)]  # a bright sky with its stars
    assert kinds(lights, milky) == 8 * ["light"]
    assert kinds(lights, bright(9000, seconds=300.0)) == 8 * ["light"]  # clouds lit by a town
    assert kinds(bright(20000)) == 4 * ["light"]  # nothing to compare with
    assert kinds(bright(20000), bright(12000, seconds=60.0)) == 8 * ["light"]
    for scene in (limb, craters):
        assert kinds(lights, bright(20000, seconds=0.01, shape=scene)) == 8 * ["light"]
    assert kinds(lights, bright(20000, counts=2, seconds=2.0)) == 6 * ["light"]  # too few to be sure


def noise_alone(level_dn, seconds, count=4, kind="light", **meta):
    """Frames that hold a level and the noise of a camera of 12 bits."""
    told = Meta(kind=kind, declared=f"{kind.title()} Frame", exposure_s=seconds, saturation_dn=65535.0, **meta)
    levels = [np.random.default_rng(i).normal(level_dn, 3.0, SHAPE).round() for i in range(count)]
    return [ArrayFrame.of(x, f"/night/{kind}{seconds:g}_{i}.fits", told) for i, x in enumerate(levels)]


def test_truth_short_lights_that_hold_little_but_their_bias_level_stay_lights():
    """Divided by a short exposure, the bias level alone is a hundred times the light of long exposures."""
    deep, short = noise_alone(290.0, 300.0, offset=50.0), noise_alone(242.0, 0.1, offset=50.0)
    assert kinds(deep, short) == 8 * ["light"]
    own, other = (noise_alone(level, 0.0, 1, "bias", offset=at) for level, at in ((240.0, 50.0), (40.0, 10.0)))
    assert kinds(other, deep, short) == ["bias"] + 8 * ["light"], "a bias frame of another offset tells nothing"
    assert kinds(own, deep, short) == ["bias"] + 8 * ["light"]
    assert kinds(other, deep, bright(1500, seconds=0.1, noise=0.1)) == ["bias"] + 4 * ["light"] + 4 * ["flat"]


def test_truth_what_is_not_sure_stays_a_light_and_is_told():
    with executor("serial") as pool:
        found = flats_by_look([*frames("light"), *bright(9000, seconds=120.0)], pool)
    assert {frame.meta.kind for frame in found} == {"light"}
    assert [any(note.startswith(DOUBT) for note in frame.meta.notes) for frame in found] == 4 * [False] + 4 * [True]
    with executor("serial") as pool:
        *_, last = Doctor().frames(plan(Session("night", tuple(found))), pool)
    told = [f for f in last.result if f.id == "H01"]
    assert [f.severity for f in told] == ["warn"] and len(told[0].sources) == 4


def test_surface_an_unreadable_light_is_left_to_whoever_uses_it():
    odd = [ArrayFrame.of(np.full(SHAPE, np.nan), f"/night/odd{i}.fits", Meta(kind="light")) for i in range(3)]
    small = [ArrayFrame.of(np.ones((5, 5)), "/night/small.fits", Meta(kind="light"))]
    assert kinds(odd, small, frames("light")) == 8 * ["light"]
    blank = [ArrayFrame.of(np.full(SHAPE, np.nan), "/night/0.fits", Meta(kind="bias"))]
    assert kinds(blank, frames("light"), frames("flat")) == ["bias"] + 4 * ["light"] + 4 * ["flat"]


@pytest.mark.filterwarnings("error")
def test_surface_a_narrow_frame_of_a_sensor_with_many_colours_is_not_looked_at():
    told = Meta(kind="light", pattern="GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG", saturation_dn=65535.0)
    noise = np.random.default_rng(0).normal(20000, 100, (4, 60, 48))
    assert kinds([ArrayFrame.of(x, f"/n/{i}.fits", told) for i, x in enumerate(noise)]) == 4 * ["light"]


@pytest.mark.parametrize("kind", ["dark", "bias"])
def test_truth_a_folder_of_darks_and_frames_without_stars_outvote_the_header(kind):
    by_folder = {"told": (("header", "light"), ("folder", kind))}
    truth = sky.in_memory(**KNOBS)
    meta = Meta(kind="light", exposure_s=120.0, saturation_dn=65535.0, **by_folder)
    unlit = [ArrayFrame.of(truth.observatory.frame(kind, i).astype(float), f"/x/{i}.fits", meta) for i in range(4)]
    assert kinds(unlit, frames("light")) == 4 * [kind] + 4 * ["light"]
    assert kinds(frames("light", **by_folder)) == 4 * ["light"]  # they show stars
    (night,) = [plan(Session("night", (*unlit, *frames("light"))))]
    assert any("by pixels and its folder" in note for note in night.notes)


def test_truth_darks_of_a_camera_without_offset_are_darks_by_folder_and_pixels():
    by_folder = {"told": (("header", "light"), ("folder", "dark"))}
    unlit = [replace(f, array=np.maximum(f.array, 0)) for f in noise_alone(-1.5, 60.0, **by_folder)]
    assert np.median(unlit[0].array) == 0
    assert kinds(unlit, frames("light")) == 4 * ["dark"] + 4 * ["light"]
