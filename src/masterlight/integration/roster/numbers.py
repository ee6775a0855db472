"""The numbers by which frames enter an integration, from what was measured of all of them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from masterlight.core.errors import NothingUsable, ParameterError
from masterlight.integration.integrate import ImageIntegration
from masterlight.integration.rejection import SIGMA, Rejection
from masterlight.integration.roster.terms import ONE_SAMPLE, Terms
from masterlight.subframes.measurement import Measurement
from masterlight.subframes.weights import SHAPED, weights_of, worth_beside_noise

UNKNOWN_SEEING = 0.1
"""Part of a star's light by which seeing may change a pixel where nothing is known of the seeing of the frames."""
QUIET = 1.5
"""Frames of so many times less noise than most are judged by their own where they make up most of the result."""
STEPS_HIDE = 0.75
"""Of a squared step of whole numbers, what is added to the variance by which rejection judges: the median of a pixel
is a whole number, too, and few photons are skew, so that one more than usual is no outlier."""


def terms_of(settings: ImageIntegration, statistics, reference: int = 0, local_scale=None) -> Terms:
    """The numbers by which each frame enters, from its `Measurement`; `reference` stays as it is.

    local_scale: (N,) factors by which local normalization brought the frames to the reference, where it did.
    """
    check_numbers(settings, statistics)
    location, noise = np.array([(s.location_dn, s.noise_dn) for s in statistics], float).T.copy()
    pixel_noise = np.array([s.noise_dn if s.pixel_noise_dn is None else s.pixel_noise_dn for s in statistics], float)
    factor, notes = scale_factors(settings, statistics, reference)
    known = location, factor, reference, local_scale
    out_scale, out_offset, out_gain = normalization(settings.normalization, *known)
    rej_scale, rej_offset, rej_gain = normalization(settings.rejection.comparison, *known)
    told = {"keyword": settings.weight_keyword, "expression": settings.weight_expression or "", "give": settings.give}
    gain = out_gain if settings.weights in ("noise", *SHAPED) else factor
    usual, unknown = with_usual_noise(statistics)
    weights = weights_of(settings.weights, usual, gain, **told)
    rejected = np.abs(rej_gain) * pixel_noise
    pooled = usual_variance(rejected**2)
    known = bool(np.isfinite(pooled) and pooled > 0)
    photons = photon_noise(settings.rejection, statistics)
    lowered = np.square(np.divide(pixel_noise, noise, out=np.ones(len(noise)), where=noise > 0))
    special = {"noise_variance": (out_gain * pixel_noise) ** 2}
    algorithm = settings.rejection.algorithm
    if algorithm == "ccd":
        special = sensor_of(settings.rejection, statistics, rej_scale, rej_offset, out_gain, lowered)
    elif algorithm == "averaged-sigma":
        special |= {"dark_dn": 0.0, "noise_variance": np.zeros(len(noise))}
    elif settings.normalization == "local" and settings.local.local_scale:
        special = {"noise_variance": np.zeros(len(noise))}
    if settings.combination in ONE_SAMPLE:
        weights = np.ones(len(noise))
    scales = {"out_scale": out_scale, "out_offset": out_offset, "rej_scale": rej_scale, "rej_offset": rej_offset}
    gain = np.abs(out_gain)
    special |= {"noise_dn": gain * pixel_noise, "photon": gain * photons * lowered}
    scale = np.array([s.scale for s in statistics])
    special |= {"source_noise_dn": gain * noise * scale, "source_photon": gain * photons * scale**2}
    return Terms(
        **scales,
        **special,
        weights=weights / weights.max(),
        rejection_variance=pooled if known else 0.0,
        step_variance=hidden_by_steps(statistics, rej_gain) if known else 0.0,
        rejection_photon=float(np.median(np.abs(rej_gain) * photons)),
        signal_fraction=signal_fraction(settings.rejection, [s.fwhm_px for s in statistics]),
        background_dn=float(location[reference]),
        looseness=np.maximum(1.0, rejected / np.sqrt(pooled)) if known else np.ones(len(noise)),
        correlation=correlation_of(statistics, (weights * out_gain * pixel_noise) ** 2),
        worth=worth_beside_noise(weights, usual, gain) if settings.combination == "average" else None,
        notes=(*notes, *unknown, *notes_of(statistics)),
    )


