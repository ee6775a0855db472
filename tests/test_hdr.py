import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masterlight.core.errors import FrameError, NothingUsable, ParameterError
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.integration.compose import BAND, line_through, mask_of
from masterlight.integration.hdr import HDRComposition

TOP = 60000.0


def scene(size=400, stars=60, seed=1, peak=250_000.0, fwhm_px=4.0):
    """A background of 500 DN with stars up to `peak` DN as the longest exposure would see them: (image, places)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    image = np.full((size, size), 500.0)
    places = []
    for k in range(stars):
        row, col = rng.uniform(25, size - 25, 2)
        while any(np.hypot(row - r, col - c) < 30 for r, c in places):
            row, col = rng.uniform(25, size - 25, 2)
        places.append((row, col))
        height = peak * (1 - k / stars) ** 4 + 300
        image += height * np.exp(-((y - row) ** 2 + (x - col) ** 2) / (2 * (fwhm_px / 2.355) ** 2))
    return image, places


def exposed(image, ratio, seed=None, read_noise=8.0, meta=None, name=None, pedestal=0.0):
    """The scene at a part of the longest exposure, with noise when there is a seed, cut off at saturation."""
    image = image * ratio + pedestal
    if seed is not None:
        rng = np.random.default_rng(seed)
        image = image + rng.normal(size=image.shape) * np.sqrt(np.maximum(image, 0) / 20 + read_noise**2)
    return ArrayFrame.of(np.minimum(image, TOP), name or f"{ratio:g} of the longest", meta)


def flux(image, places, reach=9):
    """Light of each star above the background, in a square."""
    sums = []
    for row, col in np.rint(places).astype(int):
        box = np.asarray(image, float)[row - reach : row + reach + 1, col - reach : col + reach + 1]
        sums.append((box - 500).sum())
    return np.array(sums)


def test_authority_published_line():
    # The long exposure is min(1, 4 u), the short one u: b = 0.25, a = 0, the result is proportional to u everywhere.
    u = np.random.default_rng(2).uniform(0.001, 1, (60, 80))
    long, short = ArrayFrame.of(np.minimum(1, 4 * u), "long"), ArrayFrame.of(u, "short")
    result = HDRComposition()([short, long])
    assert result.sources == ("long", "short")
    assert (result.fits[0].ratio, result.fits[0].offset_dn) == pytest.approx((0.25, 0.0), abs=1e-6)
    # float32 of numbers up to 4
    np.testing.assert_allclose(result.image, 4 * u, rtol=2e-6)
    assert result.range_dn == (result.image.min(), result.image.max())


def test_truth_star_cores_are_linear_to_one_percent():
    truth, places = scene()
    frames = [exposed(truth, ratio, seed) for ratio, seed in ((1.0, 1), (0.2, 2))]
    result = HDRComposition()(frames)
    saturated = np.array([truth[int(r) - 1 : int(r) + 3, int(c) - 1 : int(c) + 3].max() > TOP for r, c in places])
    assert saturated.sum() > 10
    error = flux(result.image, places) / flux(truth, places) - 1
    assert np.abs(error[saturated]).max() < 0.01
    # The mean error of all saturated stars is that of the scale, and the scale is told by hundreds of pixels.
    assert abs(error[saturated].mean()) < 0.002
    lost = flux(frames[0].array, places) / flux(truth, places) - 1
    assert lost[saturated].min() < -0.3


def test_truth_no_ring_where_one_image_goes_over_into_the_other():
    truth, _ = scene()
    result = HDRComposition()([exposed(truth, 1.0, 1), exposed(truth, 0.2, 2)])
    mask = result.masks[0]
    sigma = np.hypot(8.0, np.sqrt(truth / 20))
    sigma_short = np.hypot(8.0, np.sqrt(truth * 0.2 / 20)) / 0.2
    difference = (result.image - truth) / np.maximum(sigma, sigma_short)
    for low, high in ((1e-5, 0.25), (0.25, 0.75), (0.75, 1 - 1e-5), (1 - 1e-5, 1)):
        zone = (mask > low) & (mask <= high)
        # No zone is off by more than its own noise allows, 4 sigma of its mean, and 0.3 % of the light for the scale.
        allowed = 4 / np.sqrt(zone.sum()) + np.mean(0.003 * (truth / np.maximum(sigma, sigma_short))[zone])
        assert zone.sum() > 300
        assert abs(difference[zone].mean()) < allowed


def test_truth_nothing_of_a_saturated_pixel_is_kept():
    truth, _ = scene()
    frames = [exposed(truth, 1.0), exposed(truth, 0.2)]
    result = HDRComposition(growth=0, smoothness=20)(frames)
    assert np.all(result.masks[0][truth >= 0.8 * TOP] == 1)
    np.testing.assert_allclose(result.image, truth, rtol=1e-5)
    assert result.masks[0].min() == 0


def test_truth_three_exposures_in_colour_with_other_levels():
    truth = np.stack([scene(peak=p)[0] for p in (900_000.0, 600_000.0, 300_000.0)])
    frames = [exposed(truth, ratio, pedestal=level) for ratio, level in ((0.02, -7.0), (1.0, 0.0), (0.15, 40.0))]
    result = HDRComposition()(frames)
    assert result.sources == ("1 of the longest", "0.15 of the longest", "0.02 of the longest")
    assert [(f.plane, round(f.ratio, 4), round(f.offset_dn, 1)) for f in result.fits] == [
        (p, r, a) for r, a in ((0.15, 40.0), (0.02, -7.0)) for p in range(3)
    ]
    assert result.image.shape == truth.shape
    assert result.image.dtype == np.float32
    # The shortest counts in steps of float32 of 60000, 0.004 DN, times 50.
    np.testing.assert_allclose(result.image, truth, rtol=2e-5, atol=0.4)


def test_truth_black_and_missing_pixels_replace_nothing():
    truth, places = scene()
    row, col = np.rint(places[0]).astype(int)
    short = exposed(truth, 0.2).array.copy()
    short[row, col], short[row, col + 1] = 0, np.nan
    long = exposed(truth, 1.0)
    result = HDRComposition()([long, ArrayFrame.of(short, "short")])
    assert result.masks[0][row, col] == result.masks[0][row, col + 1] == 0
    assert result.image[row, col] == result.image[row, col + 1] == np.float32(TOP)
    assert result.notes[1] == "2 saturated pixels stay: they are black or missing in short"
    counted = HDRComposition(reject_black=False)([long, ArrayFrame.of(short, "short")])
    assert counted.masks[0][row, col] == 1
    assert counted.masks[0][row, col + 1] == 0


def test_truth_missing_cores_of_the_long_exposure_come_from_the_short_one():
    truth, _ = scene()
    long = exposed(truth, 1.0).array.copy()
    long[truth > 70_000] = np.nan
    long[:, :3] = np.nan
    result = HDRComposition()([ArrayFrame.of(long, "long"), exposed(truth, 0.2)])
    np.testing.assert_allclose(result.image[truth > 70_000], truth[truth > 70_000], rtol=1e-5)
    assert np.isnan(result.image[:, :3]).all()
    assert np.isfinite(result.image[:, 3:]).all()


def test_truth_variance_is_that_of_the_image():
    truth, _ = scene(size=200, stars=12)
    variances = [np.full(truth.shape, v, np.float32) for v in (4.0, 9.0)]
    frames = [exposed(truth, 1.0), exposed(truth, 0.25)]
    result = HDRComposition()(frames, variances)
    m = result.masks[0].astype(float)
    np.testing.assert_allclose(result.variance, (1 - m) ** 2 * 4 + m**2 * 9 * 16, rtol=1e-3)
    assert HDRComposition()(frames).variance is None


def test_truth_large_scales_of_the_longer_exposure_take_over():
    truth, _ = scene(size=512)
    glow = np.linspace(0, 300, 512)[None]
    frames = [exposed(truth, 1.0, 1), exposed(truth + 5 * glow, 0.2, 2)]
    plain, levelled = (HDRComposition(replace_large_scales=k)(frames) for k in (0, 2))
    replaced = plain.masks[0] == 1
    off = [np.median(np.abs(r.image - truth)[replaced & (truth < 55_000)]) for r in (plain, levelled)]
    # The noise of the short image on the scale of the long one is 120 DN here, its median deviation 80.
    assert off[0] > 300
    assert off[1] < 90


def test_truth_a_mask_is_the_same_whichever_bands_it_is_made_of():
    saturated = np.zeros((2 * BAND + 40, 90), bool)
    saturated[[3, BAND - 2, BAND + 1, 2 * BAND + 5], [5, 40, 44, 80]] = True
    y, x = np.nonzero(saturated)
    at = np.mgrid[: saturated.shape[0], : saturated.shape[1]]
    distance = np.hypot(at[0] - y[:, None, None], at[1] - x[:, None, None]).min(axis=0)
    expected = 0.5 + 0.5 * np.cos(np.pi * np.clip((distance - 3) / 11, 0, 1))
    np.testing.assert_allclose(mask_of(HDRComposition(growth=3, smoothness=10), saturated), expected, atol=1e-6)


@settings(max_examples=20)
@given(st.floats(0.01, 0.9), st.floats(-500, 500), st.integers(0, 1000))
def test_truth_line_through_noise_and_outliers(ratio, offset, seed):
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(1000, 20, 40_000), 1000 + 50_000 * rng.uniform(0, 1, 1500) ** 3])
    v = offset + ratio * x + rng.normal(0, 10, x.size)
    v[rng.integers(0, x.size, 300)] += 5000
    found = line_through(x.astype(np.float32), v.astype(np.float32))
    # 20 pixels in a bin of 780 DN: their medians are sure to 3 DN, over a lever of tens of thousands
    assert abs(found[0] - ratio) < 0.001
    assert abs(found[1] - offset) < 3


def test_surface_nothing_saturated_is_told():
    truth, _ = scene(peak=20_000.0)
    meta = Meta(saturation_dn=TOP, integer=False)
    long, short = exposed(truth, 1.0, meta=meta, name="long"), exposed(truth, 0.2, meta=meta, name="short")
    result = HDRComposition(auto_exposures=False)([long, short])
    assert np.array_equal(result.image, long.array)
    assert result.masks == result.fits == ()
    assert result.notes == (
        "nothing is saturated in long, whose level is 60000 DN: it is the result; or lower HDRComposition.threshold",
    )


def test_surface_a_third_image_that_is_not_needed_is_told():
    truth, _ = scene(peak=100_000.0)
    meta = Meta(saturation_dn=TOP, integer=False)
    frames = [exposed(truth, ratio, meta=meta) for ratio in (1.0, 0.2, 0.05)]
    result = HDRComposition(auto_exposures=False)(frames)
    assert len(result.masks) == 1
    assert result.notes[1] == "nothing is saturated in 0.2 of the longest: 0.05 of the longest not used"


def test_surface_order_of_exposures():
    truth, _ = scene()
    long, short = exposed(truth, 1.0, name="long"), exposed(truth, 0.2, name="short")
    with pytest.raises(FrameError, match=r"long: it is exposed 5 times as long as short"):
        HDRComposition(auto_exposures=False)([short, long])
    assert HDRComposition()([short, long]).sources == ("long", "short")


def test_surface_what_cannot_be_composed():
    truth, _ = scene(size=120, stars=4)
    long = exposed(truth, 1.0, name="long")
    with pytest.raises(NothingUsable, match="two images or more"):
        HDRComposition()([long])
    with pytest.raises(FrameError, match=r"small: its shape is \(50, 50\), that of long is \(120, 120\)"):
        HDRComposition()([long, ArrayFrame.of(np.ones((50, 50)), "small")])
    with pytest.raises(FrameError, match="empty: it has no pixel above 0"):
        HDRComposition()([long, ArrayFrame.of(np.full((120, 120), np.nan), "empty")])
    with pytest.raises(FrameError, match="flat: it does not become brighter|flat: it has too few pixels"):
        HDRComposition()([long, ArrayFrame.of(np.full((120, 120), 100.0), "flat")])
    with pytest.raises(FrameError, match=r"long: its variance has the shape \(3, 3\)"):
        HDRComposition()([long, exposed(truth, 0.2)], [np.ones((3, 3)), np.ones((120, 120))])
    with pytest.raises(ParameterError, match="variances: 2 images need one for each, or None; 1 were given"):
        HDRComposition()([long, exposed(truth, 0.2)], [None])
    with pytest.raises(ParameterError, match="smoothness"):
        HDRComposition(smoothness=0)


def test_surface_a_result_can_be_pickled():
    truth, _ = scene(size=120, stars=4)
    result = HDRComposition()([exposed(truth, 1.0), exposed(truth, 0.2)])
    again = pickle.loads(pickle.dumps(result))
    assert np.array_equal(again.image, result.image)
