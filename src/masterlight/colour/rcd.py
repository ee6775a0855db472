"""Ratio-corrected demosaicing (Sanz Rodriguez 2017), row by row on half-width arrays as in `kernels.cfa`.

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
from numba import njit

from masterlight.colour.cfa import EIGHTH, HALF, QUARTER, SIX, TWO, weave_row

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
    i, up2, down2 = y & 7, (y - 2) & 7, (y + 2) & 7
    m, n = 2, b.shape[1] - 4
    n1, s1, w1, e1 = b[y - 1, m:], b[y + 1, m:], b[y, m - 1 + t :], b[y, m + t :]
    low0, low_n, low_s, low_w, low_e = low[i, m:], low[up2, m:], low[down2, m:], low[i, m - 1 :], low[i, m + 1 :]
    line = g_c[i, m:]
    for k in range(n):
        here = low0[k]
        column = carry(n1[k], here, low_n[k]) + carry(s1[k], here, low_s[k])
        line[k] = QUARTER * (column + (carry(w1[k], here, low_w[k]) + carry(e1[k], here, low_e[k])))


@njit(nogil=True, cache=True, error_model="numpy")
def even_other_row(a, y, t, g_c, x_c):
    """Blue at the red pixels of row y, or red at its blue ones: green and the mean of four differences."""
    i, up, down = y & 7, (y - 1) & 7, (y + 1) & 7
    m, n = 3, a.shape[1] - 6
    nw1, ne1, sw1, se1 = a[y - 1, m - 1 + t :], a[y - 1, m + t :], a[y + 1, m - 1 + t :], a[y + 1, m + t :]
    g_nw, g_ne, g_sw, g_se = g_c[up, m - 1 + t :], g_c[up, m + t :], g_c[down, m - 1 + t :], g_c[down, m + t :]
    g0, line = g_c[i, m:], x_c[i, m:]
    for k in range(n):
        fall, rise = (nw1[k] - g_nw[k]) + (se1[k] - g_se[k]), (ne1[k] - g_ne[k]) + (sw1[k] - g_sw[k])
        line[k] = g0[k] + QUARTER * (fall + rise)


@njit(nogil=True, cache=True, error_model="numpy")
def even_green_site_row(c, g, y, s, g_c, x_c, beside, above):
    """Both colours at the green pixels of row y, as in `green_site_row`: green and the mean of four differences."""
    i, up, down = y & 7, (y - 1) & 7, (y + 1) & 7
    m, n = 4, c.shape[1] - 8
    g0, g_n, g_s, g_w, g_e = g[y, m:], g_c[up, m:], g_c[down, m:], g_c[i, m - s :], g_c[i, m + 1 - s :]
    c_n, c_s, c_w, c_e = x_c[up, m:], x_c[down, m:], c[y, m - s :], c[y, m + 1 - s :]
    x_n, x_s, x_w, x_e = c[y - 1, m:], c[y + 1, m:], x_c[i, m - s :], x_c[i, m + 1 - s :]
    line_c, line_x = beside[m:], above[m:]
    for k in range(n):
        gn, gs, gw, ge = g_n[k], g_s[k], g_w[k], g_e[k]
        line_c[k] = g0[k] + QUARTER * (((c_n[k] - gn) + (c_s[k] - gs)) + ((c_w[k] - gw) + (c_e[k] - ge)))
        line_x[k] = g0[k] + QUARTER * (((x_n[k] - gn) + (x_s[k] - gs)) + ((x_w[k] - gw) + (x_e[k] - ge)))


@njit(nogil=True, cache=True, error_model="numpy")
def square_highpass(a3, a2, a1, here, b1, b2, b3):
    """The square of a high-pass along seven pixels in a line: the differences of colour of both sides cancel."""
    v = (a3 - a1) - (b1 - b3) - THREE * (a2 + b2) + SIX * here
    return v * v


@njit(nogil=True, cache=True, error_model="numpy")
def highpass_row(a, b, y, t, vert, flat):
    """Squared high-passes of row y along the column and the row, at the pixels of array a."""
    i, n = y & 7, a.shape[1] - 5
    here, n3, n2, n1 = a[y, 2:], b[y - 3, 2:], a[y - 2, 2:], b[y - 1, 2:]
    s1, s2, s3 = b[y + 1, 2:], a[y + 2, 2:], b[y + 3, 2:]
    w3, w2, w1, e1, e2, e3 = b[y, t:], a[y, 1:], b[y, 1 + t :], b[y, 2 + t :], a[y, 3:], b[y, 3 + t :]
    v, f = vert[i, 2:], flat[i, 2:]
    for k in range(n):
        v[k] = square_highpass(n3[k], n2[k], n1[k], here[k], s1[k], s2[k], s3[k])
        f[k] = square_highpass(w3[k], w2[k], w1[k], here[k], e1[k], e2[k], e3[k])


@njit(nogil=True, cache=True, error_model="numpy")
def diagonal_highpass_row(a, y, t, rising, falling):
    """Squared high-passes of row y along both diagonals, at the red or blue pixels."""
    i, n, here = y & 7, a.shape[1] - 5, a[y, 2:]
    nw3, nw2, nw1 = a[y - 3, t:], a[y - 2, 1:], a[y - 1, 1 + t :]
    ne3, ne2, ne1 = a[y - 3, 3 + t :], a[y - 2, 3:], a[y - 1, 2 + t :]
    sw3, sw2, sw1 = a[y + 3, t:], a[y + 2, 1:], a[y + 1, 1 + t :]
    se3, se2, se1 = a[y + 3, 3 + t :], a[y + 2, 3:], a[y + 1, 2 + t :]
    r, d = rising[i, 2:], falling[i, 2:]
    for k in range(n):
        d[k] = square_highpass(nw3[k], nw2[k], nw1[k], here[k], se1[k], se2[k], se3[k])
        r[k] = square_highpass(ne3[k], ne2[k], ne1[k], here[k], sw1[k], sw2[k], sw3[k])


@njit(nogil=True, cache=True, error_model="numpy")
def lowpass_row(a, b, y, t, low):
    """A 3 x 3 mean over all colours at the red or blue pixels of row y, its weights 1 2 1 both ways."""
    n, s, w, e = b[y - 1, 1:], b[y + 1, 1:], b[y, t:], b[y, 1 + t :]
    nw, ne, sw, se, here = a[y - 1, t:], a[y - 1, 1 + t :], a[y + 1, t:], a[y + 1, 1 + t :], a[y, 1:]
    line = low[y & 7, 1:]
    for k in range(line.size - 1):
        near = (n[k] + s[k]) + (w[k] + e[k])
        corners = (nw[k] + se[k]) + (ne[k] + sw[k])
        line[k] = QUARTER * here[k] + EIGHTH * near + SIXTEENTH * corners


@njit(nogil=True, cache=True, error_model="numpy")
def direction_rows(y, s, vert_c, flat_c, vert_g, flat_g, rising, falling, dir_c, dir_g, dir_d):
    """Where row y is rough along the column (1) or along the row (0), and along the falling (1) or rising diagonal."""
    i, up, down = y & 7, (y - 1) & 7, (y + 1) & 7
    m, n = 3, dir_c.shape[1] - 6
    vc, vu, vd = vert_c[i, m:], vert_g[up, m:], vert_g[down, m:]
    fc, fw, fe = flat_c[i, m:], flat_g[i, m - 1 + s :], flat_g[i, m + s :]
    falls, nw, se = falling[i, m:], falling[up, m - 1 + s :], falling[down, m + s :]
    rises, ne, sw = rising[i, m:], rising[up, m + s :], rising[down, m - 1 + s :]
    out_c, out_d = dir_c[i, m:], dir_d[i, m:]
    for k in range(n):
        v, f = vc[k] + (vu[k] + vd[k]) + EPS, fc[k] + (fw[k] + fe[k]) + EPS
        out_c[k] = v / (v + f)
        p, q = falls[k] + (nw[k] + se[k]) + EPS, rises[k] + (ne[k] + sw[k]) + EPS
        out_d[k] = p / (p + q)
    vg, vu, vd = vert_g[i, m:], vert_c[up, m:], vert_c[down, m:]
    fg, fw, fe = flat_g[i, m:], flat_c[i, m - s :], flat_c[i, m + 1 - s :]
    out_g = dir_g[i, m:]
    for k in range(n):
        v, f = vg[k] + (vu[k] + vd[k]) + EPS, fg[k] + (fw[k] + fe[k]) + EPS
        out_g[k] = v / (v + f)


@njit(nogil=True, cache=True, error_model="numpy")
def direction(here, nw, ne, sw, se):
    """The direction of a pixel or of its four diagonal neighbours, whichever is the more decided."""
    around = QUARTER * ((nw + se) + (ne + sw))
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
    i, up, down, up2, down2 = y & 7, (y - 1) & 7, (y + 1) & 7, (y - 2) & 7, (y + 2) & 7
    m, n = 4, a.shape[1] - 8
    here, n1, n2, n3, n4 = a[y, m:], b[y - 1, m:], a[y - 2, m:], b[y - 3, m:], a[y - 4, m:]
    s1, s2, s3, s4 = b[y + 1, m:], a[y + 2, m:], b[y + 3, m:], a[y + 4, m:]
    w1, w2, w3, w4 = b[y, m - 1 + t :], a[y, m - 1 :], b[y, m - 2 + t :], a[y, m - 2 :]
    e1, e2, e3, e4 = b[y, m + t :], a[y, m + 1 :], b[y, m + 1 + t :], a[y, m + 2 :]
    low0, low_n, low_s, low_w, low_e = low[i, m:], low[up2, m:], low[down2, m:], low[i, m - 1 :], low[i, m + 1 :]
    d0, d_nw, d_ne = dir_c[i, m:], dir_c[up, m - 1 + t :], dir_c[up, m + t :]
    d_sw, d_se, line = dir_c[down, m - 1 + t :], dir_c[down, m + t :], g_c[i, m:]
    for k in range(n):
        p, low_p = here[k], low0[k]
        column, row = EPS + abs(n1[k] - s1[k]), EPS + abs(w1[k] - e1[k])
        grad_n = column + abs(p - n2[k]) + abs(n1[k] - n3[k]) + abs(n2[k] - n4[k])
        grad_s = column + abs(p - s2[k]) + abs(s1[k] - s3[k]) + abs(s2[k] - s4[k])
        grad_w = row + abs(p - w2[k]) + abs(w1[k] - w3[k]) + abs(w2[k] - w4[k])
        grad_e = row + abs(p - e2[k]) + abs(e1[k] - e3[k]) + abs(e2[k] - e4[k])
        v = between(carry(n1[k], low_p, low_n[k]), grad_n, carry(s1[k], low_p, low_s[k]), grad_s)
        h = between(carry(w1[k], low_p, low_w[k]), grad_w, carry(e1[k], low_p, low_e[k]), grad_e)
        line[k] = v + direction(d0[k], d_nw[k], d_ne[k], d_sw[k], d_se[k]) * (h - v)


@njit(nogil=True, cache=True, error_model="numpy")
def other_row(a, y, t, dir_d, g_c, x_c):
    """Blue at the red pixels of row y, or red at its blue ones, from the diagonal neighbours."""
    i, up, down, up2, down2 = y & 7, (y - 1) & 7, (y + 1) & 7, (y - 2) & 7, (y + 2) & 7
    m, n = 5, a.shape[1] - 10
    nw1, ne1, sw1, se1 = a[y - 1, m - 1 + t :], a[y - 1, m + t :], a[y + 1, m - 1 + t :], a[y + 1, m + t :]
    nw3, ne3, sw3, se3 = a[y - 3, m - 2 + t :], a[y - 3, m + 1 + t :], a[y + 3, m - 2 + t :], a[y + 3, m + 1 + t :]
    g0, g_nw2, g_ne2, g_sw2 = g_c[i, m:], g_c[up2, m - 1 :], g_c[up2, m + 1 :], g_c[down2, m - 1 :]
    g_se2 = g_c[down2, m + 1 :]
    g_nw, g_ne, g_sw, g_se = g_c[up, m - 1 + t :], g_c[up, m + t :], g_c[down, m - 1 + t :], g_c[down, m + t :]
    d0, d_nw, d_ne = dir_d[i, m:], dir_d[up, m - 1 + t :], dir_d[up, m + t :]
    d_sw, d_se, line = dir_d[down, m - 1 + t :], dir_d[down, m + t :], x_c[i, m:]
    for k in range(n):
        g = g0[k]
        fall, rise = EPS + abs(nw1[k] - se1[k]), EPS + abs(ne1[k] - sw1[k])
        grad_nw = fall + abs(nw1[k] - nw3[k]) + abs(g - g_nw2[k])
        grad_se = fall + abs(se1[k] - se3[k]) + abs(g - g_se2[k])
        grad_ne = rise + abs(ne1[k] - ne3[k]) + abs(g - g_ne2[k])
        grad_sw = rise + abs(sw1[k] - sw3[k]) + abs(g - g_sw2[k])
        p = between(nw1[k] - g_nw[k], grad_nw, se1[k] - g_se[k], grad_se)
        q = between(ne1[k] - g_ne[k], grad_ne, sw1[k] - g_sw[k], grad_sw)
        line[k] = g + (p + direction(d0[k], d_nw[k], d_ne[k], d_sw[k], d_se[k]) * (q - p))


@njit(nogil=True, cache=True, error_model="numpy")
def green_site_row(c, g, y, s, dir_g, g_c, x_c, beside, above):
    """Both colours at the green pixels of row y: `beside` is that of the row, `above` that of the rows next to it."""
    i, up, down, up3, down3 = y & 7, (y - 1) & 7, (y + 1) & 7, (y - 3) & 7, (y + 3) & 7
    m, n = HALO // 2, c.shape[1] - HALO
    g0, n2, s2, w2, e2 = g[y, m:], g[y - 2, m:], g[y + 2, m:], g[y, m - 1 :], g[y, m + 1 :]
    d0, d_nw, d_ne = dir_g[i, m:], dir_g[up, m - s :], dir_g[up, m + 1 - s :]
    d_sw, d_se = dir_g[down, m - s :], dir_g[down, m + 1 - s :]
    g_n, g_s, g_w, g_e = g_c[up, m:], g_c[down, m:], g_c[i, m - s :], g_c[i, m + 1 - s :]
    for turn in range(2):
        if turn == 0:
            n1, s1, n3, s3 = x_c[up, m:], x_c[down, m:], x_c[up3, m:], x_c[down3, m:]
            w1, e1, w3, e3 = c[y, m - s :], c[y, m + 1 - s :], c[y, m - 1 - s :], c[y, m + 2 - s :]
        else:
            n1, s1, n3, s3 = c[y - 1, m:], c[y + 1, m:], c[y - 3, m:], c[y + 3, m:]
            w1, e1, w3, e3 = x_c[i, m - s :], x_c[i, m + 1 - s :], x_c[i, m - 1 - s :], x_c[i, m + 2 - s :]
        line = beside[m:] if turn == 0 else above[m:]
        for k in range(n):
            p = g0[k]
            column, row = EPS + abs(n1[k] - s1[k]), EPS + abs(w1[k] - e1[k])
            grad_n, grad_s = column + abs(p - n2[k]) + abs(n1[k] - n3[k]), column + abs(p - s2[k]) + abs(s1[k] - s3[k])
            grad_w, grad_e = row + abs(p - w2[k]) + abs(w1[k] - w3[k]), row + abs(p - e2[k]) + abs(e1[k] - e3[k])
            v = between(n1[k] - g_n[k], grad_n, s1[k] - g_s[k], grad_s)
            h = between(w1[k] - g_w[k], grad_w, e1[k] - g_e[k], grad_e)
            line[k] = p + (v + direction(d0[k], d_nw[k], d_ne[k], d_sw[k], d_se[k]) * (h - v))
