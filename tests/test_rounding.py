"""What is told of whole numbers: the truth is the scatter of the values as they are in the file, rounding included."""

import numpy as np
import pytest
from astropy.stats import biweight_scale, mad_std
from oracles import rounding as oracle

from masterlight.core.statistics import rounding
from masterlight.core.statistics.mesh import mesh
from masterlight.core.statistics.noise import noise_mrs, two_sided_scale
from masterlight.core.statistics.scale import SCALES, background_fluctuation, madn, noise_sides

SHAPE = (400, 500)
LEVELS = 1000.0, 1000.23, 1000.5


def rounded(sigma, level=1000.23, step=1.0, seed=1):
    """An image of steps and the standard deviation of its pixels; sigma and level in steps."""
    image = np.rint(np.random.default_rng(seed).normal(level, sigma, SHAPE))
    return (image * step).astype(np.float32), float(image.std() * step)


def of_gaussian(estimate):
    """What an estimator tells of continuous noise of sigma 1."""
    return np.mean(estimate(np.random.default_rng(0).normal(0, 1, SHAPE).astype(np.float32)))


ESTIMATORS = {name: (lambda x, scale=scale: np.mean(scale(x)[1])) for name, scale in SCALES.items()}
ESTIMATORS |= {"madn": madn, "mrs": lambda x: noise_mrs(x)[0], "two-sided": lambda x: np.mean(two_sided_scale(x)[1:])}
ESTIMATORS |= {"mesh": lambda x: np.median(mesh(x)[1]), "sides": lambda x: np.mean(noise_sides(x))}
ESTIMATORS |= {"M*": lambda x: background_fluctuation(x)[0], "N*": lambda x: background_fluctuation(x)[1]}

LOCAL = "mesh", "M*", "N*"
"""Those that are told from tiles of a few hundred pixels, each about a level of its own."""


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("seed", [1, 2])
def test_truth_of_every_estimator_of_scale_and_noise(name, seed):
    unit = of_gaussian(ESTIMATORS[name])
    for k, sigma in enumerate((0.9, 1.04, 1.33, 2.0, 3.0, 7.0)):
        image, truth = rounded(sigma, LEVELS[k % 3], seed=seed)
        assert ESTIMATORS[name](image) / unit == pytest.approx(truth, rel=0.08 if name in LOCAL else 0.05), sigma
    for k, sigma in enumerate((0.3, 0.3, 0.3, 0.45, 0.6)):  # where a mean lies between two steps matters most
        if sigma < 0.6 and name in LOCAL:
            continue
        image, truth = rounded(sigma, LEVELS[k % 3], seed=seed)
        assert ESTIMATORS[name](image) / unit == pytest.approx(truth, rel=0.10), sigma


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("step", [16.0, 1 / 65535])
def test_truth_whatever_the_step(name, step):
    # 12-bit cameras fill 16 bits in steps of 16: a read noise of 12 DN is 3/4 of a step.
    image, truth = rounded(0.75, 60.3, step)
    assert ESTIMATORS[name](image) / of_gaussian(ESTIMATORS[name]) == pytest.approx(truth, rel=0.05)


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name not in LOCAL])  # those look below the sky
def test_truth_of_few_photons(name):
    # The skewness of half a photon a pixel is 1.4: what is told by order differs from what is told by squares.
    unit = of_gaussian(ESTIMATORS[name])
    for photons in (0.3, 0.5, 1.0):
        image = np.random.default_rng(3).poisson(photons, SHAPE).astype(np.float32)
        assert ESTIMATORS[name](image) / unit == pytest.approx(photons**0.5, rel=0.10)


@pytest.mark.parametrize("name", [*SCALES, "madn", "mrs", "two-sided"])
def test_truth_where_a_master_was_subtracted(name):
    # Not whole any more, but still in heaps one DN apart.
    rng = np.random.default_rng(4)
    for sigma in (0.3, 0.6, 0.9):
        image, _ = rounded(sigma)
        image -= rng.normal(500.4, 0.1, SHAPE).astype(np.float32)
        told = ESTIMATORS[name](image) / of_gaussian(ESTIMATORS[name])
        assert told == pytest.approx(image.std(), rel=0.05 if sigma > 0.5 else 0.1)


def test_truth_stars_and_gradient_are_left_out_of_the_noise():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    rng = np.random.default_rng(5)
    light = 100 + 0.01 * x + sum(
        h * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 4.5)
        for cx, cy, h in zip(*rng.uniform(0, 400, (2, 60)), 10 ** rng.uniform(0.5, 3, 60), strict=True)
    )  # fmt: skip
    for sigma in (0.4, 0.7, 1.2):
        image = np.rint(light + rng.normal(0, sigma, SHAPE)).astype(np.float32)
        assert noise_mrs(image)[0] == pytest.approx(np.hypot(sigma, rounding.ROUNDING), rel=0.05)


def test_truth_of_levels_between_whole_numbers():
    for name, scale in SCALES.items():
        for sigma in (0.3, 0.6, 0.9, 1.3):
            for level in (1000.0, 1000.2, 1000.5, 1000.7):
                image = rounded(sigma, level)[0][:150]
                # Below 0.4 steps even the mean of rounded values is off the level.
                assert scale(image)[0] == pytest.approx(image.mean(), abs=0.03), name
                assert rounding.middle(image.ravel()) == pytest.approx(level, abs=0.09 if sigma < 0.5 else 0.02)


def test_truth_noise_that_rounding_hides_is_no_less_than_that_of_rounding():
    image, truth = rounded(0.12, 1000.2)
    assert truth < 0.1
    for name, estimate in ESTIMATORS.items():
        assert 0.95 * rounding.ROUNDING < estimate(image) / of_gaussian(estimate) < 0.5, name


