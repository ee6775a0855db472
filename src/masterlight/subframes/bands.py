"""Bands along the rows or columns of a frame, as restless electronics draw them through all of it, beside its noise.

A line of pixels is told in segments that lie far apart: what all of them share is a band, where each goes its own way
is noise, stars or nebulosity. What a sensor does in every frame is a pattern that calibration takes off, and no band.
"""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import median_filter

Profile = tuple[np.ndarray, float]
"""(n,) float16: how far each row or column lies above those around it, in parts of the noise of a pixel, NaN where
unknown; and the mean square that chance gives it."""
SEGMENTS, PIXELS, AROUND = 8, 64, 21
"""Parts of a line, pixels that are looked at in each, and lines around one that it is compared with."""
OUTSTANDING = 6.0
"""Single lines count no more than so many spreads: they are defects."""
MOST_FRAMES = 64
"""Frames that tell the pattern of a sensor."""


def bands_of(plane: np.ndarray, noise_dn: float) -> tuple[Profile, Profile] | None:
    """The profiles of the rows and of the columns of a plane (rows, cols), DN; None for one too small to tell."""
    if min(plane.shape) < 4 * AROUND:
        return None
    return profile_of(plane, noise_dn), profile_of(plane.T, noise_dn)


def profile_of(plane: np.ndarray, noise_dn: float) -> Profile:
    """The profile of the rows of a plane: median of the segments' medians, none of which a star or a knot moves far.

    Chance is half the difference of one half of the lines from the other, which nebulosity tells apart as noise does.
    """
    rows, cols = plane.shape
    width = min(PIXELS, cols // SEGMENTS)
    starts = [cols * k // SEGMENTS for k in range(SEGMENTS)]
    parts = np.stack([beside_others(sorted_median(plane[:, at : at + width])) for at in starts])
    one, other = (np.median(half, axis=0) for half in np.split(parts, 2))
    both, apart = (one + other) / (2 * noise_dn), (one - other) / (2 * noise_dn)
    return both.astype(np.float16), mean_square(apart)


def sorted_median(pixels: np.ndarray) -> np.ndarray:
    """Median of each row of what is not missing, NaN where all is."""
    values = np.sort(pixels, axis=1)  # NaN last
    count = np.isfinite(values).sum(axis=1)
    row, last = np.arange(len(values)), np.maximum(count, 1)
    return np.where(count > 0, 0.5 * (values[row, (last - 1) // 2] + values[row, last // 2]), np.nan)


def beside_others(levels: np.ndarray) -> np.ndarray:
    """How far each line (n,) lies above the median of those around it; NaN at both ends, where these are one-sided."""
    known = np.isfinite(levels)
    if not known.any():
        return levels
    filled = np.where(known, levels, np.median(levels[known])).astype(float)
    out = np.where(known, filled - median_filter(filled, AROUND), np.nan)
    out[: AROUND // 2] = out[len(out) - AROUND // 2 :] = np.nan
    return out - np.nanmedian(out) if np.isfinite(out).any() else out


def mean_square(profile: np.ndarray) -> float:
    """Of what is known of a profile, single lines that stand out taken back; 0 where nothing is."""
    known = profile[np.isfinite(profile)]
    if not known.size:
        return 0.0
    most = OUTSTANDING * 1.4826 * float(np.median(np.abs(known)))
    return float(np.mean(np.clip(known, -most, most) ** 2))


def strengths(profiles: Sequence[Profile | None], alike: int) -> np.ndarray:
    """(N,) root mean square of the bands of frames with the same lines, parts of the noise of a pixel; NaN if unknown.

    Where at least `alike` frames are known, what they share is the pattern of their sensor, however strong in each, and
    is left out.
    """
    out = np.full(len(profiles), np.nan)
    known = [(i, p[0].astype(float), p[1]) for i, p in enumerate(profiles) if p is not None]
    usual = pattern_of([levels for _, levels, _ in known]) if len(known) >= alike else None
    for i, levels, chance in known:
        if usual is not None and (power := float(np.nansum(usual * usual))) > 0:
            levels = levels - float(np.nansum(levels * usual)) / power * usual
        excess = mean_square(levels) - chance
        out[i] = np.sqrt(excess) if excess > chance else 0.0  # less may be stars that crowd
    return out


def pattern_of(levels: Sequence[np.ndarray]) -> np.ndarray:
    """What the lines of frames have in common: their median, 0 where nothing is known."""
    some = np.stack(levels[:: -(-len(levels) // MOST_FRAMES)])
    there = np.isfinite(some).any(axis=0)
    out = np.zeros(some.shape[1])
    out[there] = np.nanmedian(some[:, there], axis=0)
    return out
