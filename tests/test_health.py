"""The health of frames: every trouble of a night is told by its code, and ordinary nights are left alone."""

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from weather import (
    Weather,
    astigmatism,
    banded,
    brighter,
    coma,
    doughnuts,
    edge,
    jump,
    leaning,
    night_table,
    patches,
    subframe,
    through,
    tilt,
    trailing,
    wider,
    write_night,
)

from masterlight import Recipe, SubframeSelector, run
from masterlight.alignment.overlaid import places_of
from masterlight.core.frame import Meta
from masterlight.doors.hand.choose import choose_files
from masterlight.subframes.choice.health import RULES, examined, without_spoilt
from masterlight.subframes.choice.table import Subframes

LIGHTS = 24
TROUBLES = {
    1: ("spoil", through(0.75), {"HAZE": "warn"}),
    2: ("spoil", through(0.45), {"CLOUD": "reject"}),
    3: ("veil", patches(0.6, 40), {"CLOUD": "warn", "HAZE": "warn"}),
    4: ("veil", edge(0.45), {"CLOUD": "warn", "HAZE": "warn"}),
    5: ("spoil", wider(1.38), {"FOCUS": "warn"}),
    6: ("spoil", wider(1.8), {"FOCUS": "reject"}),
    7: ("spoil", trailing(1.35), {"TRAIL": "warn"}),
    8: ("spoil", trailing(1.8), {"TRAIL": "reject"}),
    9: ("spoil", leaning(0.3, 0.1), {"GRADIENT": "warn"}),
    10: ("veil", jump(14, 9, 0.4), {"JUMP": "reject"}),
    11: ("veil", doughnuts(6.0), {"FOCUS": "reject"}),
    12: ("optics", coma, {"OPTICS": "warn"}),
    13: ("optics", astigmatism, {"OPTICS": "warn"}),
    14: ("optics", tilt, {"OPTICS": "warn"}),
    15: ("spoil", brighter(1.8), {"MOON": "warn"}),
    16: ("others", Weather(99, lights=LIGHTS), {"FIELD": "reject"}),
    17: ("spoil", lambda p: brighter(1.5)(through(0.5)(p)), {"CLOUD": "reject"}),
    18: ("veil", banded(6.0), {"BANDING": "warn"}),
    21: ("spoil", brighter(1.4), {"TWILIGHT": "warn"}),
    22: ("spoil", brighter(2.0), {"TWILIGHT": "warn"}),
    23: ("spoil", brighter(3.0), {"TWILIGHT": "warn"}),
}
"""What is done to a light of a night, and the flag of it, or one of those."""


@cache
def troubled(seed: int) -> Subframes:
    """A night with all of them."""
    weather = Weather(seed, lights=LIGHTS)
    for kind in ("spoil", "veil", "optics", "others"):
        setattr(weather, kind, {i: what for i, (of, what, _) in TROUBLES.items() if of == kind})
    return examined(night_table(weather), places_of)


@pytest.mark.parametrize("seed", [1, 2])
def test_truth_every_trouble_is_told_by_its_code_and_sound_frames_are_left_alone(seed):
    night = troubled(seed)
    for i, frame in enumerate(night):
        expected = TROUBLES[i][2] if i in TROUBLES else {}
        found = {flag.code: flag.severity for flag in frame.flags}
        if expected:
            assert found.items() & expected.items(), (i, found, expected)
        else:
            assert not found, (i, found)
    spare = Counter(flag.code for i, f in enumerate(night) for flag in f.flags if flag.code not in TROUBLES[i][2])
    assert spare.total() <= 3 and spare.keys() <= {"FOCUS", "FEWSTARS"}  # wide coma is out of focus as well


def test_truth_every_flag_has_a_figure_a_limit_and_a_sentence():
    flags = [flag for frame in troubled(1) for flag in frame.flags]
    assert {flag.code for flag in flags} >= {"HAZE", "CLOUD", "FOCUS", "TRAIL", "JUMP", "OPTICS", "MOON", "FIELD"}
    for flag in flags:
        assert flag.severity in ("note", "warn", "reject") and str(flag) == flag.code and flag.metric
        assert (
            type(flag.value) is float
            and np.isfinite(flag.value)
            and np.isfinite(flag.limit)
            and 20 < len(flag.words) < 220
        )
        assert "\n" not in flag.words


