"""The light of the reference's stars in a registered frame: apertures at known places, read as small boxes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from masterlight.core.frame import Frame, naming
from masterlight.subframes.measurement import Measurement, StarList
from masterlight.subframes.radial import BLUR_PX2, Profile, radial_profile

APERTURE = 1.8
"""Radius of the aperture in widths (FWHM) of the stars of the frame itself, so that it holds the same share of their
light whatever the seeing."""
RING = 2.4, 3.2
"""Radii of the ring that tells the sky, in widths."""
ROOM = 1.35
"""So many times wider than in the reference stars may be before larger boxes are read."""
APART = 5.0
"""Distance in widths within which a star must have no neighbour worth mentioning."""
NEIGHBOUR = 0.02
"""A neighbour is worth mentioning from this part of a star's light on."""
LIGHT_NEIGHBOUR = 0.2
"""A neighbour of at most this part of a star's light is put up with where few stars stand alone."""
STEP_PX, SHARE, GAUSSIAN = 0.25, 0.75, 1.4221
"""The width is told by the radius that holds this share of the light within twice itself, by a profile in rings of this
step: for a Gaussian, FWHM over 1.4221."""
PROFILE_STARS, PASSES = 60, 3
"""Stars that tell the width, and how often it is found: the ring of the sky follows it."""
ENOUGH_STARS, FEWEST_STARS = 8, 3
"""Stars in common by which a flux ratio is trusted, and can be told."""
FLOOR = 0.005
"""Relative error of a flux below which none is believed: flat field, changes of the profile over the field."""
NEAR_SATURATION = 0.98
WIDER, MODEL_BETA = 1.2, 4.0
"""A Moffat profile of this exponent is so many times narrower than the Gaussian that is as wide as all of its light."""


@dataclass(frozen=True, eq=False)
class Fluxes:
    """Light of known stars in one frame; arrays (planes, n), NaN for a star that could not be measured there."""

    flux_dn: np.ndarray
    error_dn: np.ndarray
    """1 sigma, of the noise of the sky."""
    fwhm_px: np.ndarray
    """(planes,) FWHM of the Gaussian that is as wide as the stars, blur by the pixel included, so that wings count too:
    1.2 times the FWHM of a Moffat profile of exponent 4. NaN when unknown."""
    profiles: tuple[Profile | None, ...] = ()
    """(planes,) mean radial profiles of the stars; None where too few tell."""


class Ratio(NamedTuple):
    """How much light of the reference's stars a frame has: the factor, its error, the stars that told it."""

    ratio: float
    error: float
    stars: int

    @property
    def trusted(self) -> float | None:
        """The factor, where enough stars tell it to be worth more than a ratio of background dispersions."""
        return self.ratio if self.stars >= ENOUGH_STARS else None


NARROWEST_PX = 0.7
"""Width below which nothing is a star: where frames are not registered, boxes show noise, of which any width comes."""


def standards(stars: StarList, most: int = 120) -> StarList:
    """The stars of a reference that tell fluxes well: the brightest unsaturated ones that stand alone.

    Where these are few, also those with the least neighbours, which shine in every frame alike.
    """
    if not len(stars):
        return stars
    reach = APART * float(np.median(stars.fwhm_px))
    tree, alone, beside = cKDTree(stars.xy), [], []
    for i in np.flatnonzero(~stars.saturated & (stars.flux_dn > 0)):
        near = [k for k in tree.query_ball_point(stars.xy[i], reach) if k != i]
        share = float(np.max(stars.flux_dn[near], initial=0.0)) / float(stars.flux_dn[i])
        if share <= NEIGHBOUR:
            alone.append(i)
        elif share <= LIGHT_NEIGHBOUR:
            beside.append((share, i))
        if len(alone) == most:
            break
    lacking = max(min(2 * ENOUGH_STARS, most) - len(alone), 0)
    return stars[np.array([*alone, *(i for _, i in sorted(beside)[:lacking])], int)]


def forced_fluxes(frame: Frame, stars: StarList) -> Fluxes:
    """Light of `stars`, those of the reference that `standards` chose, in each plane of a frame on its grid.

    The aperture follows the width of the frame's own stars, which a profile common to all tells, so that frames of
    different seeing compare; the sky is the median of a ring. Stars at the edge, saturated ones and those that miss a
    pixel of the aperture are NaN; all are when fewer than 3 are left. Only boxes around the stars are read.
    """
    planes = frame.planes
    nothing = np.full((planes, len(stars)), np.nan)
    if not len(stars):
        return Fluxes(nothing, nothing, np.full(planes, np.nan))
    usual = float(np.hypot(np.median(stars.fwhm_px), 0.9))
    half = int(np.ceil(RING[1] * ROOM * usual)) + 1
    boxes, widths = stamps(frame, stars, half), np.full(planes, usual)
    for _ in range(PASSES):
        widths = [own_width(boxes[:, p], stars, width) for p, width in enumerate(widths)]
        widest = int(np.ceil(RING[1] * np.nanmax([usual, *widths]))) + 1
        if widest > half:
            half, boxes = widest, stamps(frame, stars, widest)
    found = [apertures(boxes[:, p], stars, width) for p, width in enumerate(widths)]
    profiles = [own_profile(boxes[:, p], stars, found[p][0], width) for p, width in enumerate(widths)]
    return Fluxes(*map(np.stack, zip(*found, strict=True)), np.array(widths), tuple(profiles))


