"""Find and fit the stars of an image."""

from dataclasses import replace

import numpy as np

from masterlight.subframes.measurement import StarList
from masterlight.subframes.stars import detect as stars
from masterlight.subframes.stars import psf
from masterlight.subframes.stars.nebula import flattened, nebulous
from masterlight.subframes.stars.shared import shared_shape
from masterlight.subframes.stars.sharp import NO_MOSAIC, STRONG, shared_width, typical_fwhm
from masterlight.subframes.stars.upon import upon_knots

BIN_ABOVE_FWHM_PX, BETA_STARS = 6.0, 40
ROUND, NARROWEST_PX, SHARPEST = 0.2, 2.2, 1.4
"""Fits of strong evidence that are no more elongated are stars, however narrow they are beside the others: from this
width on, which hot pixels do not reach even where they were interpolated twice; in binned pixels from the other one."""
ON_SKY, IN_NEBULA = (4.0, 2.0), (7.0, 1.6)
"""Signal to noise that a star needs and how many times wider than usual it may be: on plain sky; over nebulosity, whose
knots look like faint, wide stars."""
TRACK, LEAST_PX = 0.9, 0.9
"""Ellipticity of what is four times longer than wide: rays, no stars. And the width below which something is one, where
half as many are twice as wide."""
CROWDED, TAKEN_FWHM, NEAREST_FWHM, LEFT_OVER = 0.004, 4.0, 0.8, 0.2
"""Candidates in the square of a width from which a frame is searched again without the stars that are known; radius in
which these are taken off; how near to one nothing new is believed, and what part of its light may be left."""
FLATTENED = 2
"""How often nebulosity is taken off at most: the first time by a width of stars that it may blur."""
KNOTTY, KNOTS = 0.12, 3
"""Where so large a part of the bright fits, and so many, are wider than stars may be, stars are searched again without
what is wide: cosmic rays and pairs are fewer."""
FIRM_SNR, CLEAR_SNR, BY_NOISE = 25.0, 5.0, 9.0
"""Stars brighter than the first tell their own shape; fainter ones are placed with the shape of these. Down to the
second one they are stars whatever shape noise gives them: the chi-square of the shared one may exceed that of their own
by so much, 3 in the mean for its three parameters."""
OUTNUMBERED = 5
"""Where so many times more stands out than stars, most stars are too narrow to be told from cosmic rays."""


def find_stars(
    settings, image, saturation_dn=None, gain_e_per_dn=None, mosaic=NO_MOSAIC, period=1
) -> tuple[StarList, int, dict[str, float], np.ndarray]:
    """The stars of an image (rows, cols): (StarList, number above the threshold, shape that they share, sky mesh).

    Stars that show only when others are taken off are in the list and not in the number, so that frames compare.
    mosaic (rows, cols): what the image was debayered from; its colours repeat every `period` pixels.
    """
    if mosaic.shape != image.shape:
        mosaic = NO_MOSAIC
    sharp = mosaic, period
    scale, everything, flat = search(image, settings.sigma, saturation_dn, *sharp)
    keep, chosen, fits, placed, beta = fit_candidates(settings, everything, gain_e_per_dn)
    wide = width_among_wide(fits, chosen, beta) if scale == 1 and flat is None else None
    if wide:
        flat, everything = search_flattened(image, settings.sigma, everything, wide, *sharp, partly=True)
        keep, chosen, fits, placed, beta = fit_candidates(settings, everything, gain_e_per_dn)
    searched, candidates, level, _, ceiling, peaks, _ = everything
    if fits is None:
        nothing = np.empty((0, 16))
        return build(nothing, nothing, chosen, scale, image.shape, beta), 0, {}, level
    good = accept(fits, placed, chosen, beta, searched.shape, scale, flat)
    if 2 * len(keep) >= len(candidates.x) and crowded(fits[good], len(candidates.x), beta, searched.size):
        sharp = sharp if scale == 1 else (NO_MOSAIC, 1)
        chosen, fits, placed = with_companions(settings, searched, chosen, fits, placed, good, beta, ceiling, *sharp)
        good = accept(fits, placed, chosen, beta, searched.shape, scale, flat)
    if wide and len(good):
        more, rows = upon_knots(searched, fits, chosen, good, beta, ceiling)
        fits[more] = placed[more] = rows
        good = np.concatenate([good, more])
        good = good[np.argsort(-psf.shape(placed[good], beta)[3], kind="stable")]
    who = stars.Candidates(*(c[good] for c in chosen))
    found = build(fits[good], placed[good], who, scale, image.shape, beta)
    total = round(np.count_nonzero(good < len(keep)) / max(1, len(keep)) * len(candidates.x))
    found = replace(found, peaks=peaks, outnumbered=len(peaks) > OUTNUMBERED * total)
    if flat:
        beneath = flat.at(found.x_px, found.y_px)
        found = replace(found, background_dn=found.background_dn + beneath, peak_dn=found.peak_dn + beneath)
    chi = psf.shape(fits[good], beta)[1]
    return found, total, shared_shape(chi, spread_of_shape(fits[good]), found), level


