"""Two passes where the way bends: positions, weights and bits are right, and frames take this road."""

import numpy as np
import pytest
from oracles import warp as oracle
from test_warp import stars_at
from test_warp_bent import SHAPE, through_lens

from masterlight.alignment.bend import Lens, LensBend
from masterlight.alignment.transform import Transform, similarity_matrix
from masterlight.alignment.warping.curved import (
    MIDDLE,
    in_rows,
    quadratic,
    quadratics,
    reach_px,
    run_for,
    slopes_of,
    steepest,
)
from masterlight.alignment.warping.passes import PHASE_ERROR_PX, TILE
from masterlight.alignment.warping.places import nodes_of, source_at
from masterlight.alignment.warping.warp import warp, whole_tiles
from masterlight.alignment.warping.weights import LANES, PHASES, Kernel, slopes, weights

FRAME = 4000, 6000
CORNER = 3600, 5400
"""First row and column of a box near the corner of such a frame."""
SIDES = 300, 330


def flipped(k, shape=FRAME):
    """A meridian flip, a quarter of a degree off, of 24 Mpx behind a lens whose axis is not in the middle."""
    a, c = np.exp(1j * np.radians(180.2)), complex(shape[1] / 2, shape[0] / 2)
    matrix = similarity_matrix(a, c - a * c + complex(10.37, -7.81))
    lens = Lens((0.51 * shape[1], 0.48 * shape[0]), np.hypot(*shape) / 2, (k,))
    return Transform(matrix, shape=shape, bend=LensBend(matrix, lens, lens))


def box_of(transform, draw):
    """A source around the corner of a frame, as `draw` makes it of a shape and its place, and how to warp it."""
    (y0, x0), (height, width) = CORNER, SIDES
    middle = transform(np.array([x0 + width / 2, y0 + height / 2]))
    left, top = (int(v) - 230 for v in middle)
    image = draw((460, 460), left, top)

    def into(y, x, rows, cols, **how):
        out, box = np.empty((rows, cols), np.float32), whole_tiles(y, y + rows, x, x + cols)
        warp(image, left, top, transform.affine(*box), out, x, y, grid=transform.grid(*box), **how)
        return out

    return into


