"""Ratio-corrected demosaicing (Sanz Rodriguez 2017), row by row on half-width arrays as in `cfa`.

Green is interpolated with a correction by the ratio of low-passes, and red and blue follow green by their differences.
As published, directions are judged from squared high-passes and the smoother of two sides counts more. Of a star the
smoother side is the one away from it, so coloured stars turn paler: by 5 to 15 % in simulations. With `even` all sides
count alike, and stars keep their colours within 0.2 %. What a row still needs of its forerunners lies in
rings of 8 rows, so that everything stays in the cache.

Ratios need a zero point. A sky-subtracted mosaic has none: near zero the ratio is noise, below it has the wrong sign.
So the ratio is taken of the data plus `PEDESTAL_DN`, a few times the noise of a sky: on faint sky the correction
becomes half of the difference of the low-passes, on bright stars it is the published ratio. It is held between nothing
and the whole difference, which positive data never leave.
"""

import numpy as np

from masterlight.colour.cfa import EIGHTH, HALF, QUARTER, SIX, STEP, TWO, weave_row
from masterlight.compiled import njit

HALO = 14
"""Rows and columns around a box on which its pixels depend: 10, and what whole steps in half-width arrays add."""
PEDESTAL_DN = np.float32(1000)
EPS = np.float32(1e-6)
ZERO = np.float32(0)
ONE = np.float32(1)
THREE = np.float32(3)
SIXTEENTH = np.float32(0.0625)


@njit(nogil=True, cache=True, error_model="numpy")
def rcd(c, g, s0, red0, even, out):
    """Fill `out` (3, h, w) from a mosaic parted into c and g; its first pixel is row HALO, column HALO of theirs.

    even: whether all sides of a pixel count the same, so that stars keep their colours; else as published.
    """
    h, w2, m = out.shape[1], c.shape[1], HALO // 2
    rings = np.zeros((12, 8, w2), np.float32)  # taken one by one: numba forgets that unpacked arrays are contiguous
    vert_c, vert_g, flat_c, flat_g, rising, falling = rings[0], rings[1], rings[2], rings[3], rings[4], rings[5]
    dir_c, dir_g, dir_d, low, g_c, x_c = rings[6], rings[7], rings[8], rings[9], rings[10], rings[11]
    c_g, x_g = np.empty(w2, np.float32), np.empty(w2, np.float32)
    for y in range(3, h + 2 * HALO - 3):
        s, d = (s0 + y) & 1, y - 7
        lowpass_row(c, g, y, s, low)
        if not even:
            highpass_row(c, g, y, s, vert_c, flat_c)
            highpass_row(g, c, y, 1 - s, vert_g, flat_g)
            diagonal_highpass_row(c, y, s, rising, falling)
        if y < 6:
            continue
        if even:
            even_green_row(g, y - 2, s, low, g_c)
            even_other_row(c, y - 4, s, g_c, x_c)
        else:
            direction_rows(y - 1, 1 - s, vert_c, flat_c, vert_g, flat_g, rising, falling, dir_c, dir_g, dir_d)
            green_row(c, g, y - 2, s, dir_c, low, g_c)
            other_row(c, y - 4, s, dir_d, g_c, x_c)
        if HALO <= d < h + HALO:
            if even:
                even_green_site_row(c, g, d, 1 - s, g_c, x_c, c_g, x_g)
            else:
                green_site_row(c, g, d, 1 - s, dir_g, g_c, x_c, c_g, x_g)
            i = d & 7
            here = c[d, m:], g[d, m:], g_c[i, m:], x_c[i, m:], c_g[m:], x_g[m:]
            weave_row(out, d - HALO, (red0 + d) & 1, 1 - s, *here)


@njit(nogil=True, cache=True, error_model="numpy")
def even_green_row(b, y, t, low, g_c):
    """Green at the red or blue pixels of row y: the mean of four corrected neighbours."""
    i, up2, down2, t = y & 7, (y - 2) & 7, (y + 2) & 7, np.uint64(t)
    for k in range(np.uint64(2), np.uint64(b.shape[1] - 2)):
        here, u, v = low[i, k], k + t - STEP, k + t
        column = carry(b[y - 1, k], here, low[up2, k]) + carry(b[y + 1, k], here, low[down2, k])
        row = carry(b[y, u], here, low[i, k - STEP]) + carry(b[y, v], here, low[i, k + STEP])
        g_c[i, k] = QUARTER * (column + row)


