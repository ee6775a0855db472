"""Flats looked at together: one that is odd, places that change, hot pixels."""

from pathlib import Path

import numpy as np
import pytest
import sky
from clinic import NIGHT, altered, diagnosed, examined, healthy, names, of_kind, only
from scipy.ndimage import gaussian_filter, median_filter

import masterlight as ml
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.core.workers import executor
from masterlight.doctor import Doctor
from masterlight.io import read
from masterlight.session.planner import plan
from masterlight.session.scan import Session

EIGHT = {"flats": 8}


def with_a_lamp(strength, gradient, index=3):
    """A change of one flat: light beside that of the others, so many times theirs, brighter towards one side."""

    def change(kind, i, pixels, header):
        x = np.linspace(-1, 1, pixels.shape[1])
        lamp = strength * (1 + gradient * x) * (pixels - 500)
        return np.minimum(pixels + lamp, 65000).round() if kind == "flat" and i == index else None

    return change


@pytest.mark.parametrize("strength, gradient", [(0.04, 0.5), (0.3, 0.2), (0.3, 0.0), (1.2, 0.3)])
def test_truth_d20_a_flat_with_the_lamp_of_the_room_on(tmp_path, strength, gradient):
    found = examined(altered(tmp_path, with_a_lamp(strength, gradient), **EIGHT))
    told = only(found, "D20")
    assert [(f.severity, names(f)) for f in told] == [("warn", of_kind("flat", 3, **EIGHT))]
    assert only(found, "D19") == [], "the others are steady"
    assert told[0].picture is not None
    assert ("light falls otherwise" in told[0].sentence) == (gradient > 0), "an even lamp only makes it brighter"
    assert "a lamp was on" in told[0].sentence


def test_truth_d20_flats_that_drift_or_are_of_two_sorts_are_not_odd(tmp_path):
    def drift(kind, i, pixels, header):
        x = np.linspace(-1, 1, pixels.shape[1])
        return ((pixels - 500) * (1 + 0.004 * i * x) * 0.9**i + 500).round() if kind == "flat" else None

    def halves(kind, i, pixels, header):
        return ((pixels - 500) * (1.5 if i % 2 else 1.0) + 500).round() if kind == "flat" else None

    for name, change in (("drift", drift), ("halves", halves)):
        assert only(examined(altered(tmp_path / name, change, **EIGHT)), "D20") == []
    assert only(healthy(), "D20") == []


def test_truth_d20_a_panel_that_is_turned_up_and_exposed_shorter_is_no_odd_light():
    """Only what is brighter at its exposure as well; then the sentence does not speak of another illumination."""

    def told(level, seconds):
        y, x = np.mgrid[-1:1:200j, -1:1:300j]
        shape, made = 1 - 0.2 * (x**2 + y**2), []
        for i, (dn, exposure_s) in enumerate([(25000.0, 2.0)] * 9 + [(level, seconds)] * 3):
            pixels = np.random.default_rng(i).normal(500 + dn * shape, np.sqrt(dn)).round()
            time = f"2024-01-01T20:00:{i:02}.000"
            meta = Meta(kind="flat", exposure_s=exposure_s, saturation_dn=65535.0, time=time)
            made.append(ArrayFrame.of(pixels, f"flat{i}.fits", meta))
        for i in range(4):
            pixels = np.random.default_rng(99 + i).normal(500, 3, shape.shape).round()
            made.append(ArrayFrame.of(pixels, f"bias{i}.fits", Meta(kind="bias", exposure_s=0.0)))
        with executor("serial") as pool:
            *_, last = Doctor().frames(plan(Session("night", tuple(made))), pool)
        return [one.sentence for one in last.result if one.id == "D20"]

    assert told(25000.0, 1.0) == []
    (sentence,) = told(32500.0, 2.0)
    assert "its level is 30% higher than the other 9 flats 2 s" in sentence and "falls otherwise" not in sentence


