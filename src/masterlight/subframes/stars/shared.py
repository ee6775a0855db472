"""What the stars of a frame say together: their usual size, shape and fit, where they change, how sure they are."""

from typing import Any

import numpy as np
from scipy.special import erfc

from masterlight.subframes.measurement import StarList
from masterlight.subframes.stars.psf import eccentricity

ZONES, IN_ZONE, IN_FIELD = 3, 3, 20
"""Cells along each side in which a frame is told; stars that tell one, and those that tell how sizes change."""
GAUSSIAN_BETA = 100.0
"""Stands for a Gaussian, which a Moffat profile of more than this exponent is."""
MEDIAN_ERROR = 1.2533
"""The error of a median over that of a mean, of Gaussian scatter."""


def told_of_all(found: StarList) -> StarList:
    """The unsaturated stars, all where there are no others."""
    return found[~found.saturated] if (~found.saturated).any() else found


def star_statistics(found: StarList) -> dict[str, Any]:
    """What the stars of a frame say together: medians weighted by the square of their signal-to-noise, up to 100."""
    use = told_of_all(found)
    weight = np.minimum(use.snr, 100.0) ** 2
    flux, mean_flux = psf_signal(found)
    usual = weighted_median(use.fwhm_px, weight)
    tilt, curvature = over_the_field(use, weight)
    return {
        "fitted": len(found),
        "fwhm_px": usual,
        "fwhm_error_px": error_of_median(use.fwhm_px, weight),
        "fwhm_mean_dev_px": mean_deviation(use.fwhm_px),
        "fwhm_zones_px": in_zones(use, use.fwhm_px, weight),
        "tilt": tilt,
        "curvature": curvature,
        "eccentricity_mean_dev": mean_deviation(use.eccentricity),
        "eccentricity_zones": in_zones(use, use.eccentricity, weight),
        "residual": weighted_median(use.residual, weight),
        "residual_error": error_of_median(use.residual, weight),
        "residual_mean_dev": mean_deviation(use.residual),
        "beta": GAUSSIAN_BETA if np.isnan(found.beta) else found.beta,
        "sharpest": found.sharpest_px and found.sharpest_px / usual,
        "psf_flux_dn": flux,
        "psf_mean_flux_dn": mean_flux,
    }


def mean_deviation(values: np.ndarray) -> float:
    """Mean distance from the median."""
    return float(np.mean(np.abs(values - np.median(values))))


def error_of_median(values: np.ndarray, weight: np.ndarray) -> float | None:
    """1 sigma of a weighted median, by the scatter of the values; None for fewer than three."""
    if len(values) < 3:
        return None
    scatter = 1.4826 * weighted_median(np.abs(values - weighted_median(values, weight)), weight)
    return float(MEDIAN_ERROR * scatter * np.sqrt(np.sum(weight**2)) / np.sum(weight))


