"""CosmeticCorrection: its three modes, and the engine that replaces pixels."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import defects as oracle

from masterlight.calibration.calibrate import ImageCalibration
from masterlight.calibration.kernels import excesses
from masterlight.core.errors import FrameError
from masterlight.core.frame import LINE, ArrayFrame, Meta
from masterlight.defects import kernels
from masterlight.defects.cosmetic import CosmeticCorrection
from masterlight.defects.lists import Defects
from masterlight.defects.outliers import highest_level
from masterlight.defects.repaired import without_struck
from masterlight.io import read

SEEDS = st.integers(0, 2**32 - 1)
XTRANS = "GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG"
PATTERNS = st.sampled_from([None, "RGGB", "GBRG", XTRANS])
DATA = Path(__file__).parents[2] / "shared" / "data"


def frame(image, pattern=None, **meta):
    return ArrayFrame.of(image, "frame", Meta(pattern=pattern, **meta))


def night_sky(seed, shape=(600, 800), sigma=10.0, fwhm_px=2.0, stars=250, pattern=None):
    """A light without defects, and the same without noise: gradient, stars of Gaussian shape, colours of a mosaic."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    scene = 1000 + 0.05 * x + 0.02 * y
    s = fwhm_px / 2.3548
    for _ in range(stars):
        cy, cx, peak = rng.uniform(8, shape[0] - 9), rng.uniform(8, shape[1] - 9), 30 * 10 ** rng.uniform(0, 3)
        box = np.s_[int(cy) - 8 : int(cy) + 9, int(cx) - 8 : int(cx) + 9]
        scene[box] += peak * np.exp(-((x[box] - cx) ** 2 + (y[box] - cy) ** 2) / 2 / s**2)
    if pattern:
        gain = {"R": 0.6, "G": 1.0, "B": 0.4}
        scene = scene * np.vectorize(gain.get)(oracle.colours(pattern, shape)).astype(np.float32)
    noise = rng.normal(0, 1, shape) * np.sqrt(sigma**2 + (scene - np.median(scene)).clip(0))
    return (scene + noise).astype(np.float32), scene


def test_surface_view_is_lazy_and_picklable():
    rng = np.random.default_rng(2)
    raw = ArrayFrame.of(rng.normal(1000, 10, (50, 60)), "light", Meta(kind="light"))
    dark = ArrayFrame.of(rng.normal(500, 1, (50, 60)), "dark", Meta(kind="dark"))
    calibration = ImageCalibration()
    view = CosmeticCorrection(hot_auto=4.0)(
        calibration(raw, calibration.masters(dark=dark)), Defects.of(rng.random((50, 60)) < 0.02)
    )
    whole = np.asarray(view)
    again = pickle.loads(pickle.dumps(view))
    assert np.array_equal(again[7:31, 5:44], whole[7:31, 5:44])
    assert len(view.cards) == 2


