import pickle
from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest

from masterlight.alignment.align import StarAlignment
from masterlight.alignment.transform import Transform
from masterlight.core.errors import FrameError
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.subframes.measurement import StarList
from masterlight.subframes.photometry import (
    FLOOR,
    apertures,
    flux_ratio,
    forced_fluxes,
    own_width,
    robust_mean,
    stamps,
    standards,
)
from masterlight.subframes.select import SubframeSelector

SHAPE, STARS, SIGMA = (700, 800), 110, 8.0
RNG = np.random.default_rng(3)
XY = np.stack([RNG.uniform(30, SHAPE[1] - 30, STARS), RNG.uniform(30, SHAPE[0] - 30, STARS)], axis=1)
FLUX = 10 ** RNG.uniform(3.8, 5.3, STARS)


def field(seed, transparency=1.0, fwhm=3.0, level=1000.0, beta=4.0, shift=(0.0, 0.0)):
    """Moffat stars summed over 5 x 5 points of each pixel, on a sky with noise."""
    alpha = fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1)
    image, reach, sub = np.full(SHAPE, float(level)), int(8 * fwhm) + 2, (np.arange(5) - 2) / 5
    for (x, y), flux in zip(XY + shift, transparency * FLUX, strict=True):
        y0, y1 = max(0, int(y) - reach), min(SHAPE[0], int(y) + reach)
        x0, x1 = max(0, int(x) - reach), min(SHAPE[1], int(x) + reach)
        dy, dx = ((np.arange(a, b)[:, None] + sub - at).ravel() for a, b, at in ((y0, y1, y), (x0, x1, x)))
        profile = (beta - 1) / (np.pi * alpha**2) * (1 + (dx**2 + dy[:, None] ** 2) / alpha**2) ** -beta
        image[y0:y1, x0:x1] += flux * profile.reshape(y1 - y0, 5, x1 - x0, 5).mean(axis=(1, 3))
    return (image + np.random.default_rng(seed).normal(0, SIGMA, SHAPE)).astype(np.float32)


@cache
def reference():
    """(stars, what they shine in the reference)."""
    frame = ArrayFrame.of(field(1))
    _, found = SubframeSelector().measure(frame)
    stars = standards(found)
    return stars, forced_fluxes(frame, stars)


def ratio_of(frame, plane=0):
    stars, known = reference()
    found = forced_fluxes(frame, stars)
    return flux_ratio(found.flux_dn[plane], known.flux_dn[0], found.error_dn[plane], known.error_dn[0])


@pytest.mark.parametrize(
    ("transparency", "fwhm", "level"),
    [(1.0, 3.0, 1000), (0.9, 2.1, 400), (0.75, 3.9, 2500), (0.5, 3.9, 1500), (0.5, 2.3, 5000), (0.6, 4.6, 800)],
)
def test_truth_ratio_whatever_seeing_and_sky(transparency, fwhm, level):
    found = ratio_of(ArrayFrame.of(field(10, transparency, fwhm, level)))
    # 0.3 % is asked for; the error that is claimed is below 0.1 %.
    assert found.ratio == pytest.approx(transparency, rel=0.003)
    assert abs(found.ratio - transparency) < 4 * found.error
    assert found.error < 0.0015 * transparency
    assert found.stars > 60


def test_truth_flux_is_that_of_the_stars_but_for_the_wings():
    stars, found = reference()
    nearest = np.argmin(np.hypot(*(stars.xy[:, None] - XY[None]).transpose(2, 0, 1)), axis=1)
    # 1.8 widths hold 98.8 % of a Moffat profile of exponent 4 blurred by the pixel; 1 % for the sky in its wings.
    assert np.median(found.flux_dn[0] / FLUX[nearest]) == pytest.approx(0.985, abs=0.01)


def test_truth_errors_are_those_of_the_sky():
    stars, _ = reference()
    pulls = []
    for seed in range(4):
        one, two = (forced_fluxes(ArrayFrame.of(field(20 + 2 * seed + k)), stars) for k in (0, 1))
        pulls.append((one.flux_dn - two.flux_dn)[0] / np.hypot(one.error_dn, two.error_dn)[0])
    pulls = np.concatenate(pulls)
    # Of 250 stars and more the scatter is sure to 5 %; the width of each frame adds a little for the bright ones.
    assert 1.4826 * np.nanmedian(np.abs(pulls)) == pytest.approx(1.0, abs=0.2)