def stamps(frame: Frame, stars: StarList, half: int) -> np.ndarray:
    """Boxes (n, planes, 2 half + 1, 2 half + 1) around stars; NaN throughout at the edge and where the core is bad."""
    rows, cols = frame.shape[-2:]
    size = 2 * half + 1
    out = np.full((len(stars), frame.planes, size, size), np.nan, np.float32)
    corners = np.round(stars.xy).astype(int) - half
    ceiling = NEAR_SATURATION * frame.meta.saturation_dn if frame.meta.saturation_dn else np.inf
    with naming(frame):
        for box, (x0, y0) in zip(out, corners, strict=True):
            if min(x0, y0) >= 0 and x0 + size <= cols and y0 + size <= rows:
                frame.pixels_into(box if len(frame.shape) == 3 else box[0], y0, x0)
    core = out[:, :, half - 2 : half + 3, half - 2 : half + 3].max(axis=(2, 3))
    out[~(core < ceiling)] = np.nan
    return out


def distances(stars: StarList, half: int) -> np.ndarray:
    """Distance in px of each pixel of the boxes from its star, (n, 2 half + 1, 2 half + 1) float32."""
    offset = (stars.xy - np.round(stars.xy)).astype(np.float32)
    steps = np.arange(-half, half + 1, dtype=np.float32)
    across, down = (steps - offset[:, k, None] for k in (0, 1))
    return np.sqrt(across[:, None, :] ** 2 + down[:, :, None] ** 2)


