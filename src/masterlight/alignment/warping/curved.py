"""A tile by two passes where the way to the source bends: positions by quadratics, weights that go along with them.

Pixels share the phase in the middle of a short run, and the slopes of the weights take each to its own place.
"""

import numpy as np

from masterlight.alignment.warping.passes import GROUP, PHASE_ERROR_PX, TILE
from masterlight.alignment.warping.places import source_at
from masterlight.alignment.warping.weights import LANES, PHASES, Kernel
from masterlight.compiled import njit
from masterlight.core.statistics.noise import SAFE

DRIFT_PX = 0.035
"""How far from a shared phase positions may lie when the weights go along: half its square times the curvature of an
image is then no more than `PHASE_ERROR_PX` times its slope, in noise as in stars of 2 px."""
MIDDLE = TILE // 2
"""Pixel of a tile from which its quadratics count."""


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def quadratics(h, bent, x0, y0):
    """The way of the tile at (x0, y0): u of its column and the row of the source, and v of its column and row.

    Each as six numbers, of `quadratic`, from the middle of the tile; and how far they are off, px, at the worst of 25
    places.
    """
    at = np.empty((2, 5, 5))
    for j in range(5):
        for i in range(5):
            at[0, j, i], at[1, j, i] = source_at(h, bent, x0 + i * TILE / 4, y0 + j * TILE / 4)
    rows = fitted(at[1])
    columns, worst = in_rows(fitted(at[0]), rows), 0.0
    for j in range(5):
        for i in range(5):
            x, y = (i - 2) * TILE / 4, (j - 2) * TILE / 4
            du, dv = quadratic(columns, x, at[1, j, i]) - at[0, j, i], quadratic(rows, x, y) - at[1, j, i]
            worst = max(worst, max(abs(du), abs(dv)))
    return (columns, rows), worst


@njit(nogil=True, cache=True)
def fitted(values):
    """The quadratic nearest to values at 5 x 5 evenly spaced places of a tile."""
    b, c, d, e, f = 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(5):
        for i in range(5):
            x, y, value = i - 2, j - 2, values[j, i]
            b, c, e = b + x * value / 50, c + y * value / 50, e + x * y * value / 100
            d, f = d + (x * x - 2) * value / 70, f + (y * y - 2) * value / 70
    step = TILE / 4
    return values.mean() - 2 * (d + f), b / step, c / step, d / step**2, e / step**2, f / step**2


@njit(nogil=True, cache=True, error_model="numpy")
def in_rows(columns, rows):
    """A quadratic of x and y as one of x and v, where v is the quadratic `rows` of x and y, to second order."""
    a, b, c, d, e, f = columns
    g, k, m, n, o, p = rows
    x, v = -k / m, 1 / m  # y = x X + v (V - g), but for what bends
    bend = -c * v
    first = b + c * x, c * v
    second = d + e * x + f * x * x + bend * (n + o * x + p * x * x), (e + 2 * f * x + bend * (o + 2 * p * x)) * v
    third = (f + bend * p) * v * v
    # from v = g to v = 0
    start = a - first[1] * g + third * g * g
    return start, first[0] - second[1] * g, first[1] - 2 * third * g, second[0], second[1], third


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def quadratic(q, x, y):
    """The value at (x, y) from six numbers, of 1, x, y, x^2, xy and y^2."""
    return q[0] + x * (q[1] + q[3] * x) + y * (q[2] + q[4] * x + q[5] * y)


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def slopes_of(q, x, y):
    """The slopes of `quadratic` along x and y."""
    return q[1] + 2 * q[3] * x + q[4] * y, q[2] + q[4] * x + 2 * q[5] * y