@njit(nogil=True, cache=True, error_model="numpy")
def even_other_row(a, y, t, g_c, x_c):
    """Blue at the red pixels of row y, or red at its blue ones: green and the mean of four differences."""
    i, up, down, t = y & 7, (y - 1) & 7, (y + 1) & 7, np.uint64(t)
    for k in range(np.uint64(3), np.uint64(a.shape[1] - 3)):
        u, v = k + t - STEP, k + t
        fall = (a[y - 1, u] - g_c[up, u]) + (a[y + 1, v] - g_c[down, v])
        rise = (a[y - 1, v] - g_c[up, v]) + (a[y + 1, u] - g_c[down, u])
        x_c[i, k] = g_c[i, k] + QUARTER * (fall + rise)


@njit(nogil=True, cache=True, error_model="numpy")
def even_green_site_row(c, g, y, s, g_c, x_c, beside, above):
    """Both colours at the green pixels of row y, as in `green_site_row`: green and the mean of four differences."""
    i, up, down, s = y & 7, (y - 1) & 7, (y + 1) & 7, np.uint64(s)
    for k in range(np.uint64(4), np.uint64(c.shape[1] - 4)):
        w, e = k - s, k + STEP - s
        gn, gs, gw, ge = g_c[up, k], g_c[down, k], g_c[i, w], g_c[i, e]
        column, row = (x_c[up, k] - gn) + (x_c[down, k] - gs), (c[y, w] - gw) + (c[y, e] - ge)
        beside[k] = g[y, k] + QUARTER * (column + row)
        column, row = (c[y - 1, k] - gn) + (c[y + 1, k] - gs), (x_c[i, w] - gw) + (x_c[i, e] - ge)
        above[k] = g[y, k] + QUARTER * (column + row)


@njit(nogil=True, cache=True, error_model="numpy")
def square_highpass(a3, a2, a1, here, b1, b2, b3):
    """The square of a high-pass along seven pixels in a line: the differences of colour of both sides cancel."""
    v = (a3 - a1) - (b1 - b3) - THREE * (a2 + b2) + SIX * here
    return v * v


@njit(nogil=True, cache=True, error_model="numpy")
def highpass_row(a, b, y, t, vert, flat):
    """Squared high-passes of row y along the column and the row, at the pixels of array a."""
    i, t = y & 7, np.uint64(t)
    for k in range(np.uint64(2), np.uint64(a.shape[1] - 3)):
        here, w, e, u, v = a[y, k], k - STEP, k + STEP, k + t - STEP, k + t
        north, south = (b[y - 3, k], a[y - 2, k], b[y - 1, k]), (b[y + 1, k], a[y + 2, k], b[y + 3, k])
        vert[i, k] = square_highpass(*north, here, *south)
        flat[i, k] = square_highpass(b[y, u - STEP], a[y, w], b[y, u], here, b[y, v], a[y, e], b[y, v + STEP])


@njit(nogil=True, cache=True, error_model="numpy")
def diagonal_highpass_row(a, y, t, rising, falling):
    """Squared high-passes of row y along both diagonals, at the red or blue pixels."""
    i, t = y & 7, np.uint64(t)
    for k in range(np.uint64(2), np.uint64(a.shape[1] - 3)):
        here, w, e, u, v = a[y, k], k - STEP, k + STEP, k + t - STEP, k + t
        nw, ne = (a[y - 3, u - STEP], a[y - 2, w], a[y - 1, u]), (a[y - 3, v + STEP], a[y - 2, e], a[y - 1, v])
        falling[i, k] = square_highpass(*nw, here, a[y + 1, v], a[y + 2, e], a[y + 3, v + STEP])
        rising[i, k] = square_highpass(*ne, here, a[y + 1, u], a[y + 2, w], a[y + 3, u - STEP])


