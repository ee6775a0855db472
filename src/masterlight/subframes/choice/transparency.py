"""Transparency: how much light of the group's stars a frame got, star by star the same one, and how that would be
without clouds: less and less as the target sets."""

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from masterlight.core.statistics.scale import madn
from masterlight.subframes.measurement import StarList
from masterlight.subframes.photometry import FEWEST_STARS, Ratio, robust_mean, standards
from masterlight.subframes.wings import AS_FITTED, FREEDOM, light_within

REACH_PX = 2.0
"""How near the place where it must be a star is found."""
MOST_STARS, ALONE = 400, 20
"""Stars that tell, at most, and how many that have no neighbour are enough to leave out those that have."""
FLOOR = 0.015
"""The relative error below which no star's light is believed: neighbours, the flat field, profiles that change over the
field."""
FIRM = 0.1
"""Relative error of its ratio up to which a star tells where in the frame light is lost."""
FEW_TELL_WHERE = 12
SURE, MAD_ERROR = 3.0, 1.16
"""Scatter of stars is more than usual where it is so many errors above it; error of a spread by the median deviation
of n normal values, times the root of n."""
CLEAR, ALIKE = 0.8, 0.93
"""The clear frames of a group are the clearest fifth, and those that have nearly as much light as these."""
EXTINCTION, FEWEST_IN_TREND, ENOUGH_BEND = 0.5, 5, 8
"""Light lost per air mass, magnitudes, at most; frames that tell a slope, and those that tell a bend."""
DARKEST = 0.6
"""What a target that sets keeps of its light, where nobody knows its altitude: less is cloud."""
LOSS, SPREADS = 0.05, 3.0
"""A frame that has lost so much against the trend, and so many times the usual scatter, is no clear one."""
STRAIGHTER, ALIKE_SCATTER, DESERTED = 0.6, 0.005, 4
"""A trend is believed where frames scatter about it so much less than about a simpler one; the least scatter of frames
that are alike; and by which power of their number it counts that few follow a trend, who always scatter little."""


class Starlight(NamedTuple):
    """The light of the same stars in a frame and in the one that the others are laid on, both in DN."""

    ratio: float
    error: float
    stars: int
    """How many stars tell it."""
    scatter: float = float("nan")
    """How unequally stars lost light, beyond their noise, as a fraction (1 sigma); NaN where few tell."""
    slope: float = float("nan")
    """Change of the ratio over the frame, by a plane: highest minus lowest corner, as a fraction of the ratio."""
    toward_rad: float = float("nan")
    """Direction in the frame in which it falls, from x towards y."""
    noise: float = float("nan")
    """What noise alone lets the change of a star scatter, as a fraction (1 sigma); of as many stars as `firm`."""
    firm: int = 0

    def scatter_beside(self, usual: float) -> float:
        """Scatter beyond noise and what is usual of a group; 0 where chance gives so much to so few stars."""
        alike = self.noise**2 + usual**2
        sure = self.noise**2 + self.scatter**2 > alike * (1 + SURE * MAD_ERROR / np.sqrt(max(self.firm, 1))) ** 2
        return float(np.sqrt(self.scatter**2 - usual**2)) if sure else 0.0


def telling(stars: StarList) -> StarList:
    """The stars of a frame that tell how much light others got: bright ones without neighbours, if there are enough."""
    alone = standards(stars, MOST_STARS)
    return alone if len(alone) >= ALONE else stars[~stars.saturated][:MOST_STARS]


def starlight(standard: StarList, stars: StarList, place: np.ndarray, wings: Ratio = AS_FITTED) -> Starlight | None:
    """How much light of the stars of `standard` a frame got; None for fewer than three stars in common.

    place: 3x3 matrix from pixels of the first frame to those of this one; wings: what real wings do to the
    ratio of fits, see `wings.wings_beside`.
    """
    if not len(standard) or not len(stars):
        return None
    x, y, z = place @ np.stack([standard.x_px, standard.y_px, np.ones(len(standard))])
    distance, nearest = cKDTree(stars.xy).query(np.stack([x / z, y / z], axis=-1), distance_upper_bound=REACH_PX)
    of_it = np.flatnonzero(np.isfinite(distance))
    own, same = stars[nearest[of_it]], standard[of_it]
    good = ~(own.saturated | same.saturated) & (own.flux_dn > 0) & (same.flux_dn > 0)
    if np.count_nonzero(good) < FEWEST_STARS:
        return None
    own, same = own[good], same[good]
    change = np.log(light_within(own) / light_within(same))
    sigma = np.hypot(FREEDOM * np.hypot(1 / own.snr, 1 / same.snr), FLOOR)
    where = where_lost(own, change, sigma)
    scatter = where[0]
    mean = robust_mean(change, np.hypot(sigma, np.nan_to_num(scatter)))  # where cloud is unequal, of all of it
    ratio = float(np.exp(mean.ratio)) * wings.ratio
    return Starlight(ratio, ratio * float(np.hypot(mean.error, wings.error / wings.ratio)), mean.stars, *where)


