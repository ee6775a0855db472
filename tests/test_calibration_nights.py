"""A whole calibration against the truth of simulated nights: backgrounds, flats, defects."""

import numpy as np
import pytest
from darkroom import expected, masters_of, noiseless
from scipy import ndimage
from sky import written

from masterlight import io
from masterlight.calibration.calibrate import ImageCalibration
from masterlight.defects.cosmetic import CosmeticCorrection
from masterlight.defects.find import BadPixels

CLEAR = {"cloudy": 0, "trails": 0, "tracking_errors": 0}
NIGHT = {**CLEAR, "rows": 384, "cols": 576, "lights": 2, "biases": 24, "darks": 24, "flats": 24}
LARGE = {**NIGHT, "rows": 700, "cols": 1000, "biases": 10, "darks": 16, "flats": 10, "bad_columns": 6}
QUIET = {"gain_e_per_dn": 60.0, "read_noise_e": 60.0, "dark_e_s": 1.5}
"""A camera of huge pixels: a light of 900 DN has a noise of 4 DN, so that single lights tell tenths of a DN."""
CAMERAS = {
    "mono": {},
    "CMOS of 14 bits": {"bit_shift": 2, "bias_pixels_dn": 2.0, "glow_dn": 80.0, "flat_darks": 16},
    "Bayer with overscan that drifts": {"pattern": "GBRG", "overscan_px": 32, "bias_drift_dn": 5.0},
    "X-Trans": {"pattern": "XTRANS"},
}