@njit(nogil=True, cache=True, error_model="numpy")
def lowpass_row(a, b, y, t, low):
    """A 3 x 3 mean over all colours at the red or blue pixels of row y, its weights 1 2 1 both ways."""
    t = np.uint64(t)
    for k in range(STEP, np.uint64(a.shape[1] - 1)):
        u, v = k + t - STEP, k + t
        near = (b[y - 1, k] + b[y + 1, k]) + (b[y, u] + b[y, v])
        corners = (a[y - 1, u] + a[y + 1, v]) + (a[y - 1, v] + a[y + 1, u])
        low[y & 7, k] = QUARTER * a[y, k] + EIGHTH * near + SIXTEENTH * corners


@njit(nogil=True, cache=True, error_model="numpy")
def direction_rows(y, s, vert_c, flat_c, vert_g, flat_g, rising, falling, dir_c, dir_g, dir_d):
    """Where row y is rough along the column (1) or along the row (0), and along the falling (1) or rising diagonal."""
    i, up, down, s = y & 7, (y - 1) & 7, (y + 1) & 7, np.uint64(s)
    for k in range(np.uint64(3), np.uint64(dir_c.shape[1] - 3)):
        u, v = k + s - STEP, k + s
        column = vert_c[i, k] + (vert_g[up, k] + vert_g[down, k]) + EPS
        dir_c[i, k] = column / (column + (flat_c[i, k] + (flat_g[i, u] + flat_g[i, v]) + EPS))
        fall = falling[i, k] + (falling[up, u] + falling[down, v]) + EPS
        dir_d[i, k] = fall / (fall + (rising[i, k] + (rising[up, v] + rising[down, u]) + EPS))
    for k in range(np.uint64(3), np.uint64(dir_c.shape[1] - 3)):
        column = vert_g[i, k] + (vert_c[up, k] + vert_c[down, k]) + EPS
        dir_g[i, k] = column / (column + (flat_g[i, k] + (flat_c[i, k - s] + flat_c[i, k + STEP - s]) + EPS))


@njit(nogil=True, cache=True, error_model="numpy")
def direction(d, i, up, down, k, u, v):
    """The direction of a pixel or of its four diagonal neighbours, whichever is the more decided."""
    here, around = d[i, k], QUARTER * ((d[up, u] + d[down, v]) + (d[up, v] + d[down, u]))
    return around if abs(HALF - here) < abs(HALF - around) else here


@njit(nogil=True, cache=True, error_model="numpy")
def carry(green, here, far):
    """A green neighbour carried to the pixel by the ratio of low-passes; additive where there is hardly any light."""
    lowest = max(here + far + TWO * PEDESTAL_DN, EPS)
    share = min(max((green + PEDESTAL_DN) / lowest, ZERO), ONE)
    return green + (here - far) * share


@njit(nogil=True, cache=True, error_model="numpy")
def between(a, grad_a, b, grad_b):
    """Mean of the estimates from two sides, each weighted with the gradient of the other side; exact if they agree."""
    return a + (b - a) * (grad_a / (grad_a + grad_b))


@njit(nogil=True, cache=True, error_model="numpy")
def green_row(a, b, y, t, dir_c, low, g_c):
    """Green at the red or blue pixels of row y."""
    i, up, down, up2, down2, t = y & 7, (y - 1) & 7, (y + 1) & 7, (y - 2) & 7, (y + 2) & 7, np.uint64(t)
    for k in range(np.uint64(4), np.uint64(a.shape[1] - 4)):
        p, low_p, w, e, u, v = a[y, k], low[i, k], k - STEP, k + STEP, k + t - STEP, k + t
        n1, n2, n3, n4 = b[y - 1, k], a[y - 2, k], b[y - 3, k], a[y - 4, k]
        s1, s2, s3, s4 = b[y + 1, k], a[y + 2, k], b[y + 3, k], a[y + 4, k]
        w1, w2, w3, w4 = b[y, u], a[y, w], b[y, u - STEP], a[y, w - STEP]
        e1, e2, e3, e4 = b[y, v], a[y, e], b[y, v + STEP], a[y, e + STEP]
        column, row = EPS + abs(n1 - s1), EPS + abs(w1 - e1)
        grad_n = column + abs(p - n2) + abs(n1 - n3) + abs(n2 - n4)
        grad_s = column + abs(p - s2) + abs(s1 - s3) + abs(s2 - s4)
        grad_w = row + abs(p - w2) + abs(w1 - w3) + abs(w2 - w4)
        grad_e = row + abs(p - e2) + abs(e1 - e3) + abs(e2 - e4)
        tall = between(carry(n1, low_p, low[up2, k]), grad_n, carry(s1, low_p, low[down2, k]), grad_s)
        wide = between(carry(w1, low_p, low[i, w]), grad_w, carry(e1, low_p, low[i, e]), grad_e)
        g_c[i, k] = tall + direction(dir_c, i, up, down, k, u, v) * (wide - tall)