@settings(max_examples=25)
@given(st.integers(8, 40), st.integers(8, 40), PATTERNS, st.booleans(), SEEDS)
def test_surface_boxes_equal_the_whole(rows, cols, pattern, auto, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(1000, 10, (rows, cols)).astype(np.float32)
    image[rng.random(image.shape) < 0.03] += 500
    known = rng.random(image.shape) < 0.05
    known[:, 3] = True
    knobs = {"hot_auto": 2.0, "cold_auto": 2.0} if auto else {}
    view = CosmeticCorrection(**knobs)(frame(image, pattern), Defects.of(known))
    whole, mask = np.asarray(view), view.defective(0, rows, 0, cols)
    y0, x0 = rng.integers(0, rows - 1), rng.integers(0, cols - 1)
    y1, x1 = rng.integers(y0 + 1, rows + 1), rng.integers(x0 + 1, cols + 1)
    assert np.array_equal(view[y0:y1, x0:x1], whole[y0:y1, x0:x1], equal_nan=True)
    assert np.array_equal(view.defective(y0, y1, x0, x1), mask[y0:y1, x0:x1])
    pixels, found = view.pixels_and_defective(y0, y1, x0, x1)
    assert np.array_equal(pixels, whole[y0:y1, x0:x1], equal_nan=True)
    assert np.array_equal(found, mask[y0:y1, x0:x1])
    out = np.empty((rows, cols), np.float32)
    view.pixels_into(out, 0, 0)
    assert np.array_equal(out, whole, equal_nan=True)
    assert np.array_equal(whole[mask == 0], image[mask == 0])


@settings(max_examples=40)
@given(st.integers(1, 14), st.integers(1, 14), PATTERNS, st.sampled_from([0.05, 0.3, 0.9]), SEEDS)
def test_oracle_replace_defects(rows, cols, pattern, fraction, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 10, (rows, cols)).astype(np.float32).round()
    image[rng.random((rows, cols)) < 0.1] = np.nan
    mask = (rng.random((rows, cols)) < fraction).astype(np.uint8)
    mask[:, rng.integers(cols)] |= np.uint8(rng.choice([0, 8, 32]))
    mask[rng.integers(rows)] |= np.uint8(rng.choice([0, 0, 8]))
    amount = float(rng.choice([1.0, 0.7]))
    view = CosmeticCorrection(amount=amount)(frame(image, pattern), Defects.of(mask))
    wanted = oracle.replace_defects(image, mask, pattern, amount)
    assert np.allclose(np.asarray(view), wanted, equal_nan=True, rtol=1e-6)  # float32 against float64


@settings(max_examples=25)
@given(st.integers(1, 16), st.integers(1, 16), st.sampled_from([None, "RGGB"]), SEEDS)
def test_oracle_local_outliers(rows, cols, pattern, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 10, (rows, cols)).astype(np.float32)
    image[rng.random(image.shape) < 0.1] += np.float32(rng.choice([-80, 80]))
    image[rng.random(image.shape) < 0.1] = np.nan
    view = CosmeticCorrection(hot_auto=2.0, cold_auto=1.5)(frame(image, pattern))
    spread = np.tile(view.spread()[0], (rows, cols))[:rows, :cols]
    found = oracle.local_outliers(image.astype(np.float64), 2.0, 1.5, 1 if pattern is None else 2, spread)
    assert np.array_equal(view.defective(0, rows, 0, cols), found)


def test_oracle_local_outliers_of_x_trans_see_their_own_colour():
    image, _ = night_sky(11, (60, 60), stars=0, pattern=XTRANS)
    spots = [(12, 13), (30, 31), (44, 20), (0, 59)]
    for spot in spots:
        image[spot] += 400
    view = CosmeticCorrection(hot_auto=8.0)(frame(image, XTRANS))
    assert sorted(map(tuple, np.argwhere(view.defective(0, 60, 0, 60)).tolist())) == sorted(spots)


@settings(max_examples=10)
@given(st.integers(1, 9), st.integers(1, 9), SEEDS)
def test_oracle_outside(rows, cols, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 10, (rows, cols)).astype(np.float32)
    image[rng.random(image.shape) < 0.2] = np.nan
    found = kernels.outside(image, np.full((2, 3), 100, np.float32), -12.0, 9.0)
    assert np.array_equal(found, oracle.outside(image, 100, -12, 9))


def test_truth_nine_by_nine():
    """The reference case of automatic detection: spread 3.1852, the centre becomes 100, nothing else changes."""
    y, x = np.mgrid[:9, :9]
    image = (100 + 2.0 * (-1) ** (x + y)).astype(np.float32)
    image[4, 4] = 200
    view = CosmeticCorrection(hot_auto=3.0)(frame(image))
    assert view.spread()[0, 0, 0] == pytest.approx(3.1852, abs=1e-4)
    repaired = np.asarray(view)
    assert repaired[4, 4] == 100
    repaired[4, 4] = 200
    assert np.array_equal(repaired, image)


@pytest.mark.parametrize("pattern", [None, "RGGB", XTRANS])
def test_truth_a_master_dark_repairs_a_light(pattern):
    """No defect stays beyond 5 sigma of the truth off stars, good pixels and star cores are untouched."""
    image, scene = night_sky(1, pattern=pattern)
    rng = np.random.default_rng(2)
    hot, cold = rng.random(image.shape) < 1e-3, rng.random(image.shape) < 5e-5
    excess = rng.uniform(100, 20000, hot.sum())
    dark = rng.normal(500, 1, image.shape).astype(np.float32)
    dark[hot], dark[cold] = dark[hot] + excess, 0
    image[hot], image[cold] = image[hot] + excess, -500
    defects = CosmeticCorrection().defects(frame(dark, pattern))
    bad = hot | cold
    assert np.all(defects.mask[bad] > 0)
    assert np.count_nonzero(defects.mask[~bad]) < 1e-5 * image.size
    view = CosmeticCorrection()(frame(image, pattern), defects)
    repaired = np.asarray(view)
    assert np.array_equal(repaired[defects.mask == 0], image[defects.mask == 0])
    sky = (
        scene - scene.min() < 2 * (np.median(scene) - scene.min())
        if pattern is None
        else local_slope(scene, pattern) < 5
    )
    off = np.abs(repaired - scene)[bad & sky] / 10.0
    assert off.max() < 5
    assert np.sqrt(np.mean(off**2)) < 1.0  # a median of 5 or more neighbours is less noisy than a pixel


def local_slope(scene, pattern):
    """How much a scene changes among pixels of its own colour nearby, DN."""
    period = 2 if pattern is None or len(pattern) == 4 else 6
    return sum(np.abs(scene - np.roll(scene, s * period, axis)) for s in (-1, 1) for axis in (0, 1))


@pytest.mark.parametrize("pattern", [None, "GRBG"])
def test_truth_automatic_mode_finds_hot_pixels_and_leaves_stars(pattern):
    image, scene = night_sky(3, pattern=pattern, fwhm_px=2.0 if pattern is None else 4.5)
    clean = image.copy()
    rng = np.random.default_rng(4)
    hot = rng.random(image.shape) < 1e-3
    image[hot] += rng.uniform(300, 20000, hot.sum())
    image[200, 300] -= 700
    view = CosmeticCorrection(hot_auto=8.0, cold_auto=8.0)(frame(image, pattern))
    found = view.defective(0, *image.shape[:1], 0, image.shape[1])
    flat = local_slope(scene, pattern) < 10
    assert np.mean(found[hot & flat] == 1) > 0.98
    assert found[200, 300] == 2
    untouched = CosmeticCorrection(hot_auto=8.0, cold_auto=8.0)(frame(clean, pattern))
    assert np.count_nonzero(untouched.defective(0, *image.shape[:1], 0, image.shape[1])) < 1e-5 * image.size
    repaired = np.asarray(view)
    assert np.abs(repaired - scene)[hot & flat & (found > 0)].max() < 5 * 10.0


def test_truth_colours_have_a_spread_of_their_own():
    image = np.random.default_rng(5).normal(1000, 10, (240, 300)).astype(np.float32)
    image[1::2, 1::2] *= 3
    spread = CosmeticCorrection(hot_auto=8.0)(frame(image, "RGGB")).spread()[0]
    assert np.allclose(spread, [[8, 8], [8, 24]], rtol=0.05)  # sigma / 1.2533, 18,000 pixels each
    mixed = CosmeticCorrection(hot_auto=8.0, cfa="no")(frame(image, "RGGB")).spread()[0]
    assert mixed.shape == (1, 1) and mixed[0, 0] > 500


def test_surface_spread_is_the_same_for_all_threads_and_known_defects_do_not_count():
    image = np.random.default_rng(5).normal(1000, 10, (900, 800)).astype(np.float32)
    known = np.zeros(image.shape, bool)
    known[:, 100] = True
    image[known] = 60000
    view = CosmeticCorrection(hot_auto=8.0)(frame(image), Defects.of(known))
    boxes = [(y, y + 100) for y in range(0, 900, 100)]
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda b: view[b[0] : b[1]], boxes))
    assert np.array_equal(np.concatenate(parts), np.asarray(view))
    assert view.spread()[0, 0, 0] == pytest.approx(10 / 1.2533, rel=0.01)


