"""BadPixels: defects from darks, flats, rejection maps and lights."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import defects as oracle

from masterlight.core.errors import FrameError, ParameterError
from masterlight.core.frame import LINE, UNSTABLE, ArrayFrame, Meta
from masterlight.defects import kernels
from masterlight.defects.cosmetic import CosmeticCorrection
from masterlight.defects.find import BadPixels
from masterlight.defects.search import steady
from masterlight.io import read

SEEDS = st.integers(0, 2**32 - 1)


DATA = Path(__file__).parents[2] / "shared" / "data"


SHAPE = (300, 400)


def frame(image, name="frame", **meta):
    return ArrayFrame.of(image, name, Meta(**meta))


@pytest.mark.parametrize("pattern", [None, "RGGB"])
def test_truth_dark_with_partial_column_and_row(pattern):
    rng = np.random.default_rng(1)
    dark = rng.normal(500, 2, SHAPE)
    hot = rng.random(SHAPE) < 1e-3
    dark[hot] += 500
    dark[80:220, 150] += 5
    dark[70, :] -= 4
    found = BadPixels().from_dark(frame(dark, pattern=pattern))
    assert np.all(found.mask[hot] & 1)
    lines = found.mask & LINE > 0
    truth = np.zeros(SHAPE, bool)
    truth[80:220, 150] = truth[70] = True
    assert np.mean(lines[80:220, 150]) > 0.9 and np.mean(lines[70]) > 0.9
    assert np.count_nonzero(lines & ~truth) < 20  # ends are found to some pixels


def test_truth_unstable_pixels_of_a_dark_stack():
    rng = np.random.default_rng(3)
    level = np.full(SHAPE, 500.0)
    bright = rng.random(SHAPE) < 5e-3
    level[bright] += rng.uniform(500, 5000, bright.sum())
    blinking = (rng.random(SHAPE) < 1e-3) & ~bright
    darks = []
    for k in range(16):
        dark = rng.normal(level, np.sqrt(5**2 + (level - 500)))
        dark[blinking] += 80 * (rng.random(blinking.sum()) < 0.5)
        dark[100 + k, 100] += 20000  # a cosmic ray
        darks.append(frame(dark, f"dark {k}"))
    found = BadPixels().from_darks(darks)
    flagged = found.mask == UNSTABLE
    assert np.mean(flagged[blinking]) > 0.97
    assert np.count_nonzero(flagged & ~blinking) <= 0.001 * bright.sum() + 3
    assert not flagged[100:116, 100].any()
    with pytest.raises(ParameterError, match="4 darks are too few"):
        BadPixels().from_darks(darks[:4])


def flats(seed=4):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    shade = 1 - 0.3 * ((x - 200) ** 2 + (y - 150) ** 2) / 250**2
    shade *= 1 - 0.1 * np.exp(-((x - 90) ** 2 + (y - 200) ** 2) / 2 / 6**2)  # a dust mote
    prnu = rng.normal(1, 0.005, SHAPE)
    made = [rng.normal(level * shade * prnu, np.sqrt(level) / 4) for level in (20000, 8000)]
    return rng, made


def test_truth_flats_show_dead_and_nonlinear_pixels():
    rng, (bright, faint) = flats()
    for image in (bright, faint):
        image[50, 60], image[51, 200] = 0.2 * image[50, 60], 1.9 * image[51, 200]
        image[200, 10] = 0
    bright[120, 300] *= 0.8  # saturates early
    found = BadPixels().from_flats(frame(bright), frame(faint))
    assert sorted(map(tuple, np.argwhere(found.mask).tolist())) == [(50, 60), (51, 200), (120, 300), (200, 10)]
    assert [found.mask[p] & 3 for p in ((50, 60), (51, 200), (120, 300), (200, 10))] == [2, 1, 2, 2]
    single = BadPixels().from_flats(frame(bright))
    assert np.argwhere(single.mask).tolist() == [[50, 60], [51, 200], [200, 10]]


def dithered(n=9, dither=True, fwhm_px=2.5, seed=5):
    """Calibrated lights of a star field with residual hot pixels; pixels, shifts and the truth."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    stars = rng.uniform(0, 1, (150, 2)) * (SHAPE[1], SHAPE[0])
    peaks = 100 * 10 ** rng.uniform(0, 2.2, 150)
    hot = rng.random(SHAPE) < 5e-4
    excess = rng.uniform(150, 3000, hot.sum())
    shifts = np.round(rng.uniform(-20, 20, (n, 2)), 2) if dither else rng.normal(0, 0.3, (n, 2))
    lights = []
    for k, (dx, dy) in enumerate(shifts):
        image = rng.normal(1000 + 30 * k + 0.1 * x, 10)
        for (cx, cy), peak in zip(stars, peaks, strict=True):
            top, left = max(0, int(cy + dy) - 9), max(0, int(cx + dx) - 9)
            box = np.s_[top : max(0, int(cy + dy) + 10), left : max(0, int(cx + dx) + 10)]
            s2 = 2 * (fwhm_px / 2.3548) ** 2
            image[box] += peak * np.exp(-((x[box] - cx - dx) ** 2 + (y[box] - cy - dy) ** 2) / s2)
        image[hot] += excess
        for _ in range(20):
            image[rng.integers(SHAPE[0]), rng.integers(SHAPE[1])] += 3000
        lights.append(frame(image, f"light {k}"))
    return lights, shifts, hot


