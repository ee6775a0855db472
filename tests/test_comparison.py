"""Frames of a group beside each other."""

from dataclasses import replace

import numpy as np
import pytest
from weather import Weather, brighter, leaning, night_table, subframe

from masterlight.alignment.overlaid import places_of
from masterlight.subframes.choice.comparison import Group, beside_usual


def test_truth_of_many_the_median_is_usual_and_of_few_the_best():
    ratio, odd = beside_usual(np.array([2.0, 2.02, 1.98, 2.0, 3.0, np.nan, -1.0]), 0.03)
    assert ratio[4] == pytest.approx(1.5) and odd[4] == pytest.approx(np.log(1.5) / 0.03) and abs(odd[:4]).max() < 1
    assert np.isnan(ratio[5:]).all()
    ratio, odd = beside_usual(np.array([2.0, 3.0, np.nan]), 0.03)
    assert ratio[:2] == pytest.approx([1, 1.5]) and odd[0] == 0 and odd[1] == np.inf
    assert np.isnan(beside_usual(np.full(3, np.nan), 0.03)[0]).all()


def test_truth_the_sky_leans_the_same_way_after_a_flip():
    weather = Weather(1, lights=8, meridian_flip=True, gradient=0.2, nebula_dn=0.0)
    weather.spoil = {2: leaning(0.3, 0.0)}
    group = Group.of(night_table(weather).frames, places_of)
    others = np.delete(group.leaning, 2, axis=0)
    assert np.abs(others).max() < 0.05
    turned = -1 if group.places[2][0, 0] < 0 else 1
    assert turned * group.leaning[2, 0] == pytest.approx(0.6, abs=0.06) and abs(group.leaning[2, 1]) < 0.06


def test_truth_a_group_without_places_still_knows_its_sky_and_its_copies():
    weather = Weather(2, lights=6)
    weather.spoil = {3: brighter(2.0)}
    frames = night_table(weather).frames
    group = Group.of((*frames, replace(frames[1], source="again.fits")))
    assert group.brightness[0][3] == pytest.approx(2, abs=0.15) and group.copies == {6: 1}
    assert np.isnan(group.transparency).all() and np.isnan(group.centres).all() and group.usual_scatter == 0
    part = group.part([3, 6])
    assert part.figures("location_dn").tolist() == [
        frames[3].measurement.location_dn,
        frames[1].measurement.location_dn,
    ]


def test_truth_a_camera_of_another_gain_is_no_cloud():
    """Half of the DN for as many electrons, as the headers tell."""
    weather = Weather(3, lights=6)
    frames = night_table(weather, gain_e_per_dn=1.0).frames
    halved = subframe(weather.frame(2) / 2, "halved.fits", frames[2].meta.with_(gain_e_per_dn=2.0))
    group = Group.of((*frames[:2], halved, *frames[3:]), places_of)
    assert group.transparency[2] == pytest.approx(Group.of(frames, places_of).transparency[2], rel=0.02)
    assert group.light[2].ratio / group.light[1].ratio == pytest.approx(0.5, rel=0.1)


def test_truth_how_far_a_binned_frame_points_beside_whole_ones():
    """A tenth of the field is a tenth in pixels of either size."""
    frames = [replace(f, stars=replace(f.stars, shape=(240, 300))) for f in night_table(Weather(2, lights=3)).frames]
    at = [np.array([[0.5, 0, -dx / 2], [0, 0.5, 0], [0, 0, 1]]) for dx in (0.0, 0.0, 60.0)]
    group = replace(Group.of(frames), places=tuple(at))
    assert group.centres[2] == pytest.approx([0.1, 0], abs=1e-9)


def test_truth_a_pedestal_is_no_sky():
    frames = night_table(Weather(2, lights=5)).frames
    raised = replace(
        frames[0], meta=frames[0].meta.with_(pedestal_dn=500.0),
        measurement=replace(frames[0].measurement, location_dn=frames[0].measurement.location_dn + 500),
    )  # fmt: skip
    assert Group.of((raised, *frames[1:])).sky[0] == pytest.approx(Group.of(frames).sky[0])
