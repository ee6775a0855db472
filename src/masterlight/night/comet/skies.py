"""The sky that was measured of lights, without the comet: what levels skies must not level the coma away."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.ndimage import map_coordinates

from masterlight.alignment.comet.motion import Motion
from masterlight.alignment.transform import each_of
from masterlight.core.statistics.cells import centres, grid_of
from masterlight.night.comet.coarse import at, nanmedian, smooth_comet
from masterlight.night.comet.moving import light_of, time_of
from masterlight.night.lights.light import Light
from masterlight.subframes.measurement import Measurement

FEWEST = 3
"""Lights whose skies tell a comet."""


def hide_comet(lights: Sequence[Light], anchor: Light, motion: Motion) -> None:
    """Take the comet off what was measured of each light's sky."""
    shape, timed = anchor.result_shape, [light for light in lights if time_of(light) is not None]
    grid = grid_of(shape, tuple(anchor.stars.shape) if anchor.canvas else None)
    if not motion.is_placed or len(timed) < FEWEST or not grid[0] or grid[0] * grid[1] < 16:
        return
    pitch = np.array([shape[1] / grid[1], shape[0] / grid[0]])
    shifts = np.array([motion.shift(time_of(light)) for light in timed]) / pitch
    nucleus = (np.array(motion.terms[0]) + 0.5) / pitch - 0.5
    factors = [light_of(light, anchor) for light in timed]
    seen = [[one.sky_seen(c, each_of(one.placed)[0], shape) for c in one.channels] for one in timed]
    if any(sky is None for own in seen for sky in own):
        return
    for p, skies in enumerate(zip(*seen, strict=True)):
        level = [factor * (sky - np.nanmedian(sky)) for factor, sky in zip(factors, skies, strict=True)]
        comet = smooth_comet(alike(np.stack(level)), shifts, nucleus)
        for light, factor, (dx, dy) in zip(timed, factors, shifts, strict=True):
            less = without(light, light.channels[p], at(comet, -dx, -dy, 0.0) / factor, pitch)
            light.channels = (*light.channels[:p], less, *light.channels[p + 1 :])


def alike(skies: np.ndarray) -> np.ndarray:
    """Skies (n, ny, nx) with the slope taken off in which each differs from the median of all."""
    common, (ny, nx) = nanmedian(list(skies)), skies.shape[1:]
    y, x = np.mgrid[-1 : 1 : ny * 1j, -1 : 1 : nx * 1j]
    plane, out = np.stack([np.ones(y.size), x.ravel(), y.ravel()], axis=-1), skies.copy()
    for sky in out:
        off = (sky - common).ravel()
        known = np.isfinite(off)
        if known.sum() > 3:
            sky -= (plane @ np.linalg.lstsq(plane[known], off[known], rcond=None)[0]).reshape(ny, nx)
    return out


def without(light: Light, channel: Measurement, comet: np.ndarray, pitch: np.ndarray) -> Measurement:
    """A plane's measurement with the comet, in cells of the result's grid, taken off its sky.

    pitch: (x, y) px of a cell.
    """
    cells = channel.sky_dn.shape
    xy = each_of(light.placed)[0].inverse(centres(cells, light.view.shape))
    x, y = np.clip((xy + 0.5) / pitch - 0.5, -1, np.array(comet.shape)[::-1]).T
    off = map_coordinates(comet, [y, x], order=1, mode="constant").reshape(cells)
    return replace(channel, sky_dn=(channel.sky_dn - off).astype(channel.sky_dn.dtype))
