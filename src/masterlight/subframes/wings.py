"""The light of stars that a fitted profile misses or makes up: real stars have wings that no profile has."""

import numpy as np

from masterlight.subframes.measurement import StarList
from masterlight.subframes.photometry import FEWEST_STARS, Ratio, robust_mean
from masterlight.subframes.radial import ALONE, BLUR_PX2, FEWEST, STARS, boxes_around, lonely

WITHIN = 1.5
"""Light of a fitted profile is told within so many widths (FWHM) of its centre: as far as the fit saw it. All of it
hangs on wings, which no two frames tell alike."""
APERTURES_PX = np.round(np.geomspace(3, 40, 11), 1)
"""Radii within which pixels tell the light of a star."""
FROM, TO, RING_PX = 1.5, 4.5, (1.0, 4.0)
"""Radii that are looked at, in widths; where beyond a radius the ring that tells the sky begins and ends."""
COMMON = 2.3
"""Two frames are compared by the light within so many widths of the wider stars."""
FREEDOM, FLOOR, STAR_FLOOR = 1.7, 0.01, 0.005
"""The error of a fitted star's light over that of its height alone, since its width was free; and the relative errors
below which none is believed, by its pixels and by its fit."""
SEEN = 0.4
"""Share of the pixels of an aperture that must be there: of a mosaic the green ones are half."""
SURE = 3.0
"""Frames that differ by less than so many times the error are taken to be alike."""
AS_FITTED = Ratio(1.0, 0.0, 0)


def light_within(stars: StarList) -> np.ndarray:
    """Light within `WITHIN` widths of each star, (n,) DN: all that its fitted profile has there."""
    if np.isnan(stars.beta):
        return stars.flux_dn * (1 - 2.0 ** (-4 * WITHIN**2))
    edge = (2 * WITHIN) ** 2 * (2 ** (1 / stars.beta) - 1)
    return stars.flux_dn * (1 - (1 + edge) ** (1 - stars.beta))


def light_shares(image: np.ndarray, stars: StarList, noise_dn: float) -> np.ndarray | None:
    """(2, radii) light of bright stars that stand alone by the pixels within each of `APERTURES_PX`, over
    `light_within`, and errors.

    NaN for radii that do not suit their width. image (rows, cols) in DN, NaN where missing; None where few stars tell.
    """
    if not len(stars):
        return None
    width = float(np.hypot(np.median(stars.fwhm_px[: 4 * STARS]), BLUR_PX2**0.5))
    suited = (APERTURES_PX >= FROM * width) & (APERTURES_PX <= TO * width)
    shares = np.full((2, len(APERTURES_PX)), np.nan)
    half = int(np.ceil(TO * width + RING_PX[1])) + 1
    if not suited.any() or 2 * half >= min(image.shape):
        return None
    chosen = stars[lonely(stars, ALONE * width, half, image.shape)]
    boxes, distance = boxes_around(image, chosen, half)
    for k in np.flatnonzero(suited):
        told = share_within(boxes, distance, chosen, float(APERTURES_PX[k]), noise_dn)
        shares[:, k] = told[:2] if told else np.nan
    return shares if np.isfinite(shares).any() else None


def share_within(
    boxes: np.ndarray, distance: np.ndarray, stars: StarList, radius_px: float, noise_dn: float
) -> Ratio | None:
    """Light of stars in boxes (n, h, w) within a radius over `light_within`, the sky by a ring beyond; see above."""
    there = np.isfinite(boxes)
    ring = there & (distance >= radius_px + RING_PX[0]) & (distance < radius_px + RING_PX[1])
    share = np.clip(radius_px + 0.5 - distance, 0, 1)
    seen = np.sum(share * there, axis=(1, 2)) / np.sum(share, axis=(1, 2))
    good = (seen > SEEN) & ring.any(axis=(1, 2))
    if np.count_nonzero(good) < FEWEST:
        return None
    boxes, there, ring, share, seen, stars = (v[good] for v in (boxes, there, ring, share, seen, stars))
    sky = np.nanmedian(np.where(ring, boxes, np.nan), axis=(1, 2))
    light = np.sum(share * np.where(there, boxes - sky[:, None, None], 0), axis=(1, 2)) / seen
    area = np.pi * radius_px**2
    error = noise_dn * np.sqrt(area / seen + 0.5 * np.pi * area**2 / ring.sum(axis=(1, 2)))
    fitted = light_within(stars)
    return robust_mean(light / fitted, np.hypot(error / fitted, np.hypot(FREEDOM / stars.snr, FLOOR)))


def matched_flux_ratio(reference: StarList, stars: StarList) -> Ratio:
    """Light of a frame's stars over that of the same stars in the reference, by their fitted profiles and the pixels of
    their wings.

    Star by star the same one; a mean of logarithms weighted by their signal to noise, of those that are not saturated.
    All the light of a profile hangs on its exponent, by which ratios of real frames came out up to 18 % wrong.
    """
    good = ~(reference.saturated | stars.saturated) & (reference.flux_dn > 0) & (stars.flux_dn > 0)
    if good.sum() < FEWEST_STARS:
        return Ratio(float("nan"), float("nan"), int(good.sum()))
    noise = np.hypot(1 / reference.snr[good], 1 / stars.snr[good])
    change = np.log(light_within(stars)[good] / light_within(reference)[good])
    mean = robust_mean(change, np.hypot(noise, STAR_FLOOR))
    widest_px = max(float(np.median(one.fwhm_px)) for one in (reference, stars))
    wings = wings_beside(stars.light_shares, reference.light_shares, widest_px)
    ratio = float(np.exp(mean.ratio)) * wings.ratio
    return Ratio(ratio, ratio * float(np.hypot(mean.error, wings.error / wings.ratio)), mean.stars)


def wings_beside(own: np.ndarray | None, other: np.ndarray | None, widest_px: float) -> Ratio:
    """By what the ratio of fitted light of two frames' stars is to be multiplied, by the pixels of both; and its error.

    Where seeing changes and halos do not, fits of the same stars differ by up to a fifth. widest_px: FWHM of the frame
    with the wider stars; their light is compared within the same radius. What may be noise is taken for none: the
    change is shrunk as James and Stein (1961) do.
    """
    if own is None or other is None:
        return AS_FITTED
    (mine, my_error), (theirs, their_error) = own, other
    told = np.isfinite(mine) & np.isfinite(theirs) & (mine > 0) & (theirs > 0)
    if not told.any():
        return AS_FITTED
    wide = np.flatnonzero(told & (COMMON * np.hypot(widest_px, BLUR_PX2**0.5) <= APERTURES_PX))
    k = int(wide[0]) if wide.size else int(np.flatnonzero(told)[-1])
    change = float(np.log(mine[k] / theirs[k]))
    error = float(np.hypot(my_error[k] / mine[k], their_error[k] / theirs[k]))
    part = max(0.0, 1 - (SURE * error / change) ** 2) if change else 0.0
    return Ratio(float(np.exp(part * change)), part * error, 0)
