"""The numbers by which each frame enters an integration: normalization, weight, noise; from what is known of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammainccinv, ndtr

from masterlight.core.errors import NothingUsable, ParameterError
from masterlight.integration.kernels import combine, rejection
from masterlight.integration.rejection import BY_OWN_SIGMA, CODES, PROFILES, Rejection
from masterlight.subframes.measurement import Measurement
from masterlight.subframes.weights import weights_of

if TYPE_CHECKING:
    from masterlight.integration.integrate import ImageIntegration

PROFILE_NAMES = tuple(PROFILES)
MEDIANS = (1.0, 1.0, 1.0, 1.3460, 1.1932, 1.4341, 1.2881, 1.4728, 1.3455, 1.4949, 1.3829)
"""Variance of the median of n samples over that of their mean, n = 0 to 10."""
UNBELIEVABLE = 1e-4
"""Chance at which the samples of a pixel scatter more than their noise explains; beyond it the scatter is believed."""


@dataclass(frozen=True, eq=False)
class Terms:
    """The numbers by which each frame enters, (N,) float64: sample x is combined as out_scale * x + out_offset."""

    out_scale: np.ndarray
    out_offset: np.ndarray
    rej_scale: np.ndarray
    rej_offset: np.ndarray
    weights: np.ndarray
    """The best frame has 1."""
    noise_dn: np.ndarray
    """Of one sample of the sky, on the output scale."""
    source_noise_dn: np.ndarray
    """The same before any interpolation, of a pixel of the sensor."""
    source_photon: np.ndarray
    """As `photon`, of a pixel of the sensor."""
    noise_variance: np.ndarray
    """Of one sample of no light, or of the sky where that is what `zero` is, DN^2 on the output scale; 0 where it
    differs from place to place, so that the scatter of the samples has to tell."""
    photon: np.ndarray
    """Variance of one sample for each DN that it stands above the sky, DN on the output scale; 0 where unknown."""
    rejection_variance: float
    """Of one sample, DN^2 on the scale of rejection, pooled over the frames; 0 where the noise is unknown."""
    rejection_photon: float
    """The same as `photon`, pooled, on the scale of rejection."""
    signal_fraction: float
    """Part of the light above the sky by which the seeing may change a pixel from frame to frame."""
    background_dn: float
    """Location of the reference."""
    looseness: np.ndarray
    """How many times the usual distance a frame's samples may lie off before they are rejected: its noise over that
    of most frames, 1 at least. A frame seen through cloud and scaled up is noisier, not wrong."""
    dark_dn: float | None = None
    """Level of no light on the scale of rejection, where the CCD noise model counts photons from."""
    sensor: tuple[float, float] = (0.0, 0.0)
    """Variance of no light, and variance per DN of light, on the scale of rejection, by the CCD noise model."""
    correlation: float = 1.0
    """Variance of the sum of many pixels over the sum of their variances, 1 for pixels that were not interpolated."""
    notes: tuple[str, ...] = ()

    def columns(self, combination: str) -> combine.Columns:
        """These terms as the kernel takes them."""
        arrays = (self.rej_scale, self.rej_offset, self.out_scale, self.out_offset, self.weights, self.noise_variance)
        believed = excess(len(self.weights))
        if combination in ("median", "minimum", "maximum"):  # the scatter is that of a mean
            believed = np.full_like(believed, np.inf)
        more = (self.looseness, self.photon, believed, variance_factor(combination, len(self.weights)))
        names = ("reject_scale", "reject_offset", "scale", "offset", "weight", "noise_variance")
        named = dict(zip((*names, "loose", "photon", "excess", "factor"), (*arrays, *more), strict=True))
        return combine.Columns(**{name: np.ascontiguousarray(value, np.float32) for name, value in named.items()})

    def rule(self, settings: Rejection, marked: bool = False) -> rejection.Rule:
        """The settings of rejection as the kernel takes them; `marked`: what is out of range is -inf or inf already."""
        bounds = (-np.inf, np.inf) if marked else (settings.range_low, settings.range_high)
        low, high = settings.limits()
        model = self.rejection_variance, self.rejection_photon, self.signal_fraction
        if settings.algorithm == "ccd":
            model = (*self.sensor, settings.scale_noise)
        elif settings.is_averaged:
            model = 0.0, self.rejection_variance / self.background_dn, 0.0
        own = settings.algorithm in BY_OWN_SIGMA
        return rejection.Rule(
            algorithm=rejection.NOISE if settings.is_averaged else CODES[settings.algorithm],
            low=low,
            high=high,
            passes=1 if settings.algorithm == "percentile" else settings.max_passes,
            keep_fraction=settings.min_keep_fraction,
            range_low=-np.inf if bounds[0] is None else bounds[0],
            range_high=np.inf if bounds[1] is None else bounds[1],
            few=settings.few,
            noise_variance=model[0],
            noise_slope=model[1],
            noise_fraction=model[2],
            floor=settings.floor * float(np.sqrt(self.rejection_variance)) if own else 0.0,
            clip_low=settings.clip_low,
            clip_high=settings.clip_high,
            esd_fraction=settings.esd_fraction,
            esd_relaxation=settings.esd_low_relaxation,
            profile=0 if settings.profile == "best" else 1 + PROFILE_NAMES.index(settings.profile),
        )


@lru_cache
def excess(count: int) -> np.ndarray:
    """By number of samples, how many times the expected variance their scatter is by chance once in ten thousand."""
    freedom = np.maximum(np.arange(count + 1) - 1, 1)
    return (2 * gammainccinv(freedom / 2, UNBELIEVABLE) / freedom).astype(np.float32)


@lru_cache
def variance_factor(combination: str, count: int) -> np.ndarray:
    """By number of samples n, the variance of a combination of them over that of their mean, float32, for normal noise.

    Medians as tabulated up to 10 (Hojo 1931) and by their expansion in 1 / n; extremes by integration of their
    distribution; the adaptive mean by trial.
    """
    n = np.arange(count + 1)
    if combination == "median":
        many = np.maximum(n, 11)
        factor = np.pi / 2 - np.where(n % 2, 0.69, 1.93) / many
        factor[: len(MEDIANS)] = MEDIANS[: count + 1]
        return factor.astype(np.float32)
    if combination not in ("minimum", "maximum", "adaptive"):
        return np.ones(count + 1, np.float32)
    nodes = np.unique(np.round(np.geomspace(1, max(count, 2), 24)).astype(int))
    tried = [adaptive_variance(k) if combination == "adaptive" else extreme_variance(k) for k in nodes]
    return np.interp(np.log(np.maximum(n, 1)), np.log(nodes), np.array(tried) * nodes).astype(np.float32)


def extreme_variance(n: int) -> float:
    """Variance of the greatest of n samples of normal noise of 1."""
    x = np.linspace(-9, 9, 4001)
    density = n * np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi) * ndtr(x) ** (n - 1)
    mean = np.trapezoid(x * density, x)
    return float(np.trapezoid((x - mean) ** 2 * density, x))


def adaptive_variance(n: int) -> float:
    """Variance of the auto-adaptive mean of n samples of normal noise of 1."""
    x = np.random.default_rng(n).standard_normal((max(200, 200_000 // n), n))
    mean = x.mean(axis=1, keepdims=True)
    for _ in range(5):
        off = (x - mean) ** 2
        spread = off.mean(axis=1, keepdims=True)
        weight = 1 / (1 + off / np.maximum(spread, 1e-30))
        mean = (weight * x).sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)
    return float(np.mean(mean**2))


def terms_of(
    settings: ImageIntegration,
    statistics: Sequence[Measurement],
    reference: int = 0,
    local_scale: np.ndarray | None = None,
) -> Terms:
    """The numbers by which each frame enters; `reference` stays as it is.

    local_scale: (N,) factors by which local normalization brought the frames to the reference, where it did.
    """
    check(settings, statistics)
    location = np.array([s.location_dn for s in statistics], float)
    noise = np.array([s.noise_dn for s in statistics], float)
    pixel_noise = np.array([s.noise_dn if s.pixel_noise_dn is None else s.pixel_noise_dn for s in statistics], float)
    factor, notes = scale_factors(settings, statistics, reference)
    done = {
        mode: normalization(mode, location, factor, reference, local_scale)
        for mode in (settings.normalization, settings.rejection.normalization)
    }
    out_scale, out_offset, out_gain = done[settings.normalization]
    rej_scale, rej_offset, rej_gain = done[settings.rejection.normalization]
    weights = weights_of(
        settings.weights,
        statistics,
        out_gain if settings.weights == "noise" else factor,
        keyword=settings.weight_keyword,
        expression=settings.weight_expression or "",
    )
    rejected = np.abs(rej_gain) * pixel_noise
    pooled = float(np.median(rejected**2))
    known = bool(np.isfinite(pooled) and pooled > 0)
    photons = photon_noise(settings.rejection, statistics)
    lowered = (pixel_noise / noise) ** 2 if known else np.ones(len(noise))
    special = {"noise_variance": (out_gain * pixel_noise) ** 2}
    if settings.rejection.is_ccd:
        special = sensor_of(settings.rejection, statistics, rej_scale, rej_offset, out_gain, lowered)
    elif settings.rejection.is_averaged:
        special |= {"dark_dn": 0.0, "noise_variance": np.zeros(len(noise))}
    elif settings.normalization == "local" and settings.local.local_scale:
        special = {"noise_variance": np.zeros(len(noise))}
    if settings.combination in ("median", "minimum", "maximum"):
        weights = np.ones(len(noise))
    return Terms(
        out_scale=out_scale,
        out_offset=out_offset,
        rej_scale=rej_scale,
        rej_offset=rej_offset,
        weights=weights / weights.max(),
        noise_dn=np.abs(out_gain) * pixel_noise,
        source_noise_dn=np.abs(out_gain) * noise,
        source_photon=np.abs(out_gain) * photons,
        photon=np.abs(out_gain) * photons * lowered,
        rejection_variance=pooled if known else 0.0,
        rejection_photon=float(np.median(np.abs(rej_gain) * photons)),
        signal_fraction=settings.rejection.fraction([s.fwhm_px for s in statistics]),
        background_dn=float(location[reference]),
        looseness=np.maximum(1.0, rejected / np.sqrt(pooled)) if known else np.ones(len(noise)),
        **special,
        correlation=correlation_of(statistics, (weights * out_gain * pixel_noise) ** 2),
        notes=(*notes, *told_of(statistics)),
    )


def told_of(statistics: Sequence[Measurement]) -> tuple[str, ...]:
    """What measuring the frames had to decide, one sentence for all alike."""
    first = {}
    for s in statistics:
        for note in s.notes:
            first.setdefault(note, []).append(s.source)
    return tuple(
        f"{who[0]}{f' and {len(who) - 1} more' if len(who) > 1 else ''}: {note}" for note, who in first.items()
    )


def sensor_of(settings: Rejection, statistics: Sequence[Measurement], rej_scale, rej_offset, out_gain, lowered):
    """What the CCD noise model needs: read noise and gain of the frames, brought to the scale of rejection.

    A frame k f + o of f = n / g electrons has the variance k^2 (r / g)^2 + k (v - o) / g (Mortara and Fowler 1981).
    lowered (N,): what interpolation has left of the variance of pixels.
    """
    pairs = []
    for s in statistics:
        read = s.read_noise_e if settings.read_noise_e is None else settings.read_noise_e
        gain = settings.gain_e_per_dn or s.gain_e_per_dn
        if read is None or not gain:
            missing = "gain (EGAIN): give --rejection.gain-e-per-dn"
            if gain:
                missing = "read noise (RDNOISE): give --rejection.read-noise-e"
            raise ParameterError(f"{s.source}: its header does not tell its {missing}, or take auto")
        pairs.append((float(read), float(gain)))
    scale, offset = float(np.median(rej_scale)), float(np.median(rej_offset))
    read, gain = np.median(pairs, axis=0)
    model = (scale * read / gain) ** 2, scale / gain
    own = np.array([(out_gain[i] * r / g) ** 2 for i, (r, g) in enumerate(pairs)])
    return {"dark_dn": offset, "sensor": model, "noise_variance": own * lowered}


def correlation_of(statistics: Sequence[Measurement], variances: np.ndarray) -> float:
    """Variance of sums of many pixels of the result over the sum of their variances: that of the frames, by share."""
    own = [
        s.correlation or (s.noise_dn / s.pixel_noise_dn) ** 2 if s.correlation or s.pixel_noise_dn else 1.0
        for s in statistics
    ]
    return float(np.average(own, weights=variances)) if np.isfinite(variances).all() and variances.sum() > 0 else 1.0


def photon_noise(settings: Rejection, statistics: Sequence[Measurement]) -> np.ndarray:
    """Variance per DN of each frame as it is, 1 / gain, (N,); 0 for all when the gain of some is unknown."""
    gains = [settings.gain_e_per_dn or s.gain_e_per_dn for s in statistics]
    known = all(gain is not None and np.isfinite(gain) and gain > 0 for gain in gains)
    return 1 / np.array(gains, float) if known else np.zeros(len(statistics))


def check(settings: ImageIntegration, statistics: Sequence[Measurement]) -> None:
    """Raise ParameterError, naming the frame, where a number is missing that these settings need."""
    if not statistics:
        raise NothingUsable("there is no frame to integrate")
    settings.rejection.check(len(statistics))
    modes = (settings.normalization, settings.rejection.normalization)
    for s in statistics:
        if not np.isfinite(s.location_dn):
            raise ParameterError(
                f"{s.source}: location_dn is {s.location_dn}; it must be a number: is the frame empty?"
            )
        if s.location_dn <= 0 and any("multiplicative" in m or m == "equalize fluxes" for m in modes):
            raise ParameterError(
                f"{s.source}: location_dn is {s.location_dn:g}; multiplicative normalization needs a positive level:"
                " leave the frame out, or use additive"
            )
        if s.location_dn <= 0 and settings.rejection.algorithm in ("percentile", "averaged-sigma"):
            raise ParameterError(
                f"{s.source}: location_dn is {s.location_dn:g}; {settings.rejection.algorithm} rejection compares with"
                " the level itself, which must be positive: take sigma, winsorized or auto"
            )
        if s.flux_ratio is not None and not (np.isfinite(s.flux_ratio) and s.flux_ratio > 0):
            raise ParameterError(f"{s.source}: flux_ratio is {s.flux_ratio:g}; it must be positive, or None if unknown")
    if settings.rejection.algorithm in ("noise", "averaged-sigma") and settings.rejection.profile == "best":
        for s in statistics:
            if not (np.isfinite(s.noise_dn) and s.noise_dn > 0):
                raise ParameterError(
                    f"{s.source}: noise_dn is {s.noise_dn:g}; {settings.rejection.algorithm} rejection judges by the"
                    " noise of the frames, which must be positive: take sigma or winsorized"
                )


def scale_factors(settings: ImageIntegration, statistics, reference: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Factor k_i that brings frame i to the scale of the reference, and what is to be told about it."""
    if not settings.needs_scale:
        return np.ones(len(statistics)), ()
    ratios = [s.flux_ratio for s in statistics]
    unknown = [s.source for s, r in zip(statistics, ratios, strict=True) if r is None]
    if settings.scale == "stars" and not unknown:
        return ratios[reference] / np.array(ratios), ()
    if settings.weights == "psf-scale-snr":
        raise ParameterError(
            f"{unknown[0] if unknown else 'scale'}: weights='psf-scale-snr' needs the flux of stars in every frame and "
            "scale='stars': leave the frame out, or use weights='noise'"
        )
    sides = np.array([np.broadcast_to(np.asarray(s.scale_dn, float), 2) for s in statistics])
    for s, pair in zip(statistics, sides, strict=True):
        if not (np.isfinite(pair).all() and (pair > 0).all()):
            raise ParameterError(
                f"{s.source}: scale_dn is {s.scale_dn}; scaling by dispersion needs more: use additive normalization"
            )
    notes = ()
    if settings.scale == "stars" and len(statistics) > 1:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        notes = (f"scaled by the dispersion of the background: the star flux of {unknown[0]}{more} is unknown",)
    return (sides[reference] / sides).mean(axis=1), notes


def normalization(mode: str, location, factor, reference: int, local_scale=None):
    """(scale, offset, gain) of each frame: x becomes scale * x + offset, and its noise gain times as large.

    Local normalization is done before, so that nothing is left to do but to know what it did to the noise.
    """
    level, one = location[reference], np.ones_like(location)
    if mode == "none":
        return one, 0 * one, one
    if mode == "local":
        return one, 0 * one, one if local_scale is None else local_scale
    if mode == "additive":
        return one, level - location, one
    if mode in ("multiplicative", "equalize fluxes"):
        return level / location, 0 * one, level / location
    if mode == "multiplicative+scaling":
        return factor * level / location, 0 * one, factor * level / location
    return factor, level - factor * location, factor
