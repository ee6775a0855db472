"""Lights in which every star stands twice."""

from types import SimpleNamespace

import numpy as np
import pytest
import sky
from clinic import NIGHT, altered, names, of_kind, only

import masterlight as ml
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.doctor import Doctor
from masterlight.doctor.raw.doubled import doubled_lights
from masterlight.subframes.stars.doubles import offset_of

KNOBS = {**NIGHT, "cosmic_rays": 0.0}


def jumped(pixels, dx, dy, part):
    """A light whose mount jumped by (dx, dy) when a part of the exposure was left."""
    later = np.roll(pixels, (dy, dx), (0, 1))
    return ((1 - part) * pixels + part * later).round()


def stars_of(pixels):
    found = ml.SubframeSelector(max_stars=500).measure(ArrayFrame.of(pixels, "light", Meta(kind="light")))
    return found[1]


@pytest.mark.parametrize("dx, dy, part", [(9, 4, 0.5), (25, -31, 0.35), (-90, 60, 0.3)])
@pytest.mark.parametrize("seed", [1, 2])
def test_truth_d30_a_mount_that_jumps(dx, dy, part, seed):
    light = sky.in_memory(**{**KNOBS, "seed": seed}).observatory.frame("light", 0).astype(float)
    sign = 1 if dx > 0 else -1
    found = offset_of(stars_of(jumped(light, dx, dy, part)))
    assert np.hypot(found[0] - sign * dx, found[1] - sign * dy) < 1


@pytest.mark.parametrize("seed", range(1, 7))
@pytest.mark.parametrize("stars", [60, 400, 3000])
def test_truth_d30_single_stars_are_not_doubled(seed, stars):
    light = sky.in_memory(**{**KNOBS, "seed": seed, "stars": stars}).observatory.frame("light", 0).astype(float)
    assert offset_of(stars_of(light)) is None


def test_truth_d30_is_told_by_a_run(tmp_path):
    def jump(kind, i, pixels, header):
        return jumped(pixels, 14, 6, 0.4) if kind == "light" and i == 1 else None

    *_, done = ml.run(altered(tmp_path / "night", jump), tmp_path / "out")
    found = only(done.result.findings, "D30")
    assert [(f.severity, names(f)) for f in found] == [("warn", of_kind("light", 1))]
    assert found[0].picture is not None and "15.2 px apart" in found[0].sentence
    assert list(doubled_lights(Doctor(off=("D30",)), [])) == []


@pytest.mark.parametrize("across_px", [70, 90, 120, 200])
def test_truth_d30_stars_of_a_cluster_are_not_doubled_and_a_jump_shows_in_one(across_px):
    """All pairs of eighty stars are near: thousands of offsets, of which some are equal by chance."""
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        xy, flux = rng.uniform(0, across_px, (80, 2)), np.sort(1 + rng.pareto(1, 80))[::-1]
        found.append(offset_of(SimpleNamespace(xy=xy, flux_dn=flux)))
    assert found == 20 * [None]
    twice, half = np.concatenate([xy[:40], xy[:40] + (7.3, -2.2)]), np.concatenate([flux[:40], 0.8 * flux[:40]])
    assert offset_of(SimpleNamespace(xy=twice, flux_dn=half)) == pytest.approx((7.3, -2.2), abs=0.5)