def test_truth_dithered_lights_show_hot_pixels():
    lights, shifts, hot = dithered()
    found = BadPixels().from_lights(lights, shifts)
    assert np.mean(found.mask[hot] == 1) > 0.98
    assert np.count_nonzero(found.mask[~hot]) <= 2  # 5 sigma of the combined frame
    with pytest.raises(FrameError, match="without dithering a star cannot be told from a hot pixel"):
        BadPixels().from_lights(dithered(dither=False)[0], dithered(dither=False)[1])
    with pytest.raises(ParameterError, match="2 shifts were given for 9 frames"):
        BadPixels().from_lights(lights, shifts[:2])


def test_truth_blocks_are_hot_to_their_faint_rims():
    lights, _, hot = dithered(n=5)
    block = np.zeros(SHAPE, bool)
    block[50:53, 70:73] = True
    block &= ~hot
    images = [np.asarray(light) + np.where(block, 25, 0) for light in lights]
    for image in images:
        image[51, 71] += 400
    found = steady(BadPixels(present=0.9), [frame(image) for image in images], beside=2.5)
    alone = steady(BadPixels(present=0.9), [frame(image) for image in images])
    assert np.count_nonzero(found.mask[block]) >= 7 > np.count_nonzero(alone.mask[block])
    with pytest.raises(ParameterError, match="3 are needed"):
        steady(BadPixels(), lights[:2])


def test_truth_rejection_maps_of_a_dithered_stack():
    shifts = [(8.0 * k, 0.0) for k in range(10)]
    counts = np.zeros(SHAPE)
    counts[4, 5], counts[6, 7] = 9, 3
    for told in (shifts, None):
        assert np.argwhere(BadPixels().from_rejections(counts, 10, told).mask).tolist() == [[4, 5]]
    with pytest.raises(FrameError, match="10 of 10 frames lie within"):
        BadPixels().from_rejections(counts, 10, np.zeros((10, 2)))


def test_truth_single_lights_without_darks():
    lights, _, hot = dithered(n=4)
    found = BadPixels().from_single_lights(lights)
    assert np.mean(found.mask[hot] > 0) > 0.95
    assert np.count_nonzero(found.mask[~hot]) <= 1  # cosmic rays and stars do not return to a place


@settings(max_examples=8)
@given(st.integers(5, 22), st.integers(5, 22), SEEDS)
def test_oracle_spikes(rows, cols, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 3, (rows, cols)).astype(np.float32)
    image[rng.random(image.shape) < 0.03] += 60
    y, x = np.mgrid[:rows, :cols]
    image += (300 * np.exp(-((y - rows / 2) ** 2 + (x - cols / 2) ** 2) / 4)).astype(np.float32)
    level = np.full((2, 2), 100, np.float32)
    found = np.zeros(image.shape, bool)
    found[kernels.spikes(image, level, 3.0, 0.8, 4.5, 5.0)] = True
    assert np.array_equal(found, oracle.spikes(image.astype(np.float64), 100.0, 3.0, 0.8, 4.5, 5.0))


@pytest.mark.skipif(not (DATA / "tres1_st10").exists(), reason="needs the shared data")
def test_truth_real_darks_agree_with_real_lights():
    """Pixels that single lights show to be sharp again and again are nearly all hot in the darks."""
    folder = DATA / "tres1_st10"
    darks = [read(path) for path in sorted((folder / "darks").glob("*.fit"))]
    lights = [read(path) for path in sorted((folder / "lights").glob("*.fit"))[:4]]
    master = ArrayFrame.of(np.median([np.asarray(d) for d in darks], axis=0), "dark", darks[0].meta)
    dark, light = BadPixels(hot=5.0).from_dark(master), BadPixels(present=0.9).from_single_lights(lights)
    assert len(light) > 50
    assert np.mean(dark.mask[light.mask > 0] > 0) > 0.8
    assert 0 <= BadPixels().from_darks(darks).fraction < 0.01


@pytest.mark.parametrize("sigma", [0.2, 0.3, 0.6, 1.0])
def test_truth_of_whole_numbers_whose_noise_is_below_a_step(sigma):
    # MAD is 0 there: nothing or everything would stand out.
    rng = np.random.default_rng(9)
    hot = np.sort(rng.choice(120_000, 50, replace=False))

    def dark(i):
        image = np.rint(rng.normal(500.3, sigma, (300, 400)))
        image.flat[hot] += 30
        image.flat[hot[:10]] += rng.choice([0, 20], 10)
        return ArrayFrame.of(image.astype(np.float32), f"{i}")

    darks = [dark(i) for i in range(16)]
    for found in (CosmeticCorrection().defects(darks[0]), BadPixels().from_dark(darks[0])):
        np.testing.assert_array_equal(np.flatnonzero(found.mask), hot)
    np.testing.assert_array_equal(np.flatnonzero(BadPixels().from_single_lights(darks[:5]).mask), hot)
    assert set(np.flatnonzero(BadPixels().from_darks(darks).mask)) <= set(hot[:10])
