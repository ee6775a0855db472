"""Which frames are one group, and what groups are called."""

from datetime import datetime, timedelta
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from paper import frames, only, planned, told
from sky import CALM, EVEN, SMALL, written

from masterlight.core.frame import Meta
from masterlight.night.products import header
from masterlight.session.groups import APART, Group, group_frames
from masterlight.session.planner import plan
from masterlight.session.scan import scan


def sizes(kind, *sets, **how):
    return [len(group.frames) for group in group_frames(kind, [frame for part in sets for frame in part], **how)]


def at(frame_list, *times, minutes=1.0, folder=""):
    """Frames at other times: one after the other from the first on, or none at all."""
    out = []
    for i, frame in enumerate(frame_list):
        time = datetime.fromisoformat(times[0]) + timedelta(minutes=minutes * i) if times else None
        meta = frame.meta.with_(time=time and time.isoformat(timespec="milliseconds"))
        out.append(type(frame)(source=str(Path(folder, frame.source)), meta=meta))
    return out


def with_each(frame_list, **values):
    """Frames with one value each."""
    pairs = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return [type(f)(source=f.source, meta=f.meta.with_(**pair)) for f, pair in zip(frame_list, pairs, strict=True)]


def titles(found, kind):
    return [group.title for group in found.groups if group.kind == kind]


# the angle of the rotator


def test_truth_lights_take_the_flats_of_their_angle():
    found = planned(
        *(frames(kind, 6, rotator_deg=angle) for angle in (101.9, 191.9) for kind in ("light", "flat")), frames("bias")
    )
    (job,) = found.lights
    assert [(part.frames[0].meta.rotator_deg, part.flat.frames[0].meta.rotator_deg) for part in job.sets] == [
        (101.9, 101.9),
        (191.9, 191.9),
    ]
    assert all(len(part.frames) == len(part.flat.frames) == 6 for part in job.sets)
    assert "the rotator stood" not in told(found)
    assert [" ".join(m.words) for m in found.masters if m.kind == "flat"] == [
        "flat Ha gain100 rotator102",
        "flat Ha gain100 rotator192",
    ]
    assert "flats Ha 2 s -10 °C gain 100 rotator 102°" in titles(found, "flat")
    (other,) = next(choice for choice in found.choices if choice.need == "flat").candidates[1:]
    assert other.reason.startswith("the rotator stood at 191.9° for the flats and at 101.9° for the lights")


def test_truth_dust_of_either_angle_goes_with_its_own_flats(tmp_path):
    """Half of a night with the camera turned by half a circle before the dust: pixels of either half come out even."""
    field = {"stars": 5, "nebula_dn": 0.0, "gradient": 0.0, "sky_dn": 3000.0, "rows": 120, "cols": 160}
    truth = written(**CALM, **EVEN | {"dust": 6}, **SMALL | field | {"flats": 6, "darks": 0})
    for path, angle in product([path for kind in ("light", "flat", "bias") for path in truth.paths(kind)], (10, 190)):
        with fits.open(path) as hdus:
            hdus[0].header["ROTATANG"] = angle
            hdus[0].data = hdus[0].data[::-1, ::-1] if angle > 100 else hdus[0].data
            hdus.writeto(tmp_path / f"{angle}_{Path(path).name}")
    (job,) = plan(scan(tmp_path)).lights
    level, shadow = truth.night.bias_dn, truth.flat("L") < 0.95
    for part, dust in zip(job.sets, (shadow, shadow[::-1, ::-1]), strict=True):
        flat = np.mean([np.asarray(frame) - level for frame in part.flat.frames], axis=0)
        sky = np.median([np.asarray(frame) - level for frame in part.frames], axis=0)
        assert len(part.frames) == len(part.flat.frames) == 6 and shadow.sum() > 20
        assert np.median(sky[dust]) < 0.96 * np.median(sky[~dust])
        assert np.median((sky / flat)[dust]) == pytest.approx(np.median((sky / flat)[~dust]), rel=0.01)


# how flats were read out


