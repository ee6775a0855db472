import numpy as np
import pytest
from starfield import Scene, stamp

from masterlight.subframes.stars import detect as stars
from masterlight.subframes.stars.sharp import typical_fwhm


def noisy(shape, seed=1, missing=0.0):
    rng = np.random.default_rng(seed)
    image = rng.normal(1000, 10, shape).astype(np.float32)
    image[rng.random(shape) < missing] = np.nan
    return image


def with_stars(image, x, y, height, fwhm_px):
    """Add Gaussian stars, sampled at pixel centres, to a copy of an image."""
    out, rows, cols = image.copy(), *np.mgrid[: image.shape[0], : image.shape[1]]
    for cx, cy, h in zip(x, y, np.broadcast_to(height, len(x)), strict=True):
        reach = int(4 * fwhm_px)
        box = np.s_[max(0, int(cy) - reach) : int(cy) + reach + 1, max(0, int(cx) - reach) : int(cx) + reach + 1]
        out[box] += h * np.exp(-4 * np.log(2) * ((cols[box] - cx) ** 2 + (rows[box] - cy) ** 2) / fwhm_px**2)
    return out


def test_truth_every_star_is_found_once():
    rng = np.random.default_rng(2)
    x, y = (a.ravel() + rng.uniform(-1, 1, a.size) for a in np.mgrid[30:770:40, 30:570:40])
    image = with_stars(noisy((600, 800)), x, y, 200, 3.0)
    found = stars.detect(image).candidates
    assert len(found.x) == len(x)
    distance = np.hypot(found.x[:, None] - x, found.y[:, None] - y).min(axis=1)
    assert distance.max() < 1.0
    assert typical_fwhm(image, found) == pytest.approx(3.0, rel=0.1)
    assert (np.diff(found.strength) <= 0).all()


def test_truth_hot_pixels_and_cosmic_rays_are_no_stars():
    rng = np.random.default_rng(3)
    image = noisy((600, 800))
    hot = rng.random(image.shape) < 0.001
    image[hot] += rng.exponential(2000, hot.sum()).astype(np.float32)
    for k in range(20):
        image[30 + 20 * k, 40 : 40 + 2] += 5000
    # 500 pixels of 480,000 and one noise peak in some frames
    assert len(stars.detect(image).candidates.x) <= 2


def test_truth_noise_upon_faint_wide_stars_is_no_hot_pixel():
    rng = np.random.default_rng(1)
    image, places = rng.normal(1000, 10, (1200, 1200)), np.arange(40, 1160, 40)
    y, x = (a.ravel() + rng.uniform(-0.5, 0.5, a.size) for a in np.meshgrid(places, places, indexing="ij"))
    scene = Scene(fwhm_px=5.0)
    for cx, cy in zip(x, y, strict=True):
        light = stamp(cx - round(cx), cy - round(cy), scene, 15)
        box = np.s_[round(cy) - 15 : round(cy) + 16, round(cx) - 15 : round(cx) + 16]
        image[box] += 12 * 10 / np.sqrt(np.sum(light**2)) * light
    found = stars.detect(image.astype(np.float32)).candidates
    away = np.hypot(found.x[:, None] - x, found.y[:, None] - y)
    assert np.count_nonzero(away.min(axis=0) > 3) <= 2  # of 784
    assert (away.min(axis=1) < 3).all()


def test_truth_peaks_are_told_of_stars_and_rays_alike():
    """A ray of one pixel is 16 times as high as binned and smoothed, a star of FWHM 3 px some 2.3 times."""
    image = with_stars(noisy((200, 300)), [150.3], [100.2], [3000.0], 3.0)
    image[50, 60] += 800
    image[150, 200] += 50  # 5 sigma: too faint to matter
    x, y, ratio = stars.detect(image).peaks.T
    assert sorted(zip(x, y, strict=True)) == [(60, 50), (150, 100)]
    assert ratio[x == 60] == pytest.approx(16, rel=0.1) and ratio[x == 150] == pytest.approx(2.3, rel=0.15)