def test_truth_planes_have_their_own_light_and_width():
    cube = np.stack([field(5, 1.0, 3.0), field(6, 0.8, 2.6, 700), field(7, 0.5, 3.6, 2000)])
    frame = ArrayFrame.of(cube)
    for plane, expected in enumerate((1.0, 0.8, 0.5)):
        assert ratio_of(frame, plane).ratio == pytest.approx(expected, rel=0.003)
    assert np.argsort(forced_fluxes(frame, reference()[0]).fwhm_px).tolist() == [1, 0, 2]


def test_truth_registered_frames_are_read_in_boxes():
    away = Transform(matrix=np.array([[1, 0, 3.4], [0, 1, -2.7], [0, 0, 1.0]]), shape=SHAPE)
    frame = ArrayFrame.of(field(8, 0.7, shift=(3.4, -2.7)))
    registered = StarAlignment().registered(frame, away, SHAPE, noise_dn=SIGMA, fwhm_px=3.0)
    assert ratio_of(pickle.loads(pickle.dumps(registered))).ratio == pytest.approx(0.7, rel=0.003)


def test_truth_cosmic_rays_and_a_passing_satellite_do_not_count():
    image = field(9, 0.8)
    rng = np.random.default_rng(1)
    image[rng.integers(0, SHAPE[0], 500), rng.integers(0, SHAPE[1], 500)] += 4000
    image[300:304] += 2000
    assert ratio_of(ArrayFrame.of(image)).ratio == pytest.approx(0.8, rel=0.004)


def test_truth_missing_pixels_cost_stars_not_truth():
    image = field(11, 0.7)
    image[np.random.default_rng(2).random(SHAPE) < 0.003] = np.nan
    found = ratio_of(ArrayFrame.of(image))
    assert found.ratio == pytest.approx(0.7, rel=0.003)
    # Of the 180 pixels of an aperture none is missing in 58 % of the stars.
    assert found.stars > 35


def test_truth_stars_that_cannot_be_measured_are_nan():
    stars, _ = reference()
    image = field(2)
    x, y = np.round(stars.xy[:3]).astype(int).T
    image[y[0], x[0] + 4] = np.nan
    image[y[1], x[1]] = 60000
    image[y[2], x[2] - 10] = np.nan
    found = forced_fluxes(ArrayFrame.of(image, meta=Meta(saturation_dn=60000.0)), stars)
    assert np.isnan(found.flux_dn[0, :2]).all() and np.isfinite(found.flux_dn[0, 2])
    small = forced_fluxes(ArrayFrame.of(field(2)[:, :400]), stars)
    assert np.isnan(small.flux_dn[0, stars.x_px > 390]).all()
    assert np.isfinite(small.flux_dn[0, (stars.x_px < 360) & (np.abs(stars.y_px - 350) < 300)]).all()


def test_truth_nothing_to_measure_is_nan():
    stars, _ = reference()
    for image in (np.full(SHAPE, np.nan), np.zeros(SHAPE), np.random.default_rng(1).normal(1000, 8, SHAPE)):
        found = forced_fluxes(ArrayFrame.of(image), stars)
        answer = flux_ratio(found.flux_dn[0], reference()[1].flux_dn[0], found.error_dn[0])
        assert answer.stars == 0 or abs(answer.ratio) < 4 * answer.error + 0.01
    nobody = forced_fluxes(ArrayFrame.of(field(2)), stars[np.zeros(0, int)])
    assert nobody.flux_dn.shape == (1, 0)
    assert flux_ratio([], [], []).stars == 0