def usual_variance(variances: np.ndarray) -> float:
    """The variance (N,) by which samples are judged: that of most frames, or of the quieter few that the result is of.

    Where a deeper camera gave fewer frames, a trail in one of them would be noise by the measure of the others.
    """
    usual = float(np.median(variances))
    if len(variances) < 3 or not (np.isfinite(variances) & (variances > 0)).all():
        return usual
    order = np.sort(variances)
    share = np.cumsum(1 / order) / np.sum(1 / order)
    quiet = float(order[np.searchsorted(share, 0.5)])
    return quiet if QUIET**2 * quiet < usual else usual


def hidden_by_steps(statistics: Sequence[Measurement], gain: np.ndarray) -> float:
    """Variance, DN^2 on the scale of rejection, by which samples of frames in whole numbers may be farther off."""
    return STEPS_HIDE * float(np.median(np.square(gain * [s.step_dn or 0.0 for s in statistics])))


def with_usual_noise(statistics: Sequence[Measurement]) -> tuple[list[Measurement], tuple[str, ...]]:
    """The measurements for weights: frames whose noise is 0, which nobody can tell, count as most do; and the note."""
    silent = [s.source for s in statistics if s.noise_dn == 0]
    if not silent:
        return list(statistics), ()
    known = [s.noise_dn for s in statistics if s.noise_dn > 0]
    usual = float(np.median(known)) if known else 1.0
    words = f"{and_more(silent)}: nearly all pixels have the same value, so that noise cannot be told"
    return [s if s.noise_dn else replace(s, noise_dn=usual) for s in statistics], (f"{words}; they weigh as most do",)


def notes_of(statistics: Sequence[Measurement]) -> tuple[str, ...]:
    """What measuring the frames had to decide, one sentence for all alike."""
    sources = {}
    for s in statistics:
        for note in s.notes:
            sources.setdefault(note, []).append(s.source)
    return tuple(f"{and_more(who)}: {note}" for note, who in sources.items())


def and_more(sources: Sequence[str]) -> str:
    """The first of some frames by name, and how many more there are."""
    return f"{sources[0]}{f' and {len(sources) - 1} more' if len(sources) > 1 else ''}"


def sensor_of(settings: Rejection, statistics: Sequence[Measurement], rej_scale, rej_offset, out_gain, lowered):
    """What the CCD noise model needs: read noise and gain of the frames, brought to the scale of rejection.

    A frame k f + o of f = n / g electrons has the variance k^2 (r / g)^2 + k (v - o) / g (Mortara and Fowler 1981).
    lowered (N,): what interpolation has left of the variance of pixels.
    """
    pairs = []
    for s in statistics:
        given_e, given = settings.read_noise_e, settings.gain_e_per_dn
        read = s.read_noise_e if given_e is None else given_e * s.scale
        gain = given * s.scale**2 if given else s.gain_e_per_dn
        if read is None or not gain:
            missing = "read noise (RDNOISE)" if gain else "gain (EGAIN)"
            knob = "Rejection.read_noise_e" if gain else "Rejection.gain_e_per_dn"
            words = f"its header does not tell its {missing}: give {knob}, or take auto"
            raise ParameterError(f"{s.source}: {words}")
        pairs.append((float(read), float(gain)))
    scale, offset = float(np.median(rej_scale)), float(np.median(rej_offset))
    read, gain = np.median(pairs, axis=0)
    model = (scale * read / gain) ** 2, scale / gain
    own = np.array([(out_gain[i] * r / g) ** 2 for i, (r, g) in enumerate(pairs)])
    return {"dark_dn": offset, "sensor": model, "noise_variance": own * lowered}


def correlation_of(statistics: Sequence[Measurement], variances: np.ndarray) -> float:
    """Variance of sums of many pixels of the result over the sum of their variances: that of the frames, by share."""
    own = [s.correlation or ((s.noise_dn / s.pixel_noise_dn) ** 2 if s.pixel_noise_dn else 1.0) for s in statistics]
    return float(np.average(own, weights=variances)) if np.isfinite(variances).all() and variances.sum() > 0 else 1.0


def signal_fraction(settings: Rejection, fwhm_px: Sequence[float | None]) -> float:
    """`signal_fraction` as given, or what these FWHM of the frames tell.

    The core of a star goes with 1 / FWHM^2, its wings with FWHM^5 (those of a Moffat profile of beta 3.5).
    """
    if settings.signal_fraction is not None:
        return settings.signal_fraction
    known = [f for f in fwhm_px if f is not None and f > 0]
    if len(known) < len(fwhm_px):
        return UNKNOWN_SEEING
    usual = float(np.median(known))
    change = max((usual / min(known)) ** 2, (max(known) / usual) ** 5) - 1
    own = settings.limits if settings.kind.limits == SIGMA else SIGMA
    limits = np.where((settings.clip_low, settings.clip_high), own, SIGMA)
    return float(np.clip(change / limits.min(), UNKNOWN_SEEING, 1.0))


