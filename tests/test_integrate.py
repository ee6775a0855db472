import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as runs
from hypothesis import strategies as st
from oracles import combine as oracle

from masterlight.core.errors import FrameError, NothingUsable, ParameterError
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.core.process import card, from_toml, replay, to_toml
from masterlight.integration.integrate import ImageIntegration
from masterlight.integration.kernels.combine import fill_holes
from masterlight.integration.rejection import Rejection
from masterlight.integration.tile import Tile, tiles
from masterlight.subframes.measure import measure
from masterlight.subframes.measurement import Measurement


def stack(settings, frames, statistics=None, **how):
    *_, last = settings(frames, statistics, **how)
    return last.result


def statistics(location=0.10, scale=0.02, noise=2e-4, **more):
    return Measurement(f"at {location}", location, scale, noise, **more)


def night(count, shape=(400, 500), level=300.0, sigma=5.0, seed=1, rays=0.0):
    """Frames of pure noise, with cosmic rays on a fraction of their pixels."""
    rng = np.random.default_rng(seed)
    frames = []
    for i in range(count):
        pixels = rng.normal(level, sigma, shape)
        pixels[rng.random(shape) < rays] += 60 * sigma
        frames.append(ArrayFrame.of(pixels, f"frame {i}"))
    return frames, [Measurement(f.source, level, sigma, sigma, 60.0, 1.0) for f in frames]


@pytest.mark.parametrize(
    "mode, expected",
    [
        ("none", 0.20),
        ("additive", 0.18),
        ("multiplicative", 1 / 6),
        ("additive+scaling", 0.14),
        ("multiplicative+scaling", 1 / 12),
    ],
)
def test_authority_output_normalization(mode, expected):
    settings = ImageIntegration(normalization=mode, scale="bwmv")
    terms = settings.terms([statistics(), statistics(0.12, 0.04)])
    assert terms.out_scale[1] * 0.20 + terms.out_offset[1] == pytest.approx(expected, rel=1e-12)
    assert (terms.out_scale[0], terms.out_offset[0]) == (1, 0)


def test_authority_noise_weights():
    settings = ImageIntegration(scale="bwmv")
    terms = settings.terms([statistics(scale=0.02, noise=2e-4), statistics(scale=0.01, noise=1.5e-4)])
    np.testing.assert_allclose(terms.weights, [1, 4 / 9], rtol=1e-12)


def test_authority_two_sided_scales_are_averaged_as_ratios():
    terms = ImageIntegration(scale="bwmv").terms([statistics(scale=(2.0, 4.0)), statistics(scale=(4.0, 4.0))])
    assert terms.out_scale[1] == (0.5 + 1) / 2


def test_truth_weights_decide_themselves_unless_a_formula_does():
    assert ImageIntegration().weights == "auto" and ImageIntegration().settled.weights == "point"
    measured = [statistics(0.5), statistics(0.6, noise=0.0003)]
    np.testing.assert_array_equal(
        ImageIntegration().terms(measured).weights, ImageIntegration(weights="point").terms(measured).weights
    )
    assert ImageIntegration().looks_at_profiles == ImageIntegration(weights="point").looks_at_profiles


def test_surface_the_name_of_a_formula_is_no_kind_of_weights():
    for preset in ("tutorial", "tutorial+noise"):
        with pytest.raises(ParameterError) as told:
            ImageIntegration(weights=preset)
        assert f"in a run give SubframeSelector.weight {preset}" in str(told.value)
        ImageIntegration(weights="expression", weight_expression=preset)  # as the message says


def test_truth_exposure_weights():
    terms = ImageIntegration(weights="exposure").terms(
        [statistics(exposure_s=60, flux_ratio=1), statistics(exposure_s=120, flux_ratio=2)]
    )
    np.testing.assert_array_equal(terms.weights, [0.5, 1])


def test_truth_stars_bring_a_frame_seen_through_clouds_to_the_reference():
    terms = ImageIntegration().terms([statistics(100.0, flux_ratio=1.0), statistics(80.0, flux_ratio=0.5)])
    np.testing.assert_allclose(terms.out_scale * [130, 95] + terms.out_offset, [130, 130])
    assert terms.notes == ()


