"""Colour from the sensor to the debayered frame, against the truth of simulated nights."""

from functools import cache

import numpy as np
import pytest
from darkroom import expected, masters_of, noiseless
from sky import written

from masterlight import io
from masterlight.calibration.calibrate import ImageCalibration
from masterlight.colour.debayer import Debayer
from masterlight.defects.cosmetic import CosmeticCorrection

NIGHT = {
    "rows": 700, "cols": 900, "lights": 2, "biases": 12, "darks": 12, "flats": 16, "stars": 500, "faintest_dn": 4000.0,
    "cloudy": 0, "trails": 0, "tracking_errors": 0, "cosmic_rays": 0.0,
}  # fmt: skip
BAYER = ("rcd", "vng", "mhc", "bilinear")
RADIUS, INNER, OUTER = 8, 11, 17


@cache
def repaired(pattern: str, noise: bool = True, fwhm_px: float = 2.8):
    """The truth of a night, and its lights, as they are or without noise, calibrated by its masters and repaired."""
    truth = written(**NIGHT, pattern=pattern, fwhm_px=fwhm_px)
    calibration, repair = ImageCalibration(), CosmeticCorrection()
    masters = masters_of(truth, calibration)
    defects = repair.defects(masters.dark)
    lights = [io.read(path) if noise else noiseless(truth, i) for i, path in enumerate(truth.paths("light"))]
    return truth, [repair(calibration(light, masters), defects) for light in lights]


def flat_scale(truth):
    """What the flat multiplies each colour with: about the same for all of them."""
    return float(np.median(expected(truth, 0) / truth.mosaic_dn(0)))


def fluxes(image, x, y, radius=RADIUS, inner=INNER, outer=OUTER):
    """Sum in an aperture above the median of a ring, for each plane."""
    i, j = round(y), round(x)
    box = image[:, i - outer : i + outer + 1, j - outer : j + outer + 1].astype(float)
    distance = np.hypot(*np.meshgrid(np.arange(-outer, outer + 1) - (x - j), np.arange(-outer, outer + 1) - (y - i)))
    level = np.median(box[:, (distance > inner) & (distance < outer)], axis=1)
    return (box - level[:, None, None])[:, distance < radius].sum(axis=1)


def bright_stars(truth, index, outer=OUTER):
    """Bright stars that do not saturate, alone in their ring and away from the border."""
    stars, night = truth.expected_stars(index), truth.night
    good = (stars.peak_dn < 35_000) & (stars.r_dn < 1.2 * stars.g_dn) & (stars.g_dn > 15_000)
    inside = (np.minimum(stars.x_px, night.cols - 1 - stars.x_px) > outer + 2) & (
        np.minimum(stars.y_px, night.rows - 1 - stars.y_px) > outer + 2
    )
    alone = [
        k
        for k in np.flatnonzero(good & inside)
        if stars.flux_dn[np.hypot(stars.x_px - stars.x_px[k], stars.y_px - stars.y_px[k]) < outer + 6].sum()
        < 1.02 * stars.flux_dn[k]
    ]
    return stars[alone]