def photon_noise(settings: Rejection, statistics: Sequence[Measurement]) -> np.ndarray:
    """Variance per DN of each frame as it is, 1 / gain, (N,); 0 for all when the gain of some is unknown."""
    given = settings.gain_e_per_dn
    gains = [given * s.scale**2 if given else s.gain_e_per_dn for s in statistics]
    known = all(gain is not None and np.isfinite(gain) and gain > 0 for gain in gains)
    return 1 / np.array(gains, float) if known else np.zeros(len(statistics))


def check_numbers(settings: ImageIntegration, statistics: Sequence[Measurement]) -> None:
    """Raise ParameterError, naming the frame, where a number is missing that these settings need."""
    if not statistics:
        raise NothingUsable("there is no frame to integrate")
    settings.rejection.check(len(statistics))
    modes, algorithm = (settings.normalization, settings.rejection.comparison), settings.rejection.algorithm
    multiplies = any("multiplicative" in m or m == "equalize fluxes" for m in modes)
    divides, judges = algorithm in ("percentile", "averaged-sigma"), algorithm in ("noise", "averaged-sigma")
    for s in statistics:
        level, noise, ratio = s.location_dn, s.noise_dn, 1.0 if s.flux_ratio is None else s.flux_ratio
        checks = (
            ("location_dn", level, True, -np.inf, "it must be a number: is the frame empty?"),
            ("location_dn", level, multiplies, 0, "multiplicative normalization needs more; use additive"),
            ("location_dn", level, divides, 0, f"{algorithm} rejection divides by it: take sigma, winsorized or auto"),
            ("flux_ratio", ratio, True, 0, "it must be positive, or None if unknown"),
            ("noise_dn", noise, judges, 0, f"{algorithm} rejection judges by it: take sigma or winsorized"),
        )
        for name, value, matters, above, words in checks:
            if matters and not (np.isfinite(value) and value > above):
                raise ParameterError(f"{s.source}: {name} is {value:g}; {words}")


def scale_factors(settings: ImageIntegration, statistics, reference: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Factor k_i that brings frame i to the scale of the reference, and what is to be told about it."""
    if not settings.needs_scale:
        return np.ones(len(statistics)), ()
    ratios = [s.flux_ratio for s in statistics]
    unknown = [s.source for s, r in zip(statistics, ratios, strict=True) if r is None]
    if settings.scale == "stars" and not unknown:
        return ratios[reference] / np.array(ratios), ()
    if settings.weights == "psf-scale-snr":
        words = (
            "ImageIntegration.weights psf-scale-snr needs star fluxes of every frame and ImageIntegration.scale stars"
        )
        source = unknown[0] if unknown else "scale"
        raise ParameterError(f"{source}: {words}: leave the frame out, or use ImageIntegration.weights noise")
    sides = np.array([np.broadcast_to(np.asarray(s.scale_dn, float), 2) for s in statistics])
    for s, pair in zip(statistics, sides, strict=True):
        if not (np.isfinite(pair).all() and (pair > 0).all()):
            words = "scaling by dispersion needs more: use additive normalization"
            raise ParameterError(f"{s.source}: scale_dn is {s.scale_dn}; {words}")
    notes = ()
    if settings.scale == "stars" and len(statistics) > 1:
        notes = (f"scaled by the dispersion of the background: the star flux of {and_more(unknown)} is unknown",)
    return (sides[reference] / sides).mean(axis=1), notes


def normalization(mode: str, location, factor, reference: int, local_scale=None):
    """(scale, offset, gain) of each frame: x becomes scale * x + offset, and its noise gain times as large.

    Local normalization is done before, so that nothing is left to do but to know what it did to the noise.
    """
    level, one = location[reference], np.ones_like(location)
    if mode in ("none", "local"):
        return one, 0 * one, one if mode == "none" or local_scale is None else local_scale
    if mode == "additive":
        return one, level - location, one
    if mode in ("multiplicative", "equalize fluxes", "multiplicative+scaling"):
        scale = factor * level / location if mode == "multiplicative+scaling" else level / location
        return scale, 0 * one, scale
    return factor, level - factor * location, factor
