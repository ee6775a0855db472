"""What frames would become together, known before they are integrated: depth, noise, point sources, size of stars.

Only measurements are asked: the noise of each frame, how much light of the same stars it has, and how it spreads it.
Depth is signal to noise of a wide area. It and that of point sources are told beside weights of least noise over all
frames that can be compared, by which nothing of the depth is given away.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from masterlight.subframes.measurement import Measurement
from masterlight.subframes.radial import (
    AREAS_PX2,
    FITTED,
    RADII_PX,
    fitted_width,
    half_radius,
    moffat_profile,
    point_weights,
    resampling,
    rescaled,
    rise_at,
    sharp_weights,
    weights_of_width,
    width_of,
)

LEAST_SURE, FRONTIER_STEPS = 0.1, 40
"""Relative error from which on a flux ratio tells nothing; points of a frontier."""
MOST_GIVEN = 0.5
"""Depth that a frontier gives away at most."""


@dataclass(frozen=True, eq=False)
class Comparable:
    """Frames on one scale, by the light of the stars that they share and in pixels of one size; arrays (N,)."""

    sources: tuple[str, ...]
    noise_dn: np.ndarray
    """Of a pixel, where a star shines alike in all frames."""
    profiles: np.ndarray
    """(N, radii) light per square pixel of a star of 1, at `radial.RADII_PX`."""
    fit: np.ndarray
    """FWHM of the stars as they were fitted, over that of a fit to their profile."""
    stretch: np.ndarray
    """Complex: half the logarithm of the longer over the shorter axis of the stars, turned by twice their angle; NaN
    where that is unknown."""
    inconclusive: Mapping[str, str] = field(default_factory=dict)
    """Why a frame cannot be compared, by its source; its numbers are NaN."""

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, chosen: np.ndarray) -> "Comparable":
        """The frames that are chosen, (N,) bool or indices."""
        sources = tuple(np.array(self.sources, object)[chosen])
        why = {source: reason for source, reason in self.inconclusive.items() if source in sources}
        noise, profiles, fit, stretch = (a[chosen] for a in (self.noise_dn, self.profiles, self.fit, self.stretch))
        return Comparable(sources, noise, profiles, fit, stretch, why)

    @property
    def told(self) -> np.ndarray:
        """(N,) bool: which frames can be compared."""
        return np.isfinite(self.noise_dn)

    @property
    def shapeless(self) -> np.ndarray:
        """(N,) bool: which of them have stars that do not tell in which direction they are longer."""
        return self.told & ~np.isfinite(self.stretch)

    def sharp(self, give_fraction: float) -> np.ndarray:
        """Weights (N,) of the narrowest stars for which so much of the depth is given away; see `sharp_weights`."""
        return self.spread(sharp_weights(self.noise_dn[self.told], self.profiles[self.told], give_fraction))

    def point(self) -> np.ndarray:
        """Weights (N,) of the best signal to noise of point sources; see `point_weights`."""
        return self.spread(point_weights(self.noise_dn[self.told], self.profiles[self.told]))

    def noise(self) -> np.ndarray:
        """Weights (N,) of least noise."""
        return self.spread(self.noise_dn[self.told] ** -2.0)

    def alike(self, weights: np.ndarray, kind: str) -> np.ndarray:
        """Weights (N,) in which frames that have none so far, NaN, count by what makes those of the others.

        kind: noise, point or sharp, by which the others were weighed; what a frame counts for beside its noise is a
        line over how its stars overlap with those of the others, or how far they stand above half of their centre at
        the radius of the others' mean.
        """
        used, noise = self.told & (weights > 0), np.where(self.told, self.noise_dn, np.inf)
        if not used.any():
            return np.nan_to_num(weights)
        profiles = np.nan_to_num(self.profiles)
        mean = weights[used] @ profiles[used] / weights[used].sum()
        traits = [np.ones(len(self))]
        if kind == "point":
            traits = [profiles @ (AREAS_PX2 * mean)]
        elif kind == "sharp":
            traits.append(rise_at(half_radius(mean), profiles) / mean[0])
        line = np.stack(traits, axis=-1)
        made = line @ np.linalg.lstsq(line[used], weights[used] * noise[used] ** 2, rcond=None)[0]
        return np.where(np.isnan(weights), np.maximum(made, 0) / noise**2, weights)

    def spread(self, weights: np.ndarray) -> np.ndarray:
        """Weights (N,), the greatest of them 1, from those of the frames that can be compared; 0 for the others."""
        out = np.zeros(len(self))
        out[self.told] = weights / weights.max()
        return out


class Forecast(NamedTuple):
    """What weights make of frames."""

    frames: int
    """How many have any weight."""
    effective: float
    """So many frames of equal weight count as much: (sum w)^2 / sum w^2 (Kish 1965)."""
    noise_dn: float
    """Of a pixel of the result before any interpolation, on the scale of the frames."""
    depth: float
    """Signal to noise of a wide area, over that of all frames by weights of least noise."""
    point_snr: float
    """Signal to noise of a point source by a matched filter, over that of all frames by weights of least noise."""
    fwhm_px: float
    eccentricity: float
    """Frames whose stars tell no direction count as the others do together; NaN where those that tell it bring less
    than half of the light."""
    wider: float
    """FWHM over the least at this depth, less 1."""
    shallower: float
    """Part that this depth lacks of the most at this FWHM."""


class Prices(NamedTuple):
    """What the result with each frame has more than without it, (N,) fractions; NaN where that cannot be told."""

    depth: np.ndarray
    point_snr: np.ndarray
    fwhm: np.ndarray


def comparable(
    measurements: Sequence[Measurement], ratios: Sequence[float | None], errors: Sequence[float] | None = None, *,
    pixels: Sequence[float] | None = None, theta_rad: Sequence[float] | None = None,
    kernel: Callable[[np.ndarray], np.ndarray] | None = None, reference: int | None = None,
) -> Comparable:  # fmt: skip
    """Frames on the scale of one of them, whose stars' light is 1 in `ratios` (N,), None where that is unknown.

    errors (N,): of the ratios; pixels (N,): their side over that of the reference's, 1 if left out; theta_rad (N,): the
    direction of the longer axis of their stars; kernel: by which frames are interpolated, its weight at so many pixels'
    distance; reference: the frame that stays as it is. A frame of unknown profile has a Moffat profile of its FWHM.
    """
    count = len(measurements)
    unsure = np.zeros(count) if errors is None else errors
    sizes, angles = np.ones(count) if pixels is None else pixels, np.zeros(count) if theta_rad is None else theta_rad
    noise, fit = np.full((2, count), np.nan)
    profiles, stretch, why = np.full((count, len(RADII_PX)), np.nan), np.full(count, complex(np.nan, np.nan)), {}
    for i, (m, ratio, size) in enumerate(zip(measurements, ratios, sizes, strict=True)):
        reason = why_unknown(m, ratio, unsure[i])
        if reason or ratio is None:
            why[m.source] = reason
            continue
        width = size * (m.fwhm_px or np.nan)
        profiles[i] = rescaled(m.profile, size) if m.profile else moffat_profile(width)
        noise[i], fit[i] = m.noise_dn / (ratio * size), width
        if m.eccentricity is not None and (theta_rad is not None or m.eccentricity == 0):
            stretch[i] = -0.25 * np.log(max(1 - m.eccentricity**2, 1e-6)) * np.exp(2j * angles[i])
    told = np.isfinite(noise)
    fit[told] = np.nan_to_num(fit[told] / fitted_width(profiles[told]), nan=1.0)
    moved = told & (np.arange(count) != reference)
    if kernel is not None and moved.any():
        profiles[moved] = profiles[moved] @ resampling(kernel).T
    return Comparable(tuple(m.source for m in measurements), noise, profiles, fit, stretch, why)


def why_unknown(m: Measurement, ratio: float | None, error: float) -> str:
    """Why a frame cannot be compared with others; '' when it can."""
    if not (np.isfinite(m.noise_dn) and m.noise_dn > 0):
        return "its noise cannot be told"
    if ratio is None or not (np.isfinite(ratio) and ratio > 0):
        return "too few of its stars are found in the others to tell its scale"
    if error > LEAST_SURE * ratio:
        return f"its scale beside the others is only sure to {100 * error / ratio:.0f} %"
    return "" if m.profile or m.fwhm_px else "its stars do not tell how wide they are"


# --- what weights make ------------------------------------------------------------------------------------------------


def forecast_of(frames: Comparable, weights: np.ndarray) -> Forecast | None:
    """What weights (N,) make of frames, 0 for those that are left out; None where none of these can be compared.

    Frames that cannot be compared count for nothing, whatever their weight.
    """
    told = frames[frames.told]
    w = np.maximum(np.nan_to_num(np.asarray(weights, float)[frames.told]), 0)
    if not w.any():
        return None
    w = w / w.sum()
    least = told.noise_dn**-2.0
    mean, deepest = w @ told.profiles, least / least.sum() @ told.profiles
    noise, radius = float(np.sqrt(np.sum((w * told.noise_dn) ** 2))), half_radius(mean)
    depth = float(least.sum() ** -0.5 / noise)
    narrow, deep = half_radius(told.sharp(max(1 - depth, 0.0)) @ told.profiles), depth_at(told, radius)
    return Forecast(
        frames=int(np.count_nonzero(w)),
        effective=float(1 / np.sum(w**2)),
        noise_dn=noise,
        depth=depth,
        point_snr=float(depth * np.sqrt((AREAS_PX2 @ mean**2) / (AREAS_PX2 @ deepest**2))),
        fwhm_px=fwhm_of(told, w),
        eccentricity=eccentricity_of(told, w),
        wider=max(width_of(radius) / width_of(narrow) - 1, 0.0),
        shallower=1 - depth / max(deep, depth),
    )


def depth_at(frames: Comparable, radius_px: float) -> float:
    """The most depth of any weights whose stars stand above half of their centre within this radius, over the most."""
    least = frames.noise_dn**-2.0
    weights = weights_of_width(least, rise_at(radius_px, frames.profiles))
    return float(weights.sum() / np.sqrt(np.sum(weights**2 / least) * least.sum())) if weights is not None else 0.0


def fwhm_of(frames: Comparable, share: np.ndarray) -> float:
    """FWHM of stars of which each frame brings its share (N,), as they would be fitted.

    Profiles are means over all directions; what a fit to long stars makes of them is a little off in each frame by a
    known factor, and in the mixture by their mean.
    """
    light = share * frames.profiles[:, 0]
    return float(fitted_width(share[None] @ frames.profiles)[0] * (light @ frames.fit) / light.sum())


def eccentricity_of(frames: Comparable, share: np.ndarray) -> float:
    """Eccentricity of stars of which each frame brings its share (N,), as they would be fitted.

    To stretch a profile P(r) changes it by r P'(r) times the cosine of twice the angle: by least squares the mixture is
    stretched by what the frames' own stretches bring to that of its mean profile. Frames of unknown stretch are taken
    to be as the mean of the others; where they bring more than these, nothing is told.
    """
    used = share > 0
    mean = share @ frames.profiles
    near = AREAS_PX2 * (RADII_PX < FITTED * 2 * half_radius(mean))
    slopes = RADII_PX * np.gradient(np.vstack([mean, frames.profiles[used]]), RADII_PX, axis=1)
    part = share[used] * (slopes[1:] @ (near * slopes[0])) / (near @ slopes[0] ** 2)
    stretch = frames.stretch[used]
    known = np.isfinite(stretch)
    if 2 * part[known].sum() < part.sum():
        return float("nan")
    return float(np.sqrt(1 - np.exp(-4 * abs(part[known] @ stretch[known]) * part.sum() / part[known].sum())))


# --- what else could be -----------------------------------------------------------------------------------------------


def choices_of(frames: Comparable, weights: np.ndarray, give_fraction: float = 0.01) -> dict[str, Forecast]:
    """The present weights (N,), 0 for frames that are not approved, beside others of all frames; {} if none tells."""
    if not frames.told.any():
        return {}
    others = {"equal": frames.told.astype(float), "noise": frames.noise(), "point": frames.point()}
    told = {"present": weights, **others, "sharp": frames.sharp(give_fraction)}
    found = {name: forecast_of(frames, w) for name, w in told.items()}
    return {name: forecast for name, forecast in found.items() if forecast}


def frontier_of(frames: Comparable, most_given: float = MOST_GIVEN, steps: int = FRONTIER_STEPS) -> list[Forecast]:
    """The best that frames can give: for depth that is given away from nothing on the least FWHM.

    Weights w_i = (1 / s_i^2) max(0, 1 - lambda a_i), a_i being how far frame i stands above half of its own centre at
    the radius of the result; see `sharp_weights`.
    """
    if not frames.told.any():
        return []
    given = most_given * np.linspace(0, 1, steps) ** 2
    found = (forecast_of(frames, frames.sharp(fraction)) for fraction in given)
    return [forecast for forecast in found if forecast]


def prices_of(frames: Comparable, weights: np.ndarray, approved: np.ndarray) -> Prices:
    """What each frame brings at its weight (N,) to those approved, (N,) bool: the price of leaving it out.

    For a frame that is not approved it is what taking it would bring.
    """
    w = np.where(frames.told, np.nan_to_num(weights), 0.0)
    noise, profiles = np.nan_to_num(frames.noise_dn), np.nan_to_num(frames.profiles)
    used = w * approved
    taken, left = (result_with(used, w * change, noise, profiles) for change in (~approved, -1.0 * approved))
    told = (w > 0) & np.isfinite(left).all(axis=0)
    return Prices(*np.where(told, taken / left - 1, np.nan))


def result_with(used: np.ndarray, change: np.ndarray, noise: np.ndarray, profiles: np.ndarray) -> np.ndarray:
    """Depth, signal to noise of point sources and FWHM (3, N) of frames used with these weights (N,), where the weight
    of one after the other changes; NaN where nothing is left."""
    total = used.sum() + change
    total[total <= 1e-9 * used.sum()] = np.nan
    scatter = np.sqrt(np.sum((used * noise) ** 2) + np.sign(change) * (change * noise) ** 2)
    light = (used @ profiles + change[:, None] * profiles) / total[:, None]
    width = [width_of(half_radius(one)) if one[0] > 0 else np.nan for one in light]
    return np.stack([total / scatter, np.sqrt(light**2 @ AREAS_PX2) * total / scatter, width])