@pytest.mark.parametrize("changes", [{"gain": 0.0}, {"offset": 10.0}, {"readout_mode": "fast"}])
def test_truth_flats_read_out_otherwise_serve_with_their_own_bias_level_taken_off(changes):
    """A flat is divided by its own brightness: what is left of it is the optics, at any gain."""
    lights = frames("light", readout_mode="slow"), frames("dark", readout_mode="slow")
    of_flats = {"readout_mode": "slow"} | changes
    found = planned(*lights, frames("flat", **of_flats), frames("flatdark", **of_flats))
    part = only(found)
    assert part.flat is not None and part.flat.dark is not None and "no flat" not in told(found)
    (choice,) = [one for one in found.choices if one.need == "flat"]
    assert any(word.startswith(next(iter(changes)).replace("_", "")[:4]) for word in choice.apart)
    both = planned(
        *lights,
        frames("flat", **of_flats),
        frames("flatdark", **of_flats),
        frames("flat", readout_mode="slow", night=9),
        frames("flatdark", readout_mode="slow"),
    )
    assert only(both).flat.frames[0].meta.time.startswith("2024-01-09"), "those read out as the lights are better"
    bare = planned(*lights, frames("flat", **of_flats), frames("flatdark", readout_mode="slow"))
    assert only(bare).flat is None, "its level is not that of the lights"


def test_truth_a_ready_made_flat_with_its_bias_level_needs_the_read_out_of_the_lights():
    ready = frames("flat", 1, gain=0.0, is_master=True, contains_bias=True)
    assert only(planned(frames("light"), frames("bias"), ready)).flat is None


# the telescope


def test_truth_twin_telescopes_with_one_kind_of_camera_have_flats_of_their_own():
    """Pooled, the flats of both would correct neither."""
    pair = [{"telescope": "Newton 8/5", "focal_mm": 1000.0}, {"telescope": "Lens", "focal_mm": 135.0}]
    found = planned(*(frames(kind, **optics) for optics in pair for kind in ("light", "flat")), frames("bias"))
    (job,) = found.lights
    through = [[part.frames[0].meta.telescope, part.flat.frames[0].meta.telescope] for part in job.sets]
    assert sorted(through) == [["Lens", "Lens"], ["Newton 8/5", "Newton 8/5"]]
    assert all(len(part.frames) == len(part.flat.frames) for part in job.sets)
    assert "the telescope" not in told(found) and "the focal length" not in told(found)


@pytest.mark.parametrize(
    "optics, expected",
    [
        ([{"telescope": "Newton 8"}, {"telescope": "NEWTON-8"}], [6]),
        ([{"telescope": "Newton"}, {}], [6]),
        ([{"telescope": "Newton"}, {"telescope": "Lens"}], [3, 3]),
        ([{"focal_mm": 530.0}, {"focal_mm": 541.3}], [6]),  # as a plate solution tells it
        ([{"focal_mm": 530.0}, {"focal_mm": 371.0}], [3, 3]),  # with a reducer
        ([{"focal_mm": 530.0}, {"focal_mm": 0.0}], [6]),
        ([{"telescope": "Newton"}, {"telescope": "Lens"}, {}], [3, 3, 3]),
    ],
)
def test_truth_flats_are_split_by_what_they_saw_through(optics, expected):
    assert sizes("flat", *(frames("flat", 3, **one) for one in optics)) == expected
    assert sizes("dark", *(frames("dark", 3, **one) for one in optics)) == [3 * len(optics)]


def test_truth_flats_through_another_telescope_are_better_than_none_and_it_is_said():
    found = planned(
        frames("light", telescope="Newton", focal_mm=800.0), frames("flat", telescope="Lens"), frames("bias")
    )
    assert only(found).flat is not None
    assert "the telescope is told as Lens for the flats and as Newton for the lights" in told(found)
    found = planned(frames("light", focal_mm=530.0), frames("flat", focal_mm=371.0), frames("bias"))
    assert "the focal length was 371 mm for the flats and 530 mm for the lights" in told(found)


@pytest.mark.parametrize(
    "angles, expected",
    [((359.5, 0.5), [6]), ((10.0, 190.0), [3, 3]), ((0.0, 360.0), [6]), ((-90.0, 270.0), [6]), ((20.0, 23.0), [3, 3])],
)
def test_truth_angles_around_the_circle(angles, expected):
    found = [frame for angle in angles for frame in frames("flat", 3, rotator_deg=angle)]
    assert sizes("flat", found) == expected
    assert 0 <= Group("flat", tuple(found)).rotator_deg < 360