def test_truth_flat_tops_tell_the_saturation():
    image = with_stars(noisy((400, 400)), [100, 200, 300], [100, 200, 300], [30000, 60000, 500], 4.0)
    clipped = np.minimum(image, 20000 + np.random.default_rng(4).normal(0, 100, image.shape)).astype(np.float32)
    assert stars.detect(image).saturation_dn == np.inf
    found = stars.detect(clipped)
    assert 17000 < found.saturation_dn < 20000
    assert (found.candidates.core > 0).sum() == 2
    saturated = found.candidates.core > 0
    # The centre of the flat top is the star's to a third of a pixel.
    assert sorted(found.candidates.x[saturated]) == pytest.approx([100, 200], abs=0.35)


def test_truth_balanced_list_leaves_room_for_quiet_corners():
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.uniform(0, 100, 900), rng.uniform(0, 1000, 100)])
    y = np.concatenate([rng.uniform(0, 100, 900), rng.uniform(0, 800, 100)])
    keep = stars.choose_evenly(x, y, (800, 1000), 96)
    assert len(keep) <= 96
    assert (keep < 900).sum() <= 3 * 96 // 48 * 2
    assert (keep >= 900).sum() > 60
    assert list(stars.choose_evenly(x[:2], y[:2], (800, 1000), 96)) == [0, 1]


def test_truth_neighbours():
    x, y = np.array([0.0, 3.0, 10.0]), np.zeros(3)
    near = stars.neighbours(x, y, x, y, 3)
    assert near[0, :2, 0].tolist() == [3.0, 10.0]
    assert np.isinf(near[:, 2]).all()


def test_truth_hot_pixels_by_the_thousand_are_taken_out():
    rng = np.random.default_rng(6)
    image = noisy((400, 600))
    assert stars.spikiness(image)[0] == 0
    hot = rng.random(image.shape) < 0.05
    image[hot] += rng.exponential(3000, hot.sum()).astype(np.float32)
    share, sigma = stars.spikiness(image)
    assert (share > 0.02, sigma == pytest.approx(10, rel=0.15)) == (True, True)
    clean = stars.despike(image, np.full((1, 1), 1000, np.float32), sigma)
    high = image > 1000 + 10 * sigma
    assert np.isnan(clean[high]).mean() > 0.95
    assert np.isfinite(clean[~high]).all()


@pytest.mark.parametrize(("pattern", "times"), [("G", 1.0), ("RGGB", 2**0.5), ("R", 1.0)])
def test_truth_noise_of_a_pixel_where_the_others_are_of_another_colour(pattern, times):
    side = int(len(pattern) ** 0.5)
    green = np.tile(np.array(list(pattern)).reshape(side, side) == "G", (301 // side + 1, 400 // side + 1))[:301, :400]
    image = np.where(green, noisy(green.shape), np.nan).astype(np.float32)
    assert stars.thinned(image) == pytest.approx(times)
    assert stars.places_searched(image, side).tolist() == green[:side, :side].tolist()


def test_truth_a_star_beside_a_hot_pixel_of_another_colour_is_a_star():
    mosaic = with_stars(noisy((200, 200)), [100.3], [101.2], 600.0, 2.5)
    mosaic[102, 100] += 5000  # red, the star's middle is green
    y, x = np.mgrid[:200, :200]
    image = np.where((x + y) % 2, mosaic, np.nan).astype(np.float32)
    near = stars.detect(image, mosaic=mosaic, period=2).candidates
    assert np.hypot(near.x - 100.3, near.y - 101.2).min() < 1.0


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 400)])
def test_truth_small_and_empty_frames_have_no_stars(shape):
    assert len(stars.detect(noisy(shape)).candidates.x) == 0
    assert len(stars.detect(np.full(shape, np.nan, np.float32)).candidates.x) == 0
    assert len(stars.detect(np.zeros(shape, np.float32)).candidates.x) == 0
