"""The slow, obvious twins of masterlight.kernels.synthesis."""

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
