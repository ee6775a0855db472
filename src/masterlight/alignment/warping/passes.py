"""A tile of little turn by two passes of one dimension: along rows, then down columns (Catmull and Smith 1980)."""

import numpy as np

from masterlight.alignment.warping.weights import LANES, PHASES
from masterlight.compiled import njit
from masterlight.core.statistics.noise import SAFE

TILE, GROUP = 128, 16
PHASE_ERROR_PX = 0.0015


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def pass_across(s, stride, rows, cols, first, count, slope, shear, start, xa, xb, block, w, line, floor):
    """First pass: source rows first .. first + count resampled across to the columns xa .. xb of a tile.

    Row v is sampled at slope * x + shear * v + start, with one phase for `block` columns. `line` receives the
    values and `floor` the lowest of the nearest four, both (count, TILE) flat; NaN where taps are missing.
    """
    for j in range(count):
        v, o = first + j, j * TILE
        for x in range(xa - xa % block, xb, block):
            middle = slope * (x + 0.5 * (block - 1)) + shear * v + start - 0.5 * (block - 1)
            iu = int(np.floor(middle))
            p = int((middle - iu) * PHASES + 0.5) * LANES
            w0, w1, w2, w3, w4 = w[p], w[p + 1], w[p + 2], w[p + 3], w[p + 4]
            w5, w6, w7, w8, w9 = w[p + 5], w[p + 6], w[p + 7], w[p + 8], w[p + 9]
            begin, end = max(0, xa - x), min(block, xb - x)
            lo = min(end, max(begin, 4 - iu))
            hi = max(lo, min(end, cols - 5 - iu))
            if v < 0 or v >= rows:
                lo = hi = end
            for i in range(begin, lo):
                line[o + x + i] = np.nan
            for i in range(hi, end):
                line[o + x + i] = np.nan
            to, b = np.uint64(o + x + lo), np.uint64(v * stride + iu + lo - 4 if lo < hi else 0)
            for i in range(np.uint64(hi - lo)):
                k = b + i
                s3, s4, s5, s6 = s[k + np.uint64(3)], s[k + np.uint64(4)], s[k + np.uint64(5)], s[k + np.uint64(6)]
                t = w0 * s[k] + w1 * s[k + np.uint64(1)] + w2 * s[k + np.uint64(2)] + w3 * s3 + w4 * s4 + w5 * s5
                t += w6 * s6 + w7 * s[k + np.uint64(7)] + w8 * s[k + np.uint64(8)] + w9 * s[k + np.uint64(9)]
                line[to + i] = t
                floor[to + i] = min(min(s3, s4), min(s5, s6))


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def pass_down(line, floor, first, c, e, ty, xa, xb, ya, yb, block, w, limits, out, out_stride, corner, lane):
    """Second pass: rows ya .. yb of a tile from the columns of `line`, at row v = c x + e y + ty of the source.

    `corner` is the index in `out` of the tile's pixel (0, 0). Sixteen columns share a first tap; those whose rows
    begin one pixel later use the eleven taps shifted by one.
    """
    for y in range(ya - ya % block, yb, block):
        begin, n = max(y, ya), min(y + block, yb) - max(y, ya)
        for x in range(xa - xa % GROUP, xb, GROUP):
            left = c * x + e * (y + 0.5 * (block - 1)) + ty - 0.5 * (block - 1)
            i0, i1 = max(0, xa - x), min(GROUP, xb - x)
            top = int(np.floor(min(left + c * i0, left + c * (i1 - 1))))
            for i in range(GROUP):
                v = left + c * i
                iv = int(np.floor(v))
                p, shift = int((v - iv) * PHASES + 0.5) * LANES, min(1, max(0, iv - top))
                lane[11 * GROUP + i] = shift
                lane[i] = w[p] if shift == 0 else np.float32(0)
                for k in range(1, 11):
                    lane[k * GROUP + i] = w[p + k - shift]
            r, o = (begin - y + top - first - 4) * TILE + x, corner + begin * out_stride + x
            if i1 - i0 == GROUP:
                group_down(line, floor, lane, r, limits, out, out_stride, o, n, 0, GROUP)
            else:
                group_down(line, floor, lane, r, limits, out, out_stride, o, n, i0, i1)


