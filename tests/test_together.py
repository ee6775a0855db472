"""Measuring many frames together: as each by itself, with the light of the stars that they share."""

import numpy as np
import pytest

from masterlight.core.errors import FrameError
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.core.workers import Event, executor
from masterlight.subframes.measure import measure
from masterlight.subframes.together import each_frame, in_range, measure_all

SHAPE, SKY, NOISE = (120, 160), 500.0, 5.0


def field(count=30):
    rng = np.random.default_rng(1)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = np.zeros(SHAPE)
    for flux in np.geomspace(3000, 40000, count):
        u, v = rng.uniform(15, SHAPE[1] - 15), rng.uniform(15, SHAPE[0] - 15)
        image += flux / (2 * np.pi * 1.3**2) * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 1.3**2))
    return image


def result_of(events):
    try:
        while True:
            next(events)
    except StopIteration as end:
        return end.value


def test_truth_frames_are_measured_as_each_by_itself_and_know_the_light_of_shared_stars():
    rng, image = np.random.default_rng(2), field()
    clear = (1.0, 0.6, 0.8)
    frames = [ArrayFrame.of(rng.normal(SKY + t * image, NOISE), f"{t}") for t in clear]
    for pool in ("serial", "threads:2"):
        with executor(pool) as running:
            [plane] = result_of(measure_all(running, frames))
        assert [m.source for m in plane] == ["1.0", "0.6", "0.8"]
        assert [m.location_dn for m in plane] == [measure(f)[0].location_dn for f in frames]
        assert [m.flux_ratio for m in plane] == pytest.approx(clear, rel=0.03)
        with executor(pool) as running:
            [plane] = result_of(measure_all(running, frames, stars=False))
        assert [m.flux_ratio for m in plane] == [None] * 3


def test_truth_a_first_frame_without_stars_takes_the_scale_from_nobody():
    rng, image = np.random.default_rng(2), field()
    clear = (0.0, 1.0, 0.6, 0.8)
    frames = [ArrayFrame.of(rng.normal(SKY + t * image, NOISE), f"{t}") for t in clear]
    with executor("serial") as running:
        [plane] = result_of(measure_all(running, frames))
    assert plane[0].flux_ratio is None
    assert [m.flux_ratio for m in plane[1:]] == pytest.approx(clear[1:], rel=0.03)


def test_truth_colour_is_measured_plane_by_plane():
    rng = np.random.default_rng(3)
    frames = [ArrayFrame.of(rng.normal([[[100]], [[200]], [[300]]], 5, (3, 20, 30)), f"{i}") for i in range(4)]
    with executor("serial") as running:
        planes = result_of(measure_all(running, frames))
    assert [len(plane) for plane in planes] == [4, 4, 4]
    assert [plane[0].location_dn for plane in planes] == pytest.approx([100, 200, 300], abs=2)


def test_truth_what_is_out_of_range_is_missing_and_the_rest_of_the_frame_shows_through():
    pixels = np.arange(12, dtype=np.float32).reshape(3, 4)
    frame = ArrayFrame.of(pixels, "ramp", Meta(gain_e_per_dn=2.0), cards=("made",))
    view = in_range(frame, 2, 9)
    assert np.isnan(np.asarray(view)).tolist() == ((pixels <= 2) | (pixels >= 9)).tolist()
    assert (view.source, view.cards, view.meta, view.scratch_bytes) == ("ramp", ("made",), frame.meta, 0)
    assert in_range(frame, None, None) is frame
    with executor("serial") as running:
        [[low]] = result_of(measure_all(running, [frame], limits=(5, None)))
    assert low.location_dn == np.median(pixels[pixels > 5])


def test_truth_frames_that_fail_are_left_out_and_told_where_somebody_takes_them():
    rng, image, lost = np.random.default_rng(4), field(), []
    frames = [ArrayFrame.of(rng.normal(SKY + image, NOISE), name) for name in "abc"]
    frames[1:1] = [ArrayFrame.of(np.full(SHAPE, value), f"{value}") for value in (7.0, np.nan)]
    frames[-1].array[:12] = 0

    def leave_out(rejected):
        lost.append(rejected)
        return Event(rejected.stage, result=rejected)

    with executor("threads:2") as running:
        [plane] = result_of(measure_all(running, frames, anchor=1, leave_out=leave_out))
        assert result_of(measure_all(running, frames[1:3], leave_out=leave_out)) == []
    assert [m.source for m in plane] == ["a", "b", "c"] and {r.source for r in lost} == {"7.0", "nan"}
    assert "every pixel is 7 DN: an empty frame" in str(next(r for r in lost if r.source == "7.0"))
    assert [m.zero_fraction for m in plane] == pytest.approx([0, 0, 0.1], abs=0.01) and plane[0].flux_ratio == 1


def test_truth_a_frame_that_fails_ends_it_with_its_error():
    empty = ArrayFrame.of(np.full((9, 9), np.nan), "night/empty.fits")
    with executor("serial") as running, pytest.raises(FrameError, match="night/empty.fits"):
        result_of(each_frame("measure", running, measure, [empty]))
