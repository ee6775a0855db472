"""Frames of another kind than their headers say: stars are told from the structure of a sensor and of a flat."""

import numpy as np
import pytest
import sky
from astropy.io import fits
from clinic import NIGHT, altered, examined, names, of_kind, only
from scipy.ndimage import convolve, gaussian_filter

ROWS, COLS = 300, 400
SPREAD = np.outer([0.4, 1, 0.4], [0.4, 1, 0.4])
"""How a hot pixel reaches into its neighbours after binning by a program, or in a sensor that leaks."""


def seen(folder):
    return [(f.severity, f.title) for f in only(examined(folder), "H01")]


def structure(kind, rng):
    """What a sensor does to every flat alike, as a factor."""
    if kind == "columns":
        factor = np.ones((ROWS, COLS))
        for x in rng.choice(COLS - 4, 12, replace=False):
            factor[:, x : x + 3] += np.array([0.1, 0.3, 0.1])
        return factor
    if kind == "spots":
        spots = np.zeros((ROWS, COLS))
        spots.flat[rng.choice(spots.size, 1500, replace=False)] = rng.uniform(0.05, 0.3, 1500)
        return 1 + convolve(spots, SPREAD)
    grain = gaussian_filter(rng.standard_normal((ROWS, COLS)), 1.5)
    grain /= grain.std()
    return 1 + 0.01 * np.where(np.abs(grain) > 3, 3 * grain, grain)


@pytest.mark.parametrize("levels", ["even", "one odd", "twilight"])
@pytest.mark.parametrize("kind", ["columns", "spots", "grain"])
@pytest.mark.parametrize("pattern", ["", "RGGB"])
def test_truth_h01_the_structure_of_a_flat_is_no_star(tmp_path, kind, levels, pattern):
    factor = structure(kind, np.random.default_rng(5))
    scale = {"even": [1] * 6, "one odd": [1, 1, 1, 0.8, 1, 1], "twilight": [1.2, 1.0, 0.8, 0.7, 0.6, 0.5]}[levels]

    def marked(what, i, pixels, header):
        return np.rint(500 + (pixels - 500) * factor * scale[i]) if what == "flat" else None

    assert seen(altered(tmp_path, marked, pattern=pattern)) == []


@pytest.mark.parametrize("frames", [1, 2, 6])
def test_truth_h01_hot_pixels_that_spread_are_no_stars(tmp_path, frames):
    rng, hot = np.random.default_rng(6), np.zeros((ROWS, COLS))
    hot.flat[rng.choice(hot.size, 1500, replace=False)] = 10 ** rng.uniform(2, 4, 1500)
    hot = convolve(hot, SPREAD)

    def spread(kind, i, pixels, header):
        return np.rint(pixels + hot) if kind == "dark" else None

    assert seen(altered(tmp_path, spread, darks=frames)) == []


@pytest.mark.parametrize("stars", [150, 400, 1500])
@pytest.mark.parametrize("kind", ["bias", "dark", "flat"])
def test_truth_h01_one_light_among_others_is_found(tmp_path, kind, stars):
    knobs = {"stars": stars, "faintest_dn": 3000.0}
    light = fits.getdata(sky.written(**{**NIGHT, **knobs}).paths("light")[1]).astype(float)

    def mixed(what, i, pixels, header):
        return light if (what, i) == (kind, 2) else None

    told = examined(altered(tmp_path, mixed, **knobs))
    found = only(told, "H01")
    assert [(f.severity, names(f)) for f in found] == [("warn", of_kind(kind, 2, **knobs))]  # one frame of six
    assert not found[0].out or not {f.id for f in told} & {"D04", "D12", "D19", "D20"}, "what is left out is told once"
    assert found[0].figure >= 10


@pytest.mark.parametrize("dithered", [True, False])
def test_truth_h01_all_darks_are_lights(tmp_path, dithered):
    """With the telescope still, the stars are at one place in all of them: their width tells."""
    paths = sky.written(**NIGHT).paths("light")
    lights = [fits.getdata(path).astype(float) for path in paths]
    rng = np.random.default_rng(1)

    def mixed(what, i, pixels, header):
        if what == "dark":
            return lights[i % 4] if dithered else np.rint(lights[0] + rng.normal(0, 5, (ROWS, COLS)))

    found = only(examined(altered(tmp_path, mixed)), "H01")
    assert [f.severity for f in found] == ["warn"]
    assert names(found[0]) == of_kind("dark")


def test_truth_h01_flats_with_stars_of_a_twilight_are_flats(tmp_path):
    """Stars of 100 to 3000 DN that move from flat to flat; and lights of 120 s that are called flats."""
    rng = np.random.default_rng(7)

    def starry(kind, i, pixels, header):
        if kind != "flat":
            return None
        field = np.zeros((ROWS, COLS))
        field.flat[rng.choice(field.size, 400, replace=False)] = 10 ** rng.uniform(4, 5.5, 400)
        return np.rint(np.minimum(pixels + gaussian_filter(field, 1.5), 65535))

    assert seen(altered(tmp_path / "twilight", starry)) == [("info", "Stars in flats")]

    def long(kind, i, pixels, header):
        if kind == "flat":
            header["EXPTIME"] = header["EXPOSURE"] = 120.0
        return starry(kind, i, pixels, header)

    assert [severity for severity, _ in seen(altered(tmp_path / "lights", long))] == ["warn"]
