"""Nights of panels: a chain of them becomes one master light, level and without seams."""

import numpy as np
import pytest
from astropy.io import fits
from sky import CALM, EVEN, written

from masterlight import Recipe, build, run

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


def test_truth_a_chain_of_panels_is_one_master_light(chain, tmp_path):
    folder, truth = chain
    report, told = walked(folder, tmp_path)
    assert not report.rejected and len(report.lights) == 1, told
    assert "laid by way of their neighbours" in told
    with fits.open(report.lights[0].path) as hdus:
        image, coverage = hdus[0].data, hdus["COVERAGE"].data
        assert image.shape[1] > WIDE["cols"] - 12 and image.shape[0] < WIDE["rows"] + 16
        assert int(np.nanmax(coverage)) <= 4
