"""Fit stars by an elliptical Moffat or Gaussian profile, integrated over each pixel."""

import numpy as np

from masterlight.compiled import njit
from masterlight.core.statistics.noise import SAFE
from masterlight.subframes.stars.sharp import alone

ENTRIES = 2048
"""Intervals of the profile table; linear interpolation is then true to 1e-6 of the peak."""
GAUSS = 0.5 / 3.0**0.5
"""Offset of the two Gauss-Legendre nodes of a pixel: four of them integrate a cubic profile exactly."""
ALONE, CORE_PX2 = 8.0, 1.5
"""Height over the noise from which pixels are looked at that stand alone, and the square of the radius in which one is
the candidate itself."""
X, Y, PEAK, LEVEL, A, B, C, CHI2, PIXELS, VAR_X, VAR_Y, VAR_SHAPE, SNR, RESIDUAL, VAR_PEAK, STEPS = range(16)
"""Columns of a fit; the profile is PEAK * P(A dx^2 + 2 C dx dy + B dy^2) + LEVEL."""


def profile(beta=None):
    """The table of a round profile and of its slope: (2, ENTRIES + 2) at even steps of w = 1 / (1 + rho).

    Moffat (1969): P = (1 + rho) ** -beta; beta None: Gaussian, P = exp(-rho). Fits look it up, so they cost the
    same whatever the profile.
    """
    w = np.linspace(0.0, 1.0, ENTRIES + 1)
    if beta is None:
        values = np.exp(1.0 - 1.0 / np.maximum(w, 1e-3))
        slopes = -values
    else:
        values = w**beta
        slopes = -beta * w * values
    return np.pad(np.stack([values, slopes]), ((0, 0), (0, 1)), mode="edge")


def half_rho(beta=None):
    """rho at which the profile has fallen to one half."""
    return np.log(2.0) if beta is None else 2.0 ** (1.0 / beta) - 1.0


@njit(nogil=True, cache=True)
def gather(image, x, y, radius, saturation, near, level, noise, dx, dy, value):
    """Collect the finite, unsaturated pixels of a disc as offsets from its rounded centre; returns their count.

    Pixels that lie nearer to a neighbour, a row of `near` (m, 2), than to the star are left to the neighbour; hot
    pixels and rays, `ALONE` times the noise above the level, to nobody, and one in its core makes it no star: 0.
    """
    ix, iy, n = int(round(x)), int(round(y)), 0
    reach = int(radius)
    for j in range(max(0, iy - reach), min(image.shape[0], iy + reach + 1)):
        for i in range(max(0, ix - reach), min(image.shape[1], ix + reach + 1)):
            v = image[j, i]
            if (i - ix) ** 2 + (j - iy) ** 2 > radius * radius or not abs(v) < saturation or n == dx.size:
                continue
            own, others = (i - x) ** 2 + (j - y) ** 2, np.inf
            for k in range(near.shape[0]):
                others = min(others, (i - near[k, 0]) ** 2 + (j - near[k, 1]) ** 2)
            if v - level > ALONE * noise and alone(image, i, j, level, noise):
                if own < CORE_PX2:
                    return 0
            elif own <= others:
                dx[n], dy[n], value[n] = i - ix, j - iy, v
                n += 1
    return n


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def model(p, dx, dy, n, table, out):
    """Fill `out` (7, n) with the derivatives of the pixel-integrated profile by X, Y, PEAK, LEVEL, A, B, C."""
    values, slopes = table[0], table[1]
    x0, y0, peak, a, b, c = p[0], p[1], p[2], p[4], p[5], p[6]
    gx, gy, gp, ga, gb, gc = out[0], out[1], out[2], out[4], out[5], out[6]
    for i in range(n):
        sp, sx, sy, sa, sb, sc = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for k in range(4):
            u = dx[i] - x0 + (GAUSS if k & 1 else -GAUSS)
            v = dy[i] - y0 + (GAUSS if k & 2 else -GAUSS)
            au, bv = a * u + c * v, c * u + b * v
            t = ENTRIES / (1.0 + max(0.0, au * u + bv * v))
            at = np.uint64(t)
            f = t - at
            slope = slopes[at] + f * (slopes[at + np.uint64(1)] - slopes[at])
            sp += values[at] + f * (values[at + np.uint64(1)] - values[at])
            sx += slope * au
            sy += slope * bv
            sa += slope * u * u
            sb += slope * v * v
            sc += slope * u * v
        gp[i] = 0.25 * sp
        gx[i], gy[i] = -0.5 * peak * sx, -0.5 * peak * sy
        ga[i], gb[i], gc[i] = 0.25 * peak * sa, 0.25 * peak * sb, 0.5 * peak * sc
        out[3, i] = 1.0