def fixed_beta(settings, free):
    """The exponent to fit with, None for a Gaussian; `free` when the stars are to tell it."""
    return None if settings.psf == "gaussian" else settings.beta or free


def fit_candidates(settings, everything, gain_e_per_dn):
    """Fit those of the candidates that `settings` have room for: (numbers of these, they, fits, placed, beta), with
    None for the fits where there is nothing to start from."""
    image, candidates = everything.image, everything.candidates
    keep = stars.choose_evenly(candidates.x, candidates.y, image.shape, settings.max_stars)
    chosen = stars.Candidates(*(column[keep] for column in candidates))
    if not len(keep):
        return keep, chosen, None, None, fixed_beta(settings, 3.3)
    near = stars.neighbours(chosen.x, chosen.y, candidates.x, candidates.y)
    return keep, chosen, *fit(settings, image, chosen, near, everything.saturation_dn, gain_e_per_dn)


def width_among_wide(fits, chosen, beta):
    """The width of stars where a part of what is as bright is much wider, as knots of galaxies are; None elsewhere."""
    if fits is None:
        return None
    fwhm, *_ = psf.shape(fits, beta)
    bright = np.flatnonzero((fits[:, psf.SNR] > FIRM_SNR) & (fits[:, psf.PEAK] > 0) & (chosen.core == 0))
    usual = shared_width(fwhm[bright], fits[bright, psf.SNR])
    return usual if np.count_nonzero(fwhm[bright] > ON_SKY[1] * usual) >= max(KNOTS, KNOTTY * len(bright)) else None


def fit(settings, image, chosen, near, ceiling, gain_e_per_dn):
    """Fit all chosen candidates: (fits, placed, beta); None for both when there is no width to start from.

    `placed` has the faint stars fitted again with the shape that the others share: noise that bends a faint star's
    shape moves its centre too.
    """
    fwhm = typical_fwhm(image, chosen)
    beta = fixed_beta(settings, 3.3)
    if not fwhm > 0:
        return None, None, beta
    bright = np.flatnonzero(chosen.core == 0)[:BETA_STARS]
    height = chosen.peak - chosen.level
    some = [column[bright] for column in (chosen.x, chosen.y, height, chosen.level)]
    for _ in range(3):
        first = psf.round_start(*some, fwhm, beta)
        disc = np.full(len(bright), np.clip(2.0 * fwhm + 1.0, 4.0, 24.0))
        fits = psf.fit(image, first, chosen.noise[bright], disc, near[bright], beta, ceiling)
        widths, chi, *_ = psf.shape(fits, beta)
        widths[~((fits[:, psf.PEAK] > 0) & (chi < TRACK))] = np.nan
        narrow = widths < LEAST_PX
        if np.count_nonzero(narrow) < 2 * np.count_nonzero(widths > 2 * LEAST_PX):
            widths[narrow] = np.nan
        usual, before = shared_width(widths, np.nan_to_num(fits[:, psf.SNR])), fwhm
        if np.isfinite(usual):
            fwhm = float(np.clip(usual, 0.5 * fwhm, 1.5 * fwhm))
        if 0.67 * before < fwhm < 1.49 * before:
            break  # else rays told the width, and the discs were too small
    alike = (np.abs(widths / fwhm - 1.0) < 0.3) & well_fitted(fits, chosen.noise[bright])
    inverse_gain = 1.0 / gain_e_per_dn if gain_e_per_dn else 0.0
    if alike.any() and beta is not None:
        some = bright[alike]
        free, measured = psf.fit_beta(image, first[alike], fwhm, chosen.noise[some], disc[alike], near[some], ceiling)
        beta = fixed_beta(settings, free)
        inverse_gain = inverse_gain or measured
    start = psf.round_start(chosen.x, chosen.y, height, chosen.level, fwhm, beta)
    radius = np.clip(2.0 * fwhm, 3.5, 24.0) + np.minimum(chosen.core, 24.0)
    out = psf.fit(image, start, chosen.noise, radius, near, beta, ceiling, inverse_gain)
    placed, firm = out.copy(), (out[:, psf.SNR] > FIRM_SNR) & (chosen.core == 0)
    faint = np.flatnonzero((out[:, psf.SNR] <= FIRM_SNR) & (out[:, psf.PEAK] > 0))
    if len(faint) and np.count_nonzero(firm) >= 10:
        start = out[faint, :7].copy()
        start[:, psf.X], start[:, psf.Y] = chosen.x[faint], chosen.y[faint]  # about which the same pixels lie
        start[:, psf.A : psf.C + 1] = np.median(out[firm, psf.A : psf.C + 1], axis=0)
        where = chosen.noise[faint], radius[faint], near[faint]
        again = psf.fit(image, start, *where, beta, ceiling, inverse_gain, free=4)
        better = np.hypot(again[:, psf.X] - start[:, psf.X], again[:, psf.Y] - start[:, psf.Y]) < 1.5
        placed[faint[better]] = again[better]
    return out, placed, beta