@njit(nogil=True, cache=True)
def ramp_of(n):
    """How far n pixels lie from their middle, px."""
    return (np.arange(n) - 0.5 * (n - 1)).astype(np.float32)


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def across(s, stride, rows, cols, first, count, columns, xa, xb, block, tables, line, floor):
    """First pass: as `pass_across`, each pixel of a run at its own place."""
    w, d = tables
    half, ramp = 0.5 * (block - 1), ramp_of(block)
    for j in range(count):
        v, o = first + j, j * TILE
        for x in range(xa - xa % block, xb, block):
            u = quadratic(columns, x + half - MIDDLE, v) - half
            slope, _ = slopes_of(columns, x + half - MIDDLE, v)
            iu, drift = int(np.floor(u)), np.float32(slope - 1.0)
            p = int((u - iu) * PHASES + 0.5) * LANES
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
            if hi - lo == 32:
                run(s, b, 32, w, d, p, drift, ramp, lo, line, floor, to)
            elif hi - lo == 16:
                run(s, b, 16, w, d, p, drift, ramp, lo, line, floor, to)
            else:
                run(s, b, hi - lo, w, d, p, drift, ramp, lo, line, floor, to)


@njit(nogil=True, cache=True, fastmath=SAFE, inline="always")
def run(s, b, n, w, d, p, drift, ramp, lo, line, floor, to):
    """n pixels of a row, drift * ramp px from the phase that they share."""
    w0, w1, w2, w3, w4 = w[p], w[p + 1], w[p + 2], w[p + 3], w[p + 4]
    w5, w6, w7, w8, w9 = w[p + 5], w[p + 6], w[p + 7], w[p + 8], w[p + 9]
    d0, d1, d2, d3, d4 = d[p], d[p + 1], d[p + 2], d[p + 3], d[p + 4]
    d5, d6, d7, d8, d9 = d[p + 5], d[p + 6], d[p + 7], d[p + 8], d[p + 9]
    for i in range(np.uint64(n)):
        k = b + i
        s0, s1, s2, s3, s4 = s[k], s[k + np.uint64(1)], s[k + np.uint64(2)], s[k + np.uint64(3)], s[k + np.uint64(4)]
        k += np.uint64(5)
        s5, s6, s7, s8, s9 = s[k], s[k + np.uint64(1)], s[k + np.uint64(2)], s[k + np.uint64(3)], s[k + np.uint64(4)]
        t = w0 * s0 + w1 * s1 + w2 * s2 + w3 * s3 + w4 * s4 + w5 * s5 + w6 * s6 + w7 * s7 + w8 * s8 + w9 * s9
        r = d0 * s0 + d1 * s1 + d2 * s2 + d3 * s3 + d4 * s4 + d5 * s5 + d6 * s6 + d7 * s7 + d8 * s8 + d9 * s9
        line[to + i] = t + r * (drift * ramp[np.uint64(lo) + i])
        floor[to + i] = min(min(s3, s4), min(s5, s6))


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def down(line, floor, first, rows, xa, xb, ya, yb, block, tables, limits, out, out_stride, corner, lane):
    """Second pass: as `pass_down`, each pixel of a column at its own place."""
    w, d = tables
    half, ramp = 0.5 * (block - 1), ramp_of(block)
    for y in range(ya - ya % block, yb, block):
        begin, n = max(y, ya), min(y + block, yb) - max(y, ya)
        for x in range(xa - xa % GROUP, xb, GROUP):
            v0 = quadratic(rows, x - MIDDLE, y + half - MIDDLE)
            v1 = quadratic(rows, x + GROUP - 1 - MIDDLE, y + half - MIDDLE)
            _, slope = slopes_of(rows, x + GROUP / 2 - MIDDLE, y + half - MIDDLE)
            i0, i1 = max(0, xa - x), min(GROUP, xb - x)
            top, c = int(np.floor(min(v0, v1) - half)), (v1 - v0) / (GROUP - 1)
            for i in range(GROUP):
                left = v0 + c * i - half
                iv = int(np.floor(left))
                p, shift = int((left - iv) * PHASES + 0.5) * LANES, min(1, max(0, iv - top))
                lane[22 * GROUP + i] = shift
                lane[i] = w[p] if shift == 0 else np.float32(0)
                lane[11 * GROUP + i] = d[p] if shift == 0 else np.float32(0)
                for k in range(1, 11):
                    lane[k * GROUP + i] = w[p + k - shift]
                    lane[(k + 11) * GROUP + i] = d[p + k - shift]
            r, o = (begin - y + top - first - 4) * TILE + x, corner + begin * out_stride + x
            drift = np.float32(slope - 1.0)
            if i1 - i0 == GROUP:
                group(line, floor, lane, r, limits, out, out_stride, o, n, 0, GROUP, drift, ramp, begin - y)
            else:
                group(line, floor, lane, r, limits, out, out_stride, o, n, i0, i1, drift, ramp, begin - y)