def test_truth_three_planes_are_repaired_each():
    image = np.random.default_rng(6).normal(1000, 10, (3, 40, 50)).astype(np.float32)
    image[1, 20, 20] = 9000
    image[:, 5, 5] = 9000
    known = np.zeros((40, 50), bool)
    known[5, 5] = True
    view = CosmeticCorrection(hot_auto=8.0)(frame(image), Defects.of(known))
    assert np.abs(np.asarray(view) - 1000).max() < 60
    assert view.defective(0, 40, 0, 50)[20, 20] == 1
    assert view[1, 20, 20] != 9000


def test_truth_defects_are_found_through_amplifier_glow():
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:300, :400]
    dark = rng.normal(500, 2, y.shape) + 300 * np.exp(-((x - 400) ** 2 + y**2) / 2 / 80**2)
    hot = rng.random(y.shape) < 1e-3
    dark[hot] += rng.uniform(100, 5000, hot.sum())
    dark[10, 20] = 0
    dark[11, 21] = np.nan
    found = CosmeticCorrection().defects(ArrayFrame.of(dark, "dark"))
    assert np.all(found.mask[hot & (dark > 0)] == 1)
    assert found.mask[10, 20] == found.mask[11, 21] == 2
    assert len(found) <= hot.sum() + 2 + 3  # the steepest corner of the glow may cost a few good pixels