@njit(nogil=True, cache=True, fastmath=SAFE, forceinline=True)
def normal_equations(p, value, weight, n, jac, h, g):
    """Fill h = J'WJ and g = J'Wr of the residuals r = value - model; returns chi-square."""
    chi2, r, wj = 0.0, np.empty(n), np.empty(n)
    for i in range(n):
        r[i] = value[i] - p[2] * jac[2, i] - p[3]
        chi2 += weight[i] * r[i] * r[i]
    for k in range(7):
        row, total = jac[k], 0.0
        for i in range(n):
            wj[i] = weight[i] * row[i]
            total += wj[i] * r[i]
        g[k] = total
        for l in range(k + 1):
            other, total = jac[l], 0.0
            for i in range(n):
                total += wj[i] * other[i]
            h[k, l] = h[l, k] = total
    return chi2


@njit(nogil=True, cache=True)
def solve(h, g, damping, out):
    """Solve (h + damping diag h) out = g by Cholesky; False when the matrix is not positive definite."""
    n = g.size
    low = np.empty((n, n))
    for j in range(n):
        for i in range(j, n):
            s = h[i, j] * (1.0 + damping) if i == j else h[i, j]
            for k in range(j):
                s -= low[i, k] * low[j, k]
            if i == j:
                if not s > 1e-14 * h[j, j]:
                    return False
                low[j, j] = np.sqrt(s)
            else:
                low[i, j] = s / low[j, j]
    for i in range(n):
        s = g[i]
        for k in range(i):
            s -= low[i, k] * out[k]
        out[i] = s / low[i, i]
    for i in range(n - 1, -1, -1):
        s = out[i]
        for k in range(i + 1, n):
            s -= low[k, i] * out[k]
        out[i] = s / low[i, i]
    return True


@njit(nogil=True, cache=True, forceinline=True)
def descend(p, dx, dy, value, weight, n, table, jac, h, steps, tolerance, free):
    """Levenberg-Marquardt (Marquardt 1963) from `p`, in place; returns (chi-square, steps used).

    `jac` holds the model of `p`, at the start and at the end. A step that lowers chi-square by less than tolerance * (1
    + chi-square / 100) is the last; what is left is then far below the noise. Only the first `free` parameters move.
    """
    g, trial, delta = np.empty(7), np.empty(7), np.zeros(7)
    trial_h, trial_g, trial_jac = np.empty((7, 7)), np.empty(7), np.empty_like(jac)
    chi2 = normal_equations(p, value, weight, n, jac, h, g)
    damping = 1e-3
    for step in range(steps):
        if not solve(h, g[:free], damping, delta):
            damping = max(10.0 * damping, 1e-3)
            continue
        trial[:] = p + delta
        sane = trial[4] > 0 and trial[5] > 0 and trial[4] * trial[5] > trial[6] * trial[6]
        if sane and abs(trial[0]) < 100.0 and abs(trial[1]) < 100.0:
            model(trial, dx, dy, n, table, trial_jac)
            trial_chi2 = normal_equations(trial, value, weight, n, trial_jac, trial_h, trial_g)
            if trial_chi2 <= chi2:
                small = chi2 - trial_chi2 < tolerance * (1.0 + 0.01 * chi2)
                p[:], g[:], h[:], jac[:, :n] = trial, trial_g, trial_h, trial_jac[:, :n]
                chi2, damping = trial_chi2, 0.1 * damping
                if small:
                    return chi2, step + 1
                continue
        damping *= 10.0
        if damping > 1e6:
            return chi2, step + 1
    return chi2, steps