def colours(truth, frames, method, size, **knobs):
    """Fluxes of bright stars over the true ones, (stars, 3), and so their colours R/G and B/G, (stars, 2)."""
    flux = []
    for index, frame in enumerate(frames):
        image, scene = np.asarray(Debayer(method=method, **knobs)(frame)), truth.scene_dn(index) * flat_scale(truth)
        rows, cols = (n // size * size for n in scene.shape[1:])
        scene = scene[:, :rows, :cols].reshape(3, rows // size, size, cols // size, size).mean(axis=(2, 4))
        for star in bright_stars(truth, index):
            at = [(v - (size - 1) / 2) / size for v in (star.x_px, star.y_px)]
            radii = RADIUS / size, INNER / size, round(OUTER / size)
            flux.append(fluxes(image, *at, *radii) / fluxes(scene, *at, *radii))
    flux = np.array(flux)
    return flux, flux[:, [0, 2]] / flux[:, 1:2]


def middle(values):
    """Median and 1.4826 MAD of each column."""
    median = np.median(values, axis=0)
    return median, 1.4826 * np.median(np.abs(values - median), axis=0)


FAITHFUL = [("RGGB", "rcd", 1), ("RGGB", "mhc", 1), ("RGGB", "bilinear", 1), ("RGGB", "super-pixel", 2)]
FAITHFUL += [("XTRANS", "rcd", 1), ("XTRANS", "bilinear", 1), ("XTRANS", "super-pixel", 3)]
ADAPTIVE = [("RGGB", "vng", False, 0.09), ("RGGB", "rcd", True, 0.14), ("XTRANS", "rcd", True, 0.14)]


@pytest.mark.parametrize("pattern, method, size", FAITHFUL)
def test_truth_colour_of_stars(pattern, method, size):
    flux, found = colours(*repaired(pattern, noise=False), method, size)
    assert len(found) >= 40
    (median, scatter), level = middle(found), middle(flux)[0]
    told = f"R/G, B/G {median.round(4)} +- {scatter.round(4)}, R, G, B {level.round(4)} of the truth"
    assert median == pytest.approx([1, 1], abs=0.01), told
    assert level == pytest.approx([1, 1, 1], abs=0.01), told
    # stars of 2.8 px on the 2 px grid of red, and on the gaps of up to 3 px between the reds of X-Trans
    assert scatter.max() < (0.01 if pattern == "RGGB" else 0.05), told


@pytest.mark.parametrize("pattern, method, size", FAITHFUL)
def test_truth_colour_of_stars_in_noise(pattern, method, size):
    _, found = colours(*repaired(pattern), method, size)
    median, scatter = middle(found)
    # the median of n stars is known to 1.25 sigma / sqrt(n)
    allowed = 0.01 + 3 * 1.25 * scatter / np.sqrt(len(found))
    assert np.all(np.abs(median - 1) < allowed), f"R/G, B/G {median.round(4)} +- {scatter.round(4)}"


@pytest.mark.parametrize("pattern", ["RGGB", "XTRANS"])
@pytest.mark.parametrize("fwhm_px", [2.2, 4.5])
def test_truth_colour_of_sharp_and_wide_stars(pattern, fwhm_px):
    flux, found = colours(*repaired(pattern, noise=False, fwhm_px=fwhm_px), "rcd", 1)
    assert len(found) >= 30
    (median, scatter), level = middle(found), middle(flux)[0]
    told = f"R/G, B/G {median.round(4)} +- {scatter.round(4)}, R, G, B {level.round(4)} of the truth"
    # what a star's place in the pattern does: the median of n stars is known to 1.25 sigma / sqrt(n)
    assert np.all(np.abs(median - 1) < 0.01 + 3 * 1.25 * scatter / np.sqrt(len(found))), told
    assert scatter.max() < (0.06 if fwhm_px < 2.5 else 0.01), told


@pytest.mark.parametrize("pattern, method, directions, limit", ADAPTIVE)
def test_truth_adaptive_methods_change_the_colour_of_sharp_stars(pattern, method, directions, limit):
    """These follow edges, and a star of 2.8 px is all edges: they miss the 1 % of the others.

    Limits are a little above what was measured.
    """
    flux, found = colours(*repaired(pattern, noise=False), method, 1, directions=directions)
    median, scatter = middle(found)
    told = f"R/G, B/G {median.round(4)} +- {scatter.round(4)}, R, G, B {middle(flux)[0].round(4)} of the truth"
    assert 0.01 < np.abs(median - 1).max() < limit, told
    assert scatter.max() < limit + 0.02, told


@pytest.mark.parametrize(
    "pattern, method",
    [(p, m) for p in ("RGGB", "GBRG") for m in BAYER]
    + [("RGGB", "super-pixel"), ("XTRANS", "rcd"), ("XTRANS", "bilinear")],
)
def test_truth_no_checkerboard(pattern, method):
    truth, frames = repaired(pattern)
    worst = 0.0
    for index, frame in enumerate(frames):
        image, scene = np.asarray(Debayer(method=method)(frame)), truth.scene_dn(index)
        calm = scene[1] < np.median(scene[1]) + 40
        step = scene.shape[1] // image.shape[1]
        scene, calm = (a[..., ::step, ::step][..., : image.shape[1], : image.shape[2]] for a in (scene, calm))
        scene = scene * flat_scale(truth)
        period = 6 if pattern == "XTRANS" else 2
        for plane, ideal in zip(image, scene, strict=True):
            away = np.where(calm, plane - ideal, np.nan)
            sigma = 1.4826 * np.nanmedian(np.abs(away - np.nanmedian(away)))
            phases = [[np.nanmean(away[y::period, x::period]) for x in range(period)] for y in range(period)]
            phases = np.array(phases) / sigma
            worst = max(worst, np.ptp(phases.mean(axis=0)), np.ptp(phases.mean(axis=1)), 0.5 * np.ptp(phases))
    assert worst < 0.1, f"{worst:.4f} sigma"
