"""Where a comet's nucleus is in one light: its centre of light through a window, the stars around taken off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter, median_filter

from masterlight.alignment.comet.motion import Motion, Seen
from masterlight.core.frame import Frame

STEPS, SETTLED_PX = 40, 1e-3
FAINTEST = 5.0
"""Signal over noise, through the window, from which on a nucleus is measured."""
OTHERS, APART = 5, 8.0
"""Lights that tell the stars around a nucleus: those in which the comet is so many star widths away."""
SHARP, BRIGHT = 2.5, 10.0
"""A star does not reach so many of its widths; where it is so many times the noise, no nucleus is told from it."""


class Moment(NamedTuple):
    """A light as it lies on the reference, among its stars."""

    frame: Frame
    time_s: float
    noise_dn: float
    """Of a pixel."""
    fwhm_px: float
    """Of its stars, on the reference's grid."""
    factor: float
    """What its light is multiplied by to be that of the reference."""
    trail_px: tuple[float, float]
    """(x, y) by which the comet moves in the exposure."""


def centre_of(
    box: np.ndarray, start: tuple[float, float], fwhm_px: float, noise_dn: float, reach_px: float,
    trail_px: tuple[float, float] = (0.0, 0.0),
) -> tuple[float, float, float] | None:  # fmt: skip
    """(x, y, error) px of the nucleus in a box (h, w) without sky and stars; None where none stands out.

    It is looked for within `reach_px` of `start` (x, y): the brightest place at the scale of a star, then the centre of
    light through a Gaussian window that follows it (Bertin and Arnouts 1996, XWIN_IMAGE), 1.4 times as wide as a star,
    and as long as the comet draws itself out.
    """
    seen, scale = np.nan_to_num(box), fwhm_px / 2.3548
    y, x = np.indices(box.shape, float)
    near = (np.hypot(x - start[0], y - start[1]) <= reach_px) & np.isfinite(box)
    if not near.any():
        return None
    smooth = gaussian_filter(seen, scale)
    at = np.unravel_index(np.argmax(np.where(near, smooth, -np.inf)), box.shape)
    cx, cy = float(at[1]), float(at[0])
    length = max(float(np.hypot(*trail_px)), 1e-9)
    u, v = trail_px[0] / length, trail_px[1] / length
    wide2 = 1.96 * scale**2
    long2 = wide2 + 1.96 * length**2 / 12
    for _ in range(STEPS):
        along, across = (x - cx) * u + (y - cy) * v, (y - cy) * u - (x - cx) * v
        away2 = along**2 / long2 + across**2 / wide2 if length > 0.1 else ((x - cx) ** 2 + (y - cy) ** 2) / wide2
        window = np.exp(-away2 / 2)
        total = float(np.sum(window * seen))
        if total < FAINTEST * noise_dn * np.sqrt(np.sum(window**2)):
            return None
        dx, dy = (2 * float(np.sum(window * seen * away)) / total for away in (x - cx, y - cy))
        cx, cy = cx + dx, cy + dy
        if not (0 <= cx < box.shape[1] and 0 <= cy < box.shape[0]):
            return None
        if np.hypot(dx, dy) < SETTLED_PX:
            break
    if np.hypot(cx - start[0], cy - start[1]) > reach_px + fwhm_px + length / 2 or not np.isfinite(
        box[round(cy), round(cx)]
    ):
        return None
    error = 2 * noise_dn * float(np.sqrt(np.sum((window * (x - cx)) ** 2 + (window * (y - cy)) ** 2) / 2)) / total
    return cx, cy, error


def measured(motion: Motion, moments: Sequence[Moment], reach_px: float) -> Callable[[int], Seen | None]:
    """The task that measures the nucleus in one of some lights, by its number; None where it cannot be told."""
    shifts = np.array([motion.shift(one.time_s) for one in moments])

    def task(i: int) -> Seen | None:
        one = moments[i]
        (x, y), half = motion.at(one.time_s), int(np.ceil(reach_px + 6 * one.fwhm_px + np.hypot(*one.trail_px)))
        rows, cols = one.frame.shape[-2:]
        left, top = max(0, round(float(x)) - half), max(0, round(float(y)) - half)
        right, bottom = min(cols, round(float(x)) + half + 1), min(rows, round(float(y)) + half + 1)
        if right - left < half or bottom - top < half:
            return None
        bounds = top, bottom, left, right
        box, noise_dn = levelled(one, bounds), one.noise_dn * one.factor
        away = np.hypot(*(shifts - shifts[i]).T)
        far = [k for k in np.argsort(-away)[:OTHERS] if away[k] > APART * one.fwhm_px]
        if len(far) > 1:
            stars = stars_of([levelled(moments[k], bounds) for k in far], one.fwhm_px)
            box = np.where(stars > BRIGHT * noise_dn, np.nan, box - stars)
        if np.isnan(box).mean() > 0.5:
            return None
        found = centre_of(box, (float(x) - left, float(y) - top), one.fwhm_px, noise_dn, reach_px, one.trail_px)
        return None if found is None else Seen(one.time_s, found[0] + left, found[1] + top, found[2])

    return task


def stars_of(boxes: Sequence[np.ndarray], fwhm_px: float) -> np.ndarray:
    """The stars that boxes (h, w) have in common: of a coma that reaches into them only what is as sharp is taken."""
    stack = np.stack(boxes)
    known = np.isfinite(stack).any(axis=0)
    common = np.where(known, np.nanmedian(np.where(known, stack, 0), axis=0), 0)
    return common - median_filter(common, size=2 * round(SHARP * fwhm_px) + 1, mode="nearest")


def levelled(one: Moment, bounds: tuple[int, int, int, int]) -> np.ndarray:
    """A box of a light, mean of its planes, without its sky, in the light of the reference."""
    pixels = one.frame.pixels(*bounds)
    plane = pixels.mean(axis=0) if pixels.ndim == 3 else pixels
    level = np.nanmedian(plane) if np.isfinite(plane).any() else 0.0
    return (plane.astype(np.float64) - level) * one.factor