def crowded(fits, count, beta, pixels):
    """Whether stars of so many candidates lie so close that some hide in the light of others."""
    return len(fits) > 0 and count * float(np.median(psf.shape(fits, beta)[0])) ** 2 > CROWDED * pixels


def with_companions(settings, image, chosen, fits, placed, good, beta, ceiling, mosaic, period):
    """(chosen, fits, placed) with what is found once the light of the stars, those of `good`, is taken off.

    What is fainter than a part of the light that was there, or as near as half a star, is what the profile left of it.
    """
    fwhm = float(np.median(psf.shape(fits[good], beta)[0]))
    rest = psf.take_off(image, fits[good], psf.profile(beta), TAKEN_FWHM * fwhm)
    known = None if np.isinf(ceiling) else ceiling
    new = stars.detect(rest, settings.sigma, known, mosaic, period).candidates
    apart = stars.neighbours(new.x, new.y, chosen.x, chosen.y, 1, own=False)[:, 0]
    x, y = np.rint(new.x).astype(int), np.rint(new.y).astype(int)
    fresh = np.hypot(apart[:, 0] - new.x, apart[:, 1] - new.y) > NEAREST_FWHM * fwhm
    fresh &= (new.peak - new.level > LEFT_OVER * np.nan_to_num(image[y, x] - rest[y, x])) & (new.core == 0)
    new = stars.Candidates(*(column[fresh] for column in new))
    near = stars.neighbours(new.x, new.y, new.x, new.y)
    start = psf.round_start(new.x, new.y, new.peak - new.level, new.level, fwhm, beta)
    more = psf.fit(rest, start, new.noise, np.full(len(new.x), np.clip(1.5 * fwhm, 3.5, 24.0)), near, beta, ceiling)
    joined = stars.Candidates(*(np.concatenate(pair) for pair in zip(chosen, new, strict=True)))
    return joined, np.concatenate([fits, more]), np.concatenate([placed, more])


def search(image, sigma, saturation_dn, mosaic=NO_MOSAIC, period=1):
    """Candidates of an image at the pixel size that suits its stars: (scale, what `detect` found in the binned image,
    the image without its nebulosity where that was searched).

    Its peaks and its level are always those of the image itself. Stars wider than 6 px, and frames where hardly any
    star shows, are searched again in the frame binned by 2, then 4.
    """
    latest = first = stars.detect(image, sigma, saturation_dn, mosaic, period)
    peaks, level, flat, told = latest.peaks, latest.level, None, np.nan
    for _ in range(FLATTENED if nebulous(latest.binned, noise_of(latest)) else 0):
        width = typical_fwhm(latest.image, latest.candidates)
        if not width > 0 or 0.8 < width / told < 1.25:
            break
        told, (flat, latest) = width, search_flattened(image, sigma, first, width, mosaic, period)
    if len(latest.candidates.x) < len(first.candidates.x):
        latest, flat = first, None  # what looked like nebulosity were stars far out of focus
    best = (1, latest)
    for scale in (2, 4):
        before = best[1].candidates
        wide = typical_fwhm(best[1].image, before) > BIN_ABOVE_FWHM_PX
        if min(latest.binned.shape) < 64 or not (wide or len(before.x) < 10):
            break
        latest = stars.detect(latest.binned, sigma, saturation_dn)
        if wide or len(latest.candidates.x) > 2 * len(before.x):
            best = scale, latest._replace(peaks=peaks, level=level if flat else latest.level)
    return *best, flat


def noise_of(found):
    """Noise of a pixel of what `detect` searched, DN."""
    return float(np.median(found.noise)) / stars.SMOOTHING


def search_flattened(image, sigma, first, width, mosaic, period, partly=False):
    """What is found in an image without what is wider than its stars of this width: (flattened image, `Found`); first:
    what was found in the image itself, which tells its peaks and level; partly: as for `flattened`."""
    ceiling = first.saturation_dn
    flat = flattened(image, first.binned, width, noise_of(first), ceiling, partly)
    again = stars.detect(flat.image, sigma, ceiling if np.isfinite(ceiling) else None, mosaic, period)
    return flat, again._replace(peaks=first.peaks, level=first.level)


