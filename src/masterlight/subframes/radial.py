"""How a frame spreads the light of a star: its mean radial profile, and what frames are worth by it."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from masterlight.subframes.measurement import StarList

RADII_PX = np.concatenate([np.arange(0, 4, 0.25), np.geomspace(4, 80, 26)])
"""Distances from the centre of a star at which a profile is told; between them it is a straight line."""
AREAS_PX2 = 2 * np.pi * RADII_PX * np.gradient(RADII_PX)
"""What each of them stands for in an integral over the plane; around the centre the disc that no ring covers."""
AREAS_PX2[0] = np.pi * (RADII_PX[1] / 2) ** 2
RINGS = np.array([0, 0.3, 0.5, 0.7, 0.9, 1.15, 1.4, 1.7, 2.1])
"""Edges, in widths (FWHM), of rings in which the model of a profile is put right by the stars; beyond, it stands."""
REACH = 3.0
"""Radius in widths by which what the stars tell has gone over into the model."""
LARGEST_PX = 48
"""Half a side of the largest boxes around stars."""
STARS, TRIED, FEWEST = 40, 160, 3
"""Stars that tell a profile, at most and at least, and those that are looked at for them: the brightest."""
ALONE, FIRM = 4.0, 20.0
"""A star stands alone where no brighter one than a tenth of it is within so many widths; its signal over noise."""
TINY, STEPS = 1e-30, 60
WINDOW_PX, FINE_PX = 24, 0.25
"""Half a side of the window in which a profile is folded with a kernel, and its step."""
FITTED, FITS = 2.0, 25
"""Radius in widths up to which a profile is fitted, and steps that this takes."""
WORTH_TELLING = 5e-4
BLUR_PX2 = 8 * np.log(2) / 12
"""What the pixel adds to the square of a width."""
Profile = tuple[float, ...]
"""Light per square pixel of a star of 1, at `RADII_PX`."""


def moffat_profile(fwhm_px: float, beta: float = 4.0) -> np.ndarray:
    """A Moffat profile (1969) of unit flux at `RADII_PX`, averaged over the pixel and over all directions."""
    alpha = 0.5 * max(fwhm_px, 0.1) / np.sqrt(2 ** (1 / beta) - 1)
    nodes, shares = np.array([-0.5, 0, 0.5]) * np.sqrt(0.6), np.array([5, 8, 5]) / 18
    turn = np.array([0.0, np.pi / 8, np.pi / 4])[:, None, None, None]
    x = RADII_PX[:, None, None] * np.cos(turn) + nodes[:, None]
    y = RADII_PX[:, None, None] * np.sin(turn) + nodes
    values = (1 + (x**2 + y**2) / alpha**2) ** -beta
    mean = np.einsum("drij,i,j->dr", values, shares, shares)
    return np.array([0.25, 0.5, 0.25]) @ mean * (beta - 1) / (np.pi * alpha**2)


def radial_profile(light: np.ndarray, distance_px: np.ndarray, fwhm_px: float, beta: float) -> Profile | None:
    """The mean profile of stars in boxes: a Moffat profile that is put right by what they show, ring by ring.

    light (n, h, w): pixels above the sky in units of each star's flux, NaN where missing; distance_px (n, h, w) from
    the star's centre. In each ring the median over the stars counts, so that neighbours and cosmic rays do not. Where
    stars are trailed it is the mean over all directions. None where fewer than 3 stars tell.
    """
    model = moffat_profile(fwhm_px, beta)
    count, rings = len(light), len(RINGS) - 1
    ring = np.searchsorted(RINGS * np.hypot(fwhm_px, 0.7), distance_px, "right") - 1
    used = (ring < rings) & np.isfinite(light)
    at = (np.arange(count)[:, None, None] * rings + ring)[used]
    expected = np.interp(distance_px[used], RADII_PX, model)
    sums = [
        np.bincount(at, weight, count * rings).reshape(count, rings)
        for weight in (light[used] * expected, expected**2, distance_px[used] * expected**2)
    ]
    seen, wanted, far = sums
    told = wanted > TINY
    if count < FEWEST or not told.any(axis=0).all():
        return None
    ratio = np.nanmedian(np.where(told, seen / np.maximum(wanted, TINY), np.nan), axis=0)
    radius = far.sum(axis=0) / wanted.sum(axis=0)
    factor = np.interp(RADII_PX, [*radius, REACH * np.hypot(fwhm_px, 0.7)], [*ratio, 1.0])
    return tuple((model * np.maximum(factor, 0)).tolist())


def profile_of_stars(image: np.ndarray, stars: StarList) -> Profile | None:
    """The mean profile of a frame's bright stars that stand alone; None where fewer than 3 tell it.

    image (rows, cols) in DN, NaN where missing; fluxes and levels are those that were fitted.
    """
    if len(stars) < FEWEST:
        return None
    width = float(np.median(stars.fwhm_px[: 4 * STARS]))
    half = int(np.clip(np.ceil(RINGS[-1] * np.hypot(width, 0.7)) + 1, 4, LARGEST_PX))
    chosen = stars[lonely(stars, ALONE * width, half, image.shape)]
    if len(chosen) < FEWEST:
        return None
    boxes, distance = boxes_around(image, chosen, half)
    light = (boxes - chosen.background_dn[:, None, None]) / chosen.flux_dn[:, None, None]
    return radial_profile(light, distance, width, stars.beta if np.isfinite(stars.beta) else 10.0)


def boxes_around(image: np.ndarray, stars: StarList, half: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (n, 2 half + 1, 2 half + 1) float64 around stars that lie well inside, and the distance of their pixels."""
    x, y = np.rint(stars.x_px).astype(int), np.rint(stars.y_px).astype(int)
    steps = np.arange(-half, half + 1)
    boxes = image[y[:, None, None] + steps[:, None], x[:, None, None] + steps].astype(np.float64)
    across = steps - (stars.x_px - x)[:, None]
    down = steps - (stars.y_px - y)[:, None]
    return boxes, np.hypot(across[:, None, :], down[:, :, None])