def where_lost(stars: StarList, change: np.ndarray, sigma: np.ndarray) -> tuple[float, float, float, float, int]:
    """The last five of `Starlight`: how changes (n,), logarithms, scatter and fall from corner to corner."""
    firm = sigma < FIRM
    if np.count_nonzero(firm) < FEW_TELL_WHERE:
        return float("nan"), float("nan"), float("nan"), float("nan"), 0
    change, sigma = change[firm], sigma[firm]
    rows, cols = stars.shape
    x, y = 2 * stars.x_px[firm] / max(cols, 1) - 1, 2 * stars.y_px[firm] / max(rows, 1) - 1
    design, kept = np.stack([np.ones_like(x), x, y], axis=-1), np.ones(len(x), bool)
    for _ in range(3):
        plane = np.linalg.lstsq(design[kept] / sigma[kept, None], change[kept] / sigma[kept], rcond=None)[0]
        away = np.abs(change - design @ plane)
        kept = away <= 4 * 1.4826 * np.median(away) + 1e-9
    noise = float(np.median(sigma))
    excess = float(np.sqrt(max(madn(change) ** 2 - noise**2, 0.0)))
    toward = float(np.arctan2(-plane[2] * cols, -plane[1] * rows))
    return excess, float(2 * (abs(plane[1]) + abs(plane[2]))), toward, noise, len(change)


def full_light(ratios: np.ndarray) -> float:
    """The ratio that clear frames of a group have, in the median; NaN where none is known."""
    known = ratios[np.isfinite(ratios)]
    if not known.size:
        return float("nan")
    return float(np.median(known[known >= ALIKE * np.quantile(known, CLEAR, method="higher")]))


def clear_light(ratios: np.ndarray, air_mass: np.ndarray, hours: np.ndarray) -> np.ndarray:
    """The ratio that each frame (N,) would have without clouds: less as the air before a target that sets grows.

    air_mass, hours (N,): NaN where unknown. A trend with air mass where all that have a ratio tell it, else a smooth
    one with time, if frames follow it clearly better than none; else what the clearest frames have. Air takes no more
    than `EXTINCTION`, and where nobody knows its mass the sky keeps `DARKEST`: less is cloud.
    """
    usual = full_light(ratios)
    known = np.isfinite(ratios)
    by_air = np.isfinite(air_mass[known]).all()
    x = air_mass if by_air else hours
    if known.sum() < FEWEST_IN_TREND or not np.isfinite(x[known]).all() or np.ptp(x[known]) == 0:
        return np.full(len(ratios), usual)
    scaled = (x - x[known].mean()) / np.ptp(x[known])
    bends = known.sum() >= ENOUGH_BEND and not by_air
    trend, left = upper_trend(scaled, ratios, 0)
    for degree in (1, 2) if bends else (1,):
        more, rest = upper_trend(scaled, ratios, degree)
        if rest < STRAIGHTER * left:
            trend, left = more, rest
    top = np.nanmax(trend[known])
    least = DARKEST * top
    if by_air:
        least = top * 10 ** (-0.4 * EXTINCTION * (air_mass - air_mass[known].min()))
    return np.where(np.isfinite(trend), np.clip(trend, least, top), usual)


def upper_trend(x: np.ndarray, ratios: np.ndarray, degree: int) -> tuple[np.ndarray, float]:
    """The trend over x (N,) of the frames that lost least, by a polynomial of the logarithm, and how far these scatter.

    Nothing culminates twice: a bend must be that of a target that rises and sets. The scatter is larger by `DESERTED`
    where not all follow, infinite where fewer than three frames in five do.
    """
    known = np.isfinite(ratios)
    logs = np.log(np.where(known, ratios, 1.0))
    kept = known.copy()
    for _ in range(10):
        fit = np.polyfit(x[kept], logs[kept], degree)
        below = np.polyval(fit, x) - logs
        below -= np.median(below[kept])  # those behind cloud draw the fit down, not most frames
        scatter = 1.4826 * float(np.median(np.abs(below[kept])))
        again = known & (below < max(LOSS, SPREADS * scatter))
        if (again == kept).all() or again.sum() <= degree + 1:
            break
        kept = again
    follow = 5 * kept.sum() >= 3 * known.sum() and (degree < 2 or fit[0] <= 0)
    less = (known.sum() / kept.sum()) ** DESERTED
    return np.exp(np.polyval(fit, x)), less * max(scatter, ALIKE_SCATTER) if follow else np.inf
