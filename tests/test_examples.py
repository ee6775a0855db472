"""The examples run, and the script and the recipe of a pair do the same."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sky
from astropy.io import fits
from astropy.nddata import CCDData

import masterlight as ml

EXAMPLES = Path(__file__).parents[1] / "examples"
PAIRS = ["01-first-stack", "02-another-recipe", "04-colour"]
NIGHTS = {"04-colour": {"pattern": "RGGB"}}
"""What the night of an example has that those of the others have not."""


def night(name: str) -> Path:
    return sky.written(**NIGHTS.get(name, {})).folder


def told(name: str, out: Path) -> str:
    """What an example prints when it works on its night."""
    script = EXAMPLES / f"{name}.py"
    done = subprocess.run([sys.executable, script, night(name), out], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_surface_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*PAIRS, "03-by-hand", "05-with-astropy"}
    assert {path.stem for path in EXAMPLES.glob("*.toml")} == set(PAIRS)


@pytest.mark.parametrize("name", PAIRS)
def test_surface_script_and_recipe_make_the_same_light(name, tmp_path):
    assert "6 frames, noise" in told(name, tmp_path / "script")
    recipe = ml.from_toml(ml.Recipe, (EXAMPLES / f"{name}.toml").read_text())
    *_, done = ml.run(night(name), tmp_path / "recipe", recipe)
    (one,), (other,) = ((tmp_path / way).glob("master_light*.fits") for way in ("script", "recipe"))
    assert one.name == other.name and done.result.exit_status == 0
    np.testing.assert_array_equal(np.asarray(ml.read(one)), np.asarray(ml.read(other)))
    written = [(folder / "report.json").read_text().partition('"recipe"')[2] for folder in (one.parent, other.parent)]
    assert written[0] == written[1]


def test_surface_the_night_by_hand(tmp_path):
    assert "by_hand.fits: 6 frames integrated" in told("03-by-hand", tmp_path)
    with fits.open(tmp_path / "by_hand.fits") as hdus:
        assert hdus[0].data.shape == hdus["VARIANCE"].data.shape == (400, 500)
        assert np.isfinite(hdus[0].data).mean() > 0.99


def test_truth_astropy_finds_the_stars_where_they_are(tmp_path):
    told("05-with-astropy", tmp_path)
    made = CCDData.read(tmp_path / "with_astropy.fits")
    scale_deg = np.degrees(3.76e-3 / 530)  # the night's telescope
    found = ml.SubframeSelector().measure(ml.ArrayFrame.of(made.data, "made"))
    coordinates = made.wcs.pixel_to_world(found[1].x_px[:2], found[1].y_px[:2])
    apart_px = np.hypot(*(found[1].xy[0] - found[1].xy[1]))
    assert coordinates[0].separation(coordinates[1]).deg / scale_deg == pytest.approx(apart_px, rel=1e-4)
    assert made.uncertainty.array.shape == made.data.shape and not made.mask.all()