@njit(nogil=True, cache=True)
def fit_stars(image, start, noise, radius, near, table, inverse_gain, saturation, steps, free, out):
    """Fit every star of `start` in its disc of pixels; a row of NaN where no fit was possible.

    image (rows, cols) float32, NaN where missing; start (n, 7): x, y, peak, level, A, B, C; noise (n,) DN per pixel;
    radius (n,) px; near (n, m, 2) positions of neighbours (infinite for none); table from `profile`; inverse_gain DN
    per electron (0: noise of the sky alone); pixels from `saturation` upwards do not take part; free 7, or 4 to keep
    the shape of `start` and fit place, peak and level alone. out (n, 16) float64 is filled, see the column names.
    """
    reach = 2 * int(np.max(radius)) + 1 if radius.size else 1
    dx, dy, value, weight = np.empty(reach**2), np.empty(reach**2), np.empty(reach**2), np.empty(reach**2)
    jac, h, p = np.empty((7, reach**2)), np.empty((7, 7)), np.empty(7)
    for s in range(start.shape[0]):
        out[s] = np.nan
        n = gather(
            image, start[s, 0], start[s, 1], radius[s], saturation, near[s], start[s, 3], noise[s], dx, dy, value
        )
        if n < 12 or not noise[s] > 0.0:
            continue
        ix, iy = round(start[s, 0]), round(start[s, 1])
        p[:] = start[s]
        p[0] -= ix
        p[1] -= iy
        weight[:n] = 1.0 / noise[s] ** 2
        model(p, dx, dy, n, table, jac)
        rough = 1.0 if inverse_gain > 0.0 else 0.02
        chi2, used = descend(p, dx, dy, value, weight, n, table, jac, h, steps, rough, free)
        if inverse_gain > 0.0:
            for i in range(n):
                weight[i] = 1.0 / (noise[s] ** 2 + max(0.0, p[2] * jac[2, i]) * inverse_gain)
            chi2, more = descend(p, dx, dy, value, weight, n, table, jac, h, steps, 0.02, free)
            used += more
        summarize(p, value, weight, n, jac, h, free, out[s])
        out[s, 0] += ix
        out[s, 1] += iy
        out[s, CHI2], out[s, PIXELS], out[s, STEPS] = chi2, n, used


@njit(nogil=True, cache=True)
def take_off(image, fits, table, reach):
    """The image without the light of fitted stars, (n, 16), each within so many pixels of its centre."""
    out, size = image.copy(), (2 * int(reach) + 3) ** 2
    dx, dy, jac = np.empty(size), np.empty(size), np.empty((7, size))
    for s in range(fits.shape[0]):
        ix, iy, n = int(round(fits[s, 0])), int(round(fits[s, 1])), 0
        for j in range(max(0, iy - int(reach)), min(image.shape[0], iy + int(reach) + 1)):
            for i in range(max(0, ix - int(reach)), min(image.shape[1], ix + int(reach) + 1)):
                dx[n], dy[n] = i, j
                n += 1
        model(fits[s], dx, dy, n, table, jac)
        for k in range(n):
            out[int(dy[k]), int(dx[k])] -= np.float32(fits[s, 2] * jac[2, k])
    return out


@njit(nogil=True, cache=True)
def summarize(p, value, weight, n, jac, h, free, row):
    """Write parameters, their variances, signal-to-noise and residual of one fit into its row."""
    row[:7] = p
    signal, absolute = 0.0, 0.0
    for i in range(n):
        signal += weight[i] * jac[2, i] ** 2
        absolute += abs(value[i] - p[2] * jac[2, i] - p[3])
    row[SNR] = abs(p[2]) * np.sqrt(signal)
    row[RESIDUAL] = absolute / (n * abs(p[2])) if p[2] != 0.0 else np.nan
    unit, column = np.zeros(free), np.empty(free)
    variance = np.full((7, 7), np.nan)
    for k in range(free):
        unit[:] = 0.0
        unit[k] = 1.0
        if not solve(h, unit, 0.0, column):
            return
        variance[k, :free] = column
    row[VAR_X], row[VAR_Y], row[VAR_PEAK] = variance[0, 0], variance[1, 1], variance[2, 2]
    trace = (p[4] + p[5]) ** 2
    row[VAR_SHAPE] = (variance[4, 4] + variance[5, 5] - 2.0 * variance[4, 5] + 4.0 * variance[6, 6]) / trace


def round_start(x, y, peak, level, fwhm_px, beta):
    """First guesses of `fit_stars` for round stars of one size; arrays (n,) in, (n, 7) out."""
    out = np.zeros((np.size(x), 7))
    out[:, 0], out[:, 1], out[:, 2], out[:, 3] = x, y, peak, level
    out[:, 4] = out[:, 5] = half_rho(beta) / (0.5 * fwhm_px) ** 2
    return out