def test_truth_unknown_star_flux_falls_back_to_dispersion_for_all_and_says_so():
    given = [statistics(flux_ratio=1.0), statistics(scale=0.04, flux_ratio=0.9), statistics(0.2)]
    terms = ImageIntegration().terms(given)
    np.testing.assert_allclose(terms.out_scale, [1, 0.5, 1])
    assert "at 0.2" in terms.notes[0]


@pytest.mark.parametrize(
    "settings, bad, said",
    [
        (ImageIntegration(), statistics(np.nan), "location_dn"),
        (ImageIntegration.for_flat(), statistics(0.0), "location_dn"),
        (ImageIntegration(), statistics(0.5, noise=np.nan), "noise"),
        (ImageIntegration(weights="exposure"), statistics(0.5), "exposure"),
        (ImageIntegration(), statistics(0.5, flux_ratio=-1.0), "flux_ratio"),
        (ImageIntegration(), statistics(0.5, scale=0.0), "scale_dn"),
    ],
)
def test_truth_a_missing_number_is_told_with_its_frame(settings, bad, said):
    with pytest.raises(ParameterError, match=rf"^{bad.source}: .*{said}"):
        settings.terms([statistics(exposure_s=1.0), bad])


def test_truth_noise_falls_as_theory_says_and_variance_tells_it():
    frames, known = night(16)
    result = stack(ImageIntegration(), frames, known)
    # 200,000 pixels tell a sigma to 0.16 %; clipping at 4 and 3 sigma of 16 samples costs about 1.5 %
    assert result.image.std() * 4 / 5 == pytest.approx(1, abs=0.025)
    plain = stack(ImageIntegration(rejection=Rejection(algorithm="none")), frames, known)
    assert plain.image.std() * 4 / 5 == pytest.approx(1, abs=0.01)
    assert plain.variance.mean() == pytest.approx(25 / 16, rel=0.005)
    assert result.variance.mean() == pytest.approx(float(result.image.var()), rel=0.02)


def test_truth_variance_of_unequal_weights():
    rng = np.random.default_rng(5)
    sigmas = np.array([2.0, 4, 6, 3, 5, 2])
    frames = [ArrayFrame.of(rng.normal(100, s, (300, 400)), f"{s}") for s in sigmas]
    known = [Measurement(f.source, 100.0, s, s, 1.0, 1.0) for f, s in zip(frames, sigmas, strict=True)]
    result = stack(ImageIntegration(rejection=Rejection(algorithm="none")), frames, known)
    ideal = 1 / (1 / sigmas**2).sum()
    assert result.image.var() == pytest.approx(ideal, rel=0.02)
    assert result.variance.mean() == pytest.approx(ideal, rel=0.01)
    assert result.effective_frames == pytest.approx((1 / sigmas**2).sum() ** 2 / (1 / sigmas**4).sum())


@pytest.mark.parametrize("count", [3, 5, 10, 20])
@pytest.mark.parametrize(
    "make", [ImageIntegration.for_bias, ImageIntegration.for_dark, ImageIntegration.for_flat, ImageIntegration]
)
def test_truth_cosmic_rays_go_however_few_frames(make, count):
    frames, known = night(count, (100, 150), rays=0.002)
    result = stack(make(), frames, known)
    rays = sum((f.array > 450) for f in frames)
    struck = (rays > 0) & (rays < count / 2)
    assert struck.sum() > 50
    # what is left is noise: 6 sigma of a mean of the frames
    assert np.abs(result.image[struck] - 300).max() < 6 * 5 / np.sqrt(count) * 1.5
    assert (result.rejected_high[struck] >= rays[struck]).all()


@pytest.mark.parametrize("count, lost", [(3, 0.004), (10, 0.012), (20, 0.006)])
def test_truth_clean_frames_keep_nearly_all_samples(count, lost):
    frames, known = night(count, (200, 200))
    result = stack(ImageIntegration(), frames, known)
    assert 1 - result.coverage.mean() / count < lost


@pytest.mark.parametrize("make", [ImageIntegration, ImageIntegration.for_flat])
def test_truth_the_result_does_not_depend_on_tiles_or_threads(make):
    frames, known = night(12, (210, 333), rays=0.01)
    frames[3].array[:40, :50] = np.nan
    whole = stack(make(), frames, known, memory_mb=2000)
    for how in ({"memory_mb": 0.3}, {"memory_mb": 1, "aspect": 1}, {"memory_mb": 3, "pool": "threads:2"}):
        other = stack(make(), frames, known, **how)
        for name in ("image", "variance", "coverage", "rejected_low", "rejected_high"):
            np.testing.assert_array_equal(getattr(other, name), getattr(whole, name))
        assert other.frames == whole.frames


