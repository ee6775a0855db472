"""The way of a comet, by places that were given or measured."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from masterlight import CometAlignment
from masterlight.alignment.comet.motion import Motion, Seen
from masterlight.core.headers.values import middle_s
from masterlight.doors.hand.align import document_of

START_S, COUNT, START = 1.7e9, 12, "2025-10-18T20:00:00"


def places(bend=0.0, error=0.1, seed=3):
    """Times (s), and places (n, 2) px of a comet of (50, -20) px/h, each off by so much."""
    times = START_S + np.arange(COUNT) * 900.0
    h = (times - times[0]) / 3600
    xy = np.stack([100 + 50 * h, 80 - 20 * h + bend * h * h], axis=-1)
    return times, xy + np.random.default_rng(seed).normal(0, error, xy.shape), xy


def seen(times, xy, error=0.1):
    return [Seen(t, x, y, error) for t, (x, y) in zip(times, xy, strict=True)]


def test_truth_two_places_or_one_and_a_rate_tell_the_way():
    times, _, xy = places()
    two = Motion.through(times[[0, -1]], xy[[0, -1]], times[4])
    one = Motion.through(times[:1], xy[:1], times[4], (50.0, -20.0))
    for motion in (two, one):
        assert [motion.at(t) for t in times] == [pytest.approx(at) for at in xy]
        assert motion.shift(times[4]) == pytest.approx(0)
        assert (3.0, 4.0) + motion.shift(times[7]) == pytest.approx((3.0, 4.0) + xy[7] - xy[4])
    free = Motion.through([], [], times[4], (50.0, -20.0))
    assert not free.is_placed and free.shift(times[7]) == pytest.approx(xy[7] - xy[4])


@pytest.mark.parametrize(("bend", "terms"), [(0.0, 2), (2.0, 3)])
def test_truth_measured_places_tell_it_better_and_a_curve_is_taken_where_they_speak_for_it(bend, terms):
    times, off, xy = places(bend)
    off[3] += 6.0, -4.0  # a star
    given = Motion.through(times[[0, -1]], xy[[0, -1]] + 1.5, times[4])
    found = CometAlignment().refined(given, seen(times, off))
    assert len(found.terms) == terms and COUNT - 2 <= found.measured < COUNT and not found.note
    assert found.rms_px < 0.25
    assert max(np.hypot(*(found.at(t) - at)) for t, at in zip(times, xy, strict=True)) < 0.2


def test_truth_of_a_thousand_straight_ways_hardly_one_is_bent():
    bent = 0
    for seed in range(300):
        times, off, xy = places(seed=seed)
        bent += (
            len(CometAlignment().refined(Motion.through(times[[0, -1]], xy[[0, -1]], START_S), seen(times, off)).terms)
            > 2
        )
    assert bent <= 3


def test_surface_a_way_can_be_named():
    times, off, xy = places(2.0)
    given = Motion.through(times[[0, -1]], xy[[0, -1]], times[4])
    assert len(CometAlignment(way="line").refined(given, seen(times, off)).terms) == 2
    times, off, xy = places(0.0)
    assert len(CometAlignment(way="curve").refined(given, seen(times, off)).terms) == 3


def test_truth_places_that_agree_on_nothing_leave_the_way_as_given():
    times, _, xy = places()
    given = Motion.through(times[[0, -1]], xy[[0, -1]], times[4])
    wild = seen(times, xy + np.random.default_rng(1).uniform(-10, 10, xy.shape))
    for some in (wild, seen(times[:2], xy[:2]), []):
        found = CometAlignment().refined(given, some)
        assert found.terms == given.terms and "taken as given" in found.note


def test_truth_middles_of_exposures_are_the_only_times():
    """Lights of 60 and 300 s: by their starts the comet would be up to 1.7 px off its way."""
    exposures = np.array([60.0, 300.0] * 6)
    starts = START_S + np.arange(12) * 400.0
    middles = starts + exposures / 2
    xy = np.stack([50 * (middles - START_S) / 3600, np.zeros(12)], axis=-1)
    way = {name: Motion.through(t, xy, START_S) for name, t in (("middles", middles), ("starts", starts))}
    off = {n: max(np.hypot(*(way[n].at(t) - at)) for t, at in zip(ts, xy, strict=True))
           for n, ts in (("middles", middles), ("starts", starts))}  # fmt: skip
    assert off["middles"] < 1e-6 and off["starts"] > 0.8


@pytest.mark.parametrize(
    ("header", "start", "exposure_s", "middle"),
    [
        ({"DATE-OBS": START}, START, 120.0, 60.0),
        ({"DATE-OBS": START, "DATE-AVG": "2025-10-18T20:01:02.5"}, START, 120.0, 62.5),
        ({"DATE-OBS": START, "DATE-AVG": "2025-10-18T22:01:00"}, START, 120.0, 60.0),
        ({"DATE-AVG": "2025-10-18T20:01:00"}, "2025-10-18T20:01:00", 120.0, 60.0),
        ({"DATE-OBS": START}, START, None, 0.0),
        ({}, None, 120.0, None),
    ],
)  # fmt: skip
def test_truth_the_middle_of_an_exposure_by_whatever_its_header_tells(header, start, exposure_s, middle):
    zero = datetime(2025, 10, 18, 20, tzinfo=UTC).timestamp()
    told = middle_s(header, start, exposure_s)
    assert told == (None if middle is None else zero + middle)


def test_truth_a_motion_without_a_place_is_written_as_plain_json():
    terms = document_of(Motion.through([], [], 0.0, (50.0, -20.0)))["comet"]["terms_px"]
    assert json.loads(json.dumps(terms, allow_nan=False)) == [None, [50.0, -20.0]]
