"""Two layers that move against each other, on arrays."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from masterlight.core.frame import ArrayFrame
from masterlight.integration.local.levels import levelling
from masterlight.night.comet.coarse import at, cells_of, finer, smooth_comet
from masterlight.night.comet.layers import Apart, brightest, cut, part_shown, sharp_parts, surroundings

ROWS, COLS, LIGHTS, NOISE = 100, 140, 10, 3.0


def comet(x, y, shape=(ROWS, COLS), wide=9.0):
    v, u = np.indices(shape, float)
    return 200 / (1 + ((u - x) ** 2 + (v - y) ** 2) / wide**2) ** 1.5


@pytest.mark.parametrize("moved_px", [15.0, 60.0])
def test_truth_a_coma_wider_than_its_way_is_told_from_the_sky(moved_px):
    rng, shifts = np.random.default_rng(4), np.linspace([-0.5, -0.1], [0.5, 0.1], LIGHTS) * moved_px
    y, x = np.indices((ROWS, COLS))
    sky = 100 + 0.3 * x + 20 * np.sin(y / 30)
    lights = np.stack([sky + comet(70 + dx, 50 + dy) + rng.normal(0, NOISE, sky.shape) for dx, dy in shifts])
    found, true = smooth_comet(lights, shifts, (70, 50)), comet(70, 50)
    inner = np.hypot(x - 70, y - 50) < 20
    share = np.mean(found[inner]) / np.mean(true[inner])  # what is as wide as the sky's own shapes stays sky
    assert 1.02 > share > (0.7 if moved_px < 20 else 0.95)
    assert np.mean(found[np.hypot(x - 70, y - 50) > 60]) < 1.0


def test_truth_images_are_moved_between_their_cells():
    y, x = np.indices((30, 40), float)
    image = 2 * x - 3 * y
    moved = at(image, 1.25, -0.5)
    assert moved[5:-5, 5:-5] == pytest.approx((image + 2.5 + 1.5)[5:-5, 5:-5])
    assert np.isnan(at(image, 1.25, -0.5)[0]).all() and np.isnan(at(image, 0.25, 0.0)[:, -1]).all()
    assert at(image, 100.0, 0.0, 0.0) == pytest.approx(0)


def test_truth_cells_hold_medians_and_come_back_smooth():
    y, x = np.indices((97, 131), float)
    image = (5 * x + y).astype(np.float32)
    image[40, 40] = 1e6
    cells = cells_of(ArrayFrame.of(image), 4)
    assert cells.shape == (1, 24, 32)
    back = finer(cells[0], (4, 4), image.shape)
    assert np.abs(back - (5 * x + y))[4:90, 4:124].max() < 4


def test_truth_a_box_of_a_mask_may_lie_beyond_it():
    mask = np.random.default_rng(2).uniform(size=(20, 30)) < 0.5
    wide = np.pad(mask, 50)
    for y0, x0 in ((0, 0), (-7, 12), (15, -40), (-60, 3), (30, 50)):
        assert_array_equal(cut(mask, y0, x0, 9, 11), np.pad(wide, 50)[y0 + 100 : y0 + 109, x0 + 100 : x0 + 111])


def test_truth_what_is_sharp_is_left_out_and_of_no_place_more_than_half_of_the_lights():
    y, x = np.indices((ROWS, COLS))
    stars = 0.5 * x + 900 * np.exp(-((x - 60) ** 2 + (y - 50) ** 2) / 3)
    shifts = np.linspace([-30, 0], [30, 0], LIGHTS)
    mask = sharp_parts(stars[None], np.array([NOISE]), 3.0, shifts)
    assert mask[50, 60] and mask.sum() < 120 and not mask[10, 130]
    still = sharp_parts(stars[None], np.array([NOISE]), 3.0, 0 * shifts)
    assert still is None  # nothing would be left there
    assert np.abs(surroundings(0.5 * x, 20) - 0.5 * x)[15:-15, 15:-15].max() < 3


def test_truth_a_comet_is_shown_as_far_as_it_stands_out():
    rng = np.random.default_rng(3)
    image = 500 + comet(70, 50, wide=5.0) + rng.normal(0, NOISE, (ROWS, COLS))
    image[20:24, 20:24] += 300  # a star that was left
    shown, level = part_shown(image[None], (70, 50))
    y, x = np.indices(image.shape)
    assert level[0] == pytest.approx(500, abs=2)
    assert shown[50, 70] == pytest.approx(1) and shown[np.hypot(x - 70, y - 50) < 12].min() > 0.9
    assert shown[20:24, 20:24].max() == 0 and shown[90:, :20].max() == 0
    assert brightest(image[None], 3.0) == pytest.approx((70, 50), abs=1) or brightest(image[None], 3.0)[0] < 25


def test_truth_a_light_apart_is_its_light_on_the_references_sky_less_the_layer():
    """In whatever box it is asked for, where it lies beyond the grid of its levels, too."""
    rng = np.random.default_rng(9)
    pixels, layer = rng.normal(1000, 5, (ROWS, COLS)), rng.normal(0, 9, (ROWS, COLS))
    layer[:, :5] = np.nan
    model = levelling("a", rng.normal(0, 20, (1, 7, 8)), (ROWS, COLS), (4, 5))
    mask = rng.uniform(size=(ROWS, COLS)) < 0.1
    how = {"shift_px": (7, -4), "layer": ArrayFrame.of(layer), "mask": mask, "mask_px": (3, 2)}
    seen = Apart.of(ArrayFrame.of(pixels), (1.5,), (-20.0,), model, ends=False, **how)
    whole = np.asarray(seen)
    wanted = np.full((ROWS, COLS), np.nan, np.float32)
    moved = np.zeros((ROWS, COLS), np.float32)
    model.apply(moved, 0, 0)
    wanted[4:, :-7] = (pixels[4:, :-7] + moved[:-4, 7:]) * 1.5 - 20 - layer[4:, :-7]
    wanted[cut(mask, 2, 3, ROWS, COLS)] = np.nan
    np.testing.assert_allclose(whole, wanted, rtol=1e-5, atol=1e-2)
    assert_array_equal(seen[13:55, 20:90], whole[13:55, 20:90])
    ends = Apart.of(ArrayFrame.of(pixels), (1.0,), (0.0,), None, layer=ArrayFrame.of(layer), ends=True)
    assert np.isfinite(np.asarray(ends)).all()
