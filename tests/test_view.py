"""Registered: a frame seen on the reference's grid, in any box, without what was defective."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import warp as oracle
from test_warp import turn

from masterlight.alignment import transform
from masterlight.alignment.align import StarAlignment
from masterlight.alignment.transform import Transform
from masterlight.alignment.warping.view import blank_defective
from masterlight.core.frame import ArrayFrame
from masterlight.core.process import replay


def test_truth_a_registered_frame_shows_the_reference():
    rng = np.random.default_rng(13)
    y, x = np.mgrid[:300, :400].astype(float)
    matrix = transform.similarity_matrix(np.exp(1j * np.radians(12)), 40 - 30j)
    stars = rng.uniform([0, 0], [400, 300], (60, 2))

    def image(points):
        return sum(100 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / 4.0) for u, v in points).astype(np.float32)

    frame = ArrayFrame.of(np.stack([image(transform.apply(matrix, stars))] * 3), "colour.fits")
    process = StarAlignment()
    view = process.registered(frame, Transform(matrix=matrix), (300, 400), 1.0, 3.3)
    whole = np.asarray(view)
    assert whole.shape == view.shape == (3, 300, 400) and view.source == "colour.fits"
    good = ~np.isnan(whole[0])
    assert good.mean() > 0.6 and np.abs(whole[0] - image(stars))[good].max() < 1.0  # 1 % of a peak, FWHM 3.3 px
    np.testing.assert_allclose(view[1, 50:90, 100:200], whole[1, 50:90, 100:200], atol=0.05)
    stack = np.zeros((2, 3, 40, 100), np.float32)
    pickle.loads(pickle.dumps(view)).pixels_into(stack[1], 50, 100)
    np.testing.assert_array_equal(stack[1], view[:, 50:90, 100:200])
    assert replay(view.cards[-1]) == process
    assert (
        0.9 < view.noise_gain < 1 and process.registered(frame, Transform.identity(), (300, 400), 1.0).noise_gain == 1
    )


def test_truth_the_reference_itself_comes_back_untouched_and_far_frames_are_empty():
    frame = ArrayFrame.of(np.random.default_rng(14).normal(100, 5, (70, 90)), "reference.fits")
    process = StarAlignment()
    np.testing.assert_array_equal(process.registered(frame, Transform.identity(), (70, 90), 5.0), frame)
    away = process.registered(frame, Transform(matrix=np.array([[1, 0, 500], [0, 1, 0], [0, 0, 1.0]])), (70, 90), 5.0)
    assert np.isnan(np.asarray(away)).all()


@given(st.integers(0, 2**31), st.floats(0.5, 2), st.floats(-180, 180), st.integers(1, 3))
@settings(max_examples=12, deadline=None)
def test_oracle_what_is_near_bright_pixels_below_is_the_same_in_whatever_box(seed, scale, degrees, reach):
    """Near is what lies within half a pixel more than the reach of where the bright pixel comes to lie."""
    rng = np.random.default_rng(seed)
    array = np.where(rng.random((3, 150, 170)) < 2e-4, 50_000, rng.normal(100, 5))
    array = array[0] if seed % 2 else array
    matrix = turn(degrees, (150, 170), 5, -3, scale)
    view = StarAlignment().registered(ArrayFrame.of(array, "light"), Transform(matrix=matrix), (120, 130), 5.0)
    expected = np.zeros((120, 130), bool)
    y, x = np.mgrid[:120, :130]
    for v, u in np.argwhere(np.reshape(array, (-1, 150, 170)).max(axis=0) >= 48_000):
        (i, j), inside = transform.apply(np.linalg.inv(matrix), np.array([[u, v]], float))[0], reach + 0.5
        expected |= (np.abs(x - i) <= inside) & (np.abs(y - j) <= inside)
    for y0, y1, x0, x1 in ((0, 120, 0, 130), (0, 40, 60, 130), (33, 120, 7, 90)):
        out = np.empty((*view.shape[:-2], y1 - y0, x1 - x0), np.float32)
        near = view.bright_into(out, y0, x0, 48_000, reach)
        near = np.zeros(out.shape[-2:], bool) if near is None else near
        np.testing.assert_array_equal(near, expected[y0:y1, x0:x1])
        np.testing.assert_array_equal(out, view[..., y0:y1, x0:x1])


def test_truth_wide_boxes_of_turned_frames_are_read_in_pieces():
    class Counting(ArrayFrame):
        def pixels(self, y0, y1, x0, x1):
            sizes.append((y1 - y0) * (x1 - x0))
            return super().pixels(y0, y1, x0, x1)

    sizes: list[int] = []
    array = np.random.default_rng(15).normal(100, 5, (1500, 1500)).astype(np.float32)
    frame = Counting(source="a", meta=ArrayFrame.of(array).meta, array=array)
    view = StarAlignment().registered(
        frame, Transform(matrix=transform.similarity_matrix(np.exp(0.8j), 700 - 300j)), (1500, 1500), 5.0
    )
    strip = view[700:740]
    assert max(sizes) < 300 * 300 and np.isfinite(strip).mean() > 0.5


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 360), st.floats(0.4, 2.5), st.integers(0, 2**32 - 1))
def test_oracle_blank_defective(angle, scale, seed):
    """Box by box: the pixels whose nearest source pixel is marked, and no others."""
    rng = np.random.default_rng(seed)
    mask = (rng.random((23, 31)) < 0.03).astype(np.uint8)
    matrix = turn(angle, mask.shape, *rng.uniform(-4, 4, 2), scale)
    expected = np.zeros((26, 30), np.float32)
    oracle.blank_defective(mask, matrix, expected)
    for y0, x0 in ((0, 0), (9, 4)):
        out = np.zeros((26 - y0, 30 - x0), np.float32)
        count = blank_defective(mask, 0, 0, matrix, out, x0, y0)
        np.testing.assert_array_equal(np.isnan(out), np.isnan(expected[y0:, x0:]))
        assert count == np.isnan(out).sum()


def dithered(fwhm_px, interpolation="auto", flux=3e5, lights=12):
    """The mean of registered lights of one bright star without noise, the sky taken off, and its true image."""
    alpha = fwhm_px / 2 / np.sqrt(2 ** (1 / 3.5) - 1)
    fine = (np.arange(61)[:, None] + (np.arange(9) - 4) / 9).ravel()

    def star(u, v):
        light = (1 + ((fine - u) ** 2 + (fine[:, None] - v) ** 2) / alpha**2) ** -3.5 * 2.5 / np.pi / alpha**2
        return flux * light.reshape(61, 9, 61, 9).mean(axis=(1, 3))

    seen, process = [], StarAlignment(interpolation=interpolation)
    for dx, dy in np.random.default_rng(4).uniform(-2, 2, (lights, 2)):
        frame = ArrayFrame.of((1000 + star(30 + dx, 30 + dy)).astype(np.float32), "star.fits")
        there = Transform(matrix=np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1.0]]))
        seen.append(np.asarray(process.registered(frame, there, (61, 61), 20.0, fwhm_px))[12:49, 12:49])
    return np.mean(seen, axis=0) - 1000, star(30, 30)[12:49, 12:49]


def test_truth_interpolation_of_narrow_stars_blurs_least_and_digs_no_rings():
    """The height of a star tells what blur has left of it; a fifth of the noise of a frame is no ring."""
    for fwhm_px, kept in ((1.1, 0.6), (1.3, 0.87), (1.6, 0.935), (1.9, 0.965)):
        image, true = dithered(fwhm_px)
        assert image.min() > -0.2 * 20 and image.max() > kept * true.max()
        assert abs(image.sum() / true.sum() - 1) < 0.007
    assert dithered(1.6)[0].max() > 1.008 * dithered(1.6, "lanczos3")[0].max()
    assert dithered(1.3)[0].max() > 1.2 * dithered(1.3, "bilinear")[0].max()
    assert dithered(1.3, "lanczos5")[0].min() < -0.5 * 20  # why narrower stars take a shorter kernel


@pytest.mark.parametrize("dx, dy, degrees", [(0.5, 0.5, 0), (0.5, 0.1, 0), (0.25, 0.75, 0.02), (0.3, 0.3, 20)])
@pytest.mark.parametrize("shape", [(300, 400), (250, 333)])
def test_truth_the_noise_of_a_shifted_frame_is_that_of_its_own_phase(dx, dy, degrees, shape):
    """Half a pixel beside the reference, lanczos5 leaves 0.87 of the noise, and not 0.93 as in the mean."""
    noise = np.random.default_rng(1).normal(0, 1, shape)
    transform = Transform(matrix=turn(degrees, shape, dx, dy), shape=shape)
    view = StarAlignment().registered(ArrayFrame.of(noise, "noise"), transform, shape, 1e6)
    assert np.nanstd(np.asarray(view)[10:-10, 10:-10]) == pytest.approx(view.noise_gain, rel=0.01)
