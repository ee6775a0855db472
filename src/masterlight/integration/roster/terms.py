"""The numbers by which each frame enters an integration: normalization, weight, noise."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.special import gammainccinv, ndtr

from masterlight.integration.kernels import combine, rejection, spread
from masterlight.integration.rejection import Rejection
from masterlight.subframes.radial import Worth

ONE_SAMPLE = "median", "minimum", "maximum"
"""Combinations that take one sample, or two, of a pixel: weights mean nothing to them."""
MEDIANS = (1.0, 1.0, 1.0, 1.3460, 1.1932, 1.4341, 1.2881, 1.4728, 1.3455, 1.4949, 1.3829)
"""Variance of the median of n samples over that of their mean, n = 0 to 10."""
EACH_TRIED, MOST_TRIED = 12, 40
"""Medians of every number of unequal samples up to this are tried, then some numbers; of more the law holds."""


FEW_EASE = 7 / 6
"""Where few samples are judged by the noise model, the usual limits of 4 and 3 sigma are so many times wider: noise is
not the same all over a frame, a wrong cut costs a third of a pixel's light, and a cosmic ray of 8 sigma still goes."""


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
    step_variance: float = 0.0
    """Added to the variance by which rejection judges frames of whole numbers whose noise is about a step."""
    dark_dn: float | None = None
    """Level of no light on the scale of rejection, where the CCD noise model counts photons from."""
    sensor: tuple[float, float] = (0.0, 0.0)
    """Variance of no light, and variance per DN of light, on the scale of rejection, by the CCD noise model."""
    correlation: float = 1.0
    """Variance of the sum of many pixels over the sum of their variances, 1 for pixels that were not interpolated."""
    worth: Worth | None = None
    """What the weights are worth beside those of least noise, where the profiles of the stars are known."""
    notes: tuple[str, ...] = ()

    def noisier(self, times: float) -> "Terms":
        """The same for frames whose noise is so many times what was measured."""
        dn = {name: times * getattr(self, name) for name in ("noise_dn", "source_noise_dn")}
        squares = {name: times**2 * getattr(self, name) for name in ("noise_variance", "rejection_variance")}
        return replace(self, **dn, **squares)

    def columns(self, combination: str) -> combine.Columns:
        """These terms as the kernel takes them."""
        weights, believed = self.weights, excess(len(self.weights))
        factor, noise = variance_factor(combination, len(self.weights)), self.noise_dn
        if combination in ONE_SAMPLE:  # the scatter is that of a mean
            believed = np.full_like(believed, np.inf)
            if np.all(noise > 0) and np.ptp(noise) > 0:
                weights, factor = of_unequal(combination, tuple(noise.tolist()))
        arrays = (self.rej_scale, self.rej_offset, self.out_scale, self.out_offset, weights, self.noise_variance)
        more = self.looseness, self.photon, believed, factor
        return combine.Columns(*(np.ascontiguousarray(values, np.float32) for values in (*arrays, *more)))

    def rule(self, settings: Rejection, marked: bool = False) -> spread.Rule:
        """The settings of rejection as the kernel takes them; `marked`: what is out of range is -inf or inf already."""
        ranges = (-np.inf, np.inf) if marked else settings.bounds
        variance, steps = self.rejection_variance, self.step_variance
        model = variance + steps, self.rejection_photon, self.signal_fraction
        if settings.algorithm == "ccd":
            model = self.sensor[0] + steps, self.sensor[1], settings.scale_noise
        elif settings.algorithm == "averaged-sigma":
            model = steps, variance / self.background_dn, 0.0
        reads = settings.kind.reads
        floor = settings.floor * float(np.sqrt(variance + steps)) if "floor" in reads else 0.0
        code, passes = rejection.CODES[settings.algorithm], settings.max_passes if "max_passes" in reads else 1
        clip = settings.clip_low, settings.clip_high, passes, settings.min_keep_fraction
        esd = settings.esd_fraction, settings.esd_low_relaxation
        ease = (FEW_EASE if limit is None else 1.0 for limit in (settings.low, settings.high))
        return spread.Rule(code, *settings.limits, *clip, *ranges, settings.few, *model, floor, *esd, *ease, True)


@lru_cache
def excess(count: int) -> np.ndarray:
    """By number of samples, how many times the expected variance their scatter is by chance once in ten thousand.

    Beyond that the scatter of a pixel is believed, and no longer the noise.
    """
    freedom = np.maximum(np.arange(count + 1) - 1, 1)
    return (2 * gammainccinv(freedom / 2, 1e-4) / freedom).astype(np.float32)


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
    tried = [adaptive_variance(k) if combination == "adaptive" else extreme_variance(np.ones(k)) for k in nodes]
    return np.interp(np.log(np.maximum(n, 1)), np.log(nodes), np.array(tried) * nodes).astype(np.float32)


@lru_cache
def of_unequal(combination: str, noise: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Weights (N,) of a mean and the factor by number of samples by which its variance is that of a median or extreme.

    noise: of the frames. Of many samples a median has the variance pi / 2 / (sum 1 / s)^2 (Laplace 1818), pi / 2 times
    that of a mean weighed by 1 / s; of few, any of the frames, it is tried. An extreme is made by the noisiest frames.
    """
    s, count, factor = np.array(noise), len(noise), variance_factor(combination, len(noise))
    if combination != "median":
        return np.ones(count), factor * np.float32(
            extreme_variance(s) / extreme_variance(np.ones(count)) / np.mean(s**2)
        )
    few, most = min(count, EACH_TRIED), min(count, MOST_TRIED)
    nodes = np.unique([*range(1, few + 1), *np.round(np.geomspace(few, most, 5)).astype(int)])
    tried = [median_variance(s, k) / factor[k] for k in nodes]
    return 1 / s, (factor * np.interp(np.arange(count + 1), nodes, tried, right=1.0)).astype(np.float32)


def median_variance(noise: np.ndarray, n: int) -> float:
    """Variance of the median of n samples, each of another frame, over that of their mean weighed by 1 / noise."""
    rng, trials = np.random.default_rng(n), int(np.clip(800_000 // noise.size, 2_000, 20_000))
    s = rng.permuted(np.broadcast_to(noise, (trials, noise.size)), axis=1)[:, :n]
    medians = np.median(s * rng.standard_normal(s.shape), axis=1)
    return float(np.mean(medians**2) / np.mean(n / np.sum(1 / s, axis=1) ** 2))


def extreme_variance(noise: np.ndarray) -> float:
    """Variance of the greatest of some samples (n,) of normal noise, each of its own."""
    x, share = np.linspace(-9, 9, 4001) * noise.max(), 1.0
    for sigma, times in zip(*np.unique(noise, return_counts=True), strict=True):
        share = share * ndtr(x / sigma) ** times
    middle, part = 0.5 * (x[1:] + x[:-1]), np.diff(share)
    return float(part @ (middle - part @ middle) ** 2)


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