def test_truth_the_mount_draws_all_stars_one_way_and_optics_each_its_own():
    weather = Weather(3, lights=1)
    weather.veil = {0: lambda stars: sum(np.roll(stars, k, 1) for k in range(4)) / 4}  # 3 px of drift
    drift = night_table(weather)[0].measurement
    assert drift.theta_coherence > 0.9 and drift.eccentricity > 0.6
    assert all(troubled(1)[i].measurement.theta_coherence < 0.3 for i in (12, 13))
    assert [str(flag) for flag in examined(night_table(weather))[0].flags] == ["TRAIL"]


def test_truth_clouds_know_what_the_sky_did():
    night = troubled(1)
    assert "lit from below" in night[17].flags[0].words and night[17].flags[0].value == pytest.approx(0.5, abs=0.02)
    assert "lit" not in night[2].flags[0].words


def test_truth_flags_decide_nothing_unless_they_are_allowed_to():
    night = troubled(1)
    assert all(frame.approved for frame in night if frame.measurement is not None)
    locked = night.with_frames(f.mark(True) if i == 2 else f for i, f in enumerate(night))
    left = without_spoilt(locked)
    lost = [i for i, frame in enumerate(left) if not frame.approved]
    assert lost == [6, 8, 10, 11, 16, 17]  # 2 was locked by hand
    assert "mount jumped" in left[10].reasons[0]


AIRY = {i: through(10 ** (-0.4 * 0.28 * (1 / np.cos(np.radians(5 + 55 * i / 15)) - 1))) for i in range(16)}
ORDINARY = {
    "seeing": ({"fwhm_spread": 0.12}, {}),
    "setting": ({"fwhm_spread": 0.06}, {i: lambda p, i=i: brighter(1 + i / 60)(AIRY[i](p)) for i in range(16)}),
    "flip": ({"meridian_flip": True, "nebula_dn": 1500.0, "gradient": 0.25, "fwhm_spread": 0.06}, {}),
    "sparse": ({"stars": 45, "fwhm_spread": 0.06}, {}),
    "moonrise": ({"fwhm_spread": 0.06}, {i: brighter(1 + i / 16) for i in range(16)}),
    "guiding": (
        {"fwhm_spread": 0.06, "fwhm_px": 1.6}, {i: trailing(1 + 0.012 * (7 * i % 16), 0.4 * i) for i in range(16)}
    ),
}  # fmt: skip
"""Nights that are as nights are: seeing, a target that sets, a flip, few stars, a moon that rises, guiding."""


@pytest.mark.parametrize("kind", ORDINARY)
def test_truth_ordinary_nights_have_no_flags(kind):
    knobs, spoil = ORDINARY[kind]
    weather = Weather(103, lights=16, **knobs)
    weather.spoil = spoil
    assert [(f.source, str(flag)) for f in examined(night_table(weather), places_of) for flag in f.flags] == []


@pytest.mark.parametrize("count", [1, 2, 3])
def test_truth_few_frames_have_no_flags_but_what_is_plain(count):
    weather = Weather(2, lights=count, fwhm_spread=0.08)
    assert not any(frame.flags for frame in examined(night_table(weather), places_of))
    weather.spoil = {count - 1: through(0.5)} if count > 1 else {0: trailing(2.0)}
    night = examined(night_table(weather), places_of)
    assert [str(flag) for flag in night[count - 1].flags] == ["CLOUD" if count > 1 else "TRAIL"]
    assert not any(frame.flags for frame in night[: count - 1])


def test_truth_dew_is_no_cloud_where_the_altitude_is_known_and_a_note_where_not():
    weather = Weather(3, lights=16)
    weather.spoil = {i: through(1 - 0.05 * (i - 7)) for i in range(8, 16)}
    blind = night_table(weather, 5.0)
    known = blind.with_frames(replace(f, measurement=replace(f.measurement, air_mass=1.1)) for f in blind)
    codes = [{flag.code for flag in f.flags} for f in examined(known, places_of)]
    assert codes[:9] == 9 * [set()] and codes[11:] == 5 * [{"DEW"}]
    told = examined(blind, places_of)
    assert {flag.severity for f in told for flag in f.flags} <= {"note"}
    assert "altitude" in told[15].flags[0].words