def test_truth_a_frame_of_nothing_and_a_pixel_of_nothing():
    frames, known = night(4, (20, 30))
    frames[2].array[:] = np.nan
    frames[0].array[0, 0] = frames[1].array[0, 0] = frames[3].array[0, 0] = np.nan
    result = stack(ImageIntegration(), frames, known)
    assert np.isnan(result.image[0, 0]) and np.isnan(result.variance[0, 0]) and result.coverage[0, 0] == 0
    assert result.coverage.ravel()[1:].max() == 3 and np.isfinite(result.image.ravel()[1:]).all()
    assert result.frames[2].rejected_high_fraction == 0


@pytest.mark.parametrize("count", [1, 2])
def test_truth_one_or_two_frames(count):
    frames, known = night(count, (20, 30))
    result = stack(ImageIntegration(), frames, known)
    np.testing.assert_allclose(result.image, np.mean([f.array for f in frames], axis=0), rtol=1e-6)
    np.testing.assert_allclose(result.variance, 25 / count, rtol=1e-6)


@pytest.mark.parametrize("make", [ImageIntegration.for_bias, ImageIntegration])
def test_truth_equal_frames_and_zeros_stay_what_they_are(make):
    for level in (0.0, 700.0):
        frames = [ArrayFrame.of(np.full((9, 11), level), f"{i}") for i in range(12)]
        known = [Measurement(f.source, level, 1.0, 1.0, 1.0, 1.0) for f in frames]
        result = stack(make(), frames, known)
        assert (
            (result.image == level).all()
            and (result.coverage == 12).all()
            and (result.variance == np.float32(1) / np.float32(12)).all()
        )  # as noise was told


def test_truth_flats_are_scaled_to_the_reference():
    shape = np.linspace(0.5, 1, 300)[None, :] * np.ones((200, 1))
    frames = [ArrayFrame.of(shape * level, f"{level}") for level in (20000, 25000, 30000, 22000)]
    result = stack(ImageIntegration.for_flat(), frames, reference=1)
    np.testing.assert_allclose(result.image, shape * 25000, rtol=1e-6)
    assert [round(row.scale, 6) for row in result.frames] == [1.25, 1, 0.833333, 1.136364]


def test_truth_range_limits_leave_out_raw_values():
    frames, known = night(12, (20, 30))
    frames[0].array[:10] = 60000
    frames[1].array[10:] = 0
    result = stack(ImageIntegration(rejection=Rejection(range_low=0, range_high=50000)), frames, known)
    assert (result.rejected_high[:10] >= 1).all() and (result.rejected_low[10:] >= 1).all()
    assert result.frames[0].rejected_high_fraction >= 0.5


def test_truth_measured_statistics():
    rng = np.random.default_rng(2)
    ramp = np.linspace(0, 50, 3000)[None, :]
    frame = ArrayFrame.of(rng.normal(500, 4, (2000, 3000)) + ramp, meta=Meta(exposure_s=30.0))
    [found] = measure(frame)
    assert found.location_dn == pytest.approx(525, abs=0.3)
    assert found.noise_dn == pytest.approx(4, rel=0.01)
    assert found.exposure_s == 30


def test_truth_colour_planes_are_integrated_each_with_its_own_statistics():
    rng = np.random.default_rng(3)
    frames = [ArrayFrame.of(rng.normal([[[100]], [[200]], [[300]]], 5, (3, 40, 60)), f"{i}") for i in range(10)]
    result = stack(ImageIntegration(scale="bwmv"), frames, reference=0)
    assert result.image.shape == result.rejected_low_fraction.shape == (3, 40, 60)
    np.testing.assert_allclose(result.image.mean(axis=(1, 2)), [100, 200, 300], atol=1)
    one = stack(ImageIntegration(scale="bwmv"), [ArrayFrame.of(f.array[1], f.source) for f in frames], reference=0)
    np.testing.assert_array_equal(one.image, result.image[1])


class Broken(ArrayFrame):
    def pixels(self, y0, y1, x0, x1):
        if y0 > 0:
            raise OSError("unexpected end of file")
        return super().pixels(y0, y1, x0, x1)