def test_truth_a_dark_with_a_level_for_each_colour():
    rng = np.random.default_rng(8)
    dark = rng.normal(500, 2, (240, 240))
    dark[::2, ::2] += 300
    dark[100, 100] += 60
    dark[101, 101] += 60
    assert len(CosmeticCorrection(hot=8.0, cfa="no", max_fraction=1).defects(frame(dark))) != 2
    for found in (
        CosmeticCorrection().defects(frame(dark, "RGGB")),
        CosmeticCorrection(cfa="yes").defects(frame(dark)),
    ):
        assert np.array_equal(np.argwhere(found.mask), [[100, 100], [101, 101]])


@pytest.mark.parametrize("line", [0, LINE])
def test_truth_row_and_column_defects_have_finite_neighbours(line):
    image = np.random.default_rng(4).normal(100, 1, (40, 90)).astype(np.float32)
    mask = np.zeros(image.shape, np.uint8)
    mask[11, :] = mask[:, 70] = mask[:, 71] = 1 | line
    image[mask > 0] = 60000
    for pattern in (None, "RGGB", XTRANS):
        repaired = np.asarray(CosmeticCorrection()(frame(image, pattern), Defects.of(mask)))
        assert np.isfinite(repaired).all()
        assert abs(repaired - 100).max() < 6


def test_truth_a_partial_column_is_repaired_from_its_sides():
    """Beyond the end of a blocked column there is smear: pixels above and below must not lend."""
    y, x = np.mgrid[:60, :60].astype(np.float32)
    image = 100 + x
    image[:, 30] = 9000
    mask = np.zeros(image.shape, np.uint8)
    mask[10:20, 30] = LINE
    repaired = np.asarray(CosmeticCorrection()(frame(image), Defects.of(mask)))
    assert np.array_equal(repaired[10:20, 30], np.full(10, 130))


def test_truth_hot_threshold_can_be_switched_off():
    dark = np.full((64, 64), 500, np.float32) + np.random.default_rng(0).normal(0, 1, (64, 64))
    dark[5, 5] = 9000
    assert len(CosmeticCorrection(hot=None, cold=None).defects(ArrayFrame.of(dark))) == 0


def test_truth_level_and_quantity_tell_the_same():
    rng = np.random.default_rng(9)
    dark = rng.normal(500, 2, (200, 200)).astype(np.float32).round()
    dark[:3] += np.float32(1000)
    dark[10, 10] = np.nan
    values = dark[np.isfinite(dark)]
    for count in (1, 50, 600, values.size):
        level = highest_level(values, count)
        assert np.count_nonzero(values >= level) >= count > np.count_nonzero(values > level)
    level = highest_level(values, 600)
    by_count = CosmeticCorrection(hot_count=600, cold=None, max_fraction=1).defects(frame(dark))
    by_level = CosmeticCorrection(hot_dn=level, cold=None, max_fraction=1).defects(frame(dark))
    assert np.array_equal(by_count.mask, by_level.mask)
    assert by_level.hot == np.count_nonzero(values >= level) and by_level.mask[10, 10] == 2
    faint = CosmeticCorrection(hot=None, cold_count=5, max_fraction=1).defects(frame(dark))
    assert faint.cold == np.count_nonzero(values <= np.sort(values)[4]) + 1
    assert len(CosmeticCorrection(hot_count=0, cold_count=0).defects(frame(np.nan_to_num(dark)))) == 0


def test_truth_small_excess_is_no_defect():
    dark = np.random.default_rng(1).normal(500, 0.1, (100, 100))
    dark[5, 5] += 3
    dark[6, 60] += 30
    assert len(CosmeticCorrection().defects(frame(dark))) == 2
    assert len(CosmeticCorrection(min_excess_dn=10.0).defects(frame(dark))) == 1


def test_truth_too_many_defects_keep_the_worst():
    rng = np.random.default_rng(6)
    dark = rng.normal(500, 1, (200, 200))
    dark[rng.random(dark.shape) < 0.2] += 100
    dark[50, 60] += 5000
    found = CosmeticCorrection(max_fraction=0.01).defects(ArrayFrame.of(dark, "dark"))
    assert len(found) == 400
    assert found.mask[50, 60] == 1
    [note] = found.notes
    assert "pixels of dark stand out" in note and "max_fraction allows (1 %): the strongest 400 were taken" in note
    assert CosmeticCorrection().defects(ArrayFrame.of(rng.normal(500, 1, (200, 200)))).notes == ()


def test_surface_repairs_leave_the_array_of_the_user_alone():
    image = np.full((40, 50), 100, np.float32)
    image[5, 5] = 9999
    view = CosmeticCorrection(hot_auto=8.0)(
        ArrayFrame(source="mine", meta=Meta(shape=image.shape), array=image), Defects.of(image > 500)
    )
    assert view[0:20, 0:20][5, 5] == 100
    assert np.asarray(view)[5, 5] == 100
    assert image[5, 5] == 9999


