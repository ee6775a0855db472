"""Warp: a frame resampled through a 3x3 matrix, by Lanczos kernels that keep noise, flux and stars.

Every kernel is a table of ten weights for each of 4096 sub-pixel phases (shorter kernels have zeros around
them), so that one body of code serves them all. Two roads lead to a pixel: a direct sum over 10 x 10 taps for
any geometry, and two one-dimensional passes (Catmull and Smith 1980) where the rotation is small.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided

from masterlight.alignment.transform import jacobian
from masterlight.alignment.warping.weights import LANES, LOW, PHASES, TAPS, weights
from masterlight.compiled import njit
from masterlight.core.statistics.noise import SAFE

HALO = 8
"""Source pixels needed around the positions that are sampled."""
TILE, GROUP = 128, 16
PHASE_ERROR_PX, COPY_ERROR_PX, COPY_SLOPE = 0.0015, 0.003, 5e-7
BENT_SLOPE = 0.1
"""How far the scale of a bent transform may be from one in its middle so that two passes are tried, tile by tile."""
MENDS = 5
"""Steps from where an affine map expects a position to where a grid has it; each leaves a few percent of the error."""
NOT_BENT = np.empty((0, 0, 2)), 0, 0, 1
"""The nodes of a transform that its matrix tells in full."""


@njit(nogil=True, cache=True, fastmath=SAFE, error_model="numpy", forceinline=True)
def positions(h, x0, y, count, stride, rows, cols, base, px, py):
    """For `count` pixels of row `y`: index of the first tap (-1 near the edge) and table rows of both phases."""
    h0, h1, h2, h3, h4, h5, h6, h7, h8 = h
    u0, v0, z0 = h0 * x0 + h1 * y + h2, h3 * x0 + h4 * y + h5, h6 * x0 + h7 * y + h8
    for i in range(count):
        q = 1.0 / (h6 * i + z0)
        u = (h0 * i + u0) * q
        v = (h3 * i + v0) * q
        iu, iv = np.floor(u), np.floor(v)
        inside = (iu >= 4.0) & (iu < cols - 7.0) & (iv >= 4.0) & (iv < rows - 5.0)
        base[i] = np.int64((iv - 4.0) * stride + (iu - 4.0) if inside else -1.0)
        px[i] = np.int64((u - iu) * PHASES + 0.5 if inside else 0.0) * LANES
        py[i] = np.int64((v - iv) * PHASES + 0.5 if inside else 0.0) * LANES


@njit(nogil=True, cache=True, fastmath=SAFE, error_model="numpy", forceinline=True)
def bent_positions(bent, x0, y, count, stride, rows, cols, base, px, py):
    """As `positions`, linear between the nodes of a grid."""
    nodes, left, top, step = bent
    i, j = 0, (y - top) // step
    lower = (y - top - j * step) / step
    upper = 1.0 - lower
    while i < count:
        k = (x0 + i - left) // step
        start = x0 + i - left - k * step
        n = min(count - i, step - start)
        u, v = nodes[j, k, 0] * upper + nodes[j + 1, k, 0] * lower, nodes[j, k, 1] * upper + nodes[j + 1, k, 1] * lower
        du = (nodes[j, k + 1, 0] * upper + nodes[j + 1, k + 1, 0] * lower - u) / step
        dv = (nodes[j, k + 1, 1] * upper + nodes[j + 1, k + 1, 1] * lower - v) / step
        place(u + du * start, v + dv * start, du, dv, i, n, stride, rows, cols, base, px, py)
        i += n


@njit(nogil=True, cache=True, fastmath=SAFE, error_model="numpy", forceinline=True)
def place(u0, v0, du, dv, i, count, stride, rows, cols, base, px, py):
    """First taps and phases, as of `positions`, of the pixels i .. i + count, whose positions are evenly spaced."""
    for m in range(count):
        u, v = u0 + du * m, v0 + dv * m
        iu, iv = np.floor(u), np.floor(v)
        inside = (iu >= 4.0) & (iu < cols - 7.0) & (iv >= 4.0) & (iv < rows - 5.0)
        base[i + m] = np.int64((iv - 4.0) * stride + (iu - 4.0) if inside else -1.0)
        px[i + m] = np.int64((u - iu) * PHASES + 0.5 if inside else 0.0) * LANES
        py[i + m] = np.int64((v - iv) * PHASES + 0.5 if inside else 0.0) * LANES


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def source_at(h, bent, x, y):
    """Position (u, v) in the source of a pixel of `out`: by the matrix, or linear between the nodes if there are any.

    bent: nodes (ny, nx, 2) px of the source, the pixel (x, y) of `out` where the first lies, and their distance in px.
    """
    nodes, left, top, step = bent
    if nodes.size == 0:
        z = h[6] * x + h[7] * y + h[8]
        return (h[0] * x + h[1] * y + h[2]) / z, (h[3] * x + h[4] * y + h[5]) / z
    k = min(max(int(np.floor((x - left) / step)), 0), nodes.shape[1] - 2)
    j = min(max(int(np.floor((y - top) / step)), 0), nodes.shape[0] - 2)
    across, down = (x - left - k * step) / step, (y - top - j * step) / step
    w0, w1, w2, w3 = (1 - across) * (1 - down), across * (1 - down), (1 - across) * down, across * down
    a, b, c, d = nodes[j, k], nodes[j, k + 1], nodes[j + 1, k], nodes[j + 1, k + 1]
    return (
        w0 * a[0] + w1 * b[0] + w2 * c[0] + w3 * d[0],
        w0 * a[1] + w1 * b[1] + w2 * c[1] + w3 * d[1],
    )  # fmt: skip


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def result_at(there, back, bent, u, v):
    """Where a position of the source lies in the result: by the inverse matrix, mended on the nodes if any."""
    z = back[6] * u + back[7] * v + back[8]
    x, y = (back[0] * u + back[1] * v + back[2]) / z, (back[3] * u + back[4] * v + back[5]) / z
    for _ in range(MENDS if bent[0].size else 0):
        near_u, near_v = source_at(there, bent, x, y)
        x += back[0] * (u - near_u) + back[1] * (v - near_v)
        y += back[3] * (u - near_u) + back[4] * (v - near_v)
    return x, y


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def tap_sum(s, b0, stride, w, p, r):
    """The weighted sum of 10 x 10 pixels from flat index `b0` on; table rows start at p (across) and r (down)."""
    y0, y1, y2, y3, y4 = w[r], w[r + np.uint64(1)], w[r + np.uint64(2)], w[r + np.uint64(3)], w[r + np.uint64(4)]
    r = r + np.uint64(5)
    y5, y6, y7, y8, y9 = w[r], w[r + np.uint64(1)], w[r + np.uint64(2)], w[r + np.uint64(3)], w[r + np.uint64(4)]
    two, five = stride + stride, b0 + np.uint64(5) * stride
    b1, b2, b3, b4 = b0 + stride, b0 + two, b0 + two + stride, b0 + two + two
    b5, b6, b7, b8, b9 = five, five + stride, five + two, five + two + stride, five + two + two
    total = np.float32(0)
    for k in range(np.uint64(LANES)):
        t = y0 * s[b0 + k] + y1 * s[b1 + k] + y2 * s[b2 + k] + y3 * s[b3 + k] + y4 * s[b4 + k]
        t += y5 * s[b5 + k] + y6 * s[b6 + k] + y7 * s[b7 + k] + y8 * s[b8 + k] + y9 * s[b9 + k]
        total += t * w[p + k]
    return total


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def lowest(s, b, stride):
    """The lowest of the 4 x 4 pixels around a position whose first tap is at flat index `b`."""
    b = b + np.uint64(3) * stride + np.uint64(3)
    low = s[b]
    for _ in range(4):
        for k in range(np.uint64(4)):
            low = min(low, s[b + k])
        b = b + stride
    return low


@njit(nogil=True, cache=True, fastmath=SAFE, error_model="numpy", forceinline=True)
def careful_pixel(s, stride, rows, cols, u, v, w, margin, threshold):
    """The value at (u, v) by the full rules: taps that are NaN or outside are left out and the others take over.

    NaN where one of the nearest 2 x 2 pixels is missing or less than 0.9 of the weight is left.
    threshold >= 0 clamps by the ratio of negative to positive terms, otherwise the floor is the lowest of the
    nearest 4 x 4 pixels minus `margin`.
    """
    if not (u > -1.0 and u < cols and v > -1.0 and v < rows):
        return np.float32(np.nan)
    iu, iv = int(np.floor(u)), int(np.floor(v))
    p, r = int((u - iu) * PHASES + 0.5) * LANES, int((v - iv) * PHASES + 0.5) * LANES
    for j in range(4, 6):
        for i in range(4, 6):
            row, col = iv + j - LOW, iu + i - LOW
            if row < 0 or row >= rows or col < 0 or col >= cols or np.isnan(s[row * stride + col]):
                if abs(w[r + j] * w[p + i]) > 1e-3:
                    return np.float32(np.nan)
    i0, i1 = max(0, LOW - iu), min(TAPS, cols + LOW - iu)
    low, kept, value = np.float32(np.inf), np.float32(0), np.float32(0)
    for j in range(max(0, LOW - iv), min(TAPS, rows + LOW - iv)):
        at, across, kept_row = np.uint64((iv + j - LOW) * stride + iu + i0 - LOW), np.uint64(p + i0), np.float32(0)
        row_sum = np.float32(0)
        for i in range(np.uint64(i1 - i0)):
            sample = s[at + i]
            valid = sample == sample
            kept_row += w[across + i] if valid else np.float32(0)
            row_sum += w[across + i] * (sample if valid else np.float32(0))
        kept, value = kept + w[r + j] * kept_row, value + w[r + j] * row_sum
        if 3 <= j <= 6:
            for i in range(max(3, i0), min(7, i1)):
                sample = s[at + np.uint64(i - i0)]
                low = sample if sample < low else low
    if not kept >= np.float32(0.9):
        return np.float32(np.nan)
    if threshold >= 0:
        return clamped_sum(s, stride, rows, cols, iu, iv, p, r, w, threshold)
    return np.float32(max(value / kept, low - margin))


@njit(nogil=True, cache=True, error_model="numpy")
def clamped_sum(s, stride, rows, cols, iu, iv, p, r, w, threshold):
    """The sum over valid taps, its positive and negative terms apart, clamped by their ratio."""
    plus, minus, w_plus, w_minus = 0.0, 0.0, 0.0, 0.0
    for j in range(max(0, LOW - iv), min(TAPS, rows + LOW - iv)):
        for i in range(max(0, LOW - iu), min(TAPS, cols + LOW - iu)):
            sample, weight = s[(iv + j - LOW) * stride + iu + i - LOW], float(w[r + j]) * w[p + i]
            term = weight * sample
            if term >= 0:
                plus, w_plus = plus + term, w_plus + abs(weight)
            elif term < 0:
                minus, w_minus = minus - term, w_minus + abs(weight)
    return np.float32(ratio_clamp(plus, minus, w_plus, w_minus, threshold))


@njit(nogil=True, cache=True, error_model="numpy")
def ratio_clamp(plus, minus, w_plus, w_minus, threshold):
    """The clamping of PixInsight: negative terms fade out as their ratio to the positive ones nears one."""
    if plus == 0:
        return 0.0
    ratio = minus / plus
    if ratio >= 1:
        return plus / w_plus
    k = 1 - ((ratio - threshold) / (1 - threshold)) ** 2 if ratio > threshold else 1.0
    return (plus - k * minus) / (w_plus - k * w_minus)


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def direct_tile(s, stride, rows, cols, h, bent, out, out_stride, x0, x1, y0, y1, w, margin, scratch):
    """Fill out[y0:y1, x0:x1] by the sum over 10 x 10 taps around each exact position; NaN where one is missing."""
    base, px, py = scratch[0], scratch[1], scratch[2]
    step = np.uint64(stride)
    half = (PHASES // 2) * LANES
    for y in range(y0, y1):
        if bent[0].size == 0:
            positions(h, x0, y, x1 - x0, stride, rows, cols, base, px, py)
        else:
            bent_positions(bent, x0, y, x1 - x0, stride, rows, cols, base, px, py)
        o = np.uint64(y * out_stride + x0)
        for i in range(np.uint64(x1 - x0)):
            value = np.float32(np.nan)
            if base[i] >= 0:
                b = np.uint64(base[i])
                value = tap_sum(s, b, step, w, np.uint64(px[i]), np.uint64(py[i]))
                nearest = s[b + np.uint64(4 + (py[i] >= half)) * step + np.uint64(4 + (px[i] >= half))]
                if value < nearest - margin:
                    value = max(value, np.float32(lowest(s, b, step) - margin))
            out[o + i] = value


@njit(nogil=True, cache=True, forceinline=True)
def mend_tile(s, stride, rows, cols, h, bent, out, out_stride, x0, x1, y0, y1, w, margin, threshold):
    """Compute pixels of out[y0:y1, x0:x1] by the full rules: those that are NaN, or all when clamping by ratio."""
    for y in range(y0, y1):
        o, holes = y * out_stride, 0
        for i in range(x0, x1):
            holes += out[o + i] != out[o + i]
        for i in range(x0, x1 if holes or threshold >= 0 else x0):
            if np.isnan(out[o + i]) or threshold >= 0:
                u, v = source_at(h, bent, i, y)
                out[o + i] = careful_pixel(s, stride, rows, cols, u, v, w, margin, threshold)


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
def pass_down(line, floor, first, c, e, ty, xa, xb, ya, yb, block, w, margin, out, out_stride, corner, lane):
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
                group_down(line, floor, lane, r, margin, out, out_stride, o, n, 0, GROUP)
            else:
                group_down(line, floor, lane, r, margin, out, out_stride, o, n, i0, i1)


@njit(nogil=True, cache=True, fastmath=SAFE, inline="always")
def group_down(line, floor, lane, r, margin, out, out_stride, o, n, i0, i1):
    """Columns i0 .. i1 of a group, n rows: eleven taps down from index r of `line`, held above the floor."""
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
            out[to + i] = limit if t < limit else t


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


@njit(nogil=True, cache=True, error_model="numpy")
def bent_affine(h, bent, x0, y0):
    """As `local_affine`, of a grid's nodes: by the corners and the mean of 25 places in the tile."""
    u, v = np.empty(25), np.empty(25)
    for k in range(25):
        u[k], v[k] = source_at(h, bent, x0 + k % 5 * TILE // 4, y0 + k // 5 * TILE // 4)
    a, b = (u[4] - u[0] + u[24] - u[20]) / (2 * TILE), (u[20] - u[0] + u[24] - u[4]) / (2 * TILE)
    c, e = (v[4] - v[0] + v[24] - v[20]) / (2 * TILE), (v[20] - v[0] + v[24] - v[4]) / (2 * TILE)
    tx, ty = u.mean() - (a + b) * TILE / 2, v.mean() - (c + e) * TILE / 2
    worst = 0.0
    for k in range(25):
        x, y = k % 5 * TILE // 4, k // 5 * TILE // 4
        worst = max(worst, max(abs(u[k] - a * x - b * y - tx), abs(v[k] - c * x - e * y - ty)))
    return a, b, tx, c, e, ty, worst


@njit(nogil=True, cache=True)
def block_for(slope, least):
    """How many pixels may share one phase when positions advance by `slope` each: 128 to `least`, or 0 for none."""
    for block in (128, 64, 32, 16, 8, 4):
        if block >= least and abs(slope - 1.0) * 0.5 * (block - 1) <= PHASE_ERROR_PX:
            return block
    return 0


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def two_pass_tile(s, stride, rows, cols, h, bent, out, out_stride, x0, xs, xe, y0, ys, ye, w, margin, buffers):
    """Fill out[ys:ye, xs:xe] of the tile at (x0, y0) by two passes; False, undone, when the geometry forbids it."""
    plain = bent[0].size == 0
    a, b, tx, c, e, ty, worst = local_affine(h, x0, y0) if plain else bent_affine(h, bent, x0, y0)
    if not worst <= PHASE_ERROR_PX or abs(c) * (GROUP - 1) >= 1.0 or e < 0.5:
        return False
    slope = a - b * c / e
    across, down = block_for(slope, 16 if plain else 4), block_for(e, 16 if plain else 4)
    xa, xb, ya, yb = xs - x0, xe - x0, ys - y0, ye - y0
    low = ty + e * ya + min(c * xa, c * (xb - 1)) - 1.0
    first = int(np.floor(low)) - 4
    count = int(np.floor(low + e * (yb - 1 - ya) + abs(c) * (xb - 1 - xa) + 2.0)) + 7 - first
    if across == 0 or down == 0 or count * TILE > buffers.shape[1]:
        return False
    line, floor = buffers[0], buffers[1]
    pass_across(s, stride, rows, cols, first, count, slope, b / e, tx - b * ty / e, xa, xb, across, w, line, floor)
    corner = y0 * out_stride + x0
    pass_down(line, floor, first, c, e, ty, xa, xb, ya, yb, down, w, margin, out, out_stride, corner, buffers[2])
    return True


@njit(nogil=True, cache=True)
def warp_tiles(s, stride, rows, cols, h, bent, out, out_stride, height, width, ax, ay, w, margin, threshold, fast):
    """Fill `out` (flat, rows `out_stride` apart) from `s` (flat, rows `stride` apart) in tiles that stay in cache.

    The first tile begins (ax, ay) pixels before `out`, so that a result does not depend on how it is cut into boxes.
    """
    scratch = np.empty((3, TILE), np.int64)
    buffers = np.empty((3, (TILE + 32) * TILE), np.float32)
    for y0 in range(-ay, height, TILE):
        ys, ye = max(0, y0), min(y0 + TILE, height)
        for x0 in range(-ax, width, TILE):
            xs, xe = max(0, x0), min(x0 + TILE, width)
            place = out, out_stride, x0, xs, xe, y0, ys, ye
            done = fast and two_pass_tile(s, stride, rows, cols, h, bent, *place, w, margin, buffers)
            if not done and threshold < 0:
                direct_tile(s, stride, rows, cols, h, bent, out, out_stride, xs, xe, ys, ye, w, margin, scratch)
            mend_tile(s, stride, rows, cols, h, bent, out, out_stride, xs, xe, ys, ye, w, margin, threshold)


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
    fast=True, grid=None,
):  # fmt: skip
    """Fill `out` with `source` resampled at matrix @ (x, y, 1), the position in the source of each output pixel.

    source (rows, cols) float32, NaN where missing, is the box of the frame whose first pixel is (x_offset, y_offset);
    it should reach HALO pixels beyond what is sampled, or to the edge of the frame. out (h, w) float32, rows
    contiguous, is the box of the result whose first pixel is (out_x, out_y). `margin_dn` keeps a pixel above the lowest
    of its nearest 4 x 4 source pixels minus this (inf: not at all); `threshold` >= 0 clamps as PixInsight does instead.
    A pixel is NaN where one of its nearest 2 x 2 source pixels is missing or less than 0.9 of the weight is left.
    `fast=False` sums over all taps everywhere. (Lanczos: Duchon 1979; two passes: Catmull and Smith 1980.)
    grid: a `Grid` over all tiles that `out` touches (`whole_tiles`), for a transform that bends; positions are then
    linear between its nodes, and the matrix only tells how the source lies roughly.
    """
    before = np.array([[1, 0, -x_offset], [0, 1, -y_offset], [0, 0, 1.0]])
    after = np.array([[1, 0, out_x], [0, 1, out_y], [0, 0, 1.0]])
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
    numbers, limits = tuple(h.ravel().tolist()), (float(margin_dn), float(threshold))
    ax, ay = int(out_x) % TILE, int(out_y) % TILE
    bent = NOT_BENT if grid is None else nodes_of(grid, turn @ before, out_x, out_y)
    table = weights(kernel)
    warp_tiles(s, stride, rows, cols, numbers, bent, target, out_stride, height, width, ax, ay, table, *limits, fast)
    if not np.may_share_memory(target, out):
        out[...] = target.reshape(out.shape)


def nodes_of(grid, before: np.ndarray, out_x: int, out_y: int) -> tuple[np.ndarray, int, int, int]:
    """A `Grid` as kernels take it: nodes in a turned box of the source, where the first lies in `out`, their distance.

    before: 3x3, affine, from the source to the box as it is turned.
    """
    nodes = grid.positions @ before[:2, :2].T + before[:2, 2]
    return np.ascontiguousarray(nodes), grid.x0 - int(out_x), grid.y0 - int(out_y), int(grid.step_px)


def whole_tiles(y0: int, y1: int, x0: int, x1: int) -> tuple[int, int, int, int]:
    """The box of all tiles that a box of the result touches: for that, a grid must be there."""
    return y0 // TILE * TILE, -(-y1 // TILE) * TILE, x0 // TILE * TILE, -(-x1 // TILE) * TILE