def test_truth_steps_are_found_and_nothing_is_taken_for_them():
    rng = np.random.default_rng(6)
    for step in (1.0, 4.0, 16.0, 1 / 3, 1 / 65535):
        for sigma in (0.2, 0.6, 2.5):
            assert rounding.coarse_step(rounded(sigma, 70.4, step)[0]) == pytest.approx(step, rel=1e-3)
        assert rounding.coarse_step(rounded(4, 70.4, step)[0]) == 0
    for sigma in (0.01, 0.1, 0.2, 0.3, 0.4, 0.6, 1, 2, 10, 100):
        for level in (0, 1, 1000.5):
            assert rounding.coarse_step(rng.normal(level, sigma, SHAPE).astype(np.float32), 24) == 0
    assert rounding.coarse_step(np.full(5000, 7, np.float32)) == 0
    assert rounding.coarse_step(np.array([1, 2, 2, 3], np.float32)) == 0
    assert rounding.coarse_step(np.empty(0, np.float32)) == 0


def two_levels(seed):
    """Unrounded values of two or three levels, by what makes them."""
    rng = np.random.default_rng(seed)
    sky, some = rng.normal(30, 4, 25_000), rng.random(25_000)
    sigma, apart = 10 ** rng.uniform(-0.5, 1), 10 ** rng.uniform(0.3, 2)
    return {
        "a border of zeros": np.where(some < 0.1, 0, sky),
        "a cloud over a quarter": rng.normal(100.2, 2, 25_000) + 16 * (some < 0.25),
        "two Gaussians": rng.normal(100.3, sigma, 25_000) + apart * (some < rng.uniform(0.02, 0.5)),
        "a mosaic of three": rng.normal(100, 3, 25_000) + 32 * rng.choice([-1, 0, 0, 1], 25_000),
        "telegraph noise": rng.normal(100.3, 0.2, 25_000) + rng.choice([2, 3, 4, 8]) * (some < 0.2),
    }


def test_truth_two_levels_are_no_steps():
    for seed in range(60):
        for what, x in two_levels(seed).items():
            assert rounding.coarse_step(x.astype(np.float32), 24) == 0, (seed, what)


def test_truth_steps_from_which_a_master_was_subtracted():
    for seed in range(60):
        rng = np.random.default_rng(seed)
        whole = np.rint(rng.normal(1000 + rng.random(), rng.uniform(0.4, 2), 25_000))
        dark, few = rng.normal(0.4, 0.1, 25_000), rng.poisson(rng.uniform(0.2, 1), 25_000)
        for step in (1.0, 16.0):
            assert rounding.coarse_step((step * (whole - dark)).astype(np.float32)) == step, seed
        assert rounding.coarse_step((few - dark).astype(np.float32)) == 1, seed


@pytest.mark.parametrize("name", ["bwmv", "avgdev", "mad"])
@pytest.mark.parametrize("level", LEVELS)
def test_truth_of_either_side(name, level):
    # Values that are the median itself count as below it: of whole numbers those are many up to a noise of ten.
    unit = SCALES[name](np.random.default_rng(0).normal(0, 1, SHAPE).astype(np.float32))[1]
    for sigma in (0.9, 1.33, 2.0, 2.9, 3.1, 4.0, 6.0, 9.0, 12.0):
        image, truth = rounded(sigma, level)
        assert np.divide(SCALES[name](image)[1], unit) == pytest.approx(truth, rel=0.05), sigma


def test_truth_finer_data_keep_every_bit():
    x = np.rint(np.random.default_rng(7).normal(1000, 30, 50_000)).astype(np.float32)
    below, above = x[x <= np.median(x)], x[x > np.median(x)]
    assert SCALES["avgdev"](x) == (
        1000.0,
        (float(np.mean(1000 - below, dtype=float)), np.mean(above - 1000, dtype=float)),
    )
    fine = np.random.default_rng(8).normal(1000, 0.2, 50_000).astype(np.float32)
    assert madn(fine) == float(1.4826 * np.median(np.abs(fine - np.median(fine))))


def test_oracle_fill_dither():
    out, slow = np.empty((2, 700), np.float32)
    rounding.fill_dither(rounding.NORMAL, np.float32(4), out)
    oracle.fill_dither(rounding.NORMAL, 4, slow)
    np.testing.assert_array_equal(out, slow)


def test_truth_the_noise_that_is_added_is_white():
    image = rounding.dither((512, 600), 2.0)
    assert image.std() == pytest.approx(2, rel=0.005)
    assert abs(image.mean()) < 0.02
    np.testing.assert_array_equal(image, rounding.dither(image.shape, 2.0))
    power = np.abs(np.fft.fft2(image)) ** 2 / image.size
    assert power.max() < 4 * 20  # the highest of 3e5 exponential values of mean 4 is near 4 ln 3e5 = 50
    for axis in (0, 1):  # 600 means of 512 values
        assert image.mean(axis=axis).std() == pytest.approx(2 / image.shape[axis] ** 0.5, rel=0.15)


def test_authority_astropy_on_rounded_values_that_noise_of_our_own_was_added_to():
    image, truth = rounded(0.75)
    added = np.random.default_rng(9).normal(0, 1, SHAPE)
    for estimate, theirs in ((madn, mad_std), (lambda x: 0.991 * np.mean(two_sided_scale(x)[1:]), biweight_scale)):
        assert estimate(image) == pytest.approx((theirs(image + added) ** 2 - 1) ** 0.5, rel=0.04)
        assert estimate(image) == pytest.approx(truth, rel=0.03)
    assert mad_std(image) > 1.3 * truth
