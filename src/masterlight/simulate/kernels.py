"""Making frames instead of reading them: stars integrated over pixels, and the noise of a camera."""

import math

import numpy as np

from masterlight.compiled import njit

STEP = 8
"""Pixels between two nodes of a smooth background grid."""

NODES_3 = np.array([-0.3872983346207417, 0.0, 0.3872983346207417])
WEIGHTS_3 = np.array([0.2777777777777778, 0.4444444444444444, 0.2777777777777778])
NODES_5 = np.array([-0.4530899229693320, -0.2692346550528416, 0.0, 0.2692346550528416, 0.4530899229693320])
WEIGHTS_5 = np.array(
    [0.1184634425280945, 0.2393143352496832, 0.2844444444444444, 0.2393143352496832, 0.1184634425280945]
)


@njit(nogil=True, cache=True)
def render_stars(out, x, y, flux, along, across, angle_rad, beta, floor):
    """Add Moffat (1969) stars to an image, each integrated over the pixels it covers.

    out (rows, cols) float32 is added to; x, y (n) pixel positions, flux (n) total flux in the unit of
    `out`; along, across: the Moffat radii alpha of the two axes in pixels, the first turned by angle_rad
    from the x axis. Stars end where their surface brightness falls under `floor` per pixel.
    Near the core by Gauss-Legendre points, further out by the centre of the pixel and its curvature there.
    """
    rows, cols = out.shape
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    wide = max(along, across)
    for k in range(x.size):
        peak = flux[k] * (beta - 1.0) / (math.pi * along * across)
        reach = wide * math.sqrt(max((max(peak / floor, 1.0)) ** (1.0 / beta) - 1.0, 0.0)) + 1.0
        for i in range(max(0, math.ceil(y[k] - reach)), min(rows, math.floor(y[k] + reach) + 1)):
            for j in range(max(0, math.ceil(x[k] - reach)), min(cols, math.floor(x[k] + reach) + 1)):
                dx, dy = j - x[k], i - y[k]
                r2 = dx * dx + dy * dy
                if r2 > reach * reach:
                    continue
                if r2 < across * across:
                    nodes, weights = NODES_5, WEIGHTS_5
                elif r2 < 4.0 * across * across:
                    nodes, weights = NODES_3, WEIGHTS_3
                else:
                    p, q = (c * dx + s * dy) / along, (c * dy - s * dx) / across
                    t = 1.0 / (1.0 + p * p + q * q)
                    bend = (2.0 * (beta + 1.0) * p * p * t - 1.0) / along**2
                    bend += (2.0 * (beta + 1.0) * q * q * t - 1.0) / across**2
                    out[i, j] += peak * math.exp(beta * math.log(t)) * (1.0 + beta / 12.0 * t * bend)
                    continue
                total = 0.0
                for m in range(nodes.size):
                    for n in range(nodes.size):
                        u, v = dx + nodes[n], dy + nodes[m]
                        p, q = (c * u + s * v) / along, (c * v - s * u) / across
                        total += weights[m] * weights[n] * math.exp(-beta * math.log(1.0 + p * p + q * q))
                out[i, j] += peak * total


