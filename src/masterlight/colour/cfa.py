"""Mosaics of a colour sensor: their missing pixels, super-pixels, and the interpolations that are short.

A Bayer mosaic is held as two half-width arrays: `c`, its red or blue pixels, and `g`, its green ones. Pixel k of row y
of `c` stands in column 2 k + s, of `g` in column 2 k + 1 - s, where s = (s0 + y) % 2. So every neighbour is found by a
constant shift, whatever the pattern: for a pixel of array `a` (t = s for c, 1 - s for g) and the other array `b`,

    a[y-2, k]                       b[y-2, k-1+t]  b[y-2, k+t]                  (rows y+1, y+2 alike)
    a[y-1, k-1+t]  a[y-1, k+t]      b[y-1, k-1]    b[y-1, k]    b[y-1, k+1]
    a[y, k-1]      a[y, k+1]        b[y, k-1+t]    b[y, k+t]

Rows are never indexed beyond the halo that each interpolation tells; results go to `out` (3, h, w), whose first pixel
is row `halo`, column `halo` of the mosaic. No flag of fastmath: a box is equal to the whole bit for bit.
"""

import numpy as np

from masterlight.compiled import njit

EIGHTH = np.float32(0.125)
QUARTER = np.float32(0.25)
HALF = np.float32(0.5)
SIX_QUARTERS = np.float32(1.5)
TWO = np.float32(2)
FOUR = np.float32(4)
FIVE = np.float32(5)
SIX = np.float32(6)
TINY = np.float32(1e-10)
STEP = np.uint64(1)
"""To the next pixel: indices without a sign need no look whether they count from the end, and loops stay fast."""


@njit(nogil=True, cache=True, error_model="numpy")
def fill_missing(image, codes, y0, x0, radius, out):
    """Copy a mosaic and give each NaN the mean of its nearest same-colour pixels; returns how many had none.

    image, out (rows, cols) float32; codes (n, n) uint8 holds the colour of each pixel of the pattern at the frame's
    origin, and (y0, x0) is where the image begins. The square around a NaN grows until it holds a finite pixel of its
    colour, at most to `radius`; a NaN without any becomes 0.
    """
    rows, cols = image.shape
    n, without = codes.shape[0], 0
    for y in range(rows):
        for x in range(cols):
            out[y, x] = image[y, x]
            if image[y, x] == image[y, x]:
                continue
            colour = codes[(y0 + y) % n, (x0 + x) % n]
            total, count, r = 0.0, 0, 0
            while count == 0 and r < radius:
                r += 1
                for j in range(max(0, y - r), min(rows, y + r + 1)):
                    for i in range(max(0, x - r), min(cols, x + r + 1)):
                        if codes[(y0 + j) % n, (x0 + i) % n] == colour and image[j, i] == image[j, i]:
                            total += np.float64(image[j, i])
                            count += 1
            out[y, x] = total / count if count else 0.0
            without += count == 0
    return without


@njit(nogil=True, cache=True, error_model="numpy")
def blank_unknown(image, codes, y0, x0, top, left, radius, out):
    """Make NaN what no pixel tells: a colour of `out` (3, h, w) without any finite sample within `radius`.

    image, codes, y0, x0 as in `fill_missing`; the first pixel of `out` is row `top`, column `left` of the image.
    """
    n = codes.shape[0]
    for y in range(out.shape[1]):
        for x in range(out.shape[2]):
            known = 0
            for j in range(max(0, top + y - radius), min(image.shape[0], top + y + radius + 1)):
                for i in range(max(0, left + x - radius), min(image.shape[1], left + x + radius + 1)):
                    if image[j, i] == image[j, i]:
                        known |= 1 << codes[(y0 + j) % n, (x0 + i) % n]
            for p in range(3):
                if not known >> p & 1:
                    out[p, y, x] = np.nan


