"""The slow, obvious twins of masterlight.simulate.kernels."""

import numpy as np
from scipy import special, stats

STEP = 8


def render_stars(out, x, y, flux, along, across, angle_rad, beta, floor):
    """Every star on every pixel, each pixel integrated at 12 x 12 Gauss-Legendre points; no star ends anywhere."""
    nodes, weights = np.polynomial.legendre.leggauss(12)
    yy = (np.arange(out.shape[0])[:, None] + nodes / 2).ravel()[:, None]
    xx = (np.arange(out.shape[1])[:, None] + nodes / 2).ravel()[None, :]
    for x0, y0, f in zip(x, y, flux, strict=True):
        p = (np.cos(angle_rad) * (xx - x0) + np.sin(angle_rad) * (yy - y0)) / along
        q = (np.cos(angle_rad) * (yy - y0) - np.sin(angle_rad) * (xx - x0)) / across
        star = f * (beta - 1) / (np.pi * along * across) * (1 + p * p + q * q) ** -beta
        points = star.reshape(out.shape[0], 12, out.shape[1], 12)
        out += np.einsum("iajb,a,b->ij", points, weights / 2, weights / 2)


def upsample_row(grid, row, out):
    """Keys' kernel written as he did, summed over the sixteen nodes around each pixel."""

    def keys(t):
        t = abs(t)
        return np.where(t <= 1, (1.5 * t - 2.5) * t * t + 1, np.where(t < 2, ((-0.5 * t + 2.5) * t - 4) * t + 2, 0.0))

    nodes_y, nodes_x = ((np.arange(n) - 1) * STEP for n in grid.shape)
    for x in range(out.size):
        out[x] = keys((row - nodes_y) / STEP) @ grid @ keys((x - nodes_x) / STEP)


def normal(u):
    """The quantile, from scipy."""
    return np.sqrt(2) * special.erfinv(2 * u - 1)


def poisson(mean, u):
    """The quantile, from scipy."""
    return stats.poisson.ppf(u, mean)


def scramble(z):
    """splitmix64's finaliser, in Python's own integers."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
    return z ^ (z >> 31)


def expose(
    light_e, smooth_e, tile, flat, dark_e, level_dn, read_noise_e, gain_e_per_dn, lsb_dn, saturation_dn, key, out
):
    """One pixel after the other, one random number for the shot noise and one for the read noise or both."""
    rows, cols = light_e.shape
    sky = np.empty((len(smooth_e), cols))
    for y, x in np.ndindex(out.shape):
        mean = 0.0
        if x < cols:
            for grid, line in zip(smooth_e, sky, strict=True):
                upsample_row(grid, y, line)
            colour = tile[y % len(tile), x % len(tile)]
            mean = (sky[colour, x] + light_e[y, x]) * flat[y, x] + dark_e[y, x]
        bits = scramble((int(key) + 0x9E3779B97F4A7C15 * (y * out.shape[1] + x + 1)) % 2**64)
        z, u = normal(((bits >> 32) + 0.5) / 2**32), ((bits & 0xFFFFFFFF) + 0.5) / 2**32
        bright = mean > 50
        charge = mean + z * np.sqrt(mean + read_noise_e**2) if bright else poisson(mean, u) + z * read_noise_e
        value = charge / gain_e_per_dn + np.broadcast_to(level_dn, out.shape)[y, x]
        out[y, x] = np.clip(np.floor(value / lsb_dn + 0.5) * lsb_dn, 0, saturation_dn)