def test_truth_the_tolerance_of_the_angle_can_be_told():
    pair = frames("flat", 3, rotator_deg=20.0), frames("flat", 3, rotator_deg=23.0)
    assert sizes("flat", *pair, rotator_deg=5.0) == [6] and sizes("flat", *pair) == [3, 3]


def test_truth_flats_of_another_angle_are_better_than_none_and_it_is_said():
    found = planned(frames("light", rotator_deg=10.0), frames("flat", rotator_deg=190.0), frames("bias"))
    assert only(found).flat is not None
    assert "the rotator stood at 190.0° for the flats and at 10.0° for the lights" in told(found)
    assert "more than 2° apart" in told(found)
    two = frames("flat", rotator_deg=10.0), frames("flat", rotator_deg=100.0)
    silent = planned(frames("light"), *two, frames("bias"))
    assert "the lights do not tell the angle of the rotator, and there are flats of 2" in told(silent)
    old = planned(
        frames("light", rotator_deg=10.0, night=20), frames("flat", rotator_deg=190.0, night=20),
        frames("flat", rotator_deg=10.5), frames("bias"),
    )  # fmt: skip
    assert only(old).flat.frames[0].meta.rotator_deg == 10.5, "older flats of the same angle are"


@pytest.mark.parametrize("own", [{"count": 1, "is_master": True}, {"count": 2}], ids=["a master", "two flats"])
def test_truth_many_flats_of_another_angle_do_not_take_the_place_of_those_of_the_lights(own):
    lights, many = frames("light", rotator_deg=10.0, night=3), frames("flat", 20, rotator_deg=190.0, night=3)
    found = planned(lights, many, frames("flat", **own, rotator_deg=10.0, night=2), frames("bias"))
    flat = only(found).flat
    assert (flat.meta if hasattr(flat, "meta") else flat.group.meta).rotator_deg == 10.0
    (reason,) = [c.reason for choice in found.choices if choice.need == "flat" for c in choice.candidates if c.reason]
    assert reason.startswith("the rotator stood at 190.0° for the flats and at 10.0° for the lights")
    assert "the rotator stood" not in told(found)


def test_truth_a_master_flat_tells_its_angle():
    metas = [frame.meta for angle in (359.5, 0.5, 0.0) for frame in frames("flat", 1, rotator_deg=angle)]
    told = {name: value for name, value, _ in header(metas[0], metas, "flat")}
    assert Meta.from_header(told, shape=(4, 4)).rotator_deg == pytest.approx(0.0, abs=1e-3)
    assert "ROTATANG" not in {row[0] for row in header(metas[0], metas, "light")}


def test_truth_a_frame_that_does_not_tell_its_angle_is_no_set_of_its_own():
    assert sizes("flat", frames("flat", 3, rotator_deg=10.0), frames("flat", 2)) == [5]
    three = (*(frames("flat", 3, rotator_deg=angle) for angle in (10.0, 90.0)), frames("flat", 2))
    assert sorted(sizes("flat", *three)) == [2, 3, 3], "it may belong to either"


@pytest.mark.parametrize(
    "cards, angle",
    [
        ({"ROTATANG": 101.9, "POSANGLE": 12.0}, 101.9), ({"ROTATOR": 0.0}, 0.0), ({"OBJCTROT": 55.0}, None),
        ({"ANGLE": 258.37}, None), ({"POSANGLE": 258.37}, 78.37), ({"POSANGLE": 78.37}, 78.37), ({}, None),
    ],
)  # fmt: skip
def test_truth_which_keyword_is_the_angle_of_the_rotator(cards, angle):
    """The other side of a mount turns the sky by half a circle, not the camera on its rotator."""
    assert Meta.from_header(cards, shape=(4, 4)).rotator_deg == (angle and pytest.approx(angle))


# temperature


