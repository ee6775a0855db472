"""The factor by which a master dark is scaled to a light of another exposure or temperature, fitted to hot pixels.

Dark current passes no colour filter, so that one factor holds for the whole sensor, mosaics included; the neighbours
that a hot pixel is compared with are those of its own place in the colour pattern.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from masterlight.calibration.kernels import excesses, peaks, slope
from masterlight.core.frame import Frame, Meta, evenly
from masterlight.core.headers.geometry import period
from masterlight.core.statistics.scale import madn

FEWEST_PIXELS = 100
LEAST_CORRELATION = 0.3
LARGEST_ERROR = 0.1
MOST_PIXELS = 5_000
ROUNDS = 6
BAND_ROWS = 256
NOISIER = 1.05
"""A scaled dark may make pixels of a light noisier by this factor; more is noise of the dark, not dark current."""
RANGE = 0.1, 10.0
"""Factors beyond are no dark of these lights."""
NAN = float("nan")


@dataclass(frozen=True)
class DarkScale:
    """The factor k of a scaled dark and what is known about it."""

    k: float
    """The factor that is used: the fitted one when it was accepted."""
    sigma: float = NAN
    """Standard error of the fitted factor; NaN when nothing was fitted."""
    n: int = 0
    """Hot pixels that had a say."""
    r: float = 0.0
    """Correlation of the hot pixels in light and dark."""
    expected: float | None = None
    """What exposures and temperatures let expect; None when the exposures are unknown."""
    accepted: bool = False
    """Whether k comes from the hot pixels of the light."""
    reason: str = ""
    """Why the fit was not accepted, or what is odd about it; empty when there is nothing to say."""

    def sentence(self) -> str:
        """The factor with its error, and why it is no fitted one."""
        words = f"dark x {self.k:.3f} +- {self.sigma:.3f}" if self.sigma == self.sigma else f"dark x {self.k:.3f}"
        return words if self.accepted or not self.reason else f"{words} ({self.reason})"


class HotPixels(NamedTuple):
    """The hot pixels of a dark without bias: where they are, and what they have above their neighbourhood, in DN."""

    rows: np.ndarray
    columns: np.ndarray
    dark_dn: np.ndarray
    bias_dn: np.ndarray
    level_dn: np.ndarray
    """What the dark and the bias have at the pixel together, to know which saturate."""
    noise_dn: float
    """Noise of the dark, per pixel, above the neighbourhood."""


def expected_scale(light: Meta, dark: Meta, doubling_c: float) -> float | None:
    """Ratio of dark currents by exposures, and by temperatures where both are known; None for unknown exposures."""
    if not light.exposure_s or not dark.exposure_s:
        return None
    ratio = light.exposure_s / dark.exposure_s
    if light.temperature_c is None or dark.temperature_c is None:
        return ratio
    return ratio * 2 ** ((light.temperature_c - dark.temperature_c) / doubling_c)


def kinds_of(pattern: str | None) -> tuple[np.ndarray, int]:
    """Which pixels are alike, as integers (p, p), and the radius within which 40 or more of them are found.

    In a 2 x 2 pattern each place is a kind of its own, as the two greens differ a little; in larger ones each colour.
    """
    if not pattern:
        return np.zeros((1, 1), np.int64), 3
    p = period(pattern)
    kinds = np.arange(4) if p == 2 else np.unique(list(pattern), return_inverse=True)[1]
    return np.asarray(kinds, np.int64).reshape(p, p), 6


def hot_pixels(dark: np.ndarray, bias: np.ndarray, pattern: str | None, sigma: float, window_px: int) -> HotPixels:
    """Find the hot pixels that a scale is fitted to: the strongest 5,000 above `sigma` times the dark's noise.

    dark (rows, cols) float32 without bias; bias (rows, cols) or (1, 1) for one number; `window_px` is the width of
    the central square that is searched, 0 for the whole frame.
    """
    kinds, radius = kinds_of(pattern)
    distance = 2 * kinds.shape[0] if kinds.shape[0] > 1 else 2
    sample = dark[evenly(0, dark.shape[0] - 1, 64)]
    bend = sample[:, distance:-distance] - 0.5 * (sample[:, : -2 * distance] + sample[:, 2 * distance :])
    noise = madn(bend) / np.sqrt(1.5)
    halves = [min(window_px, size) // 2 if window_px else size for size in dark.shape]
    (top, bottom), (left, right) = ((max(0, n // 2 - h), n // 2 + h) for n, h in zip(dark.shape, halves, strict=True))
    y, x = peaks(dark[top:bottom, left:right], distance, max(0.7 * sigma * noise, 1e-6))
    y, x = y + top, x + left
    above = excesses(dark, 0, y, x, kinds, radius)
    hot = np.flatnonzero(above > max(sigma * noise, 1e-6))
    hot = np.sort(hot[np.argsort(-above[hot], kind="stable")[:MOST_PIXELS]])
    y, x = y[hot], x[hot]
    level = dark[y, x] + (bias[y, x] if bias.size > 1 else bias[0, 0])
    under = excesses(bias, 0, y, x, kinds, radius) if bias.size > 1 else np.zeros(y.size, np.float32)
    return HotPixels(y, x, above[hot].astype(float), np.nan_to_num(under).astype(float), level, float(noise))


def lights_excess(frame: Frame, hot: HotPixels) -> np.ndarray:
    """What a raw light has above its neighbourhood at the hot pixels, in DN, NaN where it is saturated; (n,)."""
    kinds, radius = kinds_of(frame.meta.pattern)
    out = np.full(hot.rows.size, np.nan)
    ceiling = 0.9 * (frame.meta.saturation_dn or np.inf)
    for start in range(0, frame.shape[0], BAND_ROWS):
        first, last = np.searchsorted(hot.rows, (start, start + BAND_ROWS))
        if first == last:
            continue
        y, x = hot.rows[first:last], hot.columns[first:last]
        top, bottom = max(0, y[0] - radius), min(frame.shape[0], y[-1] + radius + 1)
        band = np.ascontiguousarray(frame.pixels(int(top), int(bottom), 0, frame.shape[1]), np.float32)
        above = excesses(band, top, y, x, kinds, radius)
        full = (band[y - top, x] >= ceiling) | (hot.level_dn[first:last] >= ceiling)
        out[first:last] = np.where(full, np.nan, above)
    return out - hot.bias_dn


def fit(dark_dn: np.ndarray, light_dn: np.ndarray, noise_dn: float = 0.0) -> tuple[float, float, int, float]:
    """How much of the dark is in the light, from hot pixels: (k, standard error, pixels used, correlation).

    dark_dn, light_dn (n,) above their neighbourhoods, NaN left out; noise_dn is the error of dark_dn. A straight
    line, fitted again and again with weights that fall to zero for outliers (Tukey's biweight: stars, cosmic rays)
    and with the noise of the brighter pixels, which is larger; the standard error is that of Huber (1967), from the
    scatter of the residuals, made larger where a few bright pixels decide, so that twice it holds 95 %.
    """
    ok = np.isfinite(dark_dn) & np.isfinite(light_dn)
    d, t = np.asarray(dark_dn, float)[ok], np.asarray(light_dn, float)[ok]
    if d.size < 3:
        return NAN, NAN, int(d.size), 0.0
    k, at_zero = first_guess(d, t)
    for _ in range(ROUNDS):
        sigma = noise_model(d, t - at_zero - k * d)
        u = np.minimum(1.0, np.abs(t - at_zero - k * d) / (4.685 * sigma))
        weight = (1 - u**2) ** 2 / sigma**2
        k, at_zero, _, r = slope(d, t, weight, noise_dn)
        if not np.isfinite(k):
            return NAN, NAN, int(d.size), 0.0
    middle, used = np.sum(weight * d) / np.sum(weight), int(np.count_nonzero(weight))
    share = weight * (d - middle) ** 2 / np.sum(weight * (d - middle) ** 2)
    pull = weight * (d - middle) * (t - at_zero - k * d) / np.maximum(0.1, 1 - share)
    stiffness = np.sum((1 - u**2) * (1 - 5 * u**2) / sigma**2 * ((d - middle) ** 2 - noise_dn**2))
    deciding = max(4.0, 1 / np.sum(share**2))
    error = np.sqrt(np.sum(pull**2)) / stiffness * deciding / (deciding - 2) if stiffness > 0 else np.inf
    return float(k), float(error), used, float(r)


def first_guess(d, t):
    """A line t = a + k d that no outlier bends: k is the median ratio of the half with the larger dark; (k, a)."""
    strong = d >= np.median(d)
    low, base = (np.median(d[~strong]), np.median(t[~strong])) if np.any(~strong) else (0.0, 0.0)
    rise = d[strong] - low
    k = float(np.median((t[strong] - base)[rise > 0] / rise[rise > 0])) if np.any(rise > 0) else 0.0
    return k, float(np.median(t - k * d))


def noise_model(d: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Standard deviation of each residual: variance a + b d, from the scatter of the fainter and the brighter half."""
    order = np.argsort(d, kind="stable")
    halves = [part for part in np.array_split(order, 2) if part.size]
    levels = [float(np.median(d[part])) for part in halves]
    variances = [madn(residual[part]) ** 2 for part in halves]
    rise = levels[-1] - levels[0]
    b = max(0.0, (variances[-1] - variances[0]) / rise) if rise > 0 and d.size >= FEWEST_PIXELS else 0.0
    a = variances[0] - b * levels[0] if b else madn(residual) ** 2
    floor = max(1e-4 * float(np.median(np.abs(d))), 1e-9) ** 2
    return np.sqrt(np.maximum(a + b * d, max(0.25 * min(variances), floor)))


def accept(k: float, sigma: float, n: int, r: float, expected: float | None) -> DarkScale:
    """Accept a fit, or fall back to what exposures let expect, or to 1, and say why."""
    if n < FEWEST_PIXELS:
        why = f"only {n} hot pixels to fit to ({FEWEST_PIXELS} are needed)"
    elif not (np.isfinite(k) and k > 0 and r >= LEAST_CORRELATION):
        why = f"the hot pixels of the dark hardly show in the light (correlation {r:.2f})"
    elif sigma > LARGEST_ERROR * k:
        why = f"the fit is too uncertain ({k:.3f} ± {sigma:.3f})"
    else:
        odd = expected and abs(k / expected - 1) > 0.2
        words = f"exposures and temperatures let expect {expected:.3f}: is the dark of this camera?" if odd else ""
        return DarkScale(k, sigma, n, r, expected, True, words)
    instead = "taken by exposure and temperature" if expected is not None else "the dark is taken as it is"
    return replace(by_exposure(expected), sigma=sigma, n=n, r=r, reason=f"{why}; {instead}")


def why_not_scaled(scales: Sequence[DarkScale], noisier: float) -> str:
    """Why the dark should not be scaled to some lights, from what was fitted to them; '' where the evidence holds.

    noisier: how much the scaled dark raises the noise of a pixel, by median over them.
    """
    held = [scale for scale in scales if scale.accepted and RANGE[0] <= scale.k <= RANGE[1]]
    if 2 * len(held) <= len(scales):
        lost = next((scale for scale in scales if not scale.accepted), None)
        return lost.reason.partition("; ")[0] if lost else f"a factor of {scales[0].k:.3g} cannot be right"
    if noisier > NOISIER:
        return f"scaled, its own noise would make them {100 * (noisier - 1):.0f} % noisier"
    return ""


def by_exposure(expected: float | None) -> DarkScale:
    """The scale by exposures and temperatures alone."""
    why = "" if expected is not None else "the exposure of light or dark is unknown; the dark is taken as it is"
    return DarkScale(1.0 if expected is None else expected, expected=expected, reason=why)