def test_truth_frames_of_one_target_with_two_exposures_are_laid_together_and_compared_apart():
    weather, rng = Weather(1, lights=8), np.random.default_rng(1)
    weather.spoil = {1: through(0.5), 6: through(0.5)}
    long = [f for f in night_table(weather)][:4]
    meta = long[0].meta.with_(exposure_s=30.0)
    short = []
    for i in range(4, 8):
        image = rng.poisson(np.maximum(weather.frame(i), 0) / 4).astype(np.float32)
        short.append(subframe(image, f"short_{i}.fits", meta))
    night = examined(Subframes((*long, *short)), places_of)
    transparency = [frame.given["Transparency"] for frame in night]
    assert np.allclose(transparency, [1, 0.5, 1, 1, 1, 1, 0.5, 1], atol=0.035)
    assert [[str(flag) for flag in f.flags] for f in night] == [[], ["CLOUD"], [], [], [], [], ["CLOUD"], []]
    ratios = [frame.measurement.flux_ratio for frame in night]
    assert np.allclose(ratios[4] / ratios[0], 0.25, atol=0.01)  # in DN, as integration scales
    spelled = [replace(f, meta=meta.with_(object="M1", filter="Lum")) for f in short]
    again = examined(Subframes((*long, *spelled)), places_of)
    assert [frame.measurement.flux_ratio for frame in again] == ratios


def test_truth_a_single_frame_has_its_own_light_and_no_transparency():
    """Found by `tutorial+noise`, which left out the only frame of a filter."""
    weather = Weather(1, lights=3)
    two, other = night_table(weather)[:2], night_table(weather)[2]
    alone = replace(other, meta=other.meta.with_(filter="R"))
    night = examined(Subframes((*two, alone)), places_of).weighed_by("tutorial+noise")
    assert night[2].approved and night[2].weight == pytest.approx(100) and not night[2].flags
    assert np.isnan(night[2].given["Transparency"])


def test_truth_without_matching_stars_are_counted():
    weather = Weather(4, lights=6)
    weather.spoil = {2: through(0.2)}
    night = examined(night_table(weather))
    assert [[str(flag) for flag in f.flags] for f in night] == [[], [], ["FEWSTARS"], [], [], []]
    assert np.isnan(night[0].given["Transparency"])


def test_truth_copies_trails_and_saturation():
    weather = Weather(5, lights=6, trails=1)
    night = night_table(weather)
    crossed = [i for i in range(6) if weather.pointing(i).trail]
    white = replace(night[1], measurement=replace(night[1].measurement, saturated_fraction=0.2))
    again = replace(night[2], source="copy.fits")
    found = examined(night.with_frames((night[0], white, *night[2:], again)), places_of)
    codes = [[str(flag) for flag in f.flags] for f in found]
    assert "CLIPPED" in codes[1] and "DUPLICATE" in codes[6] and "light_002.fits" in found[6].flags[-1].words
    assert [i for i in range(6) if "SATELLITE" in codes[i]] == crossed
    assert all(flag.severity == "note" for f in found for flag in f.flags if flag.code == "SATELLITE")


def test_truth_a_frame_that_was_not_measured_keeps_its_reason_and_harms_nobody():
    weather = Weather(6, lights=5)
    night = night_table(weather)
    blank = subframe(np.full((480, 600), 7.0, np.float32), "cap.fits", Meta())
    found = examined(night.with_frames((*night, blank)), places_of)
    assert blank.measurement is None and found[5].reasons == blank.reasons and not found[5].flags
    assert not any(frame.flags for frame in found)
    assert examined(Subframes(()), places_of).frames == () and len(RULES) == 15


def test_truth_a_night_that_was_mostly_out_of_focus_has_its_sharp_frames():
    weather = Weather(1, lights=12)
    weather.veil = {i + 3: doughnuts(radius_px) for i, radius_px in enumerate((3.5, 4.0, 4.5, 5.0, 6.0, 8.0, 10.0))}
    night = examined(night_table(weather), places_of)
    for i, frame in enumerate(night):
        if frame.measurement is None:  # its rings are no stars
            assert i == 9 and "focus?" in frame.reasons[0]
            continue
        assert {flag.code for flag in frame.flags} - {"FEWSTARS"} == ({"FOCUS"} if 3 <= i <= 9 else set()), i
    clear = [frame.given["Transparency"] for frame in night if frame.measurement and not frame.flags]
    assert np.array(clear) == pytest.approx(1, abs=0.04)