@njit(nogil=True, cache=True, inline="always")
def scramble(z):
    """Sixty-four well-mixed bits from any 64-bit number (splitmix64: Steele, Lea and Flood 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(nogil=True, cache=True, inline="always")
def normal(u):
    """The standard normal quantile of a probability 0 < u < 1, to about 1e-6 within 5 sigma (Giles 2010)."""
    t = 2.0 * u - 1.0
    w = -math.log((1.0 - t) * (1.0 + t))
    if w < 5.0:
        w -= 2.5
        p = 3.43273939e-07 + 2.81022636e-08 * w
        p = -4.39150654e-06 + (-3.5233877e-06 + p * w) * w
        p = -0.00125372503 + (0.00021858087 + p * w) * w
        p = 0.246640727 + (-0.00417768164 + p * w) * w
        p = 1.50140941 + p * w
    else:
        w = math.sqrt(w) - 3.0
        p = 0.000100950558 + -0.000200214257 * w
        p = -0.00367342844 + (0.00134934322 + p * w) * w
        p = -0.0076224613 + (0.00573950773 + p * w) * w
        p = 1.00167406 + (0.00943887047 + p * w) * w
        p = 2.83297682 + p * w
    return 1.4142135623730951 * p * t


@njit(nogil=True, cache=True, inline="always")
def poisson(mean, u):
    """The Poisson quantile of a probability u, for means under about 100, by adding up from zero."""
    p = math.exp(-mean)
    total, n = p, 0
    while u > total and n < 400:
        n += 1
        p *= mean / n
        total += p
    return n


@njit(nogil=True, cache=True)
def upsample_row(grid, row, out):
    """One row of a smooth image from its grid of nodes, by cubic convolution (Keys 1981).

    grid (rows // STEP + 4, cols // STEP + 4) has node [k, l] at x = (l - 1) STEP, y = (k - 1) STEP;
    out (cols) is filled.
    """
    weights = np.empty((STEP, 4))
    for phase in range(STEP):
        t = phase / STEP
        weights[phase, 0] = ((-0.5 * t + 1.0) * t - 0.5) * t
        weights[phase, 1] = (1.5 * t - 2.5) * t * t + 1.0
        weights[phase, 2] = ((-1.5 * t + 2.0) * t + 0.5) * t
        weights[phase, 3] = (0.5 * t - 0.5) * t * t
    k, w = row // STEP, weights[row % STEP]
    line = w[0] * grid[k] + w[1] * grid[k + 1] + w[2] * grid[k + 2] + w[3] * grid[k + 3]
    for x in range(out.size):
        l, w = x // STEP, weights[x % STEP]
        out[x] = w[0] * line[l] + w[1] * line[l + 1] + w[2] * line[l + 2] + w[3] * line[l + 3]


@njit(nogil=True, cache=True)
def expose(
    light_e, smooth_e, tile, flat, dark_e, level_dn, read_noise_e, gain_e_per_dn, lsb_dn, saturation_dn, key, out
):
    """Read out a camera: light through the flat, dark charge, shot noise, read noise, gain, bias, 16 bits.

    light_e (rows, cols) float32 charge of stars; smooth_e (colours, ...) grids for `upsample_row`, the sky in each
    colour; tile (p, p) which of them each pixel sees; flat (rows, cols) float32; dark_e (rows, cols) float32 charge;
    level_dn (rows or 1, width) float32 bias level; out (rows, width) uint16 is filled with multiples of lsb_dn: what
    is right of `cols` is overscan. The noise depends on `key` and the pixel alone. Above 50 electrons shot noise is
    normal.
    """
    rows, width = out.shape
    cols, colours, side = light_e.shape[1], smooth_e.shape[0], tile.shape[0]
    smooth, sky = np.empty((colours, cols)), np.empty(cols)
    step = np.uint64(0x9E3779B97F4A7C15)
    per_lsb = 1.0 / lsb_dn
    for y in range(rows):
        level = level_dn[min(y, level_dn.shape[0] - 1)]
        for c in range(colours):
            upsample_row(smooth_e[c], y, smooth[c] if colours > 1 else sky)
        for x in range(cols if colours > 1 else 0):
            sky[x] = smooth[tile[y % side, x % side], x]
        for x in range(width):
            bits = scramble(key + step * np.uint64(y * width + x + 1))
            z = normal(((bits >> np.uint64(32)) + 0.5) * 2.0**-32)
            mean = (sky[x] + light_e[y, x]) * flat[y, x] + dark_e[y, x] if x < cols else 0.0
            if mean > 50.0:
                charge = mean + z * math.sqrt(mean + read_noise_e * read_noise_e)
            else:
                charge = poisson(mean, ((bits & np.uint64(0xFFFFFFFF)) + 0.5) * 2.0**-32) + z * read_noise_e
            value = math.floor((charge / gain_e_per_dn + level[x]) * per_lsb + 0.5) * lsb_dn
            out[y, x] = np.uint16(min(max(value, 0.0), saturation_dn))