def usable(boxes: np.ndarray) -> np.ndarray:
    """Numbers of the boxes (n, size, size) that hold a star."""
    return np.flatnonzero(np.isfinite(boxes[:, boxes.shape[1] // 2, boxes.shape[1] // 2]))


def sky_of(boxes: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Level and noise of the ring around each star, and the number of its pixels, (n,) each; the ring has whole pixels.

    The level is NaN where more than half of them are missing.
    """
    half = boxes.shape[1] // 2
    radius = np.hypot(*np.mgrid[-half : half + 1, -half : half + 1])
    values = np.sort(boxes[:, (radius >= RING[0] * width) & (radius <= RING[1] * width)], axis=1)
    count, at = np.isfinite(values).sum(axis=1), np.arange(len(values))
    low, high = values[at, np.maximum(count - 1, 0) // 2].astype(np.float64), values[at, count // 2 - (count == 0)]
    spread = (values[at, np.minimum(3 * count // 4, values.shape[1] - 1)] - values[at, count // 4]) / 1.349
    return np.where(count > values.shape[1] // 2, 0.5 * (low + high), np.nan), spread, count


def own_width(boxes: np.ndarray, stars: StarList, usual: float) -> float:
    """Width (FWHM) of the stars in boxes (n, size, size) by the profile common to the brightest; NaN for too few.

    The radius within which 3/4 of the light within twice that radius falls scales with any profile; `usual` is a first
    idea of the width, which places the ring of the sky.
    """
    good = usable(boxes)[:PROFILE_STARS]
    if len(good) < FEWEST_STARS or not NARROWEST_PX <= usual < np.inf:
        return np.nan
    half = boxes.shape[1] // 2
    chosen, distance = boxes[good], distances(stars[good], half)
    light = chosen - sky_of(chosen, usual)[0][:, None, None].astype(np.float32)
    inner, whole = (np.where(distance < r * usual, light, 0).sum(axis=(1, 2)) for r in (0.7, 1.4))
    clean = whole > 0
    if clean.sum() < FEWEST_STARS:
        return np.nan
    share = np.divide(inner, whole, out=np.full(len(good), np.inf, np.float32), where=clean)
    away = np.abs(share - np.median(share[clean]))
    alike = away <= 4 * np.median(away[clean]) + 1e-6
    edges = np.arange(0, half, STEP_PX)
    ring = (distance[alike] / STEP_PX).astype(np.int64).ravel()
    scaled = (light[alike] / whole[alike, None, None]).ravel()
    near = (ring < len(edges) - 1) & np.isfinite(scaled)
    total, count = (np.bincount(ring[near], w, len(edges) - 1) for w in (scaled[near], None))
    known = np.flatnonzero(count)  # of few stars some rings are empty
    if not known.size:
        return np.nan
    level = np.interp(np.arange(len(total)), known, total[known] / count[known])
    growth = np.append(0, np.cumsum(level * np.diff(edges**2)))
    radius = edges[1 : len(edges) // 2]
    inner, whole = (np.interp(r, edges, growth) for r in (radius, 2 * radius))
    inside = np.divide(inner, whole, out=np.zeros(len(radius)), where=whole != 0)
    first = int(np.argmax(inside >= SHARE))
    around = slice(first - 1, first + 1)
    return GAUSSIAN * float(np.interp(SHARE, inside[around], radius[around])) if first else np.nan


def own_profile(boxes: np.ndarray, stars: StarList, flux_dn: np.ndarray, width: float) -> Profile | None:
    """The mean radial profile of the brightest stars in boxes (n, size, size), of this light and width (FWHM)."""
    good = usable(boxes)
    good = good[flux_dn[good] > 0][:PROFILE_STARS]
    if not NARROWEST_PX <= width < np.inf or len(good) < FEWEST_STARS:
        return None
    chosen, distance = boxes[good], distances(stars[good], boxes.shape[1] // 2)
    light = (chosen - sky_of(chosen, width)[0][:, None, None]) / flux_dn[good, None, None]
    return radial_profile(light, distance, max(width**2 - BLUR_PX2, 0.5) ** 0.5 / WIDER, MODEL_BETA)


def apertures(boxes: np.ndarray, stars: StarList, width: float) -> tuple[np.ndarray, np.ndarray]:
    """(flux_dn, error_dn), each (n,), of the stars in boxes (n, size, size) for stars of this width (FWHM)."""
    flux, error = np.full((2, len(boxes)), np.nan)
    good = usable(boxes)
    if not NARROWEST_PX <= width < np.inf or not len(good):
        return flux, error
    chosen, distance = boxes[good], distances(stars[good], boxes.shape[1] // 2)
    level, noise, count = sky_of(chosen, width)
    share = np.clip(np.float32(APERTURE * width + 0.5) - distance, 0, 1)
    area = share.sum(axis=(1, 2), dtype=np.float64)
    inside = np.where(share > 0, chosen, 0)
    flux[good] = np.einsum("nij,nij->n", share, inside, dtype=np.float64) - area * level
    error[good] = noise * np.sqrt(np.einsum("nij,nij->n", share, share) + 0.5 * np.pi * area**2 / np.maximum(count, 1))
    return flux, error


def flux_ratio(fluxes, reference_fluxes, errors, reference_errors=0.0) -> Ratio:
    """Light of a frame's stars over that of the same stars in the reference: (ratio, its error, stars used).

    fluxes, reference_fluxes, errors (n,) DN of one plane, NaN for what was not measured. The mean is weighted by the
    errors, 0.5 % of each flux at least; stars beyond 3 sigma are left out. NaN and 0 for fewer than 3 stars.
    """
    flux, reference = np.asarray(fluxes, float), np.asarray(reference_fluxes, float)
    noise, of_reference = np.broadcast_to(errors, flux.shape), np.broadcast_to(reference_errors, flux.shape)
    good = np.isfinite(flux) & np.isfinite(noise) & (reference > 5 * of_reference) & np.isfinite(reference)
    if good.sum() < FEWEST_STARS:
        return Ratio(float("nan"), float("nan"), 0)
    flux, reference, noise, of_reference = (v[good] for v in (flux, reference, noise, of_reference))
    ratios = flux / reference
    usual = abs(float(np.median(ratios)))
    return robust_mean(ratios, np.hypot(np.hypot(noise, usual * of_reference) / reference, FLOOR * usual))


def with_star_light(
    planes: Sequence[Measurement], fluxes: Fluxes, reference: Fluxes, sharpest_px: float | None = None
) -> list[Measurement]:
    """The measurements of a frame's planes with what its stars tell: their flux ratio, and their width.

    sharpest_px: width of the sharpest of the stars in the reference.
    """
    out = []
    for p, plane in enumerate(planes):
        ratio = flux_ratio(fluxes.flux_dn[p], reference.flux_dn[p], fluxes.error_dn[p], reference.error_dn[p])
        width = float(fluxes.fwhm_px[p]) if np.isfinite(fluxes.fwhm_px[p]) else None
        profile = fluxes.profiles[p] if fluxes.profiles else None
        usual = np.fmax(reference.fwhm_px[p], fluxes.fwhm_px[p])  # a trailed frame is as sharp across the trail
        sharpest = float(sharpest_px / usual) if sharpest_px is not None and usual > 0 else None
        told = {"fwhm_px": plane.fwhm_px or width, "profile": profile, "sharpest": sharpest}
        out.append(replace(plane, flux_ratio=ratio.trusted, **told))
    return out


def robust_mean(values: np.ndarray, sigma: np.ndarray) -> Ratio:
    """Mean weighted by 1 / sigma^2 without what lies beyond 3 sigma: (mean, its error, number of values used).

    Where values scatter more than sigma explains, sigma is stretched, and so is the error.
    """
    middle, kept, spread = float(np.median(values)), np.ones(len(values), bool), 1.0
    for _ in range(5):
        deviation = (values - middle) / sigma
        spread = max(1.4826 * float(np.median(np.abs(deviation[kept]))), 1.0)
        kept = np.abs(deviation) < 3 * spread
        middle = float(np.average(values[kept], weights=1 / sigma[kept] ** 2))
    return Ratio(middle, float(spread / np.sqrt((1 / sigma[kept] ** 2).sum())), int(kept.sum()))