def test_truth_flats_of_two_temperatures_are_two_sets():
    found = planned(
        frames("light"), frames("flat", temperature_c=-10.0), frames("flat", temperature_c=24.0), frames("bias"),
        frames("flatdark", temperature_c=24.0),
    )  # fmt: skip
    assert only(found).flat.frames[0].meta.temperature_c == -10.0
    assert titles(found, "flat") == ["flats Ha 2 s -10 °C gain 100", "flats Ha 2 s 24 °C gain 100"]
    warm = planned(frames("light"), frames("flat", temperature_c=24.0), frames("bias", temperature_c=24.0))
    assert only(warm).flat is not None and "temperature" not in told(warm), "a flat is divided by its own level"
    assert "temperature 24.0 °C, the lights have -10.0 °C" in warm.text(), "yet the plan tells it"


def test_truth_a_master_of_either_temperature_has_its_own_name():
    lights = frames("light"), at(frames("light", night=8), "2024-01-08T22:00:00")
    flats = frames("flat"), frames("flat", night=8, temperature_c=24.0)
    made = [" ".join(m.words) for m in planned(*lights, *flats, frames("bias")).masters if m.kind == "flat"]
    assert made == ["flat Ha -10C gain100", "flat Ha 24C gain100"]


def test_truth_flats_that_drift_are_one_set():
    """Thirty flats of a dome, two degrees from the first to the last; an uncooled camera through eight degrees."""
    for span in (2.0, 8.0):
        drift = [20.0 + span * i / 29 for i in range(30)]
        assert sizes("flat", with_each(frames("flat", 30), temperature_c=drift)) == [30]


def test_truth_temperatures_told_for_some_frames_only():
    for kind in ("light", "dark", "flat", "bias"):
        silent = frames(kind, 3, temperature_c=None)
        assert sizes(kind, frames(kind, 4), silent) == [7], kind
        assert sorted(sizes(kind, frames(kind, 4), frames(kind, 5, temperature_c=15.0), silent)) == [3, 4, 5], kind


@pytest.mark.parametrize("kind", ["dark", "bias", "flat", "light", "flatdark"])
def test_truth_one_wild_temperature_is_a_set_of_one_and_is_told(kind):
    wild = with_each(frames(kind, 9), temperature_c=[-10.0] * 4 + [31.0] + [-10.2] * 4)
    found = planned(frames("light"), wild) if kind != "light" else planned(wild)
    assert sorted(len(g.frames) for g in found.groups if g.kind == kind) in ([1, 8], [1, 5, 8], [1, 13])
    assert f"{Path(wild[4].source).name}: its temperature is told as 31 °C, that of" in told(found)
    assert told(found).count("told as") == 1


# nights and folders


def test_truth_a_night_across_midnight_is_one():
    lights = at(frames("light", 40), "2024-01-01T20:00:00", minutes=15)
    flats = at(frames("flat", 10), "2024-01-01T17:30:00"), at(frames("flat", 10, name="dawn"), "2024-01-02T06:30:00")
    found = planned(lights, *flats, frames("bias"))
    assert len(only(found).frames) == 40 and len(only(found).flat.frames) == 20
    assert titles(found, "light") == ["lights Ha 300 s -10 °C gain 100"], "no date where there is one night"


@pytest.mark.parametrize("hours", [0, 5, 11, 17])
def test_truth_lights_of_two_nights_take_their_own_flats(hours):
    """Flats at dusk of both, and at dawn of the first: between dawn and dusk lie fewer hours than within a night."""
    away = timedelta(hours=hours)  # wherever on the Earth

    def on(kind, name, when, count=5, minutes=1.0):
        time = (datetime.fromisoformat(when) + away).isoformat()
        return at(frames(kind, count, name=name), time, minutes=minutes)

    first = on("light", "a", "2024-01-01T19:00:00", 40, 15.0), on("flat", "a", "2024-01-01T17:30:00")
    dawn = on("flat", "b", "2024-01-02T06:30:00")
    second = on("light", "c", "2024-01-02T19:00:00", 40, 15.0), on("flat", "c", "2024-01-02T17:35:00")
    found = planned(*first, dawn, *second, frames("bias"))
    (job,) = found.lights
    names = [{f.source.split("_")[-3] for f in (*part.frames, *part.flat.frames)} for part in job.sets]
    assert names == [{"a", "b"}, {"c"}] and [len(part.flat.frames) for part in job.sets] == [10, 5]
    assert len({group.title for group in found.groups}) == len(found.groups)
    assert len({" ".join(m.words) for m in found.masters}) == 3


