"""Defects, the lists and maps they are kept in, and the builders of maps."""

import pickle
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
from masterlight.defects.lines import partial_columns
from masterlight.defects.lists import Defects
from masterlight.io import read
from masterlight.io.defectlist import read_defects, write_defects

SEEDS = st.integers(0, 2**32 - 1)
DATA = Path(__file__).parents[2] / "shared" / "data"
SHAPE = (300, 400)


def frame(image, name="frame", **meta):
    return ArrayFrame.of(image, name, Meta(**meta))


def some_defects(seed=1, shape=(40, 60)):
    rng = np.random.default_rng(seed)
    mask = np.where(rng.random(shape) < 0.02, rng.choice([1, 2], shape), 0).astype(np.uint8)
    mask[:, 7] = LINE
    mask[12] = LINE
    mask[20:33, 44] |= LINE
    return Defects.of(mask, "dark", Meta(camera="ST10", binning=(2, 2), shape=shape))


# --- Defects ----------------------------------------------------------------------------------------------------------


def test_surface_counts_and_union():
    a, b = np.zeros((2, 5, 6), np.uint8)
    a[0, 0], b[0, 0], b[2, 2] = 1, 4, 2
    both = Defects.of(a, "a").union(Defects.of(b, "b"))
    assert (len(both), both.hot, both.cold, both.counts["unstable"], both.source) == (2, 1, 1, 1, "a + b")
    assert np.array_equal(both.as_map() == 0, (a | b) > 0)
    with pytest.raises(FrameError, match="6 x 5"):
        both.union(Defects.of(np.zeros((3, 3)), "c"))


def test_truth_the_list_holds_all_of_the_mask():
    mask = np.random.default_rng(3).choice(np.array([0, 0, 0, 1, 2, 9, 63], np.uint8), (30, 40))
    defects = Defects.of(mask, "dark")
    assert np.array_equal(defects.mask, mask) and np.array_equal(defects.box(3, 20, 7, 31), mask[3:20, 7:31])
    assert defects.counts["line"] == np.count_nonzero(mask & LINE) and defects.hot == np.count_nonzero(mask & 1)
    assert defects.fraction == np.mean(mask > 0)


def test_surface_views_pickle_without_the_mask():
    mask = np.random.default_rng(4).random((1000, 1500)) < 1e-3
    light = ArrayFrame(source="light", meta=Meta(shape=mask.shape), array=np.ones((1, 1), np.float32))
    view = CosmeticCorrection()(light, Defects.of(mask))
    known = view.layout().defects
    assert known.mask.nbytes == mask.size
    packed = pickle.dumps(view)
    assert len(packed) < 10 * len(known) + 8 * 1000 + 5000  # the list, where rows begin, the rest
    assert np.array_equal(pickle.loads(packed).layout().defects.mask, mask)


def test_truth_a_map_is_cut_for_a_region_of_the_sensor():
    whole = some_defects()
    region = Meta(camera="ST10", binning=(2, 2), origin_px=(5, 11), shape=(20, 30))
    assert np.array_equal(whole.for_frame(region).mask, whole.mask[11:31, 5:35])
    assert whole.for_frame(whole.meta) is whole
    for wrong, words in (
        (region.with_(camera="QHY600"), "is from QHY600"),
        (region.with_(binning=(1, 1)), "is binned 1x1"),
        (region.with_(origin_px=(50, 11)), "30 x 20 pixels but the defects of dark are for 60 x 40"),
        (region.with_(origin_px=(0, 0)), "does not tell its place"),
    ):
        with pytest.raises(FrameError, match=words):
            whole.for_frame(wrong, "light")


@settings(max_examples=30)
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 1), SEEDS)
def test_oracle_run_lengths(rows, cols, fraction, seed):
    y, x = np.nonzero(np.random.default_rng(seed).random((rows, cols)) < fraction)
    assert kernels.run_lengths(y, x).tolist() == oracle.run_lengths(y.tolist(), x.tolist())


@settings(max_examples=30)
@given(st.lists(st.integers(-9, 9), max_size=25), st.integers(0, 12))
def test_oracle_segments(values, drop):
    starts, stops = kernels.segments(np.array(values, np.float64), float(drop))
    assert list(zip(starts.tolist(), stops.tolist(), strict=True)) == oracle.segments(values, drop)


