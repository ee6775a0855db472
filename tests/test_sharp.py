import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import stars as oracle
from sky import in_memory
from test_detect import noisy, with_stars

from masterlight.colour.debayer import Debayer
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.subframes.measure import measure_light
from masterlight.subframes.select import SubframeSelector
from masterlight.subframes.stars import detect, sharp
from masterlight.subframes.stars.sharp import alone

MEASURE = SubframeSelector()


@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 999), st.booleans())
@settings(max_examples=60, deadline=None)
def test_oracle_block(rows, cols, seed, lone):
    rng = np.random.default_rng(seed)
    image = noisy((rows, cols), seed)
    x, y = int(rng.integers(0, cols)), int(rng.integers(0, rows))
    if lone:
        image[y : y + 2, x : x + 2] += 2000
    assert sharp.block(image, x, y, 1000.0, 10.0) == oracle.block(image, x, y, 1000.0, 10.0)


@given(st.integers(3, 30), st.integers(3, 30), st.integers(0, 999), st.sampled_from([1, 2, 6]), st.booleans())
@settings(max_examples=100, deadline=None)
def test_oracle_lone_in_mosaic(rows, cols, seed, period, lone):
    rng = np.random.default_rng(seed)
    image, searched = noisy((rows, cols), seed), rng.random((period, period)) < 0.7
    x, y = int(rng.integers(0, cols)), int(rng.integers(0, rows))
    image[y, x] += 2000 if lone else 0
    assert sharp.lone_in_mosaic(image, x, y, searched) == oracle.lone_in_mosaic(image, x, y, searched)


def test_truth_squares_of_hot_pixels_are_no_stars():
    rng = np.random.default_rng(3)
    image = noisy((400, 600))
    for height in rng.uniform(500, 20000, 80):
        y, x = rng.integers(1, 396), rng.integers(1, 596)
        image[y : y + 2, x : x + 2] += np.float32(height)
    assert len(detect.detect(image).candidates.x) <= 2


@pytest.mark.parametrize("fwhm_px", [1.4, 2.0, 3.0])
def test_truth_no_star_is_as_sharp_as_a_square_of_hot_pixels(fwhm_px):
    rng = np.random.default_rng(4)
    x, y = (a.ravel() + rng.uniform(-1, 1, a.size) for a in np.mgrid[30:570:30, 30:370:30])
    # a star of FWHM 1.4 px that is sampled, not integrated over its pixels, is as sharp as one of 1.2 px
    image = with_stars(noisy((400, 600)), x, y, rng.uniform(300, 20000, x.size), np.hypot(fwhm_px, 0.68))
    assert len(detect.detect(image).candidates.x) >= x.size - 1


def galaxy(seed, stars=12, knots=20):
    """Stars of FWHM 4 px among broad knots: (image, x, y of the stars)."""
    rng = np.random.default_rng(seed)
    image = noisy((640, 640), seed)
    x, y = rng.uniform(60, 580, (2, stars))
    image = with_stars(image, x, y, np.geomspace(300, 8000, stars), 4.0)
    for _ in range(knots):
        at, around = abs(rng.normal(0, 110)), rng.uniform(0, 2 * np.pi)
        where = [[320 + at * np.cos(around)], [320 + at * np.sin(around)]]
        image = with_stars(image, *where, rng.uniform(60, 300), rng.uniform(11, 26))
    return image, x, y


@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("knots", [20, 60])
def test_truth_knots_of_a_galaxy_are_no_stars(seed, knots):
    image, x, y = galaxy(seed, knots=knots)
    row, found = MEASURE.measure(image)
    assert row.fwhm_px == pytest.approx(4.0, rel=0.03)
    near = np.hypot(found.x_px[:, None] - x, found.y_px[:, None] - y).min(axis=0)
    apart = np.hypot(x[:, None] - x, y[:, None] - y) + 99 * np.eye(x.size)
    assert (near[apart.min(axis=1) > 15] < 1).all()


def test_truth_the_width_is_that_of_the_narrowest_that_many_share():
    rng = np.random.default_rng(5)
    stars, knots = 3.0 * rng.normal(1, 0.05, 10), rng.uniform(9, 25, 50)
    widths, evidence = np.append(stars, knots), np.append(np.full(10, 80.0), np.full(50, 6.0))
    assert sharp.shared_width(widths, evidence) == pytest.approx(3.0, rel=0.03)
    assert sharp.shared_width(stars, np.ones(10)) == pytest.approx(np.median(stars))
    two = np.append(stars, 4.5 * rng.normal(1, 0.05, 10))
    assert sharp.shared_width(two, np.ones(20)) == pytest.approx(3.0, rel=0.05)
    lone = np.append(1.2, 3.0 * rng.normal(1, 0.05, 10))
    assert sharp.shared_width(lone, np.full(11, 90.0)) == pytest.approx(3.0, rel=0.03)
    assert np.isnan(sharp.shared_width(np.array([np.nan, -1.0]), np.ones(2)))


def test_truth_stars_that_are_gaussian_are_as_wide_as_they_are():
    rng = np.random.default_rng(6)
    x, y = (a.ravel() + rng.uniform(-1, 1, a.size) for a in np.mgrid[30:570:40, 30:370:40])
    image = with_stars(noisy((400, 600)), x, y, 3000, 3.5)
    # sampled at the centres of pixels, which is as wide as 3.43 px integrated over them
    assert MEASURE.measure(image)[0].fwhm_px == pytest.approx(3.43, rel=0.015)


@pytest.mark.parametrize("pattern", ["RGGB", "XTRANS"])
def test_truth_hot_pixels_of_a_debayered_frame_are_no_stars(pattern):
    night = in_memory(pattern=pattern, hot_fraction=0.002, dark_e_s=0.2, temperature_c=10.0, stars=80, fwhm_px=3.2,
                      cloudy=0, trails=0, tracking_errors=0)  # fmt: skip
    raw = night.observatory.light(0)[:, : night.night.cols].astype(np.float32)
    mosaic = ArrayFrame.of(raw, "light", Meta(pattern=night.night.tile))
    plain = np.asarray(Debayer()(mosaic)).mean(axis=0)
    row, found = measure_light(MEASURE, plain, mosaic=raw, pattern=night.night.tile)
    assert row.fwhm_px == pytest.approx(night.pointings[0].fwhm_px, rel=0.15)
    stars = night.expected_stars(0)
    near = np.hypot(found.x_px[:, None] - stars.x_px, found.y_px[:, None] - stars.y_px).min(axis=1)
    assert np.mean(near < 1.5) > 0.85
    row, found = MEASURE.measure(mosaic)
    assert row.fwhm_px == pytest.approx(night.pointings[0].fwhm_px, rel=0.2)


def test_truth_pixels_that_stand_alone_beside_and_in_mosaics():
    y, x = np.mgrid[:21, :21]
    star = (1000 + 5000 * np.exp(-((x - 10.3) ** 2 + (y - 9.8) ** 2) / (2 * 0.7**2))).astype(np.float32)
    hot = star.copy()
    hot[4, 5] += 800
    for image in (star, np.where((x + y) % 2, np.nan, star).astype(np.float32)):
        assert not any(
            alone(image, i, j, 1000.0, 10.0) for j in range(8, 13) for i in range(8, 13) if image[j, i] > 1080
        )
    assert alone(hot, 5, 4, 1000.0, 10.0)
    hot[(x + y) % 2 == 0] = np.nan
    assert alone(hot, 5, 4, 1000.0, 10.0)
    hot[3:6, 4:7] = np.nan
    assert not alone(hot, 5, 4, 1000.0, 10.0)
