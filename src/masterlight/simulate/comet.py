"""The comet of a simulated night: where its nucleus is at any time, and what it looks like there."""

import math

import numpy as np

from masterlight.simulate.night import Night

PAUSE_S = 6.0
"""From the end of one exposure to the start of the next."""
STEPS = 5
"""Moments of an exposure that are added up: a comet draws itself out."""
COMA = {"": 1.0, "R": 0.6, "G": 1.0, "B": 0.8}
"""Its light through a pixel's colour filter over that of white light: carbon glows green."""
CORE, TAIL = 0.6, 0.12
"""Parts of its brightest point that are its core, as sharp as a star, and its tail."""


def middle_h(night: Night, index: int) -> float:
    """Middle of the exposure of a light, hours after the start of the first."""
    return (index * (night.exposure_s + PAUSE_S) + night.exposure_s / 2) / 3600


def nucleus_px(night: Night, hours: float) -> tuple[float, float]:
    """(x, y) of the nucleus in pixels of light 0, so many hours after the start of the first light.

    In the middle of the lights it passes near the middle of the field.
    """
    half = (middle_h(night, 0) + middle_h(night, max(night.count("light") - 1, 0))) / 2
    t, toward = hours - half, math.radians(night.comet_toward_deg)
    along, across = night.comet_px_h * t, night.comet_bend_px * t * t
    x, y = 0.53 * night.cols, 0.47 * night.rows
    c, s = math.cos(toward), math.sin(toward)
    return x + along * c - across * s, y + along * s + across * c


def brightness(night: Night, x: np.ndarray, y: np.ndarray, hours: float, fwhm_px: float, share: float) -> np.ndarray:
    """How bright the comet is at positions of light 0, 1 at its brightest: the mean over an exposure, float32.

    hours: the middle of the exposure; share: of light that comes of the comet through a filter.
    """
    shown, long_h = np.zeros(np.broadcast(x, y).shape, np.float32), night.exposure_s / 3600
    for step in range(STEPS):
        at = nucleus_px(night, hours + long_h * ((step + 0.5) / STEPS - 0.5))
        shown += one_moment(x - at[0], y - at[1], fwhm_px, night.cols)
    return shown * np.float32(share / STEPS)


def one_moment(dx: np.ndarray, dy: np.ndarray, fwhm_px: float, cols: int) -> np.ndarray:
    """The comet at rest: core, coma and a straight tail to the upper right."""
    radius2 = dx * dx + dy * dy
    core = (1 + radius2 * (2 ** (1 / 3.5) - 1) * 4 / fwhm_px**2) ** -3.5
    coma = (1 + radius2 / (2 * fwhm_px) ** 2) ** -0.75 * np.exp(-radius2 / (0.25 * cols) ** 2)
    u, v = 0.8 * dx - 0.6 * dy, 0.6 * dx + 0.8 * dy
    wide = 2 * fwhm_px + 0.12 * np.maximum(u, 0)
    tail = np.exp(-np.maximum(u, 0) / (0.15 * cols) - (v / wide) ** 2 / 2) / (1 + np.exp(-(u - 2 * fwhm_px)))
    return CORE * core + (1 - CORE - TAIL) * coma + TAIL * tail