# --- lists ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["map.fits", "list.lst", "list.txt"])
def test_truth_lists_come_back(tmp_path, name):
    defects = some_defects()
    write_defects(tmp_path / name, defects, "hot 8")
    back = Defects.of(*read_defects(tmp_path / name, defects.mask.shape))
    assert np.array_equal(back.mask > 0, defects.mask > 0)
    assert back.notes == ()
    if name == "map.fits":
        assert np.array_equal(back.mask, defects.mask)
        assert (back.source, back.meta.camera, back.meta.binning) == ("dark", "ST10", (2, 2))
        header = read(tmp_path / name).header
        assert header["NHOT"] == defects.hot and "hot 8" in str(header["HISTORY"])
    if name == "list.lst":
        isolated = defects.mask < LINE
        assert np.array_equal(back.mask[isolated], defects.mask[isolated])


def test_truth_lists_of_other_programs(tmp_path):
    siril = tmp_path / "a.lst"
    siril.write_text("# two pixels\nP 3 1 H\nP 4 2 C\n\nP 5 0\nC 7\nL 9\n")
    mask = read_defects(siril, (10, 12)).mask
    assert mask[8, 3] == 1 and mask[7, 4] == 2 and mask[9, 5] == 32
    assert (mask[1:, 7] == LINE).all() and (mask[0] == LINE).all()
    pixinsight = tmp_path / "b.txt"
    pixinsight.write_text("Col 3\ncol 5 8 2\nRow 1 4 6\nRow 9\nCol 11 0 0\n")
    mask = read_defects(pixinsight, (10, 12)).mask
    expected = np.zeros((10, 12), np.uint8)
    expected[:, 3] = expected[2:9, 5] = expected[1, 4:7] = expected[9] = LINE
    expected[0, 11] = 32
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("P 3 1 H\nP 3\n", "line 2 is not understood: 'P 3'"),
        ("Col 3\n# x\nRow a\n", "line 3 is not understood: 'Row a'"),
        ("Col 3 4\n", "line 1 is not understood"),
        ("P 1 2\nCol 3\n", "line 2 is not understood: 'Col 3'"),
        ("P 1 -2\n", "line 1 is not understood"),
        ("P 1 2 X\n", "line 1 is not understood"),
        ("Col 99\n", "1 of 1 lines reach outside the sensor of 12 x 10 pixels, the first in line 1: 'Col 99'"),
    ],
)
def test_surface_lines_that_do_not_parse_are_told(tmp_path, text, words):
    path = tmp_path / "bad.lst"
    path.write_text(text)
    with pytest.raises(FrameError, match=words):
        read_defects(path, (10, 12))


def test_surface_odd_lists_are_told(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("Col 3\nCol 40\nRow 2 5 90\n")
    found = read_defects(path, (10, 12))
    assert "2 of 3 lines reach outside" in found.notes[0]
    assert (found.mask[2, 5:] == LINE).all()
    with pytest.raises(ParameterError, match="shape"):
        read_defects(path)
    with pytest.raises(FrameError, match="cannot be read"):
        read_defects(tmp_path / "nothing.lst", (10, 12))
    (tmp_path / "b.lst").write_bytes(bytes(range(128, 256)))
    with pytest.raises(FrameError, match="not a list of defects"):
        read_defects(tmp_path / "b.lst", (10, 12))
    with pytest.raises(ParameterError, match="written as .fits"):
        write_defects(tmp_path / "a.png", some_defects())


def test_surface_fits_files_that_are_no_bit_map(tmp_path):
    from masterlight.io import write

    write(tmp_path / "image.fits", np.full((10, 12), 500.5, np.float32))
    with pytest.raises(FrameError, match="not a map of defects"):
        read_defects(tmp_path / "image.fits", (10, 12))
    write(tmp_path / "good.fits", np.ones((10, 12), np.float32))
    with pytest.raises(FrameError, match="a map for DefectMap"):
        read_defects(tmp_path / "good.fits")
    with pytest.raises(FrameError, match="12 x 10 pixels; 7 x 5"):
        read_defects(tmp_path / "good.fits", (5, 7))


# --- builders ---------------------------------------------------------------------------------------------------------


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


def test_truth_partial_columns_begin_and_end_where_they_do():
    image = np.random.default_rng(2).normal(0, 1, (500, 200)).astype(np.float32)
    image[130:300, 60] += 6
    image[350:420, 60] += 6
    image[:, 120] -= 1.0
    image[3, 3] = np.nan
    found = partial_columns(image, 6.0) > 0
    y = np.flatnonzero(found[:, 60])
    assert abs(y[0] - 130) < 4 and abs(y[-1] - 419) < 4
    assert not found[305:345, 60].any()
    assert found[:, 120].mean() > 0.9
    assert found[:, [x for x in range(200) if x not in (60, 120)]].sum() == 0


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