@njit(nogil=True, cache=True, error_model="numpy")
def other_row(a, y, t, dir_d, g_c, x_c):
    """Blue at the red pixels of row y, or red at its blue ones, from the diagonal neighbours."""
    i, up, down, up2, down2, t = y & 7, (y - 1) & 7, (y + 1) & 7, (y - 2) & 7, (y + 2) & 7, np.uint64(t)
    for k in range(np.uint64(5), np.uint64(a.shape[1] - 5)):
        g, w, e, u, v = g_c[i, k], k - STEP, k + STEP, k + t - STEP, k + t
        nw, ne, sw, se = a[y - 1, u], a[y - 1, v], a[y + 1, u], a[y + 1, v]
        fall, rise = EPS + abs(nw - se), EPS + abs(ne - sw)
        grad_nw = fall + abs(nw - a[y - 3, u - STEP]) + abs(g - g_c[up2, w])
        grad_se = fall + abs(se - a[y + 3, v + STEP]) + abs(g - g_c[down2, e])
        grad_ne = rise + abs(ne - a[y - 3, v + STEP]) + abs(g - g_c[up2, e])
        grad_sw = rise + abs(sw - a[y + 3, u - STEP]) + abs(g - g_c[down2, w])
        p = between(nw - g_c[up, u], grad_nw, se - g_c[down, v], grad_se)
        q = between(ne - g_c[up, v], grad_ne, sw - g_c[down, u], grad_sw)
        x_c[i, k] = g + (p + direction(dir_d, i, up, down, k, u, v) * (q - p))


@njit(nogil=True, cache=True, error_model="numpy")
def green_site_row(c, g, y, s, dir_g, g_c, x_c, beside, above):
    """Both colours at the green pixels of row y: `beside` is that of the row, `above` that of the rows next to it."""
    i, up, down, up3, down3, s = y & 7, (y - 1) & 7, (y + 1) & 7, (y - 3) & 7, (y + 3) & 7, np.uint64(s)
    for turn in range(2):
        tall, wide, r = (x_c, c, y) if turn == 0 else (c, x_c, i)
        r1, r2, r3, r4 = (up, down, up3, down3) if turn == 0 else (y - 1, y + 1, y - 3, y + 3)
        line = beside if turn == 0 else above
        for k in range(np.uint64(HALO // 2), np.uint64(c.shape[1] - HALO // 2)):
            p, w, e = g[y, k], k - s, k + STEP - s
            n1, s1, w1, e1 = tall[r1, k], tall[r2, k], wide[r, w], wide[r, e]
            column, row = EPS + abs(n1 - s1), EPS + abs(w1 - e1)
            grad_n = column + abs(p - g[y - 2, k]) + abs(n1 - tall[r3, k])
            grad_s = column + abs(p - g[y + 2, k]) + abs(s1 - tall[r4, k])
            grad_w = row + abs(p - g[y, k - STEP]) + abs(w1 - wide[r, w - STEP])
            grad_e = row + abs(p - g[y, k + STEP]) + abs(e1 - wide[r, e + STEP])
            v = between(n1 - g_c[up, k], grad_n, s1 - g_c[down, k], grad_s)
            h = between(w1 - g_c[i, w], grad_w, e1 - g_c[i, e], grad_e)
            line[k] = p + (v + direction(dir_g, i, up, down, k, w, e) * (h - v))