@njit(nogil=True, cache=True, error_model="numpy")
def superpixel(image, red_y, red_x, out):
    """Each 2 x 2 square of a Bayer mosaic as one pixel: red, the mean of the greens, blue. Nothing is interpolated.

    image (2 h, 2 w) float32 with its first red pixel at (red_y, red_x); out (3, h, w). One green counts alone where
    the other is NaN; where a colour is missing, all three are NaN.
    """
    for y in range(out.shape[1]):
        red, blue = image[2 * y + red_y], image[2 * y + 1 - red_y]
        r, g, b = out[0, y], out[1, y], out[2, y]
        for x in range(out.shape[2]):
            g1, g2 = red[2 * x + 1 - red_x], blue[2 * x + red_x]
            g1, g2 = (g1 if g1 == g1 else g2), (g2 if g2 == g2 else g1)
            both = red[2 * x + red_x] + blue[2 * x + 1 - red_x] + g1
            lost = both - both
            r[x] = red[2 * x + red_x] + lost
            b[x] = blue[2 * x + 1 - red_x] + lost
            g[x] = HALF * (g1 + g2) + lost


@njit(nogil=True, cache=True, error_model="numpy")
def superpixel_cells(image, codes, size, out):
    """Each square of `size` pixels as one: the mean of the finite samples of each colour; for any pattern.

    image (size h, size w) float32; codes (n, n) uint8 from its first pixel on; out (3, h, w), NaN where one is missing.
    """
    n = codes.shape[0]
    for y in range(out.shape[1]):
        for x in range(out.shape[2]):
            total, count = np.zeros(3), np.zeros(3)
            for j in range(size * y, size * y + size):
                for i in range(size * x, size * x + size):
                    if image[j, i] == image[j, i]:
                        colour = codes[j % n, i % n]
                        total[colour] += np.float64(image[j, i])
                        count[colour] += 1
            for p in range(3):
                out[p, y, x] = total[p] / count[p] if count.min() else np.nan


@njit(nogil=True, cache=True, error_model="numpy")
def split(image, rows, cols, s0, c, g):
    """Part a Bayer mosaic into its red and blue pixels and its green ones, both (len(rows), len(cols) / 2).

    image (any) float32; rows, cols tell which row and column of it each one of the parted mosaic is.
    """
    for y in range(rows.size):
        line, a, b = image[rows[y]], c[y], g[y]
        s = (s0 + y) & 1
        for k in range(a.size):
            a[k] = line[cols[2 * k + s]]
            b[k] = line[cols[2 * k + 1 - s]]


@njit(nogil=True, cache=True, error_model="numpy")
def weave(line, at_c, at_g, s):
    """Set a row of the result from its pixels at red or blue sites and at green sites, which take turns."""
    first, second = (at_g, at_c) if s else (at_c, at_g)
    half = line.size // 2
    for k in range(half):
        line[2 * k] = first[k]
        line[2 * k + 1] = second[k]
    if line.size & 1:
        line[2 * half] = first[half]


@njit(nogil=True, cache=True, error_model="numpy")
def weave_row(out, y, red, s, c, g, g_c, x_c, c_g, x_g):
    """Set one row of all three planes: c, g measured; g_c, x_c green and the other colour at red or blue sites;
    c_g, x_g this row's colour and the other at green sites."""
    own, other = (0, 2) if red else (2, 0)
    weave(out[own, y], c, c_g, s)
    weave(out[1, y], g_c, g, s)
    weave(out[other, y], x_c, x_g, s)


