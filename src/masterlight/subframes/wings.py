"""The light of stars that a fitted profile misses or makes up: real stars have wings that no profile has."""

import numpy as np

from masterlight.subframes.measurement import StarList
from masterlight.subframes.photometry import Ratio, robust_mean
from masterlight.subframes.radial import ALONE, BLUR_PX2, FEWEST, LARGEST_PX, STARS, boxes_around, lonely

WITHIN = 1.5
"""Light of a fitted profile is told within so many widths (FWHM) of its centre: as far as the fit saw it. All of it
hangs on wings, which no two frames tell alike."""
APERTURE, RING_PX = 2.5, (1.0, 4.0)
"""Radius in widths within which pixels tell the light of a star; where beyond it a ring that tells the sky begins and
ends."""
FREEDOM, FLOOR = 1.7, 0.01
"""The error of a fitted star's light over that of its height alone, since its width was free; and the relative error
below which none is believed."""
SEEN = 0.4
"""Share of the pixels of an aperture that must be there: of a mosaic the green ones are half."""


def light_within(stars: StarList) -> np.ndarray:
    """Light within `WITHIN` widths of each star, (n,) DN: all that its fitted profile has there."""
    if np.isnan(stars.beta):
        return stars.flux_dn * (1 - 2.0 ** (-4 * WITHIN**2))
    edge = (2 * WITHIN) ** 2 * (2 ** (1 / stars.beta) - 1)
    return stars.flux_dn * (1 - (1 + edge) ** (1 - stars.beta))


def light_share(image: np.ndarray, stars: StarList, noise_dn: float) -> Ratio | None:
    """Light of bright stars that stand alone, by the pixels within `APERTURE` widths, over `light_within`.

    It is the same for all frames where profiles are as they were fitted. Where seeing changes and halos do not, fits
    of the same stars differ by up to a fifth. image (rows, cols) in DN, NaN where missing; None where few stars tell.
    """
    if not len(stars):
        return None
    width = float(np.hypot(np.median(stars.fwhm_px[: 4 * STARS]), BLUR_PX2**0.5))
    radius = APERTURE * width
    half = int(np.ceil(radius + RING_PX[1])) + 1
    if half > LARGEST_PX or 2 * half >= min(image.shape):
        return None
    chosen = stars[lonely(stars, ALONE * width, half, image.shape)]
    if len(chosen) < FEWEST:
        return None
    boxes, distance = boxes_around(image, chosen, half)
    there = np.isfinite(boxes)
    ring = there & (distance >= radius + RING_PX[0]) & (distance < radius + RING_PX[1])
    share = np.clip(radius + 0.5 - distance, 0, 1)
    seen = np.sum(share * there, axis=(1, 2)) / np.sum(share, axis=(1, 2))
    good = (seen > SEEN) & ring.any(axis=(1, 2))
    boxes, there, ring, share, seen, chosen = (v[good] for v in (boxes, there, ring, share, seen, chosen))
    if len(chosen) < FEWEST:
        return None
    sky = np.nanmedian(np.where(ring, boxes, np.nan), axis=(1, 2))
    light = np.sum(share * np.where(there, boxes - sky[:, None, None], 0), axis=(1, 2)) / seen
    area = np.pi * radius**2
    error = noise_dn * np.sqrt(area / seen + 0.5 * np.pi * area**2 / ring.sum(axis=(1, 2)))
    fitted = light_within(chosen)
    return robust_mean(light / fitted, np.hypot(error / fitted, np.hypot(FREEDOM / chosen.snr, FLOOR)))
