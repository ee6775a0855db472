"""DefectMap: structures that grow until enough of them is good."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import defects as oracle

from masterlight.core.errors import FrameError, ParameterError
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.core.process import build
from masterlight.defects.defectmap import DefectMap
from masterlight.defects.lists import Defects
from masterlight.defects.repaired import LARGEST_RADIUS

SEEDS = st.integers(0, 2**32 - 1)
OPERATIONS = st.sampled_from(["median", "mean", "gaussian", "minimum", "maximum"])
STRUCTURES = st.sampled_from(["square", "circular", "horizontal", "vertical"])


def frame(image, pattern=None):
    return ArrayFrame.of(image, "frame", Meta(pattern=pattern))


def mapped(image, weight, pattern=None, **knobs):
    return DefectMap(**knobs)(frame(image, pattern), frame(weight))


@settings(max_examples=30)
@given(st.integers(1, 12), st.integers(1, 12), OPERATIONS, STRUCTURES, st.sampled_from([None, "GRBG"]), SEEDS)
def test_oracle_defect_map(rows, cols, operation, structure, pattern, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 10, (rows, cols)).astype(np.float32)
    image[rng.random(image.shape) < 0.1] = np.nan
    weight = rng.choice([0, 0.5, 1, 1], image.shape).astype(np.float32)
    weight[rng.random(image.shape) < 0.05] = np.nan
    weight[rng.integers(rows), rng.integers(cols)] = 1
    view = mapped(image, weight, pattern, operation=operation, structure=structure)
    wanted = oracle.defect_map(image.astype(np.float64), weight, operation, structure, pattern, 15)
    assert np.allclose(np.asarray(view), wanted, rtol=1e-5, equal_nan=True)  # float32 against float64


@settings(max_examples=25)
@given(st.integers(10, 60), st.integers(10, 60), st.booleans(), SEEDS)
def test_surface_boxes_equal_the_whole(rows, cols, colour, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 10, (rows, cols)).astype(np.float32)
    weight = (rng.random(image.shape) > 0.1).astype(np.float32)
    weight[3:9, 2:9] = 0
    weight[:, 5] = 0
    view = mapped(image, weight, "RGGB" if colour else None, structure="auto", operation="gaussian")
    whole = np.asarray(view)
    y0, x0 = rng.integers(0, rows - 1), rng.integers(0, cols - 1)
    y1, x1 = rng.integers(y0 + 1, rows + 1), rng.integers(x0 + 1, cols + 1)
    assert np.array_equal(view[y0:y1, x0:x1], whole[y0:y1, x0:x1], equal_nan=True)
    assert np.array_equal(pickle.loads(pickle.dumps(view))[y0:y1, x0:x1], whole[y0:y1, x0:x1], equal_nan=True)
    assert np.array_equal(view.defective(y0, y1, x0, x1) > 0, weight[y0:y1, x0:x1] == 0)
    assert np.array_equal(whole[weight > 0], image[weight > 0])


@pytest.mark.parametrize(("operation", "expected"), [("minimum", 7), ("maximum", 41), ("median", 24)])
def test_truth_a_hole_of_three_by_three_grows_to_two(operation, expected):
    """Radius 1 covers 0 of 9, radius 2 covers 16 of 25 = 0.64: the 16 pixels of the ring decide."""
    image = np.arange(49, dtype=np.float32).reshape(7, 7)
    ring = [v for v in image[1:6, 1:6].ravel() if v not in image[2:5, 2:5]]
    weight = np.ones((7, 7))
    weight[2:5, 2:5] = 0
    view = mapped(image, weight, operation=operation)
    assert view[3, 3] == {"minimum": min(ring), "maximum": max(ring), "median": np.median(ring)}[operation]
    assert view.layout().halo == 2
    assert expected == {"minimum": 7, "maximum": 41, "median": 24}[operation]


@pytest.mark.parametrize("structure", ["square", "circular", "vertical", "auto"])
@pytest.mark.parametrize("pattern", [None, "RGGB"])
def test_truth_a_row_of_a_landscape_image_has_finite_neighbours(structure, pattern):
    image = np.random.default_rng(1).normal(100, 1, (40, 90)).astype(np.float32)
    weight = np.ones(image.shape)
    weight[11] = 0
    image[11] = 60000
    repaired = np.asarray(mapped(image, weight, pattern, structure=structure))
    assert np.isfinite(repaired).all()
    assert np.abs(repaired - 100).max() < 6


def test_truth_auto_looks_across_each_line():
    y, x = np.mgrid[:50, :70].astype(np.float32)
    image = 10 * x + y
    weight = np.ones(image.shape)
    weight[:, 20] = 0
    weight[30, 40:60] = 0
    weight[5, 5] = 0
    bad = image.copy()
    bad[weight == 0] = 60000
    repaired = np.asarray(mapped(bad, weight, structure="auto", operation="mean"))
    assert np.allclose(repaired, image)  # a plane is continued exactly by means of both sides
    median = np.asarray(mapped(bad, weight, structure="horizontal"))
    assert np.allclose(median[:, 20], image[:, 20])


def test_truth_green_takes_green_only():
    """A green pixel has green neighbours at its corners; red and blue must not count."""
    image = np.tile(np.array([[1000, 10], [20, 3000]], np.float32), (20, 20))
    weight = np.ones(image.shape)
    weight[10, 11] = weight[11, 10] = weight[10, 10] = weight[11, 11] = 0
    repaired = np.asarray(mapped(image, weight, "RGGB", operation="maximum"))
    assert repaired[10, 10] == 1000 and repaired[11, 11] == 3000
    assert (repaired[10, 11], repaired[11, 10]) == (20, 10)  # each the other green, at its corners
    assert np.asarray(mapped(image, weight, "RGGB", operation="maximum", cfa="no"))[10, 11] == 3000


def test_truth_a_corner_takes_its_nearest_neighbours():
    """Only pixels of the frame count for coverage: the corner pixel needs no larger structure than others."""
    image = np.add.outer(np.arange(30.0), np.arange(30.0)).astype(np.float32)
    weight = np.ones(image.shape)
    weight[0, 0] = 0
    view = mapped(image, weight)
    assert view.layout().halo == 1
    assert view[0, 0] == 1.0


def test_truth_fractions_are_weights():
    image = np.array([[10, 0, 40]], np.float32)
    view = mapped(image, np.array([[0.25, 0, 0.75]]), operation="mean", structure="horizontal")
    assert view[0, 1] == pytest.approx(0.25 * 10 + 0.75 * 40)


def test_truth_three_planes_share_a_map():
    image = np.random.default_rng(1).normal(100, 1, (3, 20, 30)).astype(np.float32)
    image[:, 5, 6] = 9000
    view = DefectMap()(frame(image), frame(Defects.of(image[0] > 500).as_map()))
    assert np.abs(np.asarray(view) - 100).max() < 6


def test_surface_halo_is_bounded():
    weight = np.zeros((3, 400))
    weight[:, 0] = 1
    view = mapped(np.ones((3, 400)), weight)
    assert view.layout().halo == LARGEST_RADIUS
    repaired = np.asarray(view)
    assert repaired[1, LARGEST_RADIUS] == 1
    assert np.isnan(repaired[1, LARGEST_RADIUS + 1 :]).all()


def test_surface_bad_maps_are_told():
    image = np.ones((10, 20))
    with pytest.raises(FrameError, match="20 x 10 pixels but the defect map frame is 30 x 10"):
        mapped(image, np.ones((10, 30)))
    with pytest.raises(FrameError, match="a defect map has one plane"):
        mapped(image, np.ones((3, 10, 20)))
    with pytest.raises(FrameError, match="marks all of its 20 x 10 pixels"):
        np.asarray(mapped(image, np.zeros((10, 20))))
    with pytest.raises(ParameterError, match="operation"):
        build(DefectMap, {"operation": "modus"})
