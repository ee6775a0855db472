"""What a stack is said to be worth, on skies whose noise is known: plain, between stars, in crowds, in nebulae."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from masterlight.core.frame import ArrayFrame
from masterlight.core.statistics.noise import noise_and_free
from masterlight.integration.depth import depth_of, is_crowded, sky_noise
from masterlight.integration.integrate import ImageIntegration
from masterlight.subframes.measurement import Measurement

SHAPE, SKY, NOISE, GAIN, COUNT = (360, 480), 400.0, 12.0, 1.5, 8


def starlight(count, faintest_dn, rng, fwhm_px=3.0, beta=3.5):
    """Moffat stars from the faintest up to a thousand times that, anywhere."""
    alpha, image = fwhm_px / (2 * np.sqrt(2 ** (1 / beta) - 1)), np.zeros((SHAPE[0] + 40, SHAPE[1] + 40))
    y, x = np.mgrid[-20:21, -20:21]
    flux = np.minimum(faintest_dn * rng.uniform(size=count) ** -1.25, 1000 * faintest_dn)
    for u, v, f in zip(rng.uniform(20, SHAPE[1] + 19, count), rng.uniform(20, SHAPE[0] + 19, count), flux, strict=True):
        i, j = int(u), int(v)
        r2 = (x + i - u) ** 2 + (y + j - v) ** 2
        image[j - 20 : j + 21, i - 20 : i + 21] += f * (beta - 1) / (np.pi * alpha**2) * (1 + r2 / alpha**2) ** -beta
    return image[20:-20, 20:-20]


def nebula(rng):
    """Bright knots of 12 px or so."""
    knots = gaussian_filter(rng.standard_normal(SHAPE), 9)
    return 400 * np.exp(0.4 * knots / knots.std())


def stacked(light, rng, count=COUNT, measured=False, **how):
    frames, known = [], []
    for i in range(count):
        values = rng.normal(SKY + light, np.sqrt(NOISE**2 + light / GAIN)).astype(np.float32)
        frames.append(ArrayFrame.of(values, f"{i}"))
        own = {"gain_e_per_dn": GAIN, "fwhm_px": 3.0}
        noise = float(np.sqrt(np.median(NOISE**2 + light / GAIN)))
        if measured:
            noise, own["noise_fraction"], own["free"] = noise_and_free(values)
        known.append(Measurement(f"{i}", float(np.median(values)), (noise, noise), noise, 60.0, 1.0, **own))
    *_, done = ImageIntegration()(frames, known, reference=0, **how)
    return done.result


@pytest.mark.parametrize("count, tilt_dn", [(0, 0), (200, 0), (200, 800)])
def test_truth_the_light_of_stars_and_a_gradient_are_no_noise(count, tilt_dn):
    rng = np.random.default_rng(count + tilt_dn)
    light = starlight(count, 800.0, rng) + np.linspace(0, tilt_dn, SHAPE[1])
    image = rng.normal(SKY + light, NOISE).astype(np.float32)
    variance = np.full(SHAPE, NOISE**2, np.float32)
    noise, claimed = sky_noise(image, variance)
    # a median deviation of 30,000 differences, every fourth its own, tells it to 1 %; the faintest wings add 1 %
    assert noise == pytest.approx(NOISE, rel=0.025) and claimed == pytest.approx(NOISE)
    assert not is_crowded(image, variance)


@pytest.mark.parametrize("kind", ["globular", "nebula"])
def test_truth_crowds_are_measured_by_the_scatter_of_their_samples(kind):
    rng = np.random.default_rng(3)
    light = starlight(9000, 400.0, rng) if kind == "globular" else nebula(rng)
    stack = stacked(light, rng)
    assert stack.scatter == pytest.approx(1, abs=0.04)  # of the faintest quarter of the pixels
    told = depth_of(stack)
    assert told["claimed_over_measured"] == pytest.approx(1, abs=0.04)
    assert told["snr_increment"] == pytest.approx(COUNT**0.5, rel=0.04)
    true = np.sqrt(np.mean(np.square(stack.image - SKY - light) / stack.variance))
    assert true == pytest.approx(stack.scatter, abs=0.05)
    assert sky_noise(stack.image, stack.variance)[0] > 1.1 * told["noise_measured"], "this test shows nothing"


def test_truth_starlight_that_was_measured_as_noise_is_none_of_the_claims():
    rng = np.random.default_rng(8)
    light = starlight(40000, 400.0, rng)
    stack = stacked(light, rng, measured=True)
    values = rng.normal(SKY + light, NOISE).astype(np.float32)
    assert noise_and_free(values)[0] > 2 * NOISE, "this test shows nothing"
    dark = light < np.quantile(light, 0.3)
    z = np.sqrt(np.mean(np.square(stack.image - SKY - light)[dark] / stack.variance[dark]))
    assert z == pytest.approx(1, abs=0.12)
    assert depth_of(stack)["snr_increment"] == pytest.approx(COUNT**0.5, rel=0.1)


def test_surface_crowds_of_one_plane_and_of_three():
    rng = np.random.default_rng(7)
    image = (SKY + starlight(9000, 400.0, rng) + rng.normal(0, NOISE, SHAPE)).astype(np.float32)
    variance = np.full(SHAPE, NOISE**2, np.float32)
    for planes in (image, image[None], np.stack([image] * 3)):
        assert is_crowded(planes, np.broadcast_to(variance, planes.shape))


def test_truth_scatter_tells_where_claims_are_wrong():
    rng = np.random.default_rng(4)
    light = starlight(9000, 400.0, rng)
    frames = [ArrayFrame.of(rng.normal(SKY + light, 1.4 * NOISE).astype(np.float32), f"{i}") for i in range(COUNT)]
    known = [Measurement(f.source, SKY, (NOISE, NOISE), NOISE, 60.0, 1.0, fwhm_px=3.0) for f in frames]
    *_, done = ImageIntegration()(frames, known, reference=0)
    assert done.result.scatter == pytest.approx(1.4, rel=0.12)  # some scatter is believed, and claimed


def test_truth_one_frame_is_worth_nothing_to_be_told():
    rng = np.random.default_rng(5)
    assert depth_of(stacked(np.zeros(SHAPE), rng, 1)) == {}
    assert depth_of(stacked(np.zeros(SHAPE), rng, 2))["claimed_over_measured"] == pytest.approx(1, abs=0.03)


def test_truth_plain_nights_have_no_scatter_to_tell():
    rng = np.random.default_rng(6)
    stack = stacked(starlight(150, 800.0, rng), rng)
    assert stack.scatter is None
    assert depth_of(stack)["claimed_over_measured"] == pytest.approx(1, abs=0.03)


def test_truth_panels_are_as_deep_as_the_frames_that_show_a_pixel():
    """Four panels of four frames side by side, which overlap a little: twice the signal to noise, not four times."""
    rng, frames, known = np.random.default_rng(9), [], []
    for i in range(16):
        values, first = rng.normal(SKY, NOISE, SHAPE).astype(np.float32), 110 * (i % 4)
        values[:, :first] = values[:, first + 150 :] = np.nan
        frames.append(ArrayFrame.of(values, f"{i}"))
        own = {"gain_e_per_dn": GAIN, "fwhm_px": 3.0}
        known.append(Measurement(f"{i}", SKY, (NOISE, NOISE), NOISE, 60.0, 1.0, **own))
    *_, done = ImageIntegration()(frames, known, reference=0)
    stack, told = done.result, depth_of(done.result)
    assert stack.shown == pytest.approx(4 * 150 / 480 / 4, rel=0.02)
    assert stack.effective_frames == pytest.approx(5.0, rel=0.02)  # four, and eight where two panels overlap
    assert told["snr_increment_ideal"] == pytest.approx(told["snr_increment"], rel=0.03)
    assert 2.0 < told["snr_increment"] < 2.2 and told["claimed_over_measured"] == pytest.approx(1, abs=0.02)
    assert "worth 5.0 equal ones" in done.message
