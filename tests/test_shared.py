"""What the stars of a frame say together: size, shape, direction, errors and where they change."""

from dataclasses import replace

import numpy as np
import pytest
from test_find import NOISE, sky

from masterlight.subframes.measurement import SKY_FIELDS, StarList
from masterlight.subframes.radial import moffat_profile, noise_area_px2
from masterlight.subframes.select import SubframeSelector
from masterlight.subframes.stars.shared import error_of_median, shared_shape, star_statistics

SHAPE = (600, 900)


def stars_of(n=300, seed=1, fwhm=3.0, theta=0.3, **more):
    """A list of stars all alike but for what is given, all over the frame."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, SHAPE[1] - 1, n), rng.uniform(0, SHAPE[0] - 1, n)

    def fill(v):
        return np.broadcast_to(np.asarray(v(x, y) if callable(v) else v, float), n).copy()

    return StarList(
        x_px=x, y_px=y, flux_dn=fill(1e4), peak_dn=fill(2e3), background_dn=fill(1e3), fwhm_px=fill(fwhm),
        eccentricity=fill(0.5), theta_rad=fill(theta), sigma_px=fill(0.02), snr=fill(80.0),
        saturated=np.zeros(n, bool), residual=fill(0.02), shape=SHAPE, **more,
    )  # fmt: skip


def from_middle(x, y):
    return np.arctan2(y - 299.5, x - 449.5)


@pytest.mark.parametrize(
    ("theta", "coherence", "radial"),
    [(0.3, 1.0, None), (from_middle, None, 1.0), (lambda x, y: from_middle(x, y) + np.pi / 2, None, -1.0)],
)
def test_truth_direction_of_the_elongation(theta, coherence, radial):
    stars = stars_of(theta=theta)
    told = shared_shape(np.full(len(stars), 0.14), np.full(len(stars), 1e-4), stars)
    assert told["eccentricity"] == pytest.approx(np.sqrt(2 * 0.14 / 1.14), abs=1e-3)
    if coherence:
        assert told["theta_coherence"] == pytest.approx(1.0)
        assert told["theta_rad"] == pytest.approx(0.3)
        assert abs(told["radial"]) < 0.3
    else:
        assert told["theta_coherence"] < 0.3
        assert told["radial"] == pytest.approx(radial, abs=1e-3)


def test_truth_noise_does_not_elongate():
    rng, n, sigma = np.random.default_rng(2), 4000, 0.05
    stars = stars_of(n)
    for true in (0.0, 0.1):
        parts = rng.normal(0, sigma, (2, n)) + [[true], [0]]
        stars = replace(stars, theta_rad=0.5 * np.arctan2(parts[1], parts[0]) % np.pi)
        told = shared_shape(np.hypot(*parts), np.full(n, 2 * sigma**2), stars)
        expected = np.sqrt(2 * true / (1 + true))
        assert told["eccentricity"] == pytest.approx(expected, abs=0.1 if true == 0 else 0.02)


def test_truth_errors_are_those_of_repeated_samples():
    rng = np.random.default_rng(3)
    samples = rng.normal(3, 0.1, (400, 120))
    errors = [error_of_median(s, np.ones(120)) for s in samples]
    assert np.median(errors) == pytest.approx(np.std(np.median(samples, axis=1)), rel=0.1)
    assert error_of_median(samples[0, :2], np.ones(2)) is None


def test_truth_widths_over_the_field():
    half = 0.5 * np.hypot(*SHAPE)
    told = star_statistics(stars_of(fwhm=lambda x, y: 3 * (1 + 0.1 * (x - 449.5) / half)))
    assert (told["tilt"], told["curvature"]) == (pytest.approx(0.2), pytest.approx(0, abs=1e-6))
    assert np.all(np.diff(told["fwhm_zones_px"], axis=1) > 0)
    told = star_statistics(stars_of(fwhm=lambda x, y: 3 * (1 + 0.2 * np.hypot(x - 449.5, y - 299.5) ** 2 / half**2)))
    assert (told["tilt"], told["curvature"]) == (pytest.approx(0, abs=1e-6), pytest.approx(0.2))
    assert told["fwhm_zones_px"][1, 1] == told["fwhm_zones_px"].min()
    few = star_statistics(stars_of(12))
    assert few["tilt"] is None and np.isnan(few["fwhm_zones_px"]).any()


def test_truth_mean_deviations_of_four_stars():
    stars = stars_of(4, fwhm=lambda x, y: [2.0, 2.2, 2.1, 5.0])
    assert star_statistics(stars)["fwhm_mean_dev_px"] == pytest.approx(0.775)


def test_truth_a_frame_tells_them_all():
    image, *_ = sky(aspect=0.8, theta=0.6)
    image += np.random.default_rng(1).normal(0, 1, image.shape).astype(np.float32)
    row, found = SubframeSelector().measure(image, wanted=SKY_FIELDS)
    assert row.theta_rad == pytest.approx(0.6, abs=0.03) and row.theta_coherence > 0.9
    assert row.aspect == pytest.approx(0.8, abs=0.02)
    assert row.fwhm_short_px == pytest.approx(row.fwhm_px * row.aspect**0.5)
    assert row.fitted == len(found) and row.beta == found.beta
    assert 0 < row.fwhm_error_px < 0.02 and 0 < row.eccentricity_error < 0.02
    assert 0 < row.residual_mean_dev < 0.1 and 0 < row.eccentricity_mean_dev < 0.35
    assert row.mean_deviation_dn > 0.79 * row.noise_dn
    assert row.background_scale_dn == pytest.approx(NOISE, rel=0.05)
    assert row.background_noise_dn == pytest.approx(0.6745 * NOISE, rel=0.05)
    plain = SubframeSelector().measure(image)[0]
    assert plain.mean_dn is None and plain.background_noise_dn is None


def test_truth_area_of_the_noise_of_a_gaussian():
    assert noise_area_px2(moffat_profile(6.0, 30.0)) == pytest.approx(4 * np.pi * (6.0 / 2.3548) ** 2, rel=0.06)