def fit(image, start, noise, radius, near, beta, saturation, inverse_gain=0.0, steps=15, free=7):
    """The fits (n, 16) of `fit_stars` by the profile of this exponent, None for a Gaussian."""
    fits = np.empty((len(start), 16))
    fit_stars(image, start, noise, radius, near, profile(beta), inverse_gain, saturation, steps, free, fits)
    return fits


def shape(fits, beta):
    """FWHM, ellipticity and total flux of fits: (fwhm_px, chi, theta_rad, flux_dn), each (n,).

    fwhm_px is the geometric mean of both axes, free of the blur by the pixel, since the fitted profile is the one
    before the pixel; chi = (s1^2 - s2^2) / (s1^2 + s2^2) of the axes; theta of the longer axis, from x towards y.
    """
    a, b, c, peak = fits[:, A], fits[:, B], fits[:, C], fits[:, PEAK]
    root = np.sqrt(np.maximum(a * b - c * c, 1e-300))
    fwhm = 2.0 * np.sqrt(half_rho(beta) / root)
    chi = np.hypot(b - a, 2.0 * c) / (a + b)
    theta = 0.5 * np.arctan2(-2.0 * c, b - a) % np.pi
    flux = np.pi * peak / root / (1.0 if beta is None else beta - 1.0)
    return fwhm, chi, theta, flux


def eccentricity(chi):
    """Eccentricity sqrt(1 - (s2 / s1)^2) from chi; a negative chi counts as round."""
    chi = np.clip(chi, 0.0, 1.0)
    return np.sqrt(2.0 * chi / (1.0 + chi))


INVERSE_BETAS = np.linspace(0.0, 1.0 / 1.5, 11)
"""Inverse exponents that are tried: a Gaussian, 15, ... 1.5."""
GAUSSIAN_BELOW = 0.01
"""Stars of an inverse exponent below are fitted by a Gaussian, which they differ from by less than 0.3 % in width."""


def beta_of(inverse):
    """The exponent of this inverse; None for a Gaussian."""
    return None if inverse < GAUSSIAN_BELOW else float(max(1.5, 1.0 / inverse))


def fit_beta(image, start, fwhm_px, noise, radius, near, saturation):
    """The Moffat beta that bright stars of a frame share, from 1.5 up; None where they are Gaussian.

    start as for `fit_stars`, from `round_start` of any beta; returns (beta, inverse_gain): the second is the variance
    that the fit residuals show per DN of star light, so that bright stars are not trusted more than they deserve.
    Where the stars do not tell, beta stays near 3.3.
    """

    def fit_round(beta):
        start[:, 4] = start[:, 5] = half_rho(beta) / (0.5 * fwhm_px) ** 2
        return fit(image, start, noise, radius, near, beta, saturation, steps=12)

    tries = [fit_round(beta_of(inverse)) for inverse in INVERSE_BETAS]
    table = np.array([fits[:, CHI2] / np.maximum(1.0, fits[:, PIXELS] - 7.0) for fits in tries])
    table = table[:, np.isfinite(table).all(axis=0)]
    if not table.shape[1]:
        return 3.3, 0.0
    best = np.maximum(table.min(axis=0), 1e-30)
    usual = best <= 3.0 * np.median(best)
    pixels = np.median(tries[-1][np.isfinite(tries[-1][:, PIXELS]), PIXELS])
    cost = pixels * np.sum((table / np.maximum(best, 1.0))[:, usual], axis=1) + ((INVERSE_BETAS - 0.3) / 0.1) ** 2
    at = int(np.clip(np.argmin(cost), 1, len(cost) - 2))
    left, middle, right = cost[at - 1 : at + 2]
    bend = left - 2.0 * middle + right
    shift = np.clip(0.5 * (left - right) / bend, -1.0, 1.0) if bend > 0 else 0.0
    beta = beta_of(INVERSE_BETAS[at] + shift * INVERSE_BETAS[1])
    fits = fit_round(beta)
    light = shape(fits, beta)[3]
    ratio = (fits[:, CHI2] - (fits[:, PIXELS] - 7.0)) * noise**2 / light
    ratio = ratio[np.isfinite(ratio) & (light > 0)]
    return beta, max(0.0, float(np.median(ratio))) if ratio.size else 0.0
