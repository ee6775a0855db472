"""Defects: the list of defective pixels, and which of them are lines."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import defects as oracle

from masterlight.core.errors import FrameError
from masterlight.core.frame import LINE, ArrayFrame, Meta
from masterlight.defects import kernels
from masterlight.defects.cosmetic import CosmeticCorrection
from masterlight.defects.lists import Defects

SEEDS = st.integers(0, 2**32 - 1)


def some_defects(seed=1, shape=(40, 60)):
    rng = np.random.default_rng(seed)
    mask = np.where(rng.random(shape) < 0.02, rng.choice([1, 2], shape), 0).astype(np.uint8)
    mask[:, 7] = LINE
    mask[12] = LINE
    mask[20:33, 44] |= LINE
    return Defects.of(mask, "dark", Meta(camera="ST10", binning=(2, 2), shape=shape))


def test_surface_counts_and_union():
    a, b = np.zeros((2, 5, 6), np.uint8)
    a[0, 0], b[0, 0], b[2, 2] = 1, 4, 2
    both = Defects.of(a, "a").union(Defects.of(b, "b"))
    assert (len(both), both.hot, both.cold, both.counts["unstable"], both.source) == (2, 1, 1, 1, "a + b")
    assert np.array_equal(both.as_map() == 0, (a | b) > 0)
    with pytest.raises(FrameError, match="6 x 5"):
        both.union(Defects.of(np.zeros((3, 3)), "c"))


def test_surface_the_list_holds_all_of_the_mask():
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
