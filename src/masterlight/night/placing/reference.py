"""Which light is the reference: at first by what is measured of each, then by what the stars that they share tell."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from masterlight.alignment.transform import Transform
from masterlight.core.errors import Rejected
from masterlight.night.light import Light
from masterlight.subframes.measurement import Measurement
from masterlight.subframes.photometry import ENOUGH_STARS, FEWEST_STARS

BETTER, FAR_BETTER = 1.15, 2.0
"""A light that is worth so many times what the first reference is takes its place; where it is worth so much more, the
stars of the first are too faint to lay the others on."""
LEVEL_BETTER = 1.5
"""The same for sky and scale: one light may well be the reference of both."""
STEEP = 10.0
"""Gradient from corner to corner, in units of the noise of a pixel, by which a sky is worth half as a level."""


def promise(light: Light) -> float:
    """How well a light may serve before it is matched."""
    return promise_of(light.measurement, light.view.meta.binning[0])


def promise_of(m: Measurement, binning: int = 1) -> float:
    """How well a frame may serve before it is matched: light of its stars, sharp and round, over its noise."""
    return (max(m.psf_flux_dn or 0.0, 0.0) / m.noise_dn) ** 0.5 / (m.fwhm_px * binning) * roundness(m)


def roundness(m: Measurement) -> float:
    """The shorter axis of the stars over the longer one."""
    return max(0.0, 1 - m.eccentricity**2) ** 0.5


def transparencies(matches: Mapping[Light, Transform | Rejected]) -> dict[Light, float]:
    """Light that each matched frame got of the same stars, in that of the first reference; 0 where too few tell it."""
    found = {light: match for light, match in matches.items() if match}
    return {light: t.flux_ratio if tells_light(t, FEWEST_STARS) else 0.0 for light, t in found.items()}


def tells_light(t: Transform, fewest: int) -> bool:
    """Whether so many stars or more tell how much light a frame got; of the reference itself it is known."""
    return t.method == "identity" or t.flux_pairs >= fewest


def calm(light: Light) -> float:
    """1 for an even sky, 1/2 for one whose gradient is `STEEP` times the noise."""
    m = light.measurement
    return 1 / (1 + abs(m.gradient_dn or 0.0) / (STEEP * m.noise_dn))


def worths(matches: Mapping[Light, Transform | Rejected]) -> dict[Light, float]:
    """How well each matched light serves as reference: (light of its stars / noise / width) x roundness x what it
    has in common with the others x evenness of its sky."""
    light_of, out = transparencies(matches), {}
    centres = {light: np.array([matches[light].dx_px, matches[light].dy_px]) for light in light_of}
    middle = np.median(list(centres.values()), axis=0)
    for light, ratio in light_of.items():
        m, (rows, cols) = light.measurement, light.view.shape[-2:]
        inside = np.prod(np.clip(1 - np.abs(centres[light] - middle) / (cols, rows), 0, None))
        sharp = ratio / m.noise_dn / (m.fwhm_px * light.view.meta.binning[0])
        out[light] = float(sharp * roundness(m) * inside * calm(light))
    return out


def level_of(lights: Sequence[Light], anchor: Light) -> Light:
    """The light whose sky and scale the result has: clear, little noise, little gradient; `anchor` if it serves well.

    anchor: the reference of the geometry, which need not be among them. It is one whose stars tell its scale,
    if there is any: by a reference of unknown scale no other could be scaled by its stars.
    """

    def level(light: Light) -> float:
        t = light.transform
        ratio = t.flux_ratio if tells_light(t, FEWEST_STARS) else 0.0
        return ratio / light.measurement.noise_dn * calm(light)

    best = max([light for light in lights if tells_light(light.transform, ENOUGH_STARS)] or lights, key=level)
    return anchor if anchor in lights and level(best) <= LEVEL_BETTER * level(anchor) else best


def laid_on(matches: dict[Light, Transform | Rejected], reference: Light) -> dict[Light, Transform | Rejected]:
    """The same matches on the grid of another light among them, from what is known of where it lies."""
    there, shape = matches[reference], reference.stars.shape
    back = there.inverse

    def moved(t: Transform) -> Transform:
        if t is there:
            return Transform.identity(shape)
        to, known = t @ back, there if t.method == "identity" else t
        errors = [u.flux_ratio_error / u.flux_ratio for u in (t, there)]
        ratio = t.flux_ratio / there.flux_ratio
        error = ratio * float(np.hypot(*errors))
        light = {"flux_ratio": ratio, "flux_ratio_error": error, "flux_pairs": known.flux_pairs}
        place = {"matrix": to.matrix, "bend": to.bend, "model": to.model, "mirrored": to.mirrored}
        return replace(known, **place, shape=tuple(shape), **light)

    out: dict[Light, Transform | Rejected] = {}
    for light, match in matches.items():
        out[light] = moved(match) if match else match
    return out
