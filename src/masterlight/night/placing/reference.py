"""Which light is the reference: at first by what is measured of each, then by what the stars that they share tell."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from masterlight.alignment.transform import Transform
from masterlight.core.errors import NothingUsable, Rejected
from masterlight.core.workers import Events
from masterlight.io import read
from masterlight.night.ahead import is_beside
from masterlight.night.lights.light import Light, debayer_of, light_as_it_is
from masterlight.night.lights.measure import Measure
from masterlight.night.run import Run
from masterlight.subframes.measurement import Measurement
from masterlight.subframes.photometry import ENOUGH_STARS, FEWEST_STARS

BETTER, FAR_BETTER = 1.15, 2.0
"""A light that is worth so many times what the first reference is takes its place; where it is worth so much more, the
stars of the first are too faint to lay the others on."""
LEVEL_BETTER = 1.5
"""The same for sky and scale: one light may well be the reference of both."""
SAMPLES = 24
"""Rows and columns of places in a frame of which is asked whether another shows them."""
ALIKE, FINER = 0.05, 1.1
"""Pixels are as large as others whose side differs by less than this share, and smaller for sure by this factor."""
FAIR, AS_WIDE = 0.2, 0.8
"""Share of as many lights as the most common sensor has, and of the reference's field, from which on the grid of a
sensor with smaller pixels may be that of the result."""
SAMPLED_PX = 3.0
"""Stars so wide (FWHM) lose nothing in pixels of this size."""
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
    sizes = {light: np.array(light.view.shape[:-3:-1]) for light in light_of}
    centres = {light: matches[light].shift_px(light.view.shape) / size for light, size in sizes.items()}
    middle = np.median(list(centres.values()), axis=0)
    turned = dict(zip(light_of, shared_turned([matches[light] for light in light_of]), strict=True))
    for light, ratio in light_of.items():
        m = light.measurement
        inside = np.prod(np.clip(1 - np.abs(centres[light] - middle), 0, None))
        sharp = ratio / m.noise_dn / m.fwhm_px  # the same in pixels of any size
        out[light] = float(sharp * roundness(m) * inside * turned[light] * calm(light))
    return out


def shared_turned(transforms: Sequence[Transform]) -> np.ndarray:
    """The part of each frame (n,) that the others show in the mean, by how they are turned against it alone.

    On a mount without a derotator that is a frame from the middle of the night.
    """
    rows, cols = transforms[0].shape if transforms else (1, 1)
    turn = np.array([t.rotation_deg for t in transforms])
    apart = np.abs(turn[:, None] - turn[None])
    mirrored = np.array([t.mirrored for t in transforms])
    apart = np.where(mirrored[:, None] != mirrored[None], 0, apart) % 180
    angles = np.linspace(0, 90, 31)
    lines = (np.arange(SAMPLES) + 0.5) / SAMPLES - 0.5
    x, y = np.meshgrid(lines * cols, lines * rows)
    c, s = (f(np.radians(angles))[:, None, None] for f in (np.cos, np.sin))
    inside = (np.abs(c * x - s * y) <= cols / 2) & (np.abs(s * x + c * y) <= rows / 2)
    return np.interp(np.minimum(apart, 180 - apart), angles, inside.mean(axis=(1, 2))).mean(axis=1)


def same_grid(one: Light, other: Light, matches: Mapping[Light, Transform | Rejected]) -> bool:
    """Whether pixels of two matched lights are as many and as large on the sky."""
    a, b = (matches[light].scale for light in (one, other))
    return one.view.shape == other.view.shape and abs(a - b) <= ALIKE * max(a, b)


def finer_lights(matches: Mapping[Light, Transform | Rejected], reference: Light) -> list[Light]:
    """The matched lights of a sensor with smaller pixels whose stars those of the reference are too large for.

    That is of several such sensors the one with the smallest. It has a fair part of the lights, and shows about as much
    of the sky. Nothing where the pixels of the reference do, or are the smallest.
    """
    left, grids = [light for light, match in matches.items() if match], list[list[Light]]()
    while left:
        grids.append([light for light in left if same_grid(light, left[0], matches)])
        left = [light for light in left if light not in grids[-1]]

    def sky(light: Light) -> float:
        return float(np.prod(light.view.shape[-2:])) / matches[light].scale ** 2

    most = max(map(len, grids))
    scales = {id(grid): float(np.median([matches[light].scale for light in grid])) for grid in grids}
    fit = [grid for grid in grids if len(grid) >= FAIR * most and sky(grid[0]) >= AS_WIDE * sky(reference)]
    best = max(fit, key=lambda grid: scales[id(grid)], default=[])
    finer = scales.get(id(best), 0.0) > FINER * matches[reference].scale
    if not finer:
        return []
    width_px = np.median([light.measurement.fwhm_px / matches[light].scale for light in best])
    return best if width_px < SAMPLED_PX else []


def level_of(lights: Sequence[Light], anchor: Light) -> Light:
    """The light whose sky and scale the result has: clear, little noise, little gradient; `anchor` if it serves well.

    anchor: the reference of the geometry, which need not be among them. It is one whose stars tell its scale,
    if there is any: by a reference of unknown scale no other could be scaled by its stars.
    """

    def level(light: Light) -> float:
        t = light.transform
        ratio = t.flux_ratio if tells_light(t, FEWEST_STARS) else 0.0
        return ratio / (light.measurement.noise_dn * t.scale) * calm(light)

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


def reference_beside(run: Run) -> Events[Light | None]:
    """The reference that the user named where that is none of the lights: the result of an earlier night, a light of
    another one; measured. NothingUsable where it shows too few stars, FrameError where it cannot be read."""
    if run.recipe.reference is None or not is_beside(run.plan, run.recipe.reference):
        return None
    light = light_as_it_is(run.recipe, read(run.recipe.reference))
    found = Measure(run.recipe.select, debayer_of(run.recipe), False)(light)
    if isinstance(found, Rejected):
        raise NothingUsable(f"Recipe.reference {light.source} cannot be the reference: {found.reason}")
    light.measurement, light.channels, light.stars, *_ = found
    words = "lights are laid on its grid where they show its stars; their levels are those of one of them"
    yield run.note("align", f"Recipe.reference {light.source} is none of the lights: {words}")
    return light
