"""What images look like on a screen: the stretch, one for many frames, and the mean of blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import stretch as oracle

from masterlight.core.stretch import Stretch, block_means, midtones, preview, reduce_image


def test_truth_midtones_and_preview():
    assert midtones(0.01, 0.25) == pytest.approx(0.029412, abs=1e-6)
    assert midtones(0.01, midtones(0.01, 0.25)) == pytest.approx(0.25)
    sky = np.random.default_rng(0).normal(1000, 10, (200, 300))
    sky[50, 50], sky[:, 0] = 60000, np.nan
    picture = preview(sky)
    assert picture.dtype == np.uint8 and (picture[:, 0] == 0).all() and picture[50, 50] == 255
    assert abs(np.median(picture[:, 1:]) - 64) <= 1, "a quarter of 255"
    assert preview(np.stack([sky] * 3)).shape == (3, 200, 300)
    assert (preview(np.full((4, 4), np.nan)) == 0).all() and len(np.unique(preview(np.ones((4, 4))))) == 1


def test_truth_a_stretch_shows_other_frames_as_they_differ():
    """Twice the light above black is brighter, the same sky equally bright, and a dimmer star dimmer."""
    sky = np.random.default_rng(1).normal(1000, 10, (200, 300)).astype(np.float32)
    sky[50, 50], sky[60, 60] = 60000, 1500
    of_sky = Stretch.of(sky)
    assert np.array_equal(of_sky(sky), preview(sky))
    assert np.median(of_sky(sky + 10)) > np.median(of_sky(sky)) + 15
    dim = sky.copy()
    dim[60, 60] = 1250
    assert 64 < of_sky(dim)[60, 60] < of_sky(sky)[60, 60] < 255
    assert of_sky(np.full((2, 2), np.nan)).max() == 0 and of_sky(np.full((2, 2), 1e9)).min() == 255


def test_truth_each_plane_has_a_stretch_of_its_own_where_they_are_not_linked():
    sky = np.random.default_rng(2).normal(0, 10, (3, 100, 100)) + np.array([500, 900, 1500])[:, None, None]
    apart = preview(sky, linked=False)
    assert np.abs(np.median(apart, axis=(1, 2)) - 64).max() <= 2
    assert np.ptp(np.median(preview(sky), axis=(1, 2))) > 100


def test_truth_reduction_is_the_mean_of_blocks():
    image = np.arange(48, dtype=np.float32).reshape(6, 8)
    image[0, 0] = np.nan
    small = reduce_image(image, 4)
    assert small.shape == (3, 4) and small[0, 0] == np.mean([1, 8, 9]) and small[2, 3] == image[4:, 6:].mean()
    assert reduce_image(np.ones((1, 9000)), 2000).shape == (1, 1800)


@given(
    rows=st.integers(1, 9), cols=st.integers(1, 9), down=st.integers(1, 4), across=st.integers(1, 4),
    missing=st.floats(0, 1), seed=st.integers(0, 99),
)  # fmt: skip
def test_oracle_means_of_blocks(rows, cols, down, across, missing, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 30, (rows * down + 1, cols * across + 1)).astype(np.float32)
    image[rng.random(image.shape) < missing] = np.nan
    image[rng.random(image.shape) < missing / 4] = -np.inf
    ours, twin = np.empty((rows, cols), np.float32), np.empty((rows, cols), np.float32)
    block_means(image, down, across, ours)
    oracle.block_means(image, down, across, twin)
    assert np.allclose(ours, twin, rtol=20 * 2**-23, atol=0, equal_nan=True), "sums of 16 float32 in another order"
