"""Dust that flats have elsewhere than lights, or that lights do not have."""

import numpy as np
import pytest
from clinic import altered, diagnosed, names, of_kind, only

KNOBS = {"dust": 0, "lights": 6, "nebula_dn": 0.0}


def shadows(shape, places, shift, depth, ring):
    """1 where no dust is; discs of this depth, or rings as out of focus."""
    v, u = np.mgrid[: shape[0], : shape[1]]
    out = np.ones(shape)
    for y, x, radius in places:
        away = np.hypot(v - y - shift[0], u - x - shift[1])
        out -= depth / (1 + np.exp((away - radius) / 1.5))
        out += ring * depth / (1 + np.exp((away - radius / 2) / 1.5))
    return out


def dusty(depth, shift, ring=0.0, seed=3, lights=True):
    """Dust in flats, and moved by (y, x) pixels in lights."""
    rng = np.random.default_rng(seed)
    places = [(y + rng.uniform(-8, 8), x + rng.uniform(-8, 8), rng.uniform(10, 20)) for y, x in PLACES]

    def change(kind, i, pixels, header):
        if kind not in ("flat", "light") or (kind == "light" and not lights):
            return None
        moved = (0, 0) if kind == "flat" else shift
        return (500 + (pixels - 500) * shadows(pixels.shape, places, moved, depth, ring)).round()

    return change


PLACES = (70, 90), (80, 300), (210, 110), (220, 290)


@pytest.mark.parametrize(
    "depth, shift, ring",
    [(0.03, (30, 20), 0.0), (0.06, (30, 20), 0.0), (0.12, (30, 20), 0.0)]
    + [(depth, shift, ring) for depth in (0.06, 0.12, 0.2) for shift, ring in (((6, -5), 0.7), ((3, 4), 0.0))],
)
def test_truth_d15_dust_that_moved_after_the_flats(tmp_path, depth, shift, ring):
    found = only(diagnosed(altered(tmp_path, dusty(depth, shift, ring), **KNOBS)), "D15")
    assert [f.severity for f in found] == ["warn"]
    assert names(found[0]) <= of_kind("light", **KNOBS)
    assert 0.3 * depth < found[0].figure / 100 < 2.5 * depth


@pytest.mark.parametrize("depth", [0.03, 0.06, 0.12])
def test_truth_d15_dust_that_lights_do_not_have(tmp_path, depth):
    found = only(diagnosed(altered(tmp_path, dusty(depth, (0, 0), lights=False), **KNOBS)), "D15")
    assert [f.severity for f in found] == ["warn"]


@pytest.mark.parametrize("seed", range(4))
def test_truth_d15_dust_that_stays_is_corrected(tmp_path, seed):
    knobs = {**KNOBS, "nebula_dn": 300.0, "seed": seed + 1}
    assert only(diagnosed(altered(tmp_path, dusty(0.1, (0, 0), 0.5 * (seed % 2), seed), **knobs)), "D15") == []