def lonely(stars: StarList, apart_px: float, half: int, shape: tuple[int, ...]) -> np.ndarray:
    """Which of the brightest stars tell a profile: unsaturated, of good signal, alone, and whole in their boxes."""
    tried = stars[:TRIED]
    x, y = np.rint(tried.x_px), np.rint(tried.y_px)
    good = ~tried.saturated & (tried.flux_dn > 0)
    good &= (np.minimum(x, y) >= half) & (x < shape[-1] - half) & (y < shape[-2] - half)
    pairs = cKDTree(tried.xy).query_pairs(apart_px, output_type="ndarray")
    for one, other in (pairs.T, pairs.T[::-1]):
        good[one[tried.flux_dn[other] > 0.1 * tried.flux_dn[one]]] = False
    found = np.flatnonzero(good)[:STARS]
    firm = found[tried.snr[found] > FIRM]
    return firm if len(firm) >= FEWEST else found


def noise_area_px2(profile: Profile | np.ndarray) -> float:
    """The area whose sky costs a star as much signal to noise as its profile does (King 1983): a matched filter finds
    a star of flux F at F / (noise sqrt(area))."""
    return float(1 / (AREAS_PX2 @ np.square(profile)))


def rescaled(profile: Profile | None, scale: float) -> Profile | None:
    """The profile in pixels so many times smaller than its own."""
    if profile is None or abs(scale - 1) < 1e-3:
        return profile
    return tuple((np.interp(RADII_PX / scale, RADII_PX, profile) / scale**2).tolist())