def test_truth_a_clock_that_is_put_right_within_a_night_splits_no_flats():
    """Frames dated in local time, then in UTC ten hours earlier: the flats in between belong to both."""
    clocks = ("1", "2024-01-01T20:00:00"), ("2", "2024-01-01T12:00:00")
    lights = [at(frames("light", 8, name=name), time) for name, time in clocks]
    found = planned(*lights, at(frames("flat"), "2024-01-01T22:30:00"), frames("bias"))
    assert len(only(found).frames) == 16 and len(only(found).flat.frames) == 5


@pytest.mark.parametrize(
    "cards, time, noted",
    [
        ({"DATE-OBS": "2024-01-02T03:00:00", "DATE-LOC": "2024-01-01T20:00:00"}, "2024-01-02T03:00:00.000", False),
        ({"DATE-LOC": "2024-01-01T20:00:00"}, "2024-01-01T20:00:00.000", True),
        ({"DATE-BEG": "2024-01-02T03:00:00", "DATE-AVG": "2024-01-02T03:01:00"}, "2024-01-02T03:00:00.000", False),
        ({"DATE-AVG": "2024-01-02T03:01:00"}, "2024-01-02T03:01:00.000", False),
        ({"DATE-OBS": "soon", "DATE-LOC": "later"}, None, False), ({}, None, False),
    ],
)  # fmt: skip
def test_truth_local_time_stands_in_where_nothing_else_tells_the_night(cards, time, noted):
    meta = Meta.from_header(cards, shape=(4, 4))
    assert meta.time == time and any("local time" in note for note in meta.notes) is noted


def test_truth_folders_of_flats_without_dates_are_sets():
    flats = [at(frames("flat", name=night), folder=f"{night}/flats") for night in ("mon", "tue")]
    lights = [at(frames("light", name=night), folder=f"{night}/lights") for night in ("mon", "tue")]
    found = planned(*flats, *lights, frames("bias"))
    (job,) = found.lights
    for part in job.sets:
        assert {f.source[:3] for f in part.frames} == {f.source[:3] for f in part.flat.frames}
    assert [title.rpartition(" in ")[2] for title in titles(found, "flat")] == ["mon/flats", "tue/flats"]
    assert {m.words[-1] for m in found.masters if m.kind == "flat"} == {"mon/flats", "tue/flats"}


def test_truth_of_two_sets_that_nothing_tells_apart_one_is_taken_and_it_is_said():
    flats = [at(frames("flat", name=night), folder=f"{night}/flats") for night in ("mon", "tue")]
    found = planned(*flats, at(frames("light"), folder="wed/lights"), frames("bias"))
    assert "5 flats Ha 2 s -10 °C gain 100 in tue/flats would serve as well" in told(found)
    one = planned(flats[0], at(frames("light"), folder="mon/lights"), frames("bias"), at(frames("dark"), folder="lib"))
    assert one.warnings == () and "folder" not in one.text()


def test_truth_frames_without_a_date_belong_to_the_dated_ones_of_their_folder():
    folder = at(frames("flat"), "2024-01-01T18:00:00", folder="flats")
    assert sizes("flat", folder, at(frames("flat", 2, name="silent"), folder="flats")) == [7]
    assert sizes("flat", folder, at(frames("flat", 2, name="silent"), folder="other")) == [5, 2]
    each = [frame for i in range(6) for frame in at(frames("flat", 1, name=f"{i}"), folder=f"exposure {i}")]
    assert sizes("flat", each) == [6], "a folder for each frame tells nothing"


def test_truth_flats_of_no_night_are_split_by_their_dates():
    lights = frames("light", night=20)
    two = at(frames("flat"), "2024-01-01T18:00:00"), at(frames("flat", name="2"), "2024-01-04T18:00:00")
    assert sizes("flat", *two, others=lights) == [5, 5] == sizes("flat", *two)