@pytest.mark.parametrize("k", [0.005, 0.02])
def test_truth_flipped_frames_take_two_passes_up_to_the_corners(k):
    transform, (rows, cols) = flipped(k), FRAME
    box = whole_tiles(0, rows, 0, cols)
    turn = np.array([[-1, 0, cols - 1], [0, -1, rows - 1], [0, 0, 1.0]])
    bent, h = nodes_of(transform.grid(*box), turn, 0, 0), tuple(transform.affine(*box).ravel())
    for y0 in (0, 1920, rows // TILE * TILE):
        for x0 in (0, 3072, cols // TILE * TILE):
            way, worst = quadratics(h, bent, x0, y0)
            along, turned, down = steepest(way)
            assert worst <= PHASE_ERROR_PX and turned < 1 / 16
            assert min(run_for(along, reach_px("lanczos5")), run_for(down, reach_px("lanczos5"))) >= 16
            x, y = x0 + 31.0, y0 + 90.0
            u, v = source_at(h, bent, x, y)
            assert quadratic(way[1], 31 - MIDDLE, 90 - MIDDLE) == pytest.approx(v, abs=PHASE_ERROR_PX + 5e-4)
            assert quadratic(way[0], 31 - MIDDLE, v) == pytest.approx(u, abs=PHASE_ERROR_PX + 5e-4)


def test_oracle_a_quadratic_along_rows_of_the_source():
    rng = np.random.default_rng(2)
    columns = (3000.0, 1.003, 0.006, 3e-6, -2e-6, 4e-6)
    rows = (2000.0, -0.005, 0.998, -3e-6, 2e-6, 5e-6)
    across = in_rows(columns, rows)
    for x, y in rng.uniform(-64, 64, (50, 2)):
        u, v = quadratic(columns, x, y), quadratic(rows, x, y)
        assert quadratic(across, x, v) == pytest.approx(u, abs=2e-5)
        step = (quadratic(across, x + 1e-3, v) - quadratic(across, x - 1e-3, v)) / 2e-3
        assert slopes_of(across, x, v)[0] == pytest.approx(step, abs=1e-7)


@pytest.mark.parametrize("kernel", ["lanczos5", "lanczos3", "bicubic", "mitchell"])
@pytest.mark.parametrize("k", [0.005, 0.02])
def test_oracle_curved_tiles_agree_with_the_direct_sum(kernel, k):
    rng = np.random.default_rng(4)

    def stars(shape, left, top):
        return stars_at(rng.uniform(5, 455, (60, 2)), shape, 2.2, 2 * np.pi * (2.2 / 2.3548) ** 2, 0.1)

    into = box_of(flipped(k), stars)
    how = {"kernel": kernel, "margin_dn": 0.01}
    fast, direct = into(*CORNER, *SIDES, **how), into(*CORNER, *SIDES, **how, fast=False)
    assert not np.isnan(direct).any() and not np.isnan(fast).any()
    assert 0 < np.abs(fast - direct).max() < 2e-3  # of the peak of a star, as where nothing is bent


def test_truth_a_flat_sky_stays_flat_behind_a_lens():
    into = box_of(flipped(0.02), lambda shape, *_: np.full(shape, 1234.5, np.float32))
    assert np.abs(into(*CORNER, *SIDES) / 1234.5 - 1).max() < 2e-6


def test_truth_boxes_cut_anywhere_have_the_same_bits():
    noise = np.random.default_rng(6)
    into = box_of(flipped(0.02), lambda shape, *_: noise.normal(500, 10, shape).astype(np.float32))
    (y0, x0), (height, width) = CORNER, SIDES
    whole, parts = into(*CORNER, *SIDES, margin_dn=10.0), np.empty(SIDES, np.float32)
    for y in range(0, height, 73):
        for x in range(0, width, 41):
            rows, cols = min(73, height - y), min(41, width - x)
            parts[y : y + rows, x : x + cols] = into(y0 + y, x0 + x, rows, cols, margin_dn=10.0)
    np.testing.assert_array_equal(whole, parts)


@pytest.mark.parametrize("angle", [0.0, 180.1])
def test_oracle_missing_pixels_and_borders_are_those_of_the_direct_sum(angle):
    """Which pixels are missing, and what takes the place of missing taps, is told by the full rules on either road."""
    transform, rng = through_lens(angle, 0.001), np.random.default_rng(11)
    image = rng.normal(100, 10, SHAPE).astype(np.float32)
    image[rng.random(SHAPE) < 1e-3] = np.nan
    image[:, :37], image[200:, :90] = np.nan, np.nan  # as left by an earlier registration
    box, seen = whole_tiles(0, SHAPE[0], 0, SHAPE[1]), []
    for fast in (True, False):
        seen.append(np.empty(SHAPE, np.float32))
        warp(image, 0, 0, transform.affine(*box), seen[-1], 0, 0, grid=transform.grid(*box), margin_dn=10.0, fast=fast)
    missing = np.isnan(seen[0])
    assert 0.1 < missing.mean() < 0.4 and np.array_equal(missing, np.isnan(seen[1]))
    assert np.nanmax(np.abs(seen[0] - seen[1])) < 0.3  # positions are right to 0.0015 px, on noise of 10


@pytest.mark.parametrize("kernel", ["lanczos5", "lanczos3", "bspline", Kernel("lanczos4", first_moment=True)])
def test_truth_slopes_of_weights_are_their_change(kernel):
    table, change = (t(kernel).reshape(-1, LANES).astype(float) for t in (weights, slopes))
    step = 8
    expected = (table[2 * step :] - table[: -2 * step]) * PHASES / (2 * step)
    assert np.abs(change[step:-step] - expected).max() < 2e-3
    assert np.abs(change.sum(axis=1)).max() < 1e-6  # so that a flat sky stays flat


def test_truth_weights_with_kinks_do_not_go_along():
    for kernel in ("nearest", "bilinear"):
        assert not slopes(kernel).any() and reach_px(kernel) == PHASE_ERROR_PX < reach_px("lanczos5")


@pytest.mark.parametrize(("angle", "k"), [(0.0, 0.001), (180.1, 0.001), (180.1, 0.02), (37.0, 0.02)])
def test_oracle_the_edge_of_a_bent_frame(angle, k):
    """What is left of the weight decides at the edge, and the taps that are there take over, as the slow twin says."""
    transform, rng = through_lens(angle, k), np.random.default_rng(12)
    image = rng.normal(100, 10, SHAPE).astype(np.float32)
    box, out = whole_tiles(0, SHAPE[0], 0, SHAPE[1]), np.empty(SHAPE, np.float32)
    grid = transform.grid(*box)
    warp(image, 0, 0, transform.affine(*box), out, 0, 0, grid=grid, margin_dn=5.0)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    at = grid.at(np.stack([x, y], axis=-1))
    inside = np.minimum(at, np.array([SHAPE[1] - 1, SHAPE[0] - 1]) - at).min(axis=-1)
    near = np.argwhere((inside > -1.5) & (inside < 6))
    told = 0
    for j, i in near[rng.choice(len(near), 400, replace=False)]:
        u, v = at[j, i]
        slow = oracle.one_pixel(image.astype(float), *SHAPE, u, v, "lanczos5", 5.0, -1.0)
        if np.isnan(out[j, i]) != np.isnan(slow):
            assert min(abs(u - np.rint(u)), abs(v - np.rint(v))) < 0.01  # on the threshold itself
            continue
        told += not np.isnan(slow)
        assert np.isnan(slow) or abs(out[j, i] - slow) < 0.25  # positions are right to 0.0015 px, on noise of 10
    assert told > 100