@njit(nogil=True, cache=True, fastmath=SAFE, inline="always")
def group_down(line, floor, lane, r, limits, out, out_stride, o, n, i0, i1):
    """Columns i0 .. i1 of a group, n rows: eleven taps down from index r of `line`, held above the floor.

    limits: what the floor is below the lowest near pixel, and what is added to it: NaN leaves what is lower undone.
    """
    margin, blank = limits
    wide = np.uint64(TILE)
    for j in range(n):
        at, to = np.uint64(r + j * TILE + i0), np.uint64(o + j * out_stride + i0)
        for i in range(np.uint64(i1 - i0)):
            q, g = at + i, i + np.uint64(i0)
            t = np.float32(0)
            for k in range(np.uint64(11)):
                t += lane[k * np.uint64(GROUP) + g] * line[q + k * wide]
            q += np.uint64(3) * wide
            low = min(floor[q + wide], min(floor[q + np.uint64(2) * wide], floor[q + np.uint64(3) * wide]))
            ends = floor[q + np.uint64(4) * wide] if lane[np.uint64(11 * GROUP) + g] > 0 else floor[q]
            limit = min(low, ends) - margin
            out[to + i] = limit + blank if t < limit else t


@njit(nogil=True, cache=True, error_model="numpy")
def local_affine(h, x0, y0):
    """The affine map (a, b, tx, c, e, ty) that touches the matrix in the middle of a tile, and its worst error."""
    m = 0.5 * (TILE - 1)
    z = h[6] * (x0 + m) + h[7] * (y0 + m) + h[8]
    u = (h[0] * (x0 + m) + h[1] * (y0 + m) + h[2]) / z
    v = (h[3] * (x0 + m) + h[4] * (y0 + m) + h[5]) / z
    a, b = (h[0] - u * h[6]) / z, (h[1] - u * h[7]) / z
    c, e = (h[3] - v * h[6]) / z, (h[4] - v * h[7]) / z
    tx, ty = u - (a + b) * m, v - (c + e) * m
    worst = 0.0
    for y in (0, TILE - 1):
        for x in (0, TILE - 1):
            z = h[6] * (x0 + x) + h[7] * (y0 + y) + h[8]
            du = (h[0] * (x0 + x) + h[1] * (y0 + y) + h[2]) / z - (a * x + b * y + tx)
            dv = (h[3] * (x0 + x) + h[4] * (y0 + y) + h[5]) / z - (c * x + e * y + ty)
            worst = max(worst, max(abs(du), abs(dv)))
    return a, b, tx, c, e, ty, worst


@njit(nogil=True, cache=True)
def block_for(slope):
    """How many pixels may share one phase when positions advance by `slope` each: 128 to 16, or 0 for none."""
    for block in (128, 64, 32, 16):
        if abs(slope - 1.0) * 0.5 * (block - 1) <= PHASE_ERROR_PX:
            return block
    return 0


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def two_pass_tile(s, stride, rows, cols, h, out, out_stride, x0, xs, xe, y0, ys, ye, w, limits, buffers):
    """Fill out[ys:ye, xs:xe] of the tile at (x0, y0) by two passes; False, undone, when the geometry forbids it."""
    a, b, tx, c, e, ty, worst = local_affine(h, x0, y0)
    if not worst <= PHASE_ERROR_PX or abs(c) * (GROUP - 1) >= 1.0 or e < 0.5:
        return False
    slope = a - b * c / e
    across, down = block_for(slope), block_for(e)
    xa, xb, ya, yb = xs - x0, xe - x0, ys - y0, ye - y0
    low = ty + e * ya + min(c * xa, c * (xb - 1)) - 1.0
    first = int(np.floor(low)) - 4
    count = int(np.floor(low + e * (yb - 1 - ya) + abs(c) * (xb - 1 - xa) + 2.0)) + 7 - first
    if across == 0 or down == 0 or count * TILE > buffers.shape[1]:
        return False
    line, floor = buffers[0], buffers[1]
    pass_across(s, stride, rows, cols, first, count, slope, b / e, tx - b * ty / e, xa, xb, across, w, line, floor)
    corner = y0 * out_stride + x0
    pass_down(line, floor, first, c, e, ty, xa, xb, ya, yb, down, w, limits, out, out_stride, corner, buffers[2])
    return True