@njit(nogil=True, cache=True, error_model="numpy")
def interpolate(method, c, g, s0, red0, halo, out):
    """Fill `out` by bilinear interpolation (method 0), Malvar-He-Cutler (1) or VNG (2); `halo` even, at least 4.

    c, g as in the head of this file; red0 tells whether row 0 holds red (1) or blue (0) pixels.
    """
    rows, m = np.empty((4, (out.shape[2] + 1) // 2), np.float32), halo // 2
    g_c, x_c, c_g, x_g = rows[0], rows[1], rows[2], rows[3]
    for y in range(out.shape[1]):
        row = y + halo
        s = (s0 + row) & 1
        if method == 0:
            bilinear_row(c, g, row, s, m, g_c, x_c)
            bilinear_green_row(g, c, row, 1 - s, m, c_g, x_g)
        elif method == 1:
            mhc_row(c, g, row, s, m, g_c, x_c)
            mhc_green_row(g, c, row, 1 - s, m, c_g, x_g)
        else:
            vng_row(c, g, row, s, m, g_c, x_c)
            vng_green_row(g, c, row, 1 - s, m, c_g, x_g)
        weave_row(out, y, (red0 + row) & 1, s, c[row, m:], g[row, m:], g_c, x_c, c_g, x_g)


@njit(nogil=True, cache=True, error_model="numpy")
def bilinear_row(a, b, y, t, m, green, other):
    """Green and the other colour at the red or blue pixels of row y: means of 4 neighbours."""
    n, s, w, e = b[y - 1, m:], b[y + 1, m:], b[y, m - 1 + t :], b[y, m + t :]
    nw, ne, sw, se = a[y - 1, m - 1 + t :], a[y - 1, m + t :], a[y + 1, m - 1 + t :], a[y + 1, m + t :]
    for k in range(green.size):
        green[k] = QUARTER * ((n[k] + s[k]) + (w[k] + e[k]))
        other[k] = QUARTER * ((nw[k] + se[k]) + (ne[k] + sw[k]))


@njit(nogil=True, cache=True, error_model="numpy")
def bilinear_green_row(a, b, y, t, m, beside, above):
    """Colours at the green pixels of row y: that of the row and that of the rows above and below; means of 2."""
    n, s, w, e = b[y - 1, m:], b[y + 1, m:], b[y, m - 1 + t :], b[y, m + t :]
    for k in range(beside.size):
        beside[k] = HALF * (w[k] + e[k])
        above[k] = HALF * (n[k] + s[k])


@njit(nogil=True, cache=True, error_model="numpy")
def mhc_row(a, b, y, t, m, green, other):
    """Green and the other colour at red or blue pixels, linear and gradient-corrected (Malvar, He & Cutler 2004)."""
    n, s, w, e = b[y - 1, m:], b[y + 1, m:], b[y, m - 1 + t :], b[y, m + t :]
    nw, ne, sw, se = a[y - 1, m - 1 + t :], a[y - 1, m + t :], a[y + 1, m - 1 + t :], a[y + 1, m + t :]
    here, n2, s2, w2, e2 = a[y, m:], a[y - 2, m:], a[y + 2, m:], a[y, m - 1 :], a[y, m + 1 :]
    for k in range(green.size):
        far = (n2[k] + s2[k]) + (w2[k] + e2[k])
        near = (n[k] + s[k]) + (w[k] + e[k])
        corners = (nw[k] + se[k]) + (ne[k] + sw[k])
        green[k] = EIGHTH * (FOUR * here[k] + TWO * near - far)
        other[k] = EIGHTH * (SIX * here[k] + TWO * corners - SIX_QUARTERS * far)


@njit(nogil=True, cache=True, error_model="numpy")
def mhc_green_row(a, b, y, t, m, beside, above):
    """Colours at green pixels: that of the row and that of the rows above and below (Malvar, He & Cutler 2004)."""
    n, s, w, e = b[y - 1, m:], b[y + 1, m:], b[y, m - 1 + t :], b[y, m + t :]
    nw, ne, sw, se = a[y - 1, m - 1 + t :], a[y - 1, m + t :], a[y + 1, m - 1 + t :], a[y + 1, m + t :]
    here, n2, s2, w2, e2 = a[y, m:], a[y - 2, m:], a[y + 2, m:], a[y, m - 1 :], a[y, m + 1 :]
    for k in range(beside.size):
        middle = FIVE * here[k] - ((nw[k] + se[k]) + (ne[k] + sw[k]))
        tall, wide = n2[k] + s2[k], w2[k] + e2[k]
        beside[k] = EIGHTH * (middle + FOUR * (w[k] + e[k]) - wide + HALF * tall)
        above[k] = EIGHTH * (middle + FOUR * (n[k] + s[k]) - tall + HALF * wide)


@njit(nogil=True, cache=True, error_model="numpy")
def straight(p1, m1, p2, here, p1a, m1a, p1b, m1b, p2a, p0a, p2b, p0b):
    """VNG's gradient towards a side: the line through the pixel, and half of the lines a and b beside it."""
    sides = abs(p1a - m1a) + abs(p1b - m1b) + (abs(p2a - p0a) + abs(p2b - p0b))
    return abs(p1 - m1) + abs(p2 - here) + HALF * sides


@njit(inline="always", error_model="numpy")
def neighbourhood(a, b, y, t, k):
    """The 25 pixels about pixel k of row y of array a, from the north down and west to east; t and k without sign."""
    w, e, u, v = k - STEP, k + STEP, k + t - STEP, k + t
    return (
        a[y - 2, w], a[y - 2, k], a[y - 2, e], b[y - 2, u], b[y - 2, v],
        b[y - 1, w], b[y - 1, k], b[y - 1, e], a[y - 1, u], a[y - 1, v],
        a[y, w], a[y, k], a[y, e], b[y, u], b[y, v],
        b[y + 1, w], b[y + 1, k], b[y + 1, e], a[y + 1, u], a[y + 1, v],
        a[y + 2, w], a[y + 2, k], a[y + 2, e], b[y + 2, u], b[y + 2, v],
    )  # fmt: skip


@njit(inline="always", error_model="numpy")
def open_sides(near, gnw, gne, gsw, gse):
    """Which directions VNG takes, those with a gradient up to 1.5 least + 0.5 (greatest - least), and how many.

    near: the pixel's neighbourhood of 25; the gradients towards the corners, which depend on its colour, are given.
    """
    _, n2, _, n1w, n1e, nww, n, nee, nw, ne, w2, p, e2, w, e, sww, s, see, sw, se, _, s2, _, s1w, s1e = near
    gn = straight(n, s, n2, p, nw, sw, ne, se, n1w, w, n1e, e)
    gs = straight(s, n, s2, p, sw, nw, se, ne, s1w, w, s1e, e)
    gw = straight(w, e, w2, p, nw, ne, sw, se, nww, n, sww, s)
    ge = straight(e, w, e2, p, ne, nw, se, sw, nee, n, see, s)
    least = min(min(min(gn, gs), min(gw, ge)), min(min(gnw, gne), min(gsw, gse)))
    most = max(max(max(gn, gs), max(gw, ge)), max(max(gnw, gne), max(gsw, gse)))
    limit = SIX_QUARTERS * least + HALF * (most - least) + TINY
    on, os, ow, oe = gn <= limit, gs <= limit, gw <= limit, ge <= limit
    onw, one, osw, ose = gnw <= limit, gne <= limit, gsw <= limit, gse <= limit
    return on, os, ow, oe, onw, one, osw, ose, np.float32(on + os + ow + oe + onw + one + osw + ose)


@njit(nogil=True, cache=True, error_model="numpy")
def pair(a, with_a, b, with_b):
    """The sum of two values, of those that count."""
    return (a if with_a else np.float32(0)) + (b if with_b else np.float32(0))


@njit(nogil=True, cache=True, error_model="numpy")
def vng_row(a, b, y, t, m, green, other):
    """Green and the other colour at red or blue pixels by variable number of gradients (Chang, Cheung & Pang 1999)."""
    for k in range(green.size):
        near = neighbourhood(a, b, y, np.uint64(t), np.uint64(m) + np.uint64(k))
        n2w, n2, n2e, n1w, n1e, nww, n, nee, nw, ne, w2, p, e2, w, e, sww, s, see, sw, se, s2w, s2, s2e, s1w, s1e = near
        fall, rise = abs(nw - se), abs(ne - sw)
        across = abs(n - w) + abs(e - s)
        gne = rise + abs(n2e - p) + HALF * (across + (abs(n1e - n) + abs(nee - e)))
        gsw = rise + abs(s2w - p) + HALF * (across + (abs(s1w - s) + abs(sww - w)))
        across = abs(n - e) + abs(w - s)
        gnw = fall + abs(n2w - p) + HALF * (across + (abs(n1w - n) + abs(nww - w)))
        gse = fall + abs(s2e - p) + HALF * (across + (abs(s1e - s) + abs(see - e)))
        on, os, ow, oe, onw, one, osw, ose, count = open_sides(near, gnw, gne, gsw, gse)
        ends = pair(n2 - p, on, s2 - p, os) + pair(w2 - p, ow, e2 - p, oe)
        own = HALF * (ends + pair(n2w - p, onw, s2e - p, ose) + pair(n2e - p, one, s2w - p, osw))
        straights = pair(n, on, s, os) + pair(w, ow, e, oe)
        corners = pair(nw, onw, se, ose) + pair(ne, one, sw, osw)
        fours = (n1w + nww) + (n + w), (n1e + nee) + (n + e), (s1w + sww) + (s + w), (s1e + see) + (s + e)
        between = pair(fours[0], onw, fours[3], ose) + pair(fours[1], one, fours[2], osw)
        beside = pair(nw + ne, on, sw + se, os) + pair(nw + sw, ow, ne + se, oe)
        green[k] = (straights + QUARTER * between - own) / count
        other[k] = (corners + HALF * beside - own) / count


@njit(nogil=True, cache=True, error_model="numpy")
def vng_green_row(a, b, y, t, m, beside, above):
    """Both colours at green pixels by variable number of gradients (Chang, Cheung & Pang 1999)."""
    for k in range(beside.size):
        near = neighbourhood(a, b, y, np.uint64(t), np.uint64(m) + np.uint64(k))
        n2w, n2, n2e, n1w, n1e, nww, n, nee, nw, ne, w2, p, e2, w, e, sww, s, see, sw, se, s2w, s2, s2e, s1w, s1e = near
        fall, rise = abs(nw - se), abs(ne - sw)
        gne = rise + abs(n2e - p) + (abs(n1e - w) + abs(nee - s))
        gsw = rise + abs(s2w - p) + (abs(s1w - e) + abs(sww - n))
        gnw = fall + abs(n2w - p) + (abs(n1w - e) + abs(nww - s))
        gse = fall + abs(s2e - p) + (abs(s1e - w) + abs(see - n))
        on, os, ow, oe, onw, one, osw, ose, count = open_sides(near, gnw, gne, gsw, gse)
        corners = pair(nw - p, onw, se - p, ose) + pair(ne - p, one, sw - p, osw)
        own = HALF * (pair(n2 - p, on, s2 - p, os) + pair(w2 - p, ow, e2 - p, oe)) + corners
        halves = pair(n1w + w, onw, s1e + e, ose) + pair(n1e + e, one, s1w + w, osw)
        sides = pair(w, ow, e, oe) + HALF * halves
        halves = pair(nww + n, onw, see + s, ose) + pair(nee + n, one, sww + s, osw)
        ends = pair(n, on, s, os) + HALF * halves
        sides += QUARTER * pair((n1w + n1e) + (w + e), on, (s1w + s1e) + (w + e), os)
        ends += QUARTER * pair((nww + sww) + (n + s), ow, (nee + see) + (n + s), oe)
        beside[k] = (sides - own) / count
        above[k] = (ends - own) / count
