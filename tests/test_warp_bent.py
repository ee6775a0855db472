"""Bent transforms: frames that a lens has bent come to lie on the reference as the slow twin lays them, in any box."""

import numpy as np
import pytest
from oracles import warp as oracle
from test_warp import stars_at

from masterlight.alignment.align import StarAlignment
from masterlight.alignment.bend import Lens, LensBend, Polynomial, exponents
from masterlight.alignment.transform import Transform, similarity_matrix
from masterlight.alignment.warping.view import blank_defective
from masterlight.alignment.warping.warp import warp, whole_tiles
from masterlight.core.frame import ArrayFrame

SHAPE = 300, 360
CENTRE = complex(SHAPE[1] - 1, SHAPE[0] - 1) / 2


def pose(angle_deg, dx=3.3, dy=-2.2):
    a = np.exp(1j * np.radians(angle_deg))
    return similarity_matrix(a, CENTRE - a * CENTRE + complex(dx, dy))


def through_lens(angle_deg=0.0, k=0.02, shape=SHAPE):
    """Both frames through one lens whose axis is not in their middle."""
    matrix, lens = pose(angle_deg), Lens((shape[1] * 0.45, shape[0] * 0.6), np.hypot(*shape) / 2, (k,))
    return Transform(matrix, shape=shape, bend=LensBend(matrix, lens, lens))


def polynomial(size_px=3.0, angle_deg=0.0, shape=SHAPE):
    coefficients = np.random.default_rng(8).normal(0, size_px / 4, (2, len(exponents(3))))
    box = (0.0, 0.0, shape[1] - 1.0, shape[0] - 1.0)
    return Transform(pose(angle_deg), shape=shape, bend=Polynomial(box, coefficients))


BENT = {
    "lens": through_lens(), "flip": through_lens(180.1), "turned": through_lens(37.0), "cubic": polynomial(),
    "slight": polynomial(0.002), "slightly turned": polynomial(0.002, 0.2), "on its side": polynomial(0.5, 90.0),
}  # fmt: skip


@pytest.mark.parametrize("name", BENT)
def test_truth_stars_come_to_their_places(name):
    transform, rng = BENT[name], np.random.default_rng(3)
    xy = rng.uniform((30, 30), (SHAPE[1] - 30, SHAPE[0] - 30), (25, 2))
    image = stars_at(transform(xy), SHAPE, 3.0, 1000.0, 10.0)
    seen = np.asarray(StarAlignment().registered(ArrayFrame.of(image, "bent"), transform, SHAPE, 1e6, 3.0))
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    apart = np.hypot(*(xy[:, None] - xy[None]).T) + 99 * np.eye(len(xy))
    for u, v in xy[apart.min(axis=1) > 15]:
        if np.isnan(seen[np.hypot(x - u, y - v) < 6]).any():
            continue
        core = np.where(np.hypot(x - u, y - v) < 6, np.nan_to_num(seen - 10), 0)
        core *= np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * (3 / 2.3548) ** 2))
        shift = 2 * np.hypot((core * (x - u)).sum(), (core * (y - v)).sum()) / core.sum()
        assert shift < 0.01  # what a change of scale does within a star is in it


@pytest.mark.parametrize("name", BENT)
@pytest.mark.parametrize("clamp", ["floor", "pixinsight"])
def test_oracle_every_pixel_is_that_of_its_own_position(name, clamp):
    transform, rng = BENT[name], np.random.default_rng(5)
    image = rng.normal(100, 10, SHAPE).astype(np.float32)
    image[rng.random(SHAPE) < 1e-3] = np.nan
    how = {"margin_dn": 5.0} if clamp == "floor" else {"threshold": 0.3}
    box = whole_tiles(64, 200, 30, 240)
    out = np.empty((136, 210), np.float32)
    warp(image, 0, 0, transform.affine(*box), out, 30, 64, grid=transform.grid(*box), **how)
    for y, x in rng.integers((64, 30), (200, 240), (300, 2)):
        u, v = transform(np.array([x, y], float))
        slow = oracle.one_pixel(image.astype(float), *SHAPE, u, v, "lanczos5", how.get("margin_dn", np.inf),
                                how.get("threshold", -1.0))  # fmt: skip
        ours = out[y - 64, x - 30]
        assert np.isnan(ours) == np.isnan(slow) or abs(u % 1 - 0.5) > 0.49 or abs(v % 1 - 0.5) > 0.49
        assert np.isnan(ours + slow) or abs(ours - slow) < 0.25  # 0.002 px and two passes, on noise of 10


@pytest.mark.parametrize("name", BENT)
def test_truth_boxes_may_be_cut_anywhere(name):
    image = np.random.default_rng(7).normal(500, 10, SHAPE).astype(np.float32)
    image[::17, ::13] = np.nan
    view = StarAlignment().registered(ArrayFrame.of(image, "bent"), BENT[name], SHAPE, 3.0)
    whole, parts = np.asarray(view), np.zeros(SHAPE, np.float32)
    for y in range(0, SHAPE[0], 73):
        for x in range(0, SHAPE[1], 91):
            parts[y : y + 73, x : x + 91] = view[y : y + 73, x : x + 91]
    assert (np.isnan(whole) != np.isnan(parts)).mean() < 1e-4
    differs = np.nan_to_num(np.abs(whole - parts))
    assert differs.max() < 0.1 and (differs > 0).mean() < 1e-3  # one phase in a million may tip over to its neighbour


@pytest.mark.parametrize("name", ["lens", "flip", "turned"])
def test_oracle_defects_and_bright_pixels_lie_where_the_bend_has_them(name):
    transform, rng = BENT[name], np.random.default_rng(9)
    mask = (rng.random(SHAPE) < 0.01).astype(np.uint8)
    box = whole_tiles(0, SHAPE[0], 0, SHAPE[1])
    out, grid = np.zeros(SHAPE, np.float32), transform.grid(*box)
    blanked = blank_defective(mask, 0, 0, transform.affine(*box), out, 0, 0, grid)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    u, v = np.rint(grid.at(np.stack([x, y], axis=-1)).reshape(-1, 2)).astype(int).T
    inside = (u >= 0) & (u < SHAPE[1]) & (v >= 0) & (v < SHAPE[0])
    expected = inside & (mask[np.clip(v, 0, SHAPE[0] - 1), np.clip(u, 0, SHAPE[1] - 1)] > 0)
    assert blanked > 500 and (np.isnan(out).ravel() != expected).mean() < 1e-4
    image = np.full(SHAPE, 100, np.float32)
    image[150, 170] = 50_000
    view = StarAlignment().registered(ArrayFrame.of(image, "bright"), transform, SHAPE, 5.0)
    near = view.bright_into(np.empty(SHAPE, np.float32), 0, 0, 48_000, 2)
    j, i = np.argwhere(near).mean(axis=0)
    assert np.hypot(*(transform(np.array([i, j])) - (170, 150))) < 0.8


def test_truth_the_noise_of_a_bent_frame_is_told():
    noise = np.random.default_rng(1).normal(0, 1, SHAPE).astype(np.float32)
    view = StarAlignment().registered(ArrayFrame.of(noise, "noise"), through_lens(), SHAPE, 1e6)
    assert np.nanstd(np.asarray(view)) == pytest.approx(view.noise_gain, rel=0.01)