def test_truth_nights_of_lights_that_share_their_flats_are_one_group():
    nights = [at(frames("light", name=f"{day}"), f"2024-01-{day:02}T21:00:00") for day in range(1, 9)]
    one = planned(*nights, frames("flat", night=4), frames("bias"))
    assert titles(one, "light") == ["lights Ha 300 s -10 °C gain 100"] and len(only(one).frames) == 40
    other = planned(*nights, frames("flat", night=2), frames("flat", night=7, filter="OIII"), frames("bias"))
    assert len(titles(other, "light")) == 1, "flats of another filter split nothing"
    two = planned(*nights, frames("flat", night=2), frames("flat", night=7), frames("bias"))
    assert [len(part.frames) for part in two.lights[0].sets] == [20, 20]
    assert [title.split()[-1] for title in titles(two, "light")] == ["2024-01-01", "2024-01-05"]
    years = frames("light", name="old"), at(frames("light", name="new"), "2026-01-01T21:00:00")
    library = frames("dark", 1, is_master=True, frames=20), at(frames("dark", 1, name="n", is_master=True, frames=20),
                                                               "2025-12-01T00:00:00")  # fmt: skip
    (job,) = planned(*years, *library).lights
    assert [part.dark.meta.time[:4] for part in job.sets] == ["2024", "2025"]


# names


def test_truth_labels_tell_groups_apart():
    for changes in (
        {"offset": 0.0}, {"camera": "QHY600M"}, {"readout_mode": "fast"}, {"origin_px": (8, 0)}, {"unit": "electron"},
        {"shape": (20, 30)}, {"pattern": "RGGB"}, {"calibration": "B"}, {"rotator_deg": 45.0},
        {"camera": "QHY600M", "rotator_deg": 45.0},
    ):  # fmt: skip
        later = at(frames("light", **({"rotator_deg": 0.0} | changes)), "2024-01-01T22:30:00")
        found = planned(frames("light", rotator_deg=0.0), later)
        both = titles(found, "light")
        assert len(set(both)) == 2, changes
    assert planned(frames("light"), frames("dark")).groups[0].title == "lights Ha 300 s -10 °C gain 100"


@pytest.mark.parametrize("seed", range(20))
def test_truth_groups_and_masters_of_any_night_have_names_of_their_own(seed):
    rng = np.random.default_rng(seed)
    values = {
        "rotator_deg": (0.0, 90.0, 181.0, None), "temperature_c": (-10.0, 24.0, None), "offset": (10.0, None),
        "gain": (0.0, None), "camera": ("A", "B", None), "shape": ((20, 30),), "calibration": ("", "B"),
    }  # fmt: skip
    sets = []
    for k in range(rng.integers(2, 7)):
        changed = {name: some[rng.integers(len(some))] for name, some in values.items() if rng.random() < 0.3}
        for kind in ("light", "flat", "dark", "bias", "flatdark"):
            count, night = (int(value) for value in rng.integers(1, 6, 2))
            sets += [frames(kind, count, night=night, name=f"{k}", **changed)] if rng.random() < 0.7 else []
    found = planned(frames("light"), *sets)
    assert len({group.title for group in found.groups if not group.is_master}) == len(found.groups)
    assert len({" ".join(job.words) for job in found.masters}) == len(found.masters)
    assert max(map(len, found.warnings), default=0) <= 300


def test_truth_flats_of_three_cameras_serve_their_own():
    cameras = "ZWO ASI2600MM Pro", "QHY600M", "Atik 383L+"
    found = planned(
        *(frames("flat", camera=camera) for camera in cameras), frames("light", camera=cameras[1]),
        *(frames("bias", camera=camera) for camera in cameras),
    )  # fmt: skip
    assert only(found).flat.frames[0].meta.camera == "QHY600M"
    assert [g.labels[-1] for g in found.groups if g.kind == "flat"] == list(cameras)
    assert "camera ZWO ASI2600MM Pro, the lights have QHY600M" in found.text()


def test_truth_ready_made_masters_stay_apart_from_raw_frames():
    master = frames("flat", 1, is_master=True, frames=20, contains_bias=False)
    found = group_frames("flat", frames("flat") + master)
    assert [(g.is_master, len(g.frames)) for g in found] == [(True, 1), (False, 5)]
    assert "raw" not in str(found[0]) and str(found[0]).startswith("the master ")


def test_house_every_label_that_tells_apart_is_short():
    group = Group("flat", tuple(frames("flat", rotator_deg=12.0, readout_mode="fast")))
    assert all(len(words(group) or "") < 60 for words in APART.values())