def in_zones(use: StarList, values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted median of values (n,) in 3 x 3 cells of the frame, [row, column]; NaN where fewer than 3 stars tell."""
    out = np.full((ZONES, ZONES), np.nan)
    rows, cols = use.shape
    row = np.clip(use.y_px * ZONES // max(1, rows), 0, ZONES - 1)
    col = np.clip(use.x_px * ZONES // max(1, cols), 0, ZONES - 1)
    for at in np.ndindex(out.shape):
        inside = (row == at[0]) & (col == at[1])
        if np.count_nonzero(inside) >= IN_ZONE:
            out[at] = weighted_median(values[inside], weight[inside])
    return out


def over_the_field(use: StarList, weight: np.ndarray) -> tuple[float | None, float | None]:
    """(tilt, curvature) of the widths over the field; None where fewer than 20 stars tell.

    Of a + b x + c y + d (x^2 + y^2) about the middle: the change by the slope from corner to corner, and by the bend
    from the middle to a corner, both as parts of a.
    """
    if len(use) < IN_FIELD:
        return None, None
    rows, cols = use.shape
    half = 0.5 * np.hypot(rows, cols)
    x, y = (use.x_px - 0.5 * (cols - 1)) / half, (use.y_px - 0.5 * (rows - 1)) / half
    design, root = np.stack([np.ones_like(x), x, y, x**2 + y**2], axis=-1), np.sqrt(weight)
    kept = np.ones(len(x), bool)
    for _ in range(3):
        a, b, c, d = np.linalg.lstsq(design[kept] * root[kept, None], (use.fwhm_px * root)[kept], rcond=None)[0]
        away = np.abs(use.fwhm_px - design @ np.array([a, b, c, d]))
        kept = away <= 4 * 1.4826 * weighted_median(away, weight) + 1e-12
    return (float(2 * np.hypot(b, c) / a), float(d / a)) if a > 0 else (None, None)


def shared_shape(chi: np.ndarray, variance: np.ndarray, found: StarList) -> dict[str, float]:
    """How elongated a frame's stars are, and which way, without the elongation that noise alone gives to each.

    chi, variance (n,): ellipticity of each star and its variance, both components together. What all share is the mean
    of both components, the square of its error taken off, where that is more than chance makes; to that comes what
    single stars have besides, the mean of chi^2 minus variance above it, where that exceeds its error. Stars far off
    are left out, the others weighted by their variance. `theta_coherence` is |sum chi exp(2 i theta)| / sum chi, 1
    where all are elongated the same way; `radial` the mean of cos 2 (theta - phi), phi the direction from the middle of
    the frame: 1 where all point to it, -1 where they run around it.
    """
    use = ~found.saturated if (~found.saturated).any() else np.ones(len(found), bool)
    chi, variance, theta = chi[use], variance[use], found.theta_rad[use]
    if not len(chi):
        return {}
    value, weight = chi**2 - variance, 1.0 / (variance + 1e-3) ** 2
    middle = weighted_median(value, weight)
    own = np.sqrt(variance**2 + 2.0 * max(0.0, middle) * variance)  # 1 sigma of chi^2
    away, usual = np.abs(value - middle), 6.0 * weighted_median(np.abs(value - middle), weight) + 1e-12
    near, nearer = away <= usual + 4.0 * own, away <= usual
    pull = near / (variance + 1e-3)
    total = max(float(np.sum(pull)), 1e-30)
    together = np.sum(pull * chi * np.exp(2j * theta)) / total
    square, chance = abs(together) ** 2, float(np.sum(pull**2 * variance)) / total**2 + 1e-12
    common = max(0.0, square - chance) * float(np.clip((square / chance - 2.0) / 4.0, 0.0, 1.0))
    mean = float(np.sum((weight * value)[nearer]) / np.sum(weight[nearer]))
    spread = float(np.sqrt(np.sum((weight * (value - mean))[nearer] ** 2)) / np.sum(weight[nearer]))
    mean = common + max(0.0, mean - common) * float(np.clip((mean - common) / (spread + 1e-12) - 1.0, 0.0, 1.0))
    elongation = float(eccentricity(np.sqrt(max(0.0, mean))))
    steep = 0.5 * (eccentricity(np.sqrt(max(0.0, mean) + spread)) - eccentricity(np.sqrt(max(0.0, mean - spread))))
    pull = pull * chi
    rows, cols = found.shape
    phi = np.arctan2(found.y_px[use] - 0.5 * (rows - 1), found.x_px[use] - 0.5 * (cols - 1))
    return {
        "eccentricity": elongation,
        "eccentricity_error": float(steep),
        "theta_rad": float(0.5 * np.angle(together) % np.pi),
        "theta_coherence": float(abs(together) * total / max(np.sum(pull), 1e-30)),
        "radial": float(np.sum(pull * np.cos(2 * (theta - phi))) / max(np.sum(pull), 1e-30)),
    }


def weighted_median(values, weights):
    """The value at which half of the weight lies below; ties and order do not matter."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order][min(np.searchsorted(total, 0.5 * total[-1]), len(values) - 1)])


def psf_signal(stars: StarList) -> tuple[float, float]:
    """Light of all unsaturated stars, and the sum of each star's light per pixel of its disc, outliers tamed.

    The disc ends at a tenth of the profile's height. Light per pixel that robust Chauvenet rejection finds out of place
    counts as the nearest that is not.
    """
    use = ~stars.saturated
    exponent = 1.0 / stars.beta
    wider = np.log2(10.0) ** 0.5 if np.isnan(stars.beta) else ((10**exponent - 1) / (2**exponent - 1)) ** 0.5
    per_pixel = stars.flux_dn[use] / (np.pi / 4 * (wider * stars.fwhm_px[use]) ** 2)
    low, high = chauvenet(per_pixel) if per_pixel.size else (0.0, 0.0)
    return float(stars.flux_dn[use].sum()), float(np.clip(per_pixel, low, high).sum())


def chauvenet(values: np.ndarray, limit: float = 0.5) -> tuple[float, float]:
    """Lowest and highest value that belong to the others (Maples et al. 2018).

    One by one the most deviant is left out as long as fewer than `limit` of so many are expected beyond it on its side:
    first by the median and the 68.3 percentile of the distances from it, corrected for small samples, then by mean and
    standard deviation.
    """
    x = np.sort(np.asarray(values, np.float64))
    for robust in (True, False):
        while x.size > 2:
            centre = 0.5 * (x[(x.size - 1) // 2] + x[x.size // 2]) if robust else x.mean()  # the median
            away = np.sort(np.abs(x - centre))
            small = 1.0 / (1.0 - 2.9442 * x.size**-1.073)
            sigma = small * away[int(0.683 * x.size)] if robust else x.std(ddof=1)
            low, high = centre - x[0], x[-1] - centre
            if not 0.5 * x.size * erfc(max(low, high) / sigma / 2**0.5 if sigma > 0 else 0.0) < limit:
                break
            x = x[1:] if low >= high else x[:-1]
    return float(x[0]), float(x[-1])
