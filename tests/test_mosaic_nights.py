"""Nights of panels: a chain of them becomes one master light, level and without seams."""

import re
import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from sky import CALM, EVEN, SMALL, written

from masterlight import Recipe, build, run
from masterlight.doors.hand.steps import by_hand

PANELS, STEP, WIDTH = 6, 240, 320
WIDE = {"rows": 256, "cols": STEP * (PANELS - 1) + WIDTH, "stars": 1500, "biases": 0, "darks": 0, "flats": 0}
SKY = CALM | EVEN | {"meridian_flip": False, "nebula_dn": 600.0, "seed": 31, "rotation_deg": 0.0, "dither_px": 5.0}


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Two lights of each panel, cut out of lights of the whole; each with a sky of its own. (folder, truth)"""
    folder = tmp_path_factory.mktemp("chain")
    truth = written(**WIDE | SKY | {"lights": 2 * PANELS})
    for i, path in enumerate(truth.paths("light")):
        with fits.open(path) as hdus:
            first = STEP * (i % PANELS)
            header = hdus[0].header
            for keyword in ("RA", "DEC", "OBJCTRA", "OBJCTDEC"):
                header.remove(keyword, ignore_missing=True)
            header["OBJECT"] = "Veil"
            pixels = np.minimum(hdus[0].data[:, first : first + WIDTH] + 40.0 * ((7 * i) % PANELS), 65535)
            fits.PrimaryHDU(pixels.astype(np.uint16), header).writeto(folder / f"p{i % PANELS}_{i // PANELS}.fits")
    return folder, truth


def walked(folder, out, **knobs):
    events = list(run(folder, out, build(Recipe, {"workers": "serial", **knobs})))
    return events[-1].result, "\n".join(event.message for event in events)


def difference(row, told, truth):
    """A result minus the scene that its reference saw, without noise, as a profile along x: medians of 20 columns."""
    panel, turn = map(int, re.search(r"p(\d)_(\d)", row.reference).groups())
    left, top = map(int, re.search(r"first of them at \((-?\d+), (-?\d+)\)", told).groups())
    scene = np.full((WIDE["rows"] + 200, WIDE["cols"] + 200), np.nan)
    scene[100:-100, 100:-100] = truth.plane_dn(panel + PANELS * turn)
    image, first = fits.getdata(row.path), left + STEP * panel + 100
    off = image - scene[top + 100 : top + 100 + image.shape[0], first : first + image.shape[1]]
    off[np.abs(off - np.nanmedian(off)) > 400] = np.nan  # stars
    columns = range(20, image.shape[1] - 39, 20)
    return np.array([np.nanmedian(off[:, x : x + 20]) for x in columns])


def test_truth_a_chain_of_panels_is_one_master_light_without_seams(chain, tmp_path):
    """Skies differ by up to 200 DN, the noise of a pixel is 28 DN, and half of a panel is nebula."""
    folder, truth = chain
    report, told = walked(folder, tmp_path)
    assert not report.rejected and len(report.lights) == 1, told
    assert "laid by way of their neighbours" in told and "levelled where they overlap" in told
    with fits.open(report.lights[0].path) as hdus:
        image, coverage = hdus[0].data, hdus["COVERAGE"].data
        assert WIDE["cols"] - 12 < image.shape[1] < WIDE["cols"] + 16 and image.shape[0] < WIDE["rows"] + 16
        assert int(np.nanmax(coverage)) == 4  # two of each panel where two panels overlap
    profile = difference(report.lights[0], told, truth)
    assert np.abs(np.diff(profile)).max() < 8 and np.ptp(profile) < 30


def test_truth_a_reference_and_a_frame_that_the_user_names_stay(chain, tmp_path):
    folder, truth = chain
    report, told = walked(folder, tmp_path / "named", reference="p0_0.fits")
    assert not report.rejected and report.lights[0].reference.endswith("p0_0.fits")
    report, told = walked(folder, tmp_path / "one", **{"reference": "p0_0.fits", "align.frame": "reference"})
    (own,) = [row for row in report.lights if row.reference.endswith("p0_0.fits")]
    assert own.frames_used == 4 and fits.getdata(own.path).shape == (WIDE["rows"], WIDTH)  # the rest lies apart


@pytest.mark.parametrize(("knobs", "larger"), [({"frame": "max"}, True), ({"crop": "100%"}, False)])
def test_authority_astropy_a_place_on_the_sky_stays_where_it_is(tmp_path, knobs, larger):
    """The result of a plate-solved reference has its WCS, on whatever canvas."""
    truth = written(
        **SMALL | CALM | EVEN | {"lights": 4, "seed": 8, "dither_px": 30.0, "biases": 0, "darks": 0, "flats": 0}
    )
    folder = tmp_path / "in"
    folder.mkdir()
    for i, path in enumerate(truth.paths("light")):
        with fits.open(path) as hdus:
            hdus[0].header.update(CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CRVAL1=40.0, CRVAL2=20.0 + i)
            hdus[0].header.update(CRPIX1=250.0, CRPIX2=200.0, CD1_1=-4e-4, CD1_2=1e-5, CD2_1=1e-5, CD2_2=4e-4)
            hdus.writeto(folder / f"l{i}.fits")
    given = {f"align.{name}": value for name, value in knobs.items()}
    report, told = walked(folder, tmp_path / "out", reference="l0.fits", **given)
    with fits.open(report.lights[0].path) as hdus:
        image, header, coverage = hdus[0].data, hdus[0].header, hdus["COVERAGE"].data
    assert (image.size > 400 * 500) == larger
    edges = coverage[0], coverage[-1], coverage[:, 0], coverage[:, -1]
    assert larger or min(np.mean(edge == 4) for edge in edges) > 0.97  # all lights, but for what is rejected
    ours, theirs = WCS(header), WCS(fits.getheader(folder / "l0.fits"))
    left, top = map(int, re.search(r"first of them at \((-?\d+), (-?\d+)\)", told).groups())
    xy = np.array([[100.0, 100.0], [300.0, 250.0]])
    np.testing.assert_allclose(ours.wcs_pix2world(xy, 0), theirs.wcs_pix2world(xy + (left, top), 0), atol=1e-9)
    scene = truth.plane_dn(0)[100:300, 100:400]
    there = image[100 - top : 300 - top, 100 - left : 400 - left]
    assert np.corrcoef(scene[scene > 1500], there[scene > 1500])[0, 1] > 0.97


def test_oracle_panels_by_hand_have_the_same_bits_as_a_run(chain, tmp_path):
    """Calibrated frames with the list of their transforms: the same places, whatever the order of the files."""
    folder, _ = chain
    (tmp_path / "in").mkdir()
    for path in (*folder.glob("p[012]_?.fits"), *written(**WIDE | SKY | {"cols": WIDTH, "biases": 3}).paths("bias")):
        shutil.copy(path, tmp_path / "in")
    report, told = walked(tmp_path / "in", tmp_path / "run")
    assert "panels beside it" in told
    master = next((tmp_path / "run" / "masters").glob("*bias*.fits"))
    list(by_hand("calibrate", sorted((tmp_path / "in").glob("p*"), reverse=True), tmp_path / "c", bias=master))
    list(by_hand("align", [tmp_path / "c"], tmp_path / "r", transforms_only=True))
    list(by_hand("integrate", [tmp_path / "c"], tmp_path / "deep.fits", transforms=tmp_path / "r"))
    for plane in (0, "VARIANCE", "COVERAGE"):
        ours, theirs = (fits.getdata(path, plane) for path in (tmp_path / "deep.fits", report.lights[0].path))
        assert np.array_equal(ours, theirs, equal_nan=True)