@pytest.mark.parametrize("pool", ["serial", "threads:2"])
def test_truth_a_broken_frame_is_named(pool):
    frames, known = night(4, (300, 300))
    frames[2] = Broken.of(frames[2].array, "night/broken.fits")
    with pytest.raises(FrameError) as caught:
        stack(ImageIntegration(), frames, known, pool=pool, memory_mb=0.5)
    assert caught.value.source == "night/broken.fits"


def test_truth_frames_that_do_not_fit_together():
    frames, known = night(3, (20, 30))
    with pytest.raises(FrameError, match="odd: its shape"):
        stack(ImageIntegration(), [*frames, ArrayFrame.of(np.zeros((20, 31)), "odd")])
    with pytest.raises(NothingUsable):
        stack(ImageIntegration(), [])
    with pytest.raises(ParameterError, match="3 frames"):
        stack(ImageIntegration(), frames, known[:2])


@pytest.mark.parametrize("shape", [(1, 1), (7, 5000), (4000, 6000), (333, 211)])
@pytest.mark.parametrize("count", [3, 200, 10_000])
@pytest.mark.parametrize("aspect", [None, 1, 32])
def test_truth_tiles_cover_the_image_once_within_the_memory(shape, count, aspect):
    boxes = tiles(shape, count, 512, 2, aspect)
    assert sum((y1 - y0) * (x1 - x0) for y0, y1, x0, x1 in boxes) == shape[0] * shape[1]
    assert len(set(boxes)) == len(boxes)
    assert max((y1 - y0) * (x1 - x0) for y0, y1, x0, x1 in boxes) * count * 4 * 2 <= 512e6


def test_surface_events_and_pickled_tasks():
    import pickle

    frames, known = night(3, (50, 60))
    events = list(ImageIntegration()(frames, known))
    assert {e.stage for e in events} == {"integrate", "find trails", "find faint trails"}
    assert "3 frames of 60 x 50" in events[0].message and "rejected" in events[-1].message
    task = Tile(ImageIntegration(), frames, [ImageIntegration().terms(known)])
    again = pickle.loads(pickle.dumps(task))
    np.testing.assert_array_equal(again((0, 9, 0, 9))[0].image, task((0, 9, 0, 9))[0].image)


@pytest.mark.parametrize("make", [ImageIntegration.for_bias, ImageIntegration.for_flat, ImageIntegration])
def test_surface_card_and_toml(make):
    settings = make()
    assert replay(card(settings)) == settings
    assert from_toml(ImageIntegration, to_toml(settings)) == settings


class Flipped(ArrayFrame):
    """A view that fills the room it is given, as registered frames do."""

    def pixels_into(self, out, y0, x0):
        out[...] = self.array[::-1][y0 : y0 + out.shape[0], x0 : x0 + out.shape[1]]


def test_truth_views_that_fill_the_tile_themselves():
    frames, known = night(5, (60, 70))
    flipped = stack(ImageIntegration(), [Flipped.of(f.array, f.source) for f in frames], known)
    np.testing.assert_array_equal(flipped.image, stack(ImageIntegration(), frames, known).image[::-1])


@runs(max_examples=40, deadline=None)
@given(
    st.integers(1, 14),
    st.integers(1, 14),
    st.integers(1, 3),
    st.sampled_from([0.2, 0.5, 0.7, 1.0]),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
def test_oracle_fill_holes(rows, cols, radius, share, missing, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 9, (rows, cols)).astype(np.float32)  # with ties; means of two are exact
    image[rng.random(image.shape) < missing] = np.nan
    expected, filled = oracle.fill_holes(image, radius, share)
    assert fill_holes(image, radius, share) == filled
    np.testing.assert_array_equal(image, expected)


def test_truth_pixels_and_columns_are_filled_and_an_empty_edge_is_not():
    y, x = np.mgrid[:60, :80]
    truth = (1000 + y + 2 * x).astype(np.float32)
    image = truth.copy()
    image[20, 30] = image[21, 50] = image[3:57, 40] = image[:, 70:] = np.nan
    holes = np.isnan(image) & (x < 70)
    assert fill_holes(image, 3, 0.7) == holes.sum()
    assert np.abs(image - truth)[holes].max() < 3  # the slope over the square, of which one side may lack a column
    assert np.isnan(image[:, 70:]).all()
    assert np.array_equal(image[~holes & (x < 70)], truth[~holes & (x < 70)])