def fitted_width(profiles: np.ndarray) -> np.ndarray:
    """FWHM (N,) without the blur by the pixel, of the Moffat profiles that fit profiles (N, radii) best within a few
    widths. That is what a fit to stars sees; a mixture of narrow and wide stars is narrower at half of its height."""
    half = np.array([half_radius(profile) for profile in profiles])
    inside = RADII_PX < FITTED * 2 * half[:, None]
    light, weight = profiles / profiles[:, :1], AREAS_PX2 * inside
    peak, log_beta = np.ones(len(half)), np.full(len(half), np.log(3.5))
    log_square = np.log(half**2 / (2 ** (1 / 3.5) - 1))
    for _ in range(FITS):
        rho, beta = RADII_PX**2 / np.exp(log_square)[:, None], np.exp(log_beta)[:, None]
        shape = (1 + rho) ** -beta
        model = peak[:, None] * shape
        slopes = np.stack([shape, model * beta * rho / (1 + rho), -model * beta * np.log1p(rho)], axis=1)
        square = np.einsum("nir,njr,nr->nij", slopes, slopes, weight)
        square[:, range(3), range(3)] *= 1.001
        steps = np.linalg.solve(square, np.einsum("nir,nr->ni", slopes, weight * (light - model))[..., None])
        steps = np.clip(steps[..., 0], -0.5, 0.5)
        peak, log_square = peak + steps[:, 0], log_square + steps[:, 1]
        log_beta = np.clip(log_beta + steps[:, 2], np.log(1.1), np.log(20))
    radius = np.exp(0.5 * log_square) * np.sqrt(2 ** np.exp(-log_beta) - 1)
    return np.array([width_of(r) for r in radius])