def test_truth_frames_of_another_binning_are_no_odd_ones():
    weather = Weather(1, lights=8)
    frames = [*night_table(weather)]
    for i in range(4, 8):
        image = weather.frame(i).reshape(240, 2, 300, 2).sum(axis=(1, 3))
        frames[i] = subframe(image, f"binned_{i}.fits", frames[i].meta.with_(binning=(2, 2)))
    assert frames[4].measurement.fwhm_px < 0.6 * frames[0].measurement.fwhm_px
    night = examined(Subframes(tuple(frames)), places_of)
    assert not any(frame.flags for frame in night)
    assert np.array([f.given["Transparency"] for f in night]) == pytest.approx(1, abs=0.04)


@pytest.mark.parametrize("gain_e", [None, 0.78])
def test_truth_a_level_without_the_noise_of_light_is_no_moon(gain_e):
    """Bias taken off all but one; another in moonlight: the level of both is a multiple of the usual."""
    weather = Weather(7, lights=7)
    weather.spoil = {5: brighter(4.0)}
    frames = [*night_table(weather, gain_e_per_dn=gain_e)]
    raised = weather.frame(2) + np.float32(4 * frames[2].measurement.location_dn)
    frames[2] = subframe(raised, frames[2].source, frames[2].meta)
    told = [[(str(flag), flag.metric) for flag in f.flags] for f in examined(Subframes(tuple(frames)), places_of)]
    assert told[2] == [("META", "level beside usual")] and [code for code, _ in told[5]] == ["MOON"]
    assert not any(flags for i, flags in enumerate(told) if i not in (2, 5))


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """Files of a night with a cloud and a bad trail."""
    weather = Weather(1, lights=8, rows=320, cols=400, stars=250)
    weather.spoil = {2: through(0.45), 5: trailing(2.0)}
    return write_night(weather, tmp_path_factory.mktemp("night"))


def test_surface_flags_are_told_and_leave_frames_out_only_when_asked(spoilt, tmp_path):
    told = [*choose_files(SubframeSelector(), spoilt, table=tmp_path / "night.csv")]
    night = told[-1].result
    assert {i: str(f.flags[0]) for i, f in enumerate(night) if f.flags} == {2: "CLOUD", 5: "TRAIL"}
    assert all(frame.approved for frame in night) and night.column("Transparency")[2] == pytest.approx(0.45, abs=0.02)
    words = [event.message for event in told if event.message and "grave" in event.message]
    assert len(words) == 1 and "2 of 8 frames" in words[0] and "CLOUD 1, TRAIL 1" in words[0]
    assert "CLOUD" in (tmp_path / "night.csv").read_text()
    asked = [*choose_files(SubframeSelector(flags="reject"), spoilt, keep=["light_005.fits"])]
    assert [i for i, f in enumerate(asked[-1].result) if not f.approved] == [2]
    assert not any("grave" in (event.message or "") for event in asked)


def test_surface_formulas_know_transparency(spoilt):
    *_, done = choose_files(SubframeSelector(approve="Transparency > 0.8", weight="PSFScaleSNR"), spoilt)
    assert [i for i, f in enumerate(done.result) if not f.approved] == [2]
    weights = done.result.weights
    assert weights[2] / np.median(weights) == pytest.approx(0.2, abs=0.03)


def test_surface_a_run_leaves_out_what_grave_flags_concern_when_asked(spoilt, tmp_path):
    recipe = Recipe(select=SubframeSelector(flags="reject"), workers="serial")
    *_, done = run(spoilt[0].parent, tmp_path, recipe)
    lost = {
        row.path[-14:]: row.reason for row in done.result.frames if row.kind == "light" and row.status == "rejected"
    }
    assert lost.keys() == {"light_002.fits", "light_005.fits"} and "clear sky" in lost["light_002.fits"]
