"""Fringes: how far the red and the blue light of stars lie from the green, where air or a lens spreads colours.

Air spreads them towards the zenith (Filippenko 1982, PASP 94, 715), a lens away from its middle.
"""

from typing import NamedTuple

import numpy as np

from masterlight.core.frame import ArrayFrame, Frame
from masterlight.core.headers.geometry import period
from masterlight.subframes.measurement import StarList
from masterlight.subframes.photometry import stamps, standards

MOST = 64
"""Stars that are looked at, the brightest that stand alone."""
REACH = 1.6
"""Half the side of the box around a star, in its widths."""
STEPS, STEP_PX, SETTLED_PX = 8, 0.7, 0.005
"""Steps of a fit at most, how far one may go, and how far the last one went."""
FARTHEST, SUREST_PX, LEAST_PX = 1.0, 0.3, 1e-3
"""Places farther from the star than so many of its widths, or less sure than the second, are no places; none is surer
than the third."""
FEWEST = 4
"""Pixels of a colour that a star needs near its middle: a fit has as many numbers."""


class Fringes(NamedTuple):
    """Where the red and the blue of stars are, counted from their green."""

    xy: np.ndarray
    """(n, 2) px, their green."""
    away_px: np.ndarray
    """(2, n, 2) px, red and blue minus green; NaN where nobody knows."""
    sigma_px: np.ndarray
    """(2, n) px, error along each axis."""


def fringes_of(frame: Frame, stars: StarList) -> Fringes:
    """How far colours lie apart in the brightest stars of a frame of three planes, or in the pixels of a mosaic.

    Debayering that follows edges of green hides half of what a mosaic shows, and brings it to the image all the same:
    each is to be laid by what it shows itself.
    """
    stars = standards(stars, MOST)
    width = np.hypot(stars.fwhm_px, 0.9)
    half = int(np.ceil(REACH * np.median(width))) + 1 if len(stars) else 1
    boxes = stamps(frame, stars, half)
    if frame.meta.pattern and len(frame.shape) == 2:
        boxes = by_colour(boxes[:, 0], stars, half, frame.meta.pattern)
    found = [places_in(boxes[:, plane], stars, half, width) for plane in range(3)]
    (red, green, blue), sigma = (np.stack(part) for part in zip(*found, strict=True))
    away, sigma = np.stack([red, blue]) - green, np.hypot(sigma[[0, 2]], sigma[1])
    known = np.isfinite(away).all(axis=2) & (sigma < SUREST_PX)
    away[~known], sigma[~known] = np.nan, np.inf
    seen = known.any(axis=0)
    return Fringes((stars.xy + green)[seen], away[:, seen], sigma[:, seen])


def by_colour(boxes: np.ndarray, stars: StarList, half: int, pattern: str) -> np.ndarray:
    """Boxes of a mosaic (n, k, k) as those of red, green and blue (n, 3, k, k), NaN where another colour is."""
    n = period(pattern)
    letters = np.array(list(pattern)).reshape(n, n)
    steps = np.arange(2 * half + 1)
    x, y = ((np.round(at).astype(int) - half)[:, None] + steps for at in (stars.x_px, stars.y_px))
    seen = letters[(y % n)[:, :, None], (x % n)[:, None, :]]
    return np.stack([np.where(seen == colour, boxes, np.float32(np.nan)) for colour in "RGB"], axis=1)


def places_in(boxes: np.ndarray, stars: StarList, half: int, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where stars are in boxes (n, k, k) around them, from where they are known to be: (n, 2) px, and errors (n,) px.

    A Gaussian as wide as the star with a level below it, by least squares; pixels of other colours are left out. NaN
    and an infinite error for what is no star.
    """
    n, at = len(boxes), np.zeros((len(boxes), 2))
    if not n:
        return at, np.empty(0)
    steps, offset = np.arange(-half, half + 1), stars.xy - np.round(stars.xy)
    dx, dy = (steps - offset[:, axis, None] for axis in (0, 1))
    s2 = (width**2 / 5.545)[:, None, None]
    good, far = np.isfinite(boxes), dx[:, None, :] ** 2 + dy[:, :, None] ** 2
    enough = (good & (far < 2 * width[:, None, None] ** 2)).sum(axis=(1, 2)) >= FEWEST
    weight = np.where(good, np.exp(-far / (4 * s2)), 0.0).reshape(n, 1, -1)
    values = np.where(good, boxes, 0.0).astype(float).reshape(n, -1, 1)
    for _ in range(STEPS):
        terms = terms_of(dx - at[:, :1], dy - at[:, 1:], s2)
        weighted = terms * weight
        normal = weighted @ terms.transpose(0, 2, 1) + 1e-9 * np.eye(4)
        solved = np.linalg.solve(normal, weighted @ values)[..., 0]
        with np.errstate(all="ignore"):
            step = np.nan_to_num(np.clip(solved[:, 2:] / solved[:, :1], -STEP_PX, STEP_PX))
        at = at + step
        if np.abs(step[enough]).max(initial=0.0) < SETTLED_PX:
            break
    sigma = errors_of(terms, weight, values, normal, solved)
    sure = enough & (np.abs(at) < FARTHEST * width[:, None]).all(axis=1) & (np.abs(step) < 10 * SETTLED_PX).all(axis=1)
    sure &= (solved[:, 0] > 0) & np.isfinite(sigma)
    return np.where(sure[:, None], at, np.nan), np.where(sure, np.maximum(sigma, LEAST_PX), np.inf)


def terms_of(ux: np.ndarray, uy: np.ndarray, s2: np.ndarray) -> np.ndarray:
    """A Gaussian, a level and the slopes of the first along x and y, (n, 4, k * k)."""
    profile = np.exp(-(uy[:, :, None] ** 2) / (2 * s2)) * np.exp(-(ux[:, None, :] ** 2) / (2 * s2))
    slopes = (profile * u / s2 for u in (ux[:, None, :], uy[:, :, None]))
    return np.stack([profile, np.ones_like(profile), *slopes], axis=1).reshape(len(ux), 4, -1)


def errors_of(
    terms: np.ndarray, weight: np.ndarray, values: np.ndarray, normal: np.ndarray, solved: np.ndarray
) -> np.ndarray:
    """Errors (n,) px of places along an axis, by what fits leave of the pixels."""
    left = values[..., 0] - (solved[:, None] @ terms)[:, 0]
    noise2 = (weight[:, 0] * left**2).sum(axis=1) / np.maximum(weight.sum(axis=(1, 2)), 1e-12)
    back = np.linalg.inv(normal)
    spread = back @ ((terms * weight**2) @ terms.transpose(0, 2, 1)) @ back
    with np.errstate(all="ignore"):
        return np.sqrt(noise2 * (spread[:, 2, 2] + spread[:, 3, 3]) / 2) / solved[:, 0]


def of_mosaic(mosaic: np.ndarray, pattern: str, frame: Frame) -> ArrayFrame:
    """The mosaic of a frame as one that tells its colours."""
    meta = frame.meta.with_(pattern=pattern, shape=mosaic.shape)
    return ArrayFrame(source=frame.source, meta=meta, array=mosaic)
