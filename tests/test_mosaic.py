"""The mosaic that a colour image was made of."""

import numpy as np
import pytest
from scipy.ndimage import rotate
from sky import in_memory

from masterlight.colour.debayer import Debayer
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.core.headers.geometry import BAYER, shifted_pattern, xtrans_patterns
from masterlight.subframes.select import SubframeSelector
from masterlight.subframes.stars.mosaic import mosaic_of, noise_of_sites

HOT = {"hot_fraction": 0.001, "dark_e_s": 0.2, "temperature_c": 10.0}
FEW = {"stars": 80, "fwhm_px": 3.2, "cloudy": 0, "trails": 0, "tracking_errors": 0}
METHODS = [{"method": "rcd"}, {"method": "rcd", "directions": True}, {"method": "vng"}, {"method": "bilinear"}]


def light(pattern, **more):
    """(night, its first light as a mosaic)."""
    night = in_memory(**{**HOT, **FEW, "pattern": pattern, **more})
    raw = night.observatory.light(0)[:, : night.night.cols].astype(np.float32)
    return night, ArrayFrame.of(raw, "light", Meta(pattern=night.night.tile))


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("pattern", ["RGGB", "GBRG", "XTRANS"])
def test_truth_hot_pixels_of_a_frame_that_another_program_debayered_are_no_stars(pattern, method):
    night, mosaic = light(pattern)
    colour = np.asarray(Debayer(**method)(mosaic))
    found, told = mosaic_of(colour)
    assert told == night.night.tile
    np.testing.assert_array_equal(found, np.asarray(mosaic))
    row, stars = SubframeSelector().measure(ArrayFrame.of(colour, "colour"))
    theirs, _ = SubframeSelector().measure(mosaic)
    truth = night.expected_stars(0)
    near = np.hypot(stars.x_px[:, None] - truth.x_px, stars.y_px[:, None] - truth.y_px).min(axis=1)
    assert (near[stars.snr > 10] < 1.5).all() and np.count_nonzero(stars.snr > 10) >= 15  # hot pixels are far brighter
    assert row.fwhm_px == pytest.approx(theirs.fwhm_px, rel=0.35)  # bilinear X-Trans widens most


@pytest.mark.parametrize("pattern", [*BAYER, *xtrans_patterns()[:36:7]])
def test_truth_the_pattern_is_told_wherever_it_begins_and_whatever_is_missing(pattern):
    rng, size = np.random.default_rng(1), len(pattern)
    mosaic = rng.normal(500, 10, (120, 180)).astype(np.float32)
    colour = np.array(np.asarray(Debayer()(ArrayFrame.of(mosaic, "m", Meta(pattern=pattern)))))
    colour *= np.array([2.1, 1.0, 1.4], np.float32)[:, None, None]  # white balance
    colour[:, 40:60, 20:90] = np.nan
    colour[:, :, 100:104] = 60000
    assert mosaic_of(colour)[1] == pattern
    again = mosaic_of(np.ascontiguousarray(colour[:, 1:, 1:]))[1]
    assert again == shifted_pattern(pattern, 1, 1) and len(again) == size


def test_truth_colours_of_their_own_and_images_on_another_grid_tell_no_pattern():
    rng = np.random.default_rng(2)
    assert mosaic_of(rng.normal(500, 10, (3, 200, 300)).astype(np.float32))[1] == ""
    assert mosaic_of(np.full((3, 200, 300), 7, np.float32))[1] == ""
    assert mosaic_of(rng.normal(500, 10, (3, 20, 300)).astype(np.float32))[1] == ""
    assert mosaic_of(np.full((3, 200, 300), np.nan, np.float32))[0].size == 0
    _, mosaic = light("RGGB", rows=300, cols=400)
    colour = np.asarray(Debayer()(mosaic))
    assert mosaic_of(colour)[1] == "RGGB"
    assert mosaic_of(np.stack([rotate(plane, 3.0, reshape=False, order=3) for plane in colour]))[1] == ""


def test_oracle_noise_of_sites():
    planes = np.random.default_rng(3).normal(0, 1, (3, 30, 42)).astype(np.float32)
    starts, off = [6, 12, 18], np.empty((3, 18, 30))
    for p, y, x in np.ndindex(off.shape):
        a = planes[p].astype(float)
        y1, x1 = y + starts[0], x + 6
        off[p, y, x] = abs(a[y1, x1] - (a[y1, x1 - 1] + a[y1, x1 + 1]) / 2)
        off[p, y, x] += abs(a[y1, x1] - (a[y1 - 1, x1] + a[y1 + 1, x1]) / 2)
    off = np.minimum(off, 4 * np.median(off, axis=(1, 2), keepdims=True))
    sites = [[[off[p, y::6, x::6].mean() for x in range(6)] for y in range(6)] for p in range(3)]
    np.testing.assert_allclose(noise_of_sites(planes), sites, rtol=1e-5)
