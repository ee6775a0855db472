"""Light of stars by their pixels beside that of their fits."""

import numpy as np
import pytest
from weather import Weather

from masterlight.core.frame import ArrayFrame, Meta
from masterlight.simulate.observatory import apply
from masterlight.subframes.measurement import HEALTH_FIELDS
from masterlight.subframes.select import SubframeSelector
from masterlight.subframes.wings import APERTURES_PX, AS_FITTED, light_shares, light_within, wings_beside

MEASURE = SubframeSelector()


def halo(image, share, wide_px=12.0):
    """An optic that throws this share of the light of each star, and of the sky, into a wide halo."""
    y, x = (np.fft.fftfreq(n)[:, None] for n in image.shape)
    blur = np.exp(-2 * (np.pi * wide_px) ** 2 * (y**2 + x.T**2))
    return np.fft.ifft2(np.fft.fft2(image) * (1 - share + share * blur)).real.astype(np.float32)


@pytest.mark.parametrize("fwhm_px", [1.8, 3.0, 5.0])
def test_truth_the_shares_of_stars_without_wings_are_those_of_the_apertures(fwhm_px):
    weather = Weather(1, lights=1, fwhm_px=fwhm_px, stars=150)
    measured, stars = MEASURE.measure(weather.frame(0), saturation_dn=65535.0, wanted=HEALTH_FIELDS)
    own = weather.pointing(0)
    alpha2 = (0.5 * own.fwhm_px) ** 2 * own.elongation / (2 ** (1 / 3.5) - 1)
    inside = 1 - (1 + APERTURES_PX**2 / alpha2) ** (1 - 3.5)
    shares, errors = np.array(measured.light_shares)
    told = np.isfinite(shares)
    assert told.sum() >= 3 and (0 < errors[told]).all() and (errors[told] < 0.05).all()
    true = inside / np.median(light_within(stars) / stars.flux_dn)
    assert np.abs(shares - true)[told] == pytest.approx(0, abs=0.05)


def test_truth_light_within_is_true_whatever_the_exponent_of_the_fit():
    weather = Weather(2, lights=1, stars=150)
    own = weather.pointing(0)
    x, y = apply(own.matrix, weather.observatory.catalogue["x"], weather.observatory.catalogue["y"])
    flux = weather.observatory.flux_e("L") * own.transparency / weather.night.gain_e_per_dn
    for knobs in ({}, {"beta": 2.8}, {"beta": 4.5}):
        _, stars = SubframeSelector(**knobs).measure(weather.frame(0), saturation_dn=65535.0)
        at = np.argmin(np.hypot(*(stars.xy[:30, None] - np.stack([x, y], -1)).T), axis=0)
        alpha2 = (0.5 * own.fwhm_px) ** 2 * own.elongation / (2 ** (1 / 3.5) - 1)
        true = flux[at] * (1 - (1 + (1.5 * own.fwhm_px) ** 2 / alpha2) ** (1 - 3.5))
        assert np.median(light_within(stars)[:30] / true) == pytest.approx(1, abs=0.06)


def test_truth_of_a_mosaic_the_green_pixels_tell():
    weather = Weather(1, lights=1, stars=150)
    plain = MEASURE.measure(weather.frame(0), saturation_dn=65535.0, wanted=HEALTH_FIELDS)[0]
    frame = ArrayFrame.of(weather.frame(0), "mosaic", Meta(pattern="RGGB", saturation_dn=65535.0))
    mosaic = MEASURE.measure(frame, wanted=HEALTH_FIELDS)[0]
    assert wings_beside(plain.light_shares, mosaic.light_shares, 2.8).ratio == pytest.approx(1, abs=0.04)


def test_truth_where_seeing_changes_and_halos_do_not_pixels_put_fits_right():
    fits, mended = [], []
    for seed in (3, 4, 5):
        fitted, shares = [], []
        for fwhm_px in (1.9, 3.2):
            weather = Weather(seed, lights=1, fwhm_px=fwhm_px, stars=150, fwhm_spread=0.0, nebula_dn=0.0)
            image = halo(weather.frame(0) - 900, 0.3, 3.5) + np.float32(900)
            measured, stars = MEASURE.measure(image, saturation_dn=65535.0, wanted=HEALTH_FIELDS)
            fitted.append(np.median(light_within(stars)[:15]))
            shares.append(measured.light_shares)
        fits.append(fitted[0] / fitted[1])
        mended.append(fits[-1] * wings_beside(*shares, 3.2).ratio)
    assert abs(np.mean(mended) - 1) < 0.05 < 0.1 < abs(np.mean(fits) - 1)


def test_truth_what_may_be_noise_is_taken_for_none():
    one = (tuple(np.full(11, 1.05)), tuple(np.full(11, 0.01)))
    other = (tuple(np.full(11, 1.02)), tuple(np.full(11, 0.01)))
    far = (tuple(np.full(11, 1.30)), tuple(np.full(11, 0.01)))
    nothing = (tuple(np.full(11, np.nan)), tuple(np.full(11, np.nan)))
    assert wings_beside(one, other, 3.0).ratio == 1
    assert wings_beside(far, other, 3.0).ratio == pytest.approx(1.3 / 1.02, rel=0.01)
    assert wings_beside(one, None, 3.0) == wings_beside(one, nothing, 3.0) == AS_FITTED
    assert wings_beside(far, other, 99.0).ratio == pytest.approx(1.3 / 1.02, rel=0.01)  # the largest radius there is


def test_truth_nothing_is_told_by_few_stars_or_in_a_small_image():
    weather = Weather(1, lights=1, stars=150)
    image = weather.frame(0)
    _, stars = MEASURE.measure(image, saturation_dn=65535.0)
    assert light_shares(image, stars[:2], 30.0) is None and light_shares(image, stars[:0], 30.0) is None
    assert light_shares(image[:20, :20], stars, 30.0) is None
    assert MEASURE.measure(image)[0].light_shares is None  # not asked for