def block_means(image, size):
    """Means of the finite pixels in squares of size x size."""
    rows, cols = (n // size * size for n in image.shape)
    return np.nanmean(image[:rows, :cols].reshape(rows // size, size, cols // size, size), axis=(1, 3))


def quiet_sky(truth, index):
    """Pixels without defects and bright stars."""
    return (truth.defects == 0) & (truth.mosaic_dn(index) < 3000) & ~truth.cosmic_mask(index)


@pytest.mark.parametrize("camera", CAMERAS)
def test_truth_background_of_a_noiseless_light(camera):
    truth = written(**NIGHT, **CAMERAS[camera])
    calibration = ImageCalibration()
    masters = masters_of(truth, calibration)
    for index in range(2):
        view = calibration(noiseless(truth, index), masters)
        away = np.where(quiet_sky(truth, index), np.asarray(view) - expected(truth, index), np.nan)
        blocks = block_means(away, 64)
        # noise of the masters in a pixel is 1.5 DN, in a block of 4096 pixels 0.024; 108 blocks reach 3 of these
        assert np.abs(blocks).max() < 0.1, f"{camera}: {np.abs(blocks).max():.3f} DN"
        assert abs(np.nanmean(away)) < 0.03


@pytest.mark.parametrize("camera", ["mono", "Bayer with overscan that drifts"])
def test_truth_background_of_lights_as_they_are(camera):
    truth = written(**{**NIGHT, **QUIET, "lights": 6, "biases": 16, "darks": 16, "flats": 16}, **CAMERAS[camera])
    calibration = ImageCalibration()
    masters = masters_of(truth, calibration)
    away = [
        np.where(quiet_sky(truth, i), np.asarray(calibration(io.read(path), masters)) - expected(truth, i), np.nan)
        for i, path in enumerate(truth.paths("light"))
    ]
    mean = np.ma.masked_invalid(away).mean(axis=0).filled(np.nan)
    # 4 DN / sqrt(6 lights x 4096 pixels) is 0.026 DN, and the level of an overscan is known to 0.01
    assert np.abs(block_means(mean, 64)).max() < 0.1


def test_truth_background_with_a_scaled_dark():
    told = {"dark_exposure_s": 300.0, "dark_temperature_c": -7.0, "dark_e_s": 0.2, "hot_fraction": 0.01}
    truth = written(**NIGHT, **told)
    calibration = ImageCalibration(dark_scaling="fit")
    masters = masters_of(truth, calibration)
    for index, path in enumerate(truth.paths("light")):
        found = calibration(io.read(path), masters).dark_scale
        assert found.accepted and found.sigma < 0.01 * found.k
        assert abs(found.k - truth.k) < 3 * found.sigma
        away = np.asarray(calibration(noiseless(truth, index), masters)) - expected(truth, index)
        blocks = block_means(np.where(quiet_sky(truth, index), away, np.nan), 64)
        assert np.abs(blocks).max() < 0.1, f"{np.abs(blocks).max():.3f} DN"


@pytest.mark.parametrize("camera", CAMERAS)
def test_truth_flat_residue(camera):
    truth = written(**NIGHT, **CAMERAS[camera])
    calibration = ImageCalibration()
    got = np.asarray(calibration(noiseless(truth, 0, 1e4), masters_of(truth, calibration)))
    ratio = np.where(truth.defects == 0, got / expected(truth, 0, 1e4), np.nan)
    residue = block_means(ratio, 32)
    # shot noise of 30 flats in a block of 1024 pixels is 0.004 %
    assert residue.std() < 1e-4
    assert residue.mean() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("pattern", ["", "RGGB", "XTRANS"])
def test_truth_defects_are_repaired_and_nothing_else(pattern):
    truth = written(**LARGE, pattern=pattern)
    night, calibration, repair = truth.night, ImageCalibration(), CosmeticCorrection()
    masters = masters_of(truth, calibration)
    finder, known = BadPixels(line=None), truth.defects
    defects = repair.defects(masters.dark).union(finder.from_flats(masters.flat))
    touched = (defects.mask > 0) & (known == 0)
    assert touched.mean() < 1e-5, f"{touched.sum()} good pixels are called defective"
    hot = known & 1 > 0
    assert np.mean(defects.mask[hot] > 0) > 0.99, "hot pixels of 0.5 e/s and more are 80 DN in a dark"
    for index, path in enumerate(truth.paths("light")):
        before = calibration(io.read(path), masters)
        after = np.asarray(repair(before, defects))
        truth_dn = expected(truth, index)
        scale = truth_dn / truth.mosaic_dn(index) / truth.flat("L")
        sigma = scale * np.sqrt(truth.mosaic_dn(index) * truth.flat("L") / night.gain_e_per_dn + 4.24**2)
        stars = truth.observatory.starlight_e(truth.pointings[index])
        calm = (ndimage.maximum_filter(stars, 13) < 15) & ~ndimage.maximum_filter(truth.cosmic_mask(index), 13)
        z = ((after - truth_dn) / sigma)[(known > 0) & calm]
        assert z.size > 500 and np.abs(z).max() < 5, f"{(np.abs(z) > 5).sum()} of {z.size}: {np.abs(z).max():.1f} sigma"
        assert np.array_equal(after[defects.mask == 0], np.asarray(before)[defects.mask == 0])


@pytest.mark.parametrize("pattern", ["", "RGGB"])
def test_truth_flats_show_the_bad_columns_and_no_others(pattern):
    truth = written(**LARGE, pattern=pattern)
    found = BadPixels().from_flats(masters_of(truth, ImageCalibration()).flat)
    touched = (found.mask > 0) & (truth.defects == 0)
    assert touched.mean() < 1e-5, f"{touched.sum()} good pixels are called defective"
    assert np.mean(found.mask[truth.defects & 10 == 10] > 0) > 0.95, "columns that keep 0.44 and 0.58 of the light"


def test_truth_automatic_repair_leaves_stars_alone():
    truth = written(**LARGE)
    calibration, repair = ImageCalibration(), CosmeticCorrection(hot_auto=6.0, cold_auto=6.0)
    masters = masters_of(truth, calibration)
    defects = repair.defects(masters.dark)
    before = calibration(io.read(truth.paths("light")[0]), masters)
    after, before = np.asarray(repair(before, defects)), np.asarray(before)
    near = ndimage.maximum_filter((truth.defects > 0) | truth.cosmic_mask(0), 3)
    changed = (after != before) & ~near
    assert changed.mean() < 1e-5, f"{changed.sum()} good pixels were changed"
    stars = truth.expected_stars(0)
    stars = stars[(stars.peak_dn > 1000) & (stars.peak_dn < 40_000)]
    assert len(stars) > 50
    for star in stars:
        core = np.s_[
            max(0, round(star.y_px) - 1) : round(star.y_px) + 2, max(0, round(star.x_px) - 1) : round(star.x_px) + 2
        ]
        assert not changed[core].any()