def test_surface_what_was_invented_before_is_told_too():
    image = np.full((40, 50), 100, np.float32)
    first, second = np.zeros((2, 40, 50), np.uint8)
    first[3, 3], second[4, 4] = 1, 32
    view = CosmeticCorrection()(CosmeticCorrection()(frame(image), Defects.of(first)), Defects.of(second))
    assert np.array_equal(view.defective(2, 8, 2, 8), (first | second)[2:8, 2:8])
    assert frame(image).defective(0, 5, 0, 5) is None


def test_surface_one_look_tells_what_two_do():
    rng = np.random.default_rng(12)
    image = rng.normal(1000, 10, (3, 60, 70)).astype(np.float32)
    image[rng.random(image.shape) < 0.01] += 500
    first, second = rng.random((2, 60, 70)) < 0.01
    view = CosmeticCorrection(hot_auto=6.0)(
        CosmeticCorrection()(frame(image), Defects.of(32 * first)), Defects.of(second)
    )
    box = 11, 40, 7, 66
    pixels, mask = view.pixels_and_defective(*box)
    assert np.array_equal(pixels, view.pixels(*box))
    assert np.array_equal(mask, view.defective(*box))
    assert set(np.unique(mask)) >= {0, 1, 32}


@pytest.mark.parametrize("pattern", [None, "RGGB"])
@pytest.mark.parametrize("known", [True, False])
def test_truth_what_is_defective_in_one_frame_alone_is_repaired_too(pattern, known):
    """In any box, told as defective there, and just as if it were on the list of the sensor."""
    rng, (image, _) = np.random.default_rng(8), night_sky(8, (90, 120), pattern=pattern)
    listed, more = rng.random((2, *image.shape)) < 0.01
    light = CosmeticCorrection()(frame(image, pattern), Defects.of(listed)) if known else frame(image, pattern)
    view = without_struck(light, np.flatnonzero(more))
    bad = more | listed if known else more
    np.testing.assert_array_equal(view[:], CosmeticCorrection()(frame(image, pattern), Defects.of(bad))[:])
    for box in ((0, 90, 0, 120), (11, 60, 7, 100)):
        pixels, mask = view.pixels_and_defective(*box)
        part = np.s_[box[0] : box[1], box[2] : box[3]]
        np.testing.assert_array_equal(pixels, view[:][part])
        np.testing.assert_array_equal(mask > 0, bad[part])
        np.testing.assert_array_equal(view.defective(*box) > 0, bad[part])
    assert view.cards == light.cards and np.array_equal(pickle.loads(pickle.dumps(view))[:], view[:])
    assert without_struck(light, np.empty(0, np.int64)) is light


def test_surface_nothing_to_do_gives_the_frame_back():
    image = frame(np.ones((20, 20)))
    assert CosmeticCorrection()(image) is image
    assert CosmeticCorrection(amount=0.0)(image, Defects.of(np.eye(20))) is image


def test_surface_defects_of_another_size_are_refused():
    with pytest.raises(FrameError, match="20 x 10 pixels but the defects of map are for 30 x 30"):
        CosmeticCorrection()(frame(np.ones((10, 20))), Defects.of(np.ones((30, 30)), "map"))


REAL = {
    "st10": sorted((DATA / "tres1_st10").glob("*/*.fit")),
    "atik": sorted((DATA / "galaxy_atik383").glob("*/*.fit.gz")),
}


@pytest.mark.parametrize(
    "name", [name for name, files in REAL.items() if files] or [pytest.param("", marks=pytest.mark.skip)]
)
def test_truth_real_darks_repair_a_real_light(name):
    """Where the dark is hot the calibrated light is off its surroundings; after repair it is as smooth as elsewhere."""
    darks = [read(path) for path in REAL[name] if path.parent.name == "darks"]
    light = read(next(path for path in REAL[name] if path.parent.name == "lights"))
    master = ArrayFrame.of(np.median([np.asarray(d) for d in darks], axis=0), f"{name} dark", darks[0].meta)
    process = CosmeticCorrection()
    defects = process.defects(master)
    assert 1e-5 < defects.fraction <= process.max_fraction
    repaired = np.asarray(process(light, defects))
    raw = np.asarray(light)
    assert np.array_equal(repaired[defects.mask == 0], raw[defects.mask == 0])
    y, x = np.nonzero(defects.mask == 1)
    kinds = np.zeros((1, 1), np.int64)
    before, after = (excesses(image, 0, y, x, kinds, 3) for image in (raw, repaired))
    assert np.median(np.abs(after)) < 0.5 * np.median(np.abs(before))