@njit(nogil=True, cache=True, fastmath=SAFE, inline="always")
def group(line, floor, lane, r, limits, out, out_stride, o, n, i0, i1, drift, ramp, lo):
    """As `group_down`, rows drift * ramp px from the phases of the columns."""
    margin, blank = limits
    wide = np.uint64(TILE)
    for j in range(n):
        at, to = np.uint64(r + j * TILE + i0), np.uint64(o + j * out_stride + i0)
        off = drift * ramp[lo + j]
        for i in range(np.uint64(i1 - i0)):
            q, g = at + i, i + np.uint64(i0)
            t, slope = np.float32(0), np.float32(0)
            for k in range(np.uint64(11)):
                t += lane[k * np.uint64(GROUP) + g] * line[q + k * wide]
                slope += lane[(k + np.uint64(11)) * np.uint64(GROUP) + g] * line[q + k * wide]
            t += slope * off
            q += np.uint64(3) * wide
            low = min(floor[q + wide], min(floor[q + np.uint64(2) * wide], floor[q + np.uint64(3) * wide]))
            ends = floor[q + np.uint64(4) * wide] if lane[np.uint64(22 * GROUP) + g] > 0 else floor[q]
            limit = min(low, ends) - margin
            out[to + i] = limit + blank if t < limit else t


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def steepest(way):
    """The largest slopes in a tile: |du/dx - 1| along rows of the source, |dv/dx|, and |dv/dy - 1|."""
    a, b, c = 0.0, 0.0, 0.0
    for y in (-MIDDLE, MIDDLE):
        for x in (-MIDDLE, MIDDLE):
            slope, _ = slopes_of(way[0], x, quadratic(way[1], x, y))
            along, down = slopes_of(way[1], x, y)
            a, b, c = max(a, abs(slope - 1)), max(b, abs(along)), max(c, abs(down - 1))
    return a, b, c


@njit(nogil=True, cache=True)
def run_for(slope, reach):
    """How many pixels may share a phase when none may lie farther than `reach` px from it: 32 to 4, 0 for none."""
    for n in (32, 16, 8, 4):
        if slope * 0.5 * (n - 1) <= reach:
            return n
    return 0


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def curved_tile(
    s, stride, rows, cols, h, bent, out, out_stride, x0, xs, xe, y0, ys, ye, tables, reach, limits, buffers
):
    """Fill out[ys:ye, xs:xe] of the tile at (x0, y0) by two passes; False, undone, when the geometry forbids it."""
    way, worst = quadratics(h, bent, x0, y0)
    u_slope, turn, v_slope = steepest(way)
    n, m = run_for(u_slope, reach), run_for(v_slope, reach)
    if not worst <= PHASE_ERROR_PX or n == 0 or m == 0 or turn * (GROUP - 1) >= 1.0:
        return False
    xa, xb, ya, yb = xs - x0, xe - x0, ys - y0, ye - y0
    low, high = np.inf, -np.inf
    for x in (xa, (xa + xb) // 2, xb - 1):
        low = min(low, quadratic(way[1], x - MIDDLE, ya - MIDDLE))
        high = max(high, quadratic(way[1], x - MIDDLE, yb - 1 - MIDDLE))
    first = int(np.floor(low - 1.0)) - 4
    count = int(np.floor(high + 1.0)) + 7 - first
    if count * TILE > buffers.shape[1]:
        return False
    line, floor = buffers[0], buffers[1]
    across(s, stride, rows, cols, first, count, way[0], xa, xb, n, tables, line, floor)
    corner = y0 * out_stride + x0
    down(line, floor, first, way[1], xa, xb, ya, yb, m, tables, limits, out, out_stride, corner, buffers[2])
    return True


def reach_px(kernel) -> float:
    """How far positions may lie from a phase that they share: weights with kinks do not go along."""
    return DRIFT_PX if Kernel.of(kernel).smooth else PHASE_ERROR_PX
