"""Borders of 0 that other programs write around registered frames are missing, and zeros inside are data."""

import numpy as np
import pytest
from astropy.io import fits
from scipy.ndimage import affine_transform
from sky import CALM, EVEN, SMALL, written

from masterlight.alignment.warping.borders import Borderless, borders_told
from masterlight.core.frame import ArrayFrame


def turned(angle_deg, shape=(60, 80), planes=()):
    """Ones, turned and filled with 0, and where they are."""
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    m, middle = np.array([[c, -s], [s, c]]), (np.array(shape) - 1) / 2
    there = affine_transform(np.ones(shape), m, middle - m @ middle, order=0)
    return np.broadcast_to(there, (*planes, *shape)).astype(np.float32), there > 0


@pytest.mark.parametrize("planes", [(), (3,)])
@pytest.mark.parametrize("angle_deg", [-20, 7, 90])
def test_truth_borders_of_turned_frames_are_missing_exactly(angle_deg, planes):
    pixels, there = turned(angle_deg, planes=planes)
    pixels = pixels * 500
    pixels[..., 30, 40] = 0  # a pixel of no light inside
    frame = Borderless.of(ArrayFrame.of(pixels, "turned"))
    seen = np.isfinite(frame.pixels(0, 60, 0, 80))
    assert np.array_equal(seen, np.broadcast_to(there, seen.shape))
    box = frame.pixels(11, 47, 5, 23)
    assert np.array_equal(np.isfinite(box), seen[..., 11:47, 5:23]) and np.nanmin(box) == 500
    assert frame.share == pytest.approx(1 - there.mean())


def test_truth_frames_without_a_border_are_themselves():
    whole = ArrayFrame.of(np.full((20, 30), 5, np.float32), "whole")
    assert Borderless.of(whole) is whole and borders_told([whole]) == ""
    empty = ArrayFrame.of(np.zeros((20, 30), np.float32), "empty")
    assert Borderless.of(empty) is empty
    missing = ArrayFrame.of(np.where(turned(9)[1], 5, np.nan).astype(np.float32), "missing")
    assert np.array_equal(np.isnan(Borderless.of(missing).pixels(0, 60, 0, 80)), ~turned(9)[1])


def test_truth_a_stack_of_such_frames_is_no_darker_at_its_border(tmp_path):
    """Two of four lights, shifted by another program, have 40 empty columns each; all counted as black before."""
    from masterlight.doors.hand.deep import integrate_files
    from masterlight.night.recipe import Recipe

    truth = written(**SMALL | CALM | EVEN | {"lights": 1, "seed": 9, "biases": 0, "darks": 0, "flats": 0})
    scene, rng = truth.plane_dn(0), np.random.default_rng(2)
    for i in range(4):
        pixels = (scene + rng.normal(0, 20, scene.shape)).astype(np.float32)
        pixels[:, : 40 * (i > 1)] = 0
        fits.PrimaryHDU(pixels, fits.Header({"IMAGETYP": "Light"})).writeto(tmp_path / f"m{i}_r.fits")
    files = sorted(tmp_path.glob("m*_r.fits"))
    events = list(integrate_files(Recipe(workers="serial"), files, tmp_path / "out.fits"))
    told = "\n".join(event.message for event in events)
    assert "2 of 4 frames have borders of 0, up to 8.0% of a frame" in told and "count as light" not in told
    with fits.open(tmp_path / "out.fits") as hdus:
        off, coverage = hdus[0].data - scene, hdus["COVERAGE"].data
    assert np.median(coverage[:, :40]) == 2 and np.median(coverage[:, 60:]) == 4
    assert abs(np.median(off[:, :40]) - np.median(off[:, 60:])) < 6  # skies of a slope, levelled by one number