def accept(fits, placed, chosen, beta, shape, scale=1, flat=None):
    """Indices of the fits that are stars, brightest first, each star once, in a frame that was binned by `scale`.

    flat: the frame without its nebulosity, where there is any: where it is rough, more is asked of a star.
    """
    rough = np.zeros(len(fits), int)
    if flat is not None:
        rough[:] = flat.rough_at(scale * chosen.x, scale * chosen.y)
    least, widest = np.array([ON_SKY, IN_NEBULA])[rough].T
    fwhm, chi, *_ = psf.shape(fits, beta)
    flux = psf.shape(placed, beta)[3]
    if not np.isfinite(fwhm).any():
        return np.empty(0, int)
    with np.errstate(invalid="ignore"):
        x, y, peak, snr = fits[:, psf.X], fits[:, psf.Y], fits[:, psf.PEAK], fits[:, psf.SNR]
        calm = (snr > 5) & (peak > 0) & (chosen.core == 0)
        usual = shared_width(fwhm[calm], snr[calm]) if calm.any() else np.nanmedian(fwhm)
        likely, bend, *_ = psf.shape(np.where(alike(fits, placed)[:, None], placed, fits), beta)
        narrow = likely * ((1 - bend) / (1 + bend)) ** 0.25
        moved = np.hypot(x - chosen.x, y - chosen.y)
        sure = (snr > STRONG) & (chi < ROUND) & (fwhm > max(NARROWEST_PX / scale, SHARPEST))
        good = (snr > least) & (peak > 0) & (sure | (likely > max(LEAST_PX, 0.5 * usual))) & (fwhm < widest * usual)
        good &= sure | (narrow > max(0.6, 0.5 * usual))
        good &= well_fitted(fits, chosen.noise) & (moved < 1.5 + chosen.core)
        good &= (x > usual) & (y > usual) & (x < shape[1] - 1 - usual) & (y < shape[0] - 1 - usual)
    order = np.flatnonzero(good)
    order = order[np.argsort(-flux[order], kind="stable")]
    if len(order) < 2:
        return order
    return np.delete(order, stars.fainter_of_pairs(x[order], y[order], max(1.5, 0.5 * usual)))


def alike(fits, placed):
    """Which fits the shape that stars share does as well: noise alone may have made them narrow or long."""
    with np.errstate(invalid="ignore"):
        shared = placed[:, psf.A] != fits[:, psf.A]
        clear = (placed[:, psf.PEAK] > 0) & (placed[:, psf.SNR] > CLEAR_SNR)
        return shared & clear & (placed[:, psf.CHI2] - fits[:, psf.CHI2] < BY_NOISE)


def well_fitted(fits, noise):
    """Which fits leave no more of a star than its noise and a tenth of its height."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return fits[:, psf.RESIDUAL] < 0.1 + 1.2 * noise / fits[:, psf.PEAK]


def build(fits, placed, chosen, scale, shape, beta):
    """The StarList of accepted fits, in pixels of the frame that was binned by `scale` to find them.

    Shapes come from `fits`, places and fluxes from `placed`.
    """
    fwhm, chi, theta, _ = psf.shape(fits, beta)
    error = np.sqrt(0.5 * (placed[:, psf.VAR_X] + placed[:, psf.VAR_Y]) * stretch_of(fits))
    n = len(fits)
    return StarList(
        x_px=scale * placed[:, psf.X] + 0.5 * (scale - 1), y_px=scale * placed[:, psf.Y] + 0.5 * (scale - 1),
        flux_dn=scale**2 * psf.shape(placed, beta)[3], peak_dn=chosen.peak[:n], background_dn=placed[:, psf.LEVEL],
        fwhm_px=scale * fwhm, theta_rad=theta, sigma_px=np.maximum(0.01, scale * error), snr=fits[:, psf.SNR],
        eccentricity=psf.eccentricity(np.sqrt(np.maximum(0.0, chi**2 - spread_of_shape(fits)))),
        saturated=chosen.core[:n] > 0, residual=fits[:, psf.RESIDUAL], shape=tuple(shape),
        beta=float("nan") if beta is None else float(beta),
    )  # fmt: skip


def stretch_of(fits):
    """How far the residuals exceed the noise, as a factor on variances, 1 at least."""
    return np.maximum(1.0, fits[:, psf.CHI2] / np.maximum(1.0, fits[:, psf.PIXELS] - 7.0))


def spread_of_shape(fits):
    """Variance of the ellipticity chi of each fit, both components together."""
    return fits[:, psf.VAR_SHAPE] * stretch_of(fits)
