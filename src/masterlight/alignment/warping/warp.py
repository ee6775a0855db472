"""Warp: a frame resampled through a 3x3 matrix, by Lanczos kernels that keep noise, flux and stars.

Every kernel is a table of ten weights for each of 4096 sub-pixel phases (shorter kernels have zeros around
them), so that one body of code serves them all. Two roads lead to a pixel: a direct sum over 10 x 10 taps for
any geometry, and two one-dimensional passes (Catmull and Smith 1980) where the rotation is small.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided

from masterlight.alignment.bend import shift_matrix
from masterlight.alignment.transform import jacobian
from masterlight.alignment.warping.curved import curved_tile, reach_px
from masterlight.alignment.warping.passes import GROUP, TILE, two_pass_tile
from masterlight.alignment.warping.places import NOT_BENT, nodes_of
from masterlight.alignment.warping.taps import direct_tile, mend_tile
from masterlight.alignment.warping.weights import NO_RING, slopes, weights
from masterlight.compiled import njit

HALO = 8
"""Source pixels needed around the positions that are sampled."""
COPY_ERROR_PX, COPY_SLOPE = 0.003, 5e-7
BENT_SLOPE = 0.1
"""How far the scale of a bent transform may be from one in its middle so that two passes are tried, tile by tile."""


@njit(nogil=True, cache=True)
def warp_tiles(
    s, stride, rows, cols, h, bent, out, out_stride, height, width, ax, ay, tables, reach, limits, threshold, fast
):
    """Fill `out` (flat, rows `out_stride` apart) from `s` (flat, rows `stride` apart) in tiles that stay in cache.

    The first tile begins (ax, ay) pixels before `out`, so that a result does not depend on how it is cut into boxes.
    """
    scratch = np.empty((3, TILE), np.int64)
    buffers, w = np.empty((3, (TILE + 32) * TILE), np.float32), tables[0]
    held = limits[0], np.float32(np.nan if limits[1] > 0 else 0)  # what lies deeper than a ring may is left to the last
    for y0 in range(-ay, height, TILE):
        ys, ye = max(0, y0), min(y0 + TILE, height)
        for x0 in range(-ax, width, TILE):
            xs, xe = max(0, x0), min(x0 + TILE, width)
            place = out, out_stride, x0, xs, xe, y0, ys, ye
            done = False
            if fast and bent[0].size == 0:
                done = two_pass_tile(s, stride, rows, cols, h, *place, w, held, buffers)
            elif fast:
                done = curved_tile(s, stride, rows, cols, h, bent, *place, tables, reach, held, buffers)
            if not done and threshold < 0:
                direct_tile(s, stride, rows, cols, h, bent, out, out_stride, xs, xe, ys, ye, w, limits, scratch)
            mend_tile(s, stride, rows, cols, h, bent, out, out_stride, xs, xe, ys, ye, w, limits, threshold)


def flat_rows(array: np.ndarray) -> tuple[np.ndarray, int]:
    """A 2-D float32 array as flat memory and the distance between its rows; a copy unless its rows are plain."""
    if array.strides[1] != 4 or array.strides[0] < 4 * array.shape[1] or not array.flags.writeable:
        array = np.array(array, np.float32, order="C")
    stride = array.strides[0] // 4
    return as_strided(array, ((array.shape[0] - 1) * stride + array.shape[1],), (4,)), stride


def spread_rows(array: np.ndarray) -> np.ndarray:
    """The same pixels with rows that do not all fall on the same lines of the cache."""
    return array if array.strides[0] % 2048 else np.pad(array, ((0, 0), (0, 32)))[:, : array.shape[1]]


def upright(source: np.ndarray, h: np.ndarray, x: float, y: float) -> tuple[np.ndarray, np.ndarray]:
    """The source turned by exact 90 or 180 degrees or mirrored so that the matrix at (x, y) comes near identity, and
    the 3x3 matrix of that turn."""
    rows, cols = source.shape
    turn = np.eye(3)
    _, (a, b, c, e) = jacobian(h, x, y)
    if abs(b) > abs(a):
        source, turn, (a, b, c, e) = source.T, turn[[1, 0, 2]], (c, e, a, b)
        rows, cols = cols, rows
    if a < 0:
        source, turn = source[:, ::-1], np.array([[-1, 0, cols - 1], [0, 1, 0], [0, 0, 1.0]]) @ turn
    if e < 0:
        source, turn = source[::-1], np.array([[1, 0, 0], [0, -1, rows - 1], [0, 0, 1.0]]) @ turn
    return source, turn


def whole_shift(h: np.ndarray, x: float, y: float) -> tuple[int, int] | None:
    """The shift (dx, dy) in whole pixels that the matrix amounts to, or None; (x, y) is where it is judged."""
    if np.abs(h[:2, :2] - np.eye(2)).max() > COPY_SLOPE or np.abs(h[2, :2]).max() > 1e-10:
        return None
    at, _ = jacobian(h, x, y)
    dx, dy = at[0] - x, at[1] - y
    near = abs(dx - round(dx)) < COPY_ERROR_PX and abs(dy - round(dy)) < COPY_ERROR_PX
    return (round(dx), round(dy)) if near else None


def copy_shifted(source: np.ndarray, dx: int, dy: int, out: np.ndarray) -> None:
    """out[y, x] = source[y + dy, x + dx], NaN outside."""
    (rows, cols), (height, width) = source.shape, out.shape
    x0, x1 = max(0, -dx), min(width, cols - dx)
    y0, y1 = max(0, -dy), min(height, rows - dy)
    if x0 >= x1 or y0 >= y1:
        out[:] = np.nan
        return
    out[:y0] = out[y1:] = out[y0:y1, :x0] = out[y0:y1, x1:] = np.nan
    out[y0:y1, x0:x1] = source[y0 + dy : y1 + dy, x0 + dx : x1 + dx]


def warp(
    source, x_offset, y_offset, matrix, out, out_x=0, out_y=0, kernel="lanczos5", margin_dn=np.inf, threshold=-1.0,
    fast=True, grid=None, ring=NO_RING,
):  # fmt: skip
    """Fill `out` with `source` resampled at matrix @ (x, y, 1), the position in the source of each output pixel.

    source (rows, cols) float32, NaN where missing, is the box of the frame whose first pixel is (x_offset, y_offset);
    it should reach HALO pixels beyond what is sampled, or to the edge of the frame. out (h, w) float32, rows
    contiguous, is the box of the result whose first pixel is (out_x, out_y). `margin_dn` keeps a pixel above the lowest
    of its nearest 4 x 4 source pixels minus this (inf: not at all) and what `ring` leaves to stars; `threshold` >= 0
    clamps as PixInsight does instead.
    A pixel is NaN where one of its nearest 2 x 2 source pixels is missing or less than 0.9 of the weight is left.
    `fast=False` sums over all taps everywhere. (Lanczos: Duchon 1979; two passes: Catmull and Smith 1980.)
    grid: a `Grid` over all tiles that `out` touches (`whole_tiles`), for a transform that bends; positions are then
    linear between its nodes, and the matrix only tells how the source lies roughly.
    """
    before = shift_matrix(-x_offset, -y_offset)
    after = shift_matrix(out_x, out_y)
    h, turn = before @ np.asarray(matrix, float) @ after, np.eye(3)
    fast = fast and threshold < 0
    if fast:
        other, turn = upright(source, h, -out_x, -out_y)
        g = turn @ h
        shift = whole_shift(g, -out_x, -out_y) if grid is None else None
        if shift is not None:
            return copy_shifted(other, *shift, out)
        _, (_, _, c, e) = jacobian(g, -out_x, -out_y)
        fast = abs(c) * (GROUP - 1) < 1.1 and abs(e - 1) < (0.002 if grid is None else BENT_SLOPE)
        source, h, turn = (other, g, turn) if fast else (source, h, np.eye(3))
    s, stride = flat_rows(source if fast else spread_rows(source))
    target, out_stride = flat_rows(out)
    (rows, cols), (height, width) = source.shape, out.shape
    numbers, limits = tuple(h.ravel().tolist()), (float(margin_dn), *map(float, ring))
    ax, ay = int(out_x) % TILE, int(out_y) % TILE
    bent = NOT_BENT if grid is None else nodes_of(grid, turn @ before, out_x, out_y)
    tables = weights(kernel), weights(kernel) if grid is None else slopes(kernel)
    how = tables, reach_px(kernel), limits, float(threshold), fast
    warp_tiles(s, stride, rows, cols, numbers, bent, target, out_stride, height, width, ax, ay, *how)
    if not np.may_share_memory(target, out):
        out[...] = target.reshape(out.shape)


def whole_tiles(y0: int, y1: int, x0: int, x1: int) -> tuple[int, int, int, int]:
    """The box of all tiles that a box of the result touches: for that, a grid must be there."""
    return y0 // TILE * TILE, -(-y1 // TILE) * TILE, x0 // TILE * TILE, -(-x1 // TILE) * TILE