def test_truth_d20_a_lamp_is_seen_on_flats_whose_corners_are_dark():
    """Where the circle of the image ends there is no light, and nothing to divide by."""
    y, x = np.mgrid[-1:1:200j, -1:1:300j]
    circle, made = np.where(np.hypot(x, y) < 1, 1 - 0.2 * (x**2 + y**2), 0.0), []
    for i in range(8):
        light = 20000 * circle * (1 + 0.1 * (i == 3) * x)
        pixels = np.random.default_rng(i).normal(500 + light, np.sqrt(9 + light)).round()
        meta = Meta(kind="flat", exposure_s=1.0, saturation_dn=65535.0, time=f"2024-01-01T20:00:{i:02}.000")
        made.append(ArrayFrame.of(pixels, f"flat{i}.fits", meta))
    for i in range(4):
        pixels = np.random.default_rng(99 + i).normal(500, 3, circle.shape).round()
        made.append(ArrayFrame.of(pixels, f"bias{i}.fits", Meta(kind="bias", exposure_s=0.0)))
    with executor("serial") as pool:
        *_, last = Doctor().frames(plan(Session("night", tuple(made))), pool)
    assert [one.sources for one in last.result if one.id == "D20"] == [("flat3.fits",)]


def spots(shape, count=12, radius=4.0, seed=5):
    """Round spots in the middle of their places, 1 deep."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    places = zip(rng.uniform(20, shape[0] - 20, count), rng.uniform(20, shape[1] - 20, count), strict=True)
    return np.max([np.exp(-((y - v) ** 2 + (x - u) ** 2) / (2 * radius**2)) for v, u in places], axis=0)


def times_spots(strength, deepest=0.5, **knobs):
    """Flats with spots that are so deep (or high, where it is negative) in frame i."""

    def change(kind, i, pixels, header):
        if kind == "flat":
            return (500 + (pixels - 500) * (1 - deepest * strength(i) * spots(pixels.shape, **knobs))).round()

    return change


@pytest.mark.parametrize("deepest", [0.04, 0.15, 0.6])
@pytest.mark.parametrize("course", ["dries", "falls"])
def test_truth_d28_flats_that_dry_or_catch_dust(tmp_path, deepest, course):
    strength = {"dries": lambda i: 1 - i / 7, "falls": lambda i: float(i > 4)}[course]
    found = only(diagnosed(altered(tmp_path, times_spots(strength, deepest), **EIGHT)), "D28")
    assert [f.severity for f in found] == ["warn"]
    assert names(found[0]) == of_kind("flat", **EIGHT)
    assert 0.3 * deepest < found[0].figure / 100 < 1.1 * deepest  # of a block of 8 pixels
    assert found[0].picture is not None


def test_truth_d28_dust_that_stays_stars_of_a_dusk_and_a_drift_are_no_change(tmp_path):
    def stars(i):
        return -1.0 if i == 3 else 0.0

    def drift(kind, i, pixels, header):
        x = np.linspace(-1, 1, pixels.shape[1])
        return ((pixels - 500) * (1 + 0.01 * i * x) * 0.8**i + 500).round() if kind == "flat" else None

    changes = {"dust": times_spots(lambda i: 1.0), "stars": times_spots(stars, 0.3, radius=2.0), "drift": drift}
    for name, change in changes.items():
        assert only(diagnosed(altered(tmp_path / name, change, **EIGHT)), "D28") == []


@pytest.mark.parametrize("seed", range(3))
def test_truth_d28_noise_of_a_small_full_well_is_no_change(tmp_path, seed):
    """Flats of 4000 electrons have 1.6 % of noise in a pixel, 0.2 % in a block: of thousands some differ by 1 %."""
    folder = sky.written(**{**NIGHT, **EIGHT, "gain_e_per_dn": 0.14, "rows": 400, "cols": 560, "seed": seed}).folder
    assert only(diagnosed(folder), "D28") == []


def test_truth_stars_over_motes_are_neither_dust_that_moved_nor_another_light(tmp_path):
    """Stars of 1000 to 15000 DN at other places in each flat, over dust of 5 % that is in all of them."""
    rng = np.random.default_rng(8)
    dust = times_spots(lambda i: 1.0)

    def starry(kind, i, pixels, header):
        if kind != "flat":
            return None
        field = np.zeros(pixels.shape)
        field.flat[rng.choice(field.size, 40, replace=False)] = 10 ** rng.uniform(4, 5.2, 40)
        return np.rint(np.minimum(dust(kind, i, pixels, header) + gaussian_filter(field, 1.3), 65000))

    found = diagnosed(altered(tmp_path, starry, **EIGHT))
    assert only(found, "D28") == []
    assert [f for f in only(found, "D20") if f.unit == "%"] == []


def run_of(folder, out, **recipe):
    """The report of a run."""
    *_, done = ml.run(folder, out, ml.Recipe(**recipe))
    return done.result


def test_truth_a_flat_with_the_lamp_on_is_left_out_of_the_master(tmp_path):
    folder = altered(tmp_path / "night", with_a_lamp(0.3, 0.2), **EIGHT)
    report = run_of(folder, tmp_path / "out")
    left_out = [row for row in report.frames if row.status == "rejected"]
    assert [Path(row.path).name for row in left_out] == list(of_kind("flat", 3, **EIGHT))
    assert left_out[0].stage == "masters" and "D20" in left_out[0].reason
    flat = next(row for row in report.masters if row.kind == "flat")
    assert read(flat.path).meta.frames == 7
    report = run_of(folder, tmp_path / "all", doctor=Doctor(off=("D20",)))
    assert read(next(row.path for row in report.masters if row.kind == "flat")).meta.frames == 8


HOT = {"darks": 0, "hot_fraction": 0.0, **EIGHT}
"""A night without darks, whose camera has no hot pixels of its own."""


def with_hot_pixels(share, part):
    """Flats in which a share of the pixels stands above the level by a part of it, and lights by a little."""

    def change(kind, i, pixels, header):
        hot = np.random.default_rng(8).random(pixels.shape) < share
        return pixels + {"flat": part * 25000.0, "light": 60.0}.get(kind, 0.0) * hot

    return change


@pytest.mark.parametrize("share, part", [(0.002, 0.1), (0.002, 0.5), (0.01, 0.3)])
def test_truth_d29_hot_pixels_in_flats_without_darks(tmp_path, share, part):
    found = only(diagnosed(altered(tmp_path, with_hot_pixels(share, part), **HOT)), "D29")
    assert [f.severity for f in found] == ["warn"]
    assert 0.5 * share < found[0].figure / 100 < 1.6 * share
    assert found[0].picture is not None


def test_truth_d29_a_healthy_flat_has_no_hot_pixels(tmp_path):
    for knobs in (HOT, {}, {"pattern": "RGGB"}):
        assert only(diagnosed(sky.written(**{**NIGHT, **knobs}).folder), "D29") == []


def test_truth_hot_pixels_of_a_flat_leave_no_dark_ones_in_the_master_light(tmp_path):
    night = altered(tmp_path / "night", with_hot_pixels(0.002, 0.5), **HOT)
    run_of(night, tmp_path / "out")
    run_of(sky.written(**{**NIGHT, **HOT}).folder, tmp_path / "whole")
    hot, whole = (np.asarray(read(next((tmp_path / out).glob("master_light*.fits")))) for out in ("out", "whole"))
    away = (hot - whole)[20:-20, 20:-20]
    noise = 1.4826 * np.median(np.abs(whole - median_filter(whole, 5)))
    assert np.count_nonzero(away < -6 * noise) == 0


def test_truth_d29_grain_of_a_flat_and_borders_of_dead_pixels_are_not_hot(tmp_path):
    grain = gaussian_filter(np.random.default_rng(5).standard_normal((300, 400)), 1.2)
    grain /= grain.std()
    factor = 1 + 0.012 * grain * (1 + np.maximum(0, np.abs(grain) - 2))

    def marked(kind, i, pixels, header):
        if kind != "flat":
            return None
        pixels = np.rint(500 + (pixels - 500) * factor)
        pixels[100:200, 120:180] = 0
        return pixels

    assert only(diagnosed(altered(tmp_path, marked, **HOT)), "D29") == []
