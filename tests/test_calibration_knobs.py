"""Knobs of calibration, defects and colour: refused where they do nothing, and light to list."""

import subprocess
import sys

import pytest

import masterlight as ml
from masterlight.core.errors import ParameterError
from masterlight.core.process import from_toml, idle_knobs, knobs, with_values

IDLE = [
    ("ImageCalibration", {"dark_sigma": 5.0, "dark_scaling": "exposure"}, "dark_sigma does nothing"),
    ("ImageCalibration", {"dark_scaling": "fit", "dark_scale": 0.8}, "dark_scaling does nothing with dark_scale 0.8"),
    ("ImageCalibration", {"dark_scaling": "fit", "use_dark": False}, "dark_scaling does nothing"),
    ("ImageCalibration", {"use_flat": False, "flat_trim_fraction": 0.1}, "it is for use_flat on"),
    ("ImageCalibration", {"overscan.model": "median", "overscan.order": 2}, "it is for overscan.model polynomial"),
    ("ImageCalibration", {"overscan.trim": False, "overscan.image": "[1:9,1:9]"}, "it is for overscan.trim on"),
    ("Superbias", {"exclude_large_scale": False, "layers": 5}, "it is for exclude_large_scale on"),
    ("CosmeticCorrection", {"hot": 5.0, "hot_dn": 900.0}, "hot does nothing with hot_dn 900.0"),
    ("CosmeticCorrection", {"hot_dn": 900.0, "cold": None, "min_excess_dn": 5.0}, "min_excess_dn does nothing"),
    ("Debayer", {"method": "super-pixel", "directions": True}, "directions does nothing with method super-pixel"),
    ("Debayer", {"xtrans_passes": 1}, "xtrans_passes does nothing with directions off"),
]
"""A process, values of which one does nothing beside the others, and what is said about it."""
ACTIVE = [
    ("ImageCalibration", {"dark_scaling": "fit", "dark_sigma": 5.0, "dark_window_px": 500, "doubling_c": 7.0}),
    ("ImageCalibration", {"dark_scaling": "exposure", "doubling_c": 7.0}),
    ("ImageCalibration", {"overscan.model": "polynomial", "overscan.order": 2, "overscan.region": "[1:9,1:9]"}),
    ("Superbias", {"layers": 5, "transform": "starlet"}),
    ("CosmeticCorrection", {"hot": 5.0, "cold_dn": 3.0, "min_excess_dn": 5.0}),
    ("Debayer", {"method": "mhc", "directions": True, "xtrans_passes": 1}),
]


@pytest.mark.parametrize(("name", "values", "words"), IDLE)
def test_surface_a_knob_that_does_nothing_is_refused_when_given(name, values, words):
    with pytest.raises(ParameterError, match=words):
        ml.build(getattr(ml, name), values)
    if not any("." in path for path in values):
        with pytest.raises(ParameterError, match=words):
            getattr(ml, name)(**values)


@pytest.mark.parametrize(("name", "values"), ACTIVE)
def test_surface_knobs_that_do_something_are_taken(name, values):
    assert not list(idle_knobs(ml.build(getattr(ml, name), values)))


def test_surface_a_recipe_may_hold_what_is_switched_off():
    """What is switched off later is named, and no engine stumbles over it."""
    read = from_toml(ml.ImageCalibration, "use_flat = false\nflat_trim_fraction = 0.1\n")
    assert [why.partition(" ")[0] for why in idle_knobs(read)] == ["flat_trim_fraction"]
    assert with_values(read, pedestal_dn=5.0).flat_trim_fraction == 0.1


@pytest.mark.parametrize("name", ["ImageCalibration", "Superbias", "CosmeticCorrection", "BadPixels", "Debayer"])
def test_surface_usual_values_all_do_something_or_wait(name):
    assert not list(idle_knobs(getattr(ml, name)()))


def test_surface_sigma_knobs_say_so():
    units = {knob.path: knob.unit for knob in knobs(ml.CosmeticCorrection)}
    assert (units["hot"], units["hot_dn"], units["hot_count"]) == ("sigma", "DN", "pixels")


def test_surface_listing_knobs_loads_no_engine():
    names = "calibration.calibrate calibration.superbias defects.cosmetic defects.defectmap defects.find colour.debayer"
    code = "\n".join(f"import masterlight.{name}" for name in names.split())
    code += "\nimport sys; print([m for m in ('numpy', 'numba', 'scipy', 'astropy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