@lru_cache(maxsize=8)
def resampling(kernel: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What interpolation makes of a profile, (radii, radii) to be multiplied by it: the mean over all places between
    the pixels, by which a star is folded with the kernel (its weight at so many pixels' distance)."""
    at = np.arange(-WINDOW_PX, WINDOW_PX, FINE_PX)
    x, frequency = np.arange(-8, 8, 1 / 64) + 1 / 128, np.fft.rfftfreq(len(at), FINE_PX)
    weight = kernel(x)
    along = np.cos(2 * np.pi * frequency[:, None] * x) @ weight / weight.sum()
    both = along[np.minimum(np.arange(len(at)), len(at) - np.arange(len(at)))][:, None] * along
    turn = np.linspace(0, np.pi / 4, 5)[:, None]
    places = [(RADII_PX * wave(turn) + WINDOW_PX) / FINE_PX for wave in (np.sin, np.cos)]
    out, distance = np.eye(len(RADII_PX)), np.hypot(at[:, None], at)
    near = RADII_PX < WINDOW_PX - 8
    for k in np.flatnonzero(RADII_PX < WINDOW_PX):
        hat = np.interp(distance, RADII_PX, np.eye(len(RADII_PX))[k])
        folded = np.fft.irfft2(np.fft.rfft2(hat) * both, hat.shape)
        out[near, k] = map_coordinates(folded, places, order=3, mode="wrap").mean(axis=0)[near]
    return out


# --- weights ----------------------------------------------------------------------------------------------------------


class Worth(NamedTuple):
    """What weights make of frames, beside the weights of least noise."""

    fwhm_px: float
    """Width of the stars of the result, without the blur by the pixel."""
    fwhm_ratio: float
    """The same over the width by the weights of least noise."""
    depth: float
    """Signal to noise of a wide area, over that by the weights of least noise."""
    point_snr: float
    """Signal to noise of a point source by a matched filter, over that by the weights of least noise."""

    @property
    def differs(self) -> bool:
        """Whether these weights make a difference worth telling."""
        return max(abs(value - 1) for value in self[1:]) > WORTH_TELLING

    def __str__(self) -> str:
        width, depth, point = (100 * (value - 1) for value in self[1:])
        words = f"depth {depth:+.1f} %, point sources {point:+.1f} %, FWHM {width:+.1f} % ({self.fwhm_px:.2f} px)"
        return words.replace("-0.0", "+0.0")


def worth_of(weights: np.ndarray, noise_dn: np.ndarray, profiles: np.ndarray) -> Worth:
    """What weights (N,) make of frames of this noise (N,) and these profiles (N, radii), on the scale of the result."""
    told = []
    for chosen in (weights, noise_dn**-2.0):
        share = chosen / chosen.sum()
        mean, noise = share @ profiles, float(np.sqrt(np.sum((share * noise_dn) ** 2)))
        told.append(np.array([width_of(half_radius(mean)), 1 / noise, np.sqrt(AREAS_PX2 @ mean**2) / noise]))
    return Worth(float(told[0][0]), *(told[0] / told[1]).tolist())


def half_radius(profile: np.ndarray) -> float:
    """Radius in px within which a profile stands above half of what it is at its centre."""
    last = int(np.flatnonzero(profile >= 0.5 * profile[0])[-1])
    inner, outer = profile[last], profile[min(last + 1, len(profile) - 1)]
    part = (inner - 0.5 * profile[0]) / (inner - outer) if inner > outer else 0.0
    return float(RADII_PX[last] + part * (RADII_PX[min(last + 1, len(profile) - 1)] - RADII_PX[last]))


def point_weights(noise_dn: np.ndarray, profiles: np.ndarray) -> np.ndarray:
    """Weights (N,) of the best signal to noise of a faint point source, for noise (N,) and profiles (N, radii).

    The square of it by a matched filter of the mean profile P = sum w P_i is the integral of P^2 over sum w_i^2 s_i^2:
    stationary for w_i = (1 / s_i^2) times the overlap of P_i with P. From the weights of least noise each step comes
    nearer, since it is a step of the power method for the greatest eigenvalue of a matrix without negative terms.
    """
    weights = noise_dn**-2.0
    for _ in range(STEPS):
        before = weights / weights.sum()
        weights = np.maximum(profiles @ (AREAS_PX2 * (before @ profiles)), 0) / noise_dn**2
        if np.abs(weights / weights.sum() - before).max() < 1e-9:
            break
    return weights


def sharp_weights(noise_dn: np.ndarray, profiles: np.ndarray, give_fraction: float) -> np.ndarray:
    """Weights (N,) of the narrowest stars for which so much of the depth of weights noise is given away.

    A star of the result is as wide as 2 r where sum w_i a_i = 0 for a_i = P_i(r) - P_i(0) / 2. Of all weights that keep
    this, w_i = (1 / s_i^2) max(0, 1 - lambda a_i) have the least noise; the smaller r, the more depth it costs.
    """
    least = noise_dn**-2.0
    deepest = least.sum()
    wide = half_radius(least @ profiles)
    narrow = min(half_radius(profile) for profile in profiles)
    best = least
    for _ in range(STEPS):
        radius = 0.5 * (narrow + wide)
        weights = weights_of_width(least, rise_at(radius, profiles))
        if weights is None or weights.sum() ** 2 / np.sum(weights**2 / least) < (1 - give_fraction) ** 2 * deepest:
            narrow = radius
        else:
            wide, best = radius, weights
    return best


def rise_at(radius_px: float, profiles: np.ndarray) -> np.ndarray:
    """How far each profile (N, radii) stands above half of its centre at a radius, (N,)."""
    last = min(int(np.searchsorted(RADII_PX, radius_px, "right")), len(RADII_PX) - 1)
    part = (radius_px - RADII_PX[last - 1]) / (RADII_PX[last] - RADII_PX[last - 1])
    return (1 - part) * profiles[:, last - 1] + part * profiles[:, last] - 0.5 * profiles[:, 0]


def width_of(radius_px: float) -> float:
    """FWHM without the blur by the pixel, of a profile that stands above half of its centre within this radius."""
    return float(np.sqrt(max(4 * radius_px**2 - BLUR_PX2, 0.01)))


def weights_of_width(least: np.ndarray, rise: np.ndarray) -> np.ndarray | None:
    """The weights (N,) nearest to `least` whose mean of `rise` (N,) is 0 or less; None where there are none."""
    if (least * rise).sum() <= 0:
        return least
    if not (rise < 0).any():
        return None
    order = np.argsort(-rise)  # as lambda grows, the highest are the first to count for nothing
    a, w = rise[order], least[order]
    strength = np.cumsum((w * a)[::-1])[::-1] / np.cumsum((w * a**2)[::-1])[::-1]
    return least * np.maximum(0, 1 - strength[np.argmax(strength * a <= 1)] * rise)