def test_truth_standards_stand_alone_and_are_not_saturated():
    one = np.ones(6)
    x = np.array([100.0, 108, 200, 300, 310, 400])
    flux = np.array([1000.0, 500, 900, 800, 10, 700])
    saturated = np.array([False, False, True, False, False, False])
    stars = StarList(
        x, 50 * one, flux, flux, one, 3 * one, 0 * one, 0 * one, 0.02 * one, 100 * one, saturated, 0 * one, (100, 500)
    )
    assert standards(stars).x_px.tolist() == [300, 400]
    assert standards(stars, most=1).x_px.tolist() == [300]
    crowd = replace(stars, flux_dn=np.array([1000.0, 150, 900, 800, 10, 700]))
    assert standards(crowd).x_px.tolist() == [300, 400, 100]  # few stand alone: one beside a faint star, too
    assert standards(crowd, most=2).x_px.tolist() == [300, 400]


def test_surface_a_frame_that_cannot_be_read_is_named():
    class Broken(ArrayFrame):
        def pixels(self, y0, y1, x0, x1):
            raise OSError("unexpected end of file")

    with pytest.raises(FrameError, match="m31.fits: it cannot be read"):
        forced_fluxes(Broken.of(field(2), "m31.fits"), reference()[0])


def test_oracle_stamps():
    stars, _ = reference()
    image = field(2)
    found = stamps(ArrayFrame.of(image), stars, 5)
    for box, (x, y) in zip(found, stars.xy, strict=True):
        i, j = round(y), round(x)
        np.testing.assert_array_equal(box[0], image[i - 5 : i + 6, j - 5 : j + 6])


def test_truth_robust_mean():
    rng = np.random.default_rng(1)
    sigma = rng.uniform(0.5, 2, 400)
    values = rng.normal(10, sigma)
    values[:20] += 50
    mean, error, used = robust_mean(values, sigma)
    assert error == pytest.approx(1 / np.sqrt((1 / sigma[20:] ** 2).sum()), rel=0.1)
    assert abs(mean - 10) < 4 * error
    assert 360 <= used <= 380
    # Values that scatter three times as much as they claim give an error three times as large.
    wide = robust_mean(10 + 3 * (values[20:] - 10), sigma[20:])
    assert wide.error == pytest.approx(3 / np.sqrt((1 / sigma[20:] ** 2).sum()), rel=0.15)


def test_truth_ratio_has_a_floor_of_error():
    flux = np.full(100, 1e6)
    found = flux_ratio(0.5 * flux, flux, 0 * flux)
    assert found == pytest.approx((0.5, 0.5 * FLOOR / 10, 100), rel=1e-12)


@pytest.mark.parametrize("width", [0.0, 0.01, 0.3, 0.55, 0.6, 0.65, np.nan, np.inf])
def test_bad_widths_of_no_star_give_no_flux(width):
    """Frames that are not registered show noise where the reference has stars, of which any width comes."""
    boxes = np.random.default_rng(3).normal(1000, 10, (9, 21, 21)).astype(np.float32)
    stars = StarList(
        *(np.full(9, 10.0) for _ in range(4)), *(np.full(9, 2.5) for _ in range(len(fields(StarList)) - 4))
    )
    assert np.isnan(own_width(boxes, stars, width))
    assert np.isnan(apertures(boxes, stars, width)[0]).all()


def boxes_around(stars, fwhm_px):
    """Boxes of Gaussian stars without noise, as `stamps` gives them."""
    y, x = np.mgrid[-12:13, -12:13]
    u, v = (stars.xy - np.round(stars.xy)).T[:, :, None, None]
    return (100 + 1e4 * np.exp(-((x - u) ** 2 + (y - v) ** 2) * 4 * np.log(2) / fwhm_px**2)).astype(np.float32)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [3, 5, 8])
@pytest.mark.parametrize("seed", range(8))
def test_truth_few_stars_tell_their_width_wherever_they_fall(count, seed):
    """Of so few some rings of a quarter of a pixel hold no pixel at all."""
    rng, stars = np.random.default_rng(seed), reference()[0]
    stars = stars[rng.permutation(len(stars))[:count]]
    x, y = np.rint(stars.xy).T + (rng.uniform(-0.5, 0.5, (2, count)) if seed else 0.5)
    stars = replace(stars, x_px=x, y_px=y)
    assert own_width(boxes_around(stars, 2.5), stars, 2.5) == pytest.approx(2.5, rel=0.05)
